"""N-body MNIST: digits that attract each other inside a box, drawn 64 x 64; the path of each depends on all others.

Source: Gao et al. 2022 (Earthformer), appendix, and the behaviour of their published generator, whose trajectories and
frames this one reproduces for given digits, places and velocities. The published generator draws its random numbers
for a whole set at once; here each sample draws its own from the seed and its index.

Positions are the (x, y) of a digit's top left corner on a canvas of 128 x 128 pixels; forces act between these corners.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from geoscope.data.digit_sequences import DigitSequences
from geoscope.data.frame_samples import check_counts
from geoscope.errors import ConfigError

Force = Literal["none", "r0", "r1", "r2"]
_EXPONENT: dict[Force, float] = {"r0": -0.5, "r1": -1.0, "r2": -1.5}
_CROP_ABOVE = 5  # of 255: what is brighter belongs to the digit


@dataclass(frozen=True, kw_only=True)
class NBodyConfig:
    """The task; the defaults are the published ones. Lengths in canvas pixels, speeds in pixels a raw step.

    force: how the pull falls with distance r: "r0" not at all (published), "r1" as 1/r, "r2" as 1/r^2, or "none".
    margin: a digit's centre stays this far inside the canvas.
    """

    in_frames: int = 10
    out_frames: int = 10
    size: int = 64
    digits: int = 3
    steps_per_frame: int = 5
    force: Force = "r0"
    gravity: float = 0.05
    softening: float = 10.0
    mass: float = 1.0
    top_start_speed: float = 2.0
    speed_limit: float = 2.0
    margin: float = 10.0

    @property
    def canvas(self) -> int:
        """Pixels of the simulated square's side."""
        return 2 * self.size

    def __post_init__(self) -> None:
        check_counts(
            in_frames=self.in_frames,
            out_frames=self.out_frames,
            digits=self.digits,
            steps_per_frame=self.steps_per_frame,
        )
        if self.size < 32:
            raise ConfigError(f"size={self.size}: expected 32 or more, so that digits can move")
        if self.force not in ("none", *_EXPONENT):
            raise ConfigError(f"force={self.force!r}: expected none, r0, r1 or r2")
        for name in ("softening", "mass", "top_start_speed", "speed_limit"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: expected more than zero")
        if not 0 <= self.margin < self.size:
            raise ConfigError(f"margin={self.margin}: expected 0 to {self.size}")


class NBodyMnist(DigitSequences[NBodyConfig]):
    """N-body MNIST as a map-style dataset without end, see `DigitSequences`."""

    title = "N-body digits"
    config_type = NBodyConfig
    usual_count = 20_000

    def frames(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The digits set out from anywhere, in any direction, each at its own speed."""
        return self.film(images, random).frames

    def film(self, images: np.ndarray, random: np.random.Generator) -> "Film":
        """Frames and the states behind them; the same draws as for `frames`."""
        place = random.uniform(0, 1, (self.config.digits, 2))
        angle = random.uniform(0, 2 * np.pi, self.config.digits)
        speed = random.uniform(0, self.config.top_start_speed, self.config.digits)
        return simulate_film(images, place, angle, speed, self.config)


@dataclass(frozen=True, eq=False)
class Film:
    """A sequence and what is behind it: frames (T, size, size) in [0, 1], the states at these frames, the digits.

    ``positions`` are corners (x, y) and ``velocities`` pixels of the canvas a raw step, both (T, N, 2) float32;
    ``digits`` are the cropped images, 0-255.
    """

    frames: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    digits: tuple[np.ndarray, ...]


def simulate(
    images: np.ndarray, place: np.ndarray, angle: np.ndarray, speed: np.ndarray, config: NBodyConfig
) -> np.ndarray:
    """Frames (T, size, size) float32 in [0, 1] of digits (N, 28, 28) in 0-255; arguments as in `simulate_film`."""
    return simulate_film(images, place, angle, speed, config).frames


def simulate_film(
    images: np.ndarray, place: np.ndarray, angle: np.ndarray, speed: np.ndarray, config: NBodyConfig
) -> Film:
    """The film of digits (N, 28, 28) in 0-255.

    ``place`` (N, 2) is the start (x, y) as a share of the free way; ``angle`` (N,) in radians and ``speed`` (N,) in
    pixels a raw step give the start velocity.
    """
    digits = [crop_digit(image) for image in images]
    sizes = np.array([digit.shape[::-1] for digit in digits])  # (width, height)
    start = place * (config.canvas - sizes)
    velocity = speed[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    frames = config.in_frames + config.out_frames
    states = simulate_states(start, velocity, sizes, frames * config.steps_per_frame, config)
    positions, velocities = (each[:: config.steps_per_frame] for each in states)
    return Film(to_frames(draw(digits, positions, config.canvas)), positions, velocities, tuple(digits))


def to_frames(raw: np.ndarray) -> np.ndarray:
    """Frames (T, H, W) in [0, 1] of a canvas (T, 2H, 2W) in 0-255."""
    return np.clip(halve_bicubic(raw), 0, 255) / np.float32(255)


def crop_digit(image: np.ndarray) -> np.ndarray:
    """The part of an image (H, W) in 0-255 that holds the digit, float32.

    Raises:
        ConfigError: the image is dark.
    """
    bright = image > _CROP_ABOVE
    if not bright.any():
        raise ConfigError(f"a digit without any pixel above {_CROP_ABOVE}; expected a bright digit on black")
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)


def accelerations(positions: np.ndarray, config: NBodyConfig) -> np.ndarray:
    """What each body (N, 2) feels of all others, in pixels a raw step squared.

    G * sum over j of m * (r_j - r_i) * (|r_j - r_i|^2 + softening^2)^p, with p = -1/2 for "r0": there the pull hardly
    depends on distance.
    """
    if config.force == "none":
        return np.zeros_like(positions)
    way = positions[None] - positions[:, None]  # (i, j, xy): from i to j
    distance2 = (way**2).sum(axis=-1) + config.softening**2
    pull = config.mass * way * distance2[..., None] ** _EXPONENT[config.force]
    return config.gravity * pull.sum(axis=1)


def trajectories(
    start: np.ndarray, velocity: np.ndarray, sizes: np.ndarray, steps: int, config: NBodyConfig
) -> np.ndarray:
    """Corners (steps, N, 2), see `simulate_states`."""
    return simulate_states(start, velocity, sizes, steps, config)[0]


def simulate_states(
    start: np.ndarray, velocity: np.ndarray, sizes: np.ndarray, steps: int, config: NBodyConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Corners and velocities, each (steps, N, 2), of digits of ``sizes`` (N, 2), by semi-implicit Euler in float32.

    Velocity components stay within the speed limit; a digit whose centre passes the margin is put back on it and
    that component turns round.
    """
    position, velocity = start.astype(np.float32), velocity.astype(np.float32)
    half = sizes / 2
    low, high = config.margin - half, config.canvas - config.margin - half
    path, speeds = np.empty((2, steps, *position.shape), np.float32)
    for step in range(steps):
        path[step], speeds[step] = position, velocity
        velocity = (velocity + accelerations(position, config)).astype(np.float32)
        velocity = np.clip(velocity, -config.speed_limit, config.speed_limit)
        position = (position + velocity).astype(np.float32)
        velocity = np.where((position < low) | (position > high), -velocity, velocity)
        position = np.clip(position, low, high).astype(np.float32)
    return path, speeds


def draw(digits: list[np.ndarray], positions: np.ndarray, canvas: int) -> np.ndarray:
    """Frames (T, canvas, canvas) float32 with each digit's corner at ``positions`` (T, N, 2), the brighter one on top.

    Bilinear between pixels.
    """
    frames = np.zeros((len(positions), canvas, canvas), np.float32)
    for frame, corners in zip(frames, positions, strict=True):
        for digit, (x, y) in zip(digits, corners, strict=True):
            row, column, moved = _shifted(digit, y, x)
            top, left = max(row, 0), max(column, 0)
            part = frame[top : row + moved.shape[0], left : column + moved.shape[1]]
            cut = moved[top - row :, left - column :][: part.shape[0], : part.shape[1]]
            np.maximum(part, cut, out=part)
    return frames


def _shifted(digit: np.ndarray, y: float, x: float) -> tuple[int, int, np.ndarray]:
    """A digit moved by the part of (y, x) behind the point, one pixel larger, and the whole pixels before it."""
    row, column = math.floor(y), math.floor(x)
    low_row, low_column = np.float32(y - row), np.float32(x - column)
    digit = np.pad(digit, 1)
    rows = digit[1:] * (1 - low_row) + digit[:-1] * low_row
    return row, column, rows[:, 1:] * (1 - low_column) + rows[:, :-1] * low_column


_HALF_WAY = np.array(
    [-0.09375, 0.59375, 0.59375, -0.09375], np.float32
)  # cubic convolution, a = -0.75, at 1/2


def halve_bicubic(frames: np.ndarray) -> np.ndarray:
    """Frames (T, H, W) at half the resolution, by bicubic interpolation midway between pixels; edges repeat.

    What ``torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`` gives for a factor of 1/2.
    """
    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = frames.shape[1:]
    taps = list(enumerate(_HALF_WAY))
    rows = np.sum([weight * padded[:, k : k + height : 2] for k, weight in taps], axis=0)
    return np.sum([weight * rows[:, :, k : k + width : 2] for k, weight in taps], axis=0)

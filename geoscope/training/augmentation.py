"""How one storm is shown to a network in several ways: turned, scaled, coarser, slower, or simulated.

Pure functions of rain (T, H, W) in mm/h, NaN = no data, and, where chance has a part, of a numpy generator. What is
drawn depends on the generator alone, so a window is a function of its seed.
"""

from dataclasses import dataclass

import numpy as np

from geoscope.data.frame_samples import Samples
from geoscope.data.storms import StormConfig, simulate_storms
from geoscope.errors import ConfigError

_SYMMETRIES = 8


def turn(rain: np.ndarray, symmetry: int) -> np.ndarray:
    """One of the eight symmetries of the square, 0 to 7: quarter turns, from 4 on also left to right mirrored."""
    turned = np.rot90(rain, symmetry % 4, axes=(1, 2))
    return turned[:, :, ::-1] if symmetry >= 4 else turned


def random_turn(rain: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Any of the eight symmetries; a picture that is not square keeps its shape by one of its own four."""
    if rain.shape[1] == rain.shape[2]:
        return turn(rain, int(random.integers(_SYMMETRIES)))
    return turn(rain, int(random.choice([0, 2, 4, 6])))


def fit_square(rain: np.ndarray, size: int) -> np.ndarray:
    """Cut or fill with NaN, at the south and east, to ``size`` x ``size``."""
    result = np.full((len(rain), size, size), np.nan, dtype=np.float32)
    height, width = min(size, rain.shape[1]), min(size, rain.shape[2])
    result[:, :height, :width] = rain[:, :height, :width]
    return result


def coarsen(rain: np.ndarray, factor: int) -> np.ndarray:
    """Block means of (T, H, W) over ``factor`` x ``factor`` pixels; NaN where less than half of a block has data."""
    if factor == 1:
        return rain
    height, width = rain.shape[1] // factor * factor, rain.shape[2] // factor * factor
    blocks = rain[:, :height, :width].reshape(len(rain), height // factor, factor, width // factor, factor)
    known = np.isfinite(blocks)
    count = known.sum(axis=(2, 4))
    total = np.where(known, blocks, 0.0).sum(axis=(2, 4))
    return np.where(count * 2 >= factor * factor, total / np.maximum(count, 1), np.nan).astype(np.float32)


def accumulate(rain: np.ndarray, count: int) -> np.ndarray:
    """Means of (T, H, W) over each ``count`` following frames; what is left over at the end is dropped."""
    length = len(rain) // count * count
    return rain[:length].reshape(-1, count, *rain.shape[1:]).mean(axis=1)


def scale_intensity(rain: np.ndarray, random: np.random.Generator, spread: float) -> np.ndarray:
    """All rain times one factor, lognormal with median 1; ``spread`` is the standard deviation of its logarithm."""
    return rain * np.float32(np.exp(spread * random.standard_normal()))


def overlay(rain: np.ndarray, storm: np.ndarray) -> np.ndarray:
    """The stronger of both at each pixel; where ``rain`` has no data there is none."""
    return np.where(np.isnan(rain), rain, np.maximum(rain, np.nan_to_num(storm))).astype(np.float32)


def simulated_rain(
    shape: tuple[int, int, int], interval_minutes: float, pixel_km: float, random: np.random.Generator
) -> np.ndarray:
    """Simulated storms (T, H, W) float32 in mm/h whose wind, cells and band are drawn anew each time.

    From `geoscope.data.storms`; never an observation.
    """
    frames, height, width = shape
    heading, speed = random.uniform(0, 2 * np.pi), random.uniform(5, 80)
    config = StormConfig(
        seed=int(random.integers(2**31)),
        frames=frames,
        height=max(height, 16),
        width=max(width, 16),
        interval_minutes=interval_minutes,
        pixel_km=pixel_km,
        wind_east_km_h=float(speed * np.cos(heading)),
        wind_north_km_h=float(speed * np.sin(heading)),
        shear_per_h=float(random.normal(0, 0.08)),
        clusters_per_1e4_km2=float(random.uniform(0.2, 1.5)),
        cell_lifetime_minutes=float(random.uniform(30, 75)),
        cell_peak_mm_h=float(random.uniform(8, 40)),
        band_peak_mm_h=float(random.choice([0.0, 1.0]) * random.uniform(0.5, 6)),
        band_angle_deg=float(random.uniform(0, 180)),
    )
    return simulate_storms(config).values[:, :height, :width]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How often and how strongly; shares are probabilities. The default shows every window as it is.

    turns: flips and quarter turns. intensity_spread: standard deviation of the logarithm of a factor on all rain.
    share_coarse: windows cut larger and averaged to the same size, by 2 up to ``largest_factor``. share_simulated:
    windows that are simulated storms altogether. share_overlaid: windows with a simulated storm laid over.
    """

    turns: bool = False
    intensity_spread: float = 0.0
    share_coarse: float = 0.0
    largest_factor: int = 3
    share_simulated: float = 0.0
    share_overlaid: float = 0.0

    def __post_init__(self) -> None:
        for name in ("share_coarse", "share_simulated", "share_overlaid"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: expected a share, 0 to 1")
        if not 0 <= self.intensity_spread <= 3:
            raise ConfigError(f"intensity_spread={self.intensity_spread}: expected 0 to 3")
        if self.largest_factor < 2:
            raise ConfigError(f"largest_factor={self.largest_factor}: expected 2 or more")

    def draw_factor(self, random: np.random.Generator) -> int:
        """The factor of coarse-graining of one window."""
        if random.random() >= self.share_coarse:
            return 1
        return int(random.integers(2, self.largest_factor + 1))

    def apply(
        self, rain: np.ndarray, interval_minutes: float, pixel_km: float, random: np.random.Generator
    ) -> np.ndarray:
        """Another look at ``rain`` (T, H, W): the same shape, float32. Coarse-graining is the cutter's business."""
        if random.random() < self.share_simulated:
            rain = simulated_rain(rain.shape, interval_minutes, pixel_km, random)
        elif random.random() < self.share_overlaid:
            rain = overlay(rain, simulated_rain(rain.shape, interval_minutes, pixel_km, random))
        if self.intensity_spread:
            rain = scale_intensity(rain, random, self.intensity_spread)
        if self.turns:
            rain = random_turn(rain, random)
        return np.ascontiguousarray(rain, dtype=np.float32)


class TurnedFrames:
    """Any dataset of frames, each sample in several looks: flipped and turned, all its arrays alike.

    Sample i is sample i % n of the original; how it is turned depends on the seed and i. PreDiff's training on SEVIR-LR
    turns so.
    """

    def __init__(self, samples: Samples, *, looks: int = 8, seed: int = 0) -> None:
        if looks < 1 or seed < 0:
            raise ConfigError(
                f"looks={looks}, seed={seed}: expected 1 or more looks and a seed of zero or more"
            )
        self.samples, self.looks, self.seed = samples, looks, seed

    def __len__(self) -> int:
        return len(self.samples) * self.looks

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        sample = self.samples[index % len(self.samples)]
        height, width = next(iter(sample.values())).shape[1:3]
        symmetries = range(_SYMMETRIES) if height == width else (0, 2, 4, 6)
        symmetry = int(np.random.default_rng([self.seed, index]).choice(symmetries))
        return {name: np.ascontiguousarray(turn(frames, symmetry)) for name, frames in sample.items()}


def turned(samples: Samples, looks: int, seed: int) -> Samples:
    """``samples`` in ``looks`` looks each, see `TurnedFrames`; for 1 as they are.

    Raises:
        ConfigError: fewer than one look, or a negative seed.
    """
    return samples if looks == 1 else TurnedFrames(samples, looks=looks, seed=seed)

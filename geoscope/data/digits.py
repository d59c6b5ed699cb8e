"""Pictures of digits for the moving-digit tasks: MNIST from a folder that the user names, or glyphs drawn here.

MNIST (LeCun et al. 1998) is read from its own files, `train-images-idx3-ubyte` or `t10k-images-idx3-ubyte`, packed
with gzip or not. Without a folder nothing is downloaded: ten classes of digit-like glyphs are drawn from strokes, each
a little different. They are not MNIST, and scores on them are not comparable with published ones.
"""

import gzip
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from geoscope.data.formats.faults import fault, reading
from geoscope.data.frame_samples import Split, check_split
from geoscope.errors import DataError

SIDE = 28  # pixels of a digit's side
_NAMES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
_MAGIC = 0x803  # unsigned bytes in three dimensions
_HEADER = 16
_MOST_IMAGES = 1_000_000
_GLYPHS = 1200
_LEAST_DIGITS = 12


@dataclass(frozen=True)
class Digits:
    """Digits (N, 28, 28) uint8, bright on black, and where they come from."""

    images: np.ndarray
    source: str

    def part(self, split: Split) -> "Digits":
        """The first four sixths for train, the fifth sixth for val, the last for test: no digit in two splits.

        For the 60,000 digits of MNIST's training file that is [0, 40000) for train, as published.

        Raises:
            ConfigError: no such split.
        """
        check_split(split)
        sixth = len(self.images) / 6
        first, last = {"train": (0, 4), "val": (4, 5), "test": (5, 6)}[split]
        return Digits(self.images[round(first * sixth) : round(last * sixth)], self.source)


def load_digits(folder: str | Path | None = None) -> Digits:
    """MNIST's digits from ``folder`` (the training file where both are there), or drawn glyphs without a folder.

    Raises:
        DataError: the folder holds no such file, or the file is damaged.
    """
    if folder is None:
        return Digits(_drawn(), "digit-like glyphs drawn by geoscope, not MNIST")
    folder = Path(folder)
    for name in _NAMES:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return Digits(read_idx_images(path), f"MNIST, {path.name}")
    raise DataError(
        f"{folder}: expected {_NAMES[0]} or {_NAMES[1]}, packed (.gz) or not, found neither; "
        "put MNIST's files there, or name no folder and drawn glyphs are used"
    )


def read_idx_images(path: Path) -> np.ndarray:
    """The images (N, 28, 28) uint8 of a file in MNIST's idx format, packed with gzip or not.

    Raises:
        DataError: another format, another size of image, too few images, cut short or too long.
    """
    cure = "fetch MNIST's file again"
    with reading(path, "a file of MNIST images"):
        with path.open("rb") as raw:
            is_packed = raw.read(2) == b"\x1f\x8b"
        try:
            with gzip.open(path, "rb") if is_packed else path.open("rb") as file:
                header = file.read(_HEADER)
                magic, count, rows, columns = np.frombuffer(header.ljust(_HEADER, b"\0"), ">u4").tolist()
                if magic != _MAGIC or len(header) < _HEADER:
                    raise fault(path, "MNIST images (magic number 2051)", f"{magic}", cure)
                if (rows, columns) != (SIDE, SIDE) or not _LEAST_DIGITS <= count <= _MOST_IMAGES:
                    held = f"{count} of {rows}x{columns}"
                    raise fault(path, f"{_LEAST_DIGITS} or more images of {SIDE}x{SIDE}", held, cure)
                expected = count * rows * columns
                body = file.read(expected + 1)
        except (EOFError, zlib.error) as error:
            raise fault(path, "a whole gzip file", error, cure) from error
    if len(body) != expected:
        found = "more" if len(body) > expected else f"{len(body)}"
        raise fault(path, f"{expected} bytes of images", found, cure)
    return np.frombuffer(body, np.uint8).reshape(count, rows, columns)


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float) -> list[tuple[float, float]]:
    """Points on an ellipse; angles in degrees, 0 is right, 90 is down."""
    angles = np.deg2rad(np.linspace(start, stop, max(3, round(abs(stop - start) / 24))))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


@lru_cache(maxsize=1)
def _strokes() -> list[list[list[tuple[float, float]]]]:
    """The strokes of 0 to 9: polylines (x, y) in a box 1 wide and 1 high, y down."""
    return [
        [_arc(0.5, 0.5, 0.36, 0.5, 0, 360)],
        [[(0.3, 0.2), (0.55, 0.0), (0.55, 1.0)]],
        [[*_arc(0.5, 0.27, 0.33, 0.27, 190, 380), (0.15, 1.0), (0.87, 1.0)]],
        [_arc(0.47, 0.25, 0.32, 0.25, 200, 450), _arc(0.47, 0.75, 0.36, 0.25, -90, 160)],
        [[(0.62, 0.0), (0.12, 0.65), (0.9, 0.65)], [(0.66, 0.35), (0.66, 1.0)]],
        [[(0.82, 0.0), (0.25, 0.0), (0.2, 0.42), *_arc(0.47, 0.68, 0.34, 0.32, -120, 150)]],
        [[(0.7, 0.0), (0.3, 0.4), *_arc(0.5, 0.7, 0.33, 0.3, 190, 550)]],
        [[(0.13, 0.02), (0.87, 0.02), (0.42, 1.0)]],
        [_arc(0.5, 0.25, 0.28, 0.25, 0, 360), _arc(0.5, 0.75, 0.34, 0.25, 0, 360)],
        [[*_arc(0.48, 0.3, 0.31, 0.3, 0, 360), (0.79, 0.3), (0.66, 1.0)]],
    ]


@lru_cache(maxsize=1)
def _drawn() -> np.ndarray:
    glyphs = draw_glyphs(_GLYPHS, seed=0)
    glyphs.setflags(write=False)
    return glyphs


def draw_glyphs(count: int, seed: int) -> np.ndarray:
    """``count`` digit-like glyphs (N, 28, 28) uint8, classes 0 to 9 in turn; the same seed draws the same.

    Height, width, slant, thickness and the corners of each vary; edges are antialiased. Not MNIST.
    """
    random = np.random.default_rng(seed)
    return np.stack([_draw(_strokes()[number % 10], random) for number in range(count)])


def _draw(strokes: list[list[tuple[float, float]]], random: np.random.Generator) -> np.ndarray:
    height, width = random.uniform(17, 20), random.uniform(12, 17)
    slant, turn = random.normal(0, 0.15), random.normal(0, 0.08)
    thickness = random.uniform(2.0, 3.4)
    middle = (SIDE - 1) / 2
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    distance = np.full((SIDE, SIDE), np.inf)
    for stroke in strokes:
        points = np.array(stroke) + random.normal(0, 0.02, (len(stroke), 2))
        if math.dist(stroke[0], stroke[-1]) < 1e-9:  # a closed one stays closed
            points[-1] = points[0]
        x, y = (points[:, 0] - 0.5) * width, (points[:, 1] - 0.5) * height
        x = x - slant * y
        x, y = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
        for start in range(len(x) - 1):
            piece = (x[start] + middle, y[start] + middle, x[start + 1] + middle, y[start + 1] + middle)
            distance = np.minimum(distance, _distance(columns, rows, *piece))
    return np.rint(255 * np.clip(thickness / 2 + 0.5 - distance, 0, 1)).astype(np.uint8)


def _distance(x: np.ndarray, y: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """From each pixel to a piece of a line."""
    length2 = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
    share = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length2, 0, 1)
    return np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))

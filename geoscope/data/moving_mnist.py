"""Moving MNIST: digits that cross a dark square in straight lines and bounce off its walls.

Source: Srivastava, Mansimov and Salakhutdinov 2015. Their test set is a fixed file, `mnist_test_seq.npy`, read by
`PublishedMovingMnist`; `MovingMnist` makes sequences of the same kind without end, each a pure function of the seed
and its index, so that any number of workers gives the same data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoscope.data.digit_sequences import DigitSequences
from geoscope.data.digits import SIDE
from geoscope.data.formats.faults import fault, reading
from geoscope.data.frame_samples import Split, check_counts, check_split, frame_sample
from geoscope.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class MovingMnistConfig:
    """The task. Lengths are in pixels; ``speed`` is pixels a frame (the original: a tenth of 64 - 28)."""

    in_frames: int = 10
    out_frames: int = 10
    digits: int = 2
    size: int = 64
    speed: float = 3.6

    def __post_init__(self) -> None:
        check_counts(in_frames=self.in_frames, out_frames=self.out_frames, digits=self.digits)
        if self.size <= SIDE:
            raise ConfigError(f"size={self.size}: expected more than {SIDE}, the side of a digit")
        if not 0 <= self.speed <= self.size - SIDE:
            raise ConfigError(f"speed={self.speed}: expected 0 to {self.size - SIDE} pixels a frame")


class MovingMnist(DigitSequences[MovingMnistConfig]):
    """Moving digits as a map-style dataset without end, see `DigitSequences`."""

    title = "moving digits"
    config_type = MovingMnistConfig
    usual_count = 10_000

    def frames(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The digits set out from anywhere, in any direction, at the same speed."""
        config = self.config
        start = random.uniform(0, 1, (config.digits, 2))
        angle = random.uniform(0, 2 * np.pi, config.digits)
        step = np.stack((np.sin(angle), np.cos(angle)), axis=1) * config.speed / (config.size - SIDE)
        frames = draw_moving(images, start, step, config.in_frames + config.out_frames, config.size)
        return frames.astype(np.float32) * np.float32(1 / 255)


def draw_moving(
    images: np.ndarray, start: np.ndarray, step: np.ndarray, frames: int, size: int
) -> np.ndarray:
    """Frames (T, size, size) uint8 of digits (N, h, w) that bounce; where they overlap the brighter one shows.

    ``start`` and ``step`` (N, 2) are (row, column) in units of the free way, size - h: 0 and 1 are the walls, where a
    digit stops and turns round.
    """
    canvas = np.zeros((frames, size, size), np.uint8)
    way = size - images.shape[-1]
    position, step = start.copy(), step.copy()
    for frame in range(frames):
        corners = np.floor(position * way).astype(int)
        for image, (row, column) in zip(images, corners, strict=True):
            part = canvas[frame, row : row + image.shape[0], column : column + image.shape[1]]
            np.maximum(part, image, out=part)
        position += step
        hits = (position <= 0) | (position >= 1)
        position = np.clip(position, 0, 1)
        step = np.where(hits, -step, step)
    return canvas


_PUBLISHED_SHAPE = (20, 10_000, 64, 64)


class PublishedMovingMnist:
    """The published file `mnist_test_seq.npy`: 8,100 sequences to train, 900 to validate, 1,000 to test, 10 -> 10.

    The last thousand are for the test, as the papers have it; the first nine thousand are shuffled by
    ``numpy.random.RandomState(123)`` before they are cut, which keeps the published sizes, not the published order.
    """

    def __init__(self, path: str | Path, split: Split = "train") -> None:
        check_split(split)
        self.path = Path(path)
        self.source = f"Moving MNIST, {self.path.name}"
        with reading(self.path, "Moving MNIST's file of sequences"):
            shape, dtype = self._open().shape, self._open().dtype
        if len(shape) != 4 or shape[0] != 20 or shape[2:] != (64, 64) or dtype != np.uint8 or shape[1] < 10:
            raise fault(
                self.path, f"uint8 of shape {_PUBLISHED_SHAPE}", f"{dtype} {shape}", "fetch the file again"
            )
        test = shape[1] // 10
        mixed = np.random.RandomState(123).permutation(shape[1] - test)
        cut = len(mixed) - len(mixed) // 10
        self.indices = {
            "train": mixed[:cut],
            "val": mixed[cut:],
            "test": np.arange(shape[1] - test, shape[1]),
        }[split]
        if not len(self.indices):
            raise DataError(
                f"{self.path}: the split {split!r} is empty; expected {_PUBLISHED_SHAPE[1]} sequences"
            )

    def _open(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        with reading(self.path, "Moving MNIST's file of sequences"):
            frames = np.asarray(self._open()[:, self.indices[index]])
        return frame_sample(frames.astype(np.float32) * np.float32(1 / 255), 10)

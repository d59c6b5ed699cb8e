"""Sequences of digits drawn without end: what Moving MNIST and N-body MNIST share."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from geoscope.data.digits import load_digits
from geoscope.data.frame_samples import SPLITS, Split, check_request, frame_sample


class DigitTask(Protocol):
    """What every config of such a task says: frames shown, and digits in a picture."""

    @property
    def in_frames(self) -> int: ...

    @property
    def digits(self) -> int: ...


Config = TypeVar("Config", bound=DigitTask)


class DigitSequences(ABC, Generic[Config]):
    """Digits that move, as a map-style dataset: ``input`` (T, H, W, 1) and ``target`` (T', H, W, 1), float32 in [0, 1].

    Sample i depends on nothing but the seed, the split and i, so any number of workers gives the same data. Without
    ``folder`` the digits are glyphs drawn by geoscope, not MNIST: ``source`` says which. The digits of the three splits
    differ. A kind of task gives its ``title``, ``config_type`` and the published ``usual_count`` of samples, and
    `frames`.
    """

    title: ClassVar[str]
    config_type: ClassVar[Any]
    usual_count: ClassVar[int]

    def __init__(
        self,
        folder: str | Path | None = None,
        split: Split = "train",
        *,
        count: int | None = None,
        seed: int = 0,
        config: Config | None = None,
    ) -> None:
        """Load the digits; ``count`` None is the usual one, ``config`` None the published task.

        Raises:
            ConfigError: no such split, fewer than one sample, or a negative seed.
            DataError: no MNIST in ``folder``, or a damaged file.
        """
        self.count = self.usual_count if count is None else count
        check_request(self.count, seed)
        digits = load_digits(folder).part(split)
        self.images, self.source = digits.images, digits.source
        self.split: Split = split
        self.seed = seed
        self.config: Config = self.config_type() if config is None else config

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count}")
        random = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        chosen = self.images[random.integers(0, len(self.images), self.config.digits)]
        return frame_sample(self.frames(chosen, random), self.config.in_frames)

    @abstractmethod
    def frames(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Frames (T + T', H, W) float32 in [0, 1] of the digits ``images`` (N, 28, 28) uint8, on ways drawn anew."""

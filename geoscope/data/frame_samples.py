"""What datasets of frames share: map-style, numpy, samples of ``input`` and ``target``, functions of their index."""

from typing import Literal, Protocol, get_args

import numpy as np

from geoscope.errors import ConfigError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Samples(Protocol):
    """A map-style dataset: sample i is a dict of arrays (T, H, W, C), ``input`` and ``target`` among them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, np.ndarray]: ...


def frame_sample(frames: np.ndarray, in_frames: int) -> dict[str, np.ndarray]:
    """``frames`` (T, H, W) cut in two: ``input`` (in_frames, H, W, 1) and ``target``, the rest."""
    frames = frames[..., None]
    return {"input": frames[:in_frames], "target": frames[in_frames:]}


def check_split(split: str) -> None:
    """Refuse a split that is none of `SPLITS`.

    Raises:
        ConfigError: it is none.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r}: expected one of {', '.join(SPLITS)}")


def check_counts(**counts: int) -> None:
    """Refuse a number below one, by its name.

    Raises:
        ConfigError: the first that is.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name}={count}: expected 1 or more")


def check_request(count: int, seed: int) -> None:
    """Refuse a number of samples or a seed that cannot be.

    Raises:
        ConfigError: fewer than one sample, or a negative seed.
    """
    if count < 1:
        raise ConfigError(f"count={count}: expected 1 or more samples")
    if seed < 0:
        raise ConfigError(f"seed={seed}: expected zero or more")

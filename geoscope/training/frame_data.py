"""What the table [data] of a recipe can name for networks of frames, opened as two map-style datasets.

Samples are dicts of ``input`` (T, H, W, C) and ``target`` (T', H, W, C), float32, functions of their index alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from geoscope.data.moving_mnist import MovingMnist, MovingMnistConfig, PublishedMovingMnist
from geoscope.data.nbody_mnist import NBodyConfig, NBodyMnist
from geoscope.data.sevir_windows import SevirWindows
from geoscope.errors import ConfigError, DataError
from geoscope.zoo.tables import build, nearest


class Samples(Protocol):
    """A map-style dataset of frames."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class FrameData:
    """Two splits, and what their numbers are.

    encoding: "unit" for pictures in [0, 1]; "vil" for SEVIR's codes over 255. kilometres and minutes: of a pixel and
    a frame, where the data have such. description and split: for the model card.
    """

    train: Samples
    validation: Samples
    encoding: Literal["unit", "vil"]
    description: str
    split: str
    kilometres: float | None = None
    minutes: float | None = None


@dataclass(frozen=True, kw_only=True)
class SevirTable:
    """[data] kind = "sevir". folder: that of CATALOG.csv. low_resolution: it is SEVIR-LR (`geoscope prepare sevir-lr`).

    validation_count: windows to validate on (0: the whole split). absent: what to do with files that are not there.
    """

    kind: Literal["sevir"]
    folder: str
    low_resolution: bool = False
    validation_count: int = 0
    absent: Literal["refuse", "leave out"] = "refuse"

    def open(self, beside: Path, seed: int) -> FrameData:
        """The published splits train and val."""
        root = beside / self.folder
        frames = (7, 6, 6) if self.low_resolution else (13, 12, 12)
        train, validation = (
            SevirWindows(
                root, split, in_frames=frames[0], out_frames=frames[1], stride=frames[2], absent=self.absent
            )
            for split in ("train", "val")
        )
        name = "SEVIR-LR VIL" if self.low_resolution else "SEVIR VIL"
        split = "published: to train before 2019-01-01, to validate before 2019-06-01, whole events"
        return FrameData(
            train,
            First(validation, self.validation_count),
            "vil",
            f"{name}, {len(train)} windows",
            split,
            *((3.0, 10.0) if self.low_resolution else (1.0, 5.0)),
        )


@dataclass(frozen=True, kw_only=True)
class MovingMnistTable:
    """[data] kind = "moving-mnist". file: the published sequences; folder: MNIST's digits; neither: drawn glyphs."""

    kind: Literal["moving-mnist"]
    file: str = ""
    folder: str = ""
    count: int = 10_000
    validation_count: int = 500
    in_frames: int = 10
    out_frames: int = 10
    digits: int = 2
    size: int = 64
    speed: float = 3.6

    def open(self, beside: Path, seed: int) -> FrameData:
        """Sequences made from the seed, or the published ones."""
        if self.file and self.folder:
            raise ConfigError(
                "[data] has file and folder: give the published sequences or the digits, not both"
            )
        if self.file:
            path = beside / self.file
            train = PublishedMovingMnist(path, "train")
            validation = First(PublishedMovingMnist(path, "val"), self.validation_count)
            return FrameData(
                train, validation, "unit", train.source, "published sizes: 8,100 and 900 sequences"
            )
        config = MovingMnistConfig(
            in_frames=self.in_frames,
            out_frames=self.out_frames,
            digits=self.digits,
            size=self.size,
            speed=self.speed,
        )
        folder = beside / self.folder if self.folder else None
        train = MovingMnist(folder, "train", count=self.count, seed=seed, config=config)
        validation = MovingMnist(folder, "val", count=self.validation_count, seed=seed, config=config)
        return FrameData(
            train, validation, "unit", f"moving digits: {train.source}", "other digits in each split"
        )


@dataclass(frozen=True, kw_only=True)
class NBodyMnistTable:
    """[data] kind = "nbody-mnist". folder: MNIST's digits; without it drawn glyphs."""

    kind: Literal["nbody-mnist"]
    folder: str = ""
    count: int = 20_000
    validation_count: int = 1000
    in_frames: int = 10
    out_frames: int = 10
    digits: int = 3
    size: int = 64

    def open(self, beside: Path, seed: int) -> FrameData:
        """Sequences made from the seed."""
        config = NBodyConfig(
            in_frames=self.in_frames, out_frames=self.out_frames, digits=self.digits, size=self.size
        )
        folder = beside / self.folder if self.folder else None
        train = NBodyMnist(folder, "train", count=self.count, seed=seed, config=config)
        validation = NBodyMnist(folder, "val", count=self.validation_count, seed=seed, config=config)
        return FrameData(
            train, validation, "unit", f"N-body digits: {train.source}", "other digits in each split"
        )


class First:
    """The first ``count`` samples, evenly spread over the split; 0 for all of them."""

    def __init__(self, samples: Samples, count: int) -> None:
        if count < 0:
            raise ConfigError(f"validation_count={count} must not be below zero")
        whole = len(samples)
        self.samples = samples
        kept = min(count, whole) if count else whole
        self.indices = [i * whole // kept for i in range(kept)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.samples[self.indices[index]]


TABLES: dict[str, type[Any]] = {
    "sevir": SevirTable,
    "moving-mnist": MovingMnistTable,
    "nbody-mnist": NBodyMnistTable,
}


def read_table(table: dict[str, Any], where: str) -> Any:
    """The table [data] as the settings of its kind.

    Raises:
        ConfigError: no kind, an unknown one, an unknown key or a wrong type.
    """
    kind = table.get("kind")
    if kind is None:
        raise ConfigError(f"{where}: [data] needs kind, one of {', '.join(TABLES)}")
    if kind not in TABLES:
        raise ConfigError(f"{where}: [data] kind {kind!r} is not known; {nearest(str(kind), TABLES)}")
    return build(TABLES[kind], table, f"{where}: [data]")


def open_table(settings: Any, beside: Path, seed: int) -> FrameData:
    """The data that `read_table` read the settings of; paths are relative to ``beside``.

    Raises:
        DataError: files are missing or damaged, or a split is empty.
    """
    data: FrameData = settings.open(beside, seed)
    for name, samples in (("train", data.train), ("validation", data.validation)):
        if not len(samples):
            raise DataError(f"[data] kind {settings.kind!r}: the split {name} is empty; give it more data")
    return data

"""What the table [data] of a recipe can name that is drawn from random numbers: moving digits and simulated storms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoscope.data.digit_sequences import DigitSequences
from geoscope.data.frame_samples import check_counts
from geoscope.data.moving_mnist import MovingMnist, MovingMnistConfig, PublishedMovingMnist
from geoscope.data.nbody_energy import NBodyEnergies
from geoscope.data.nbody_mnist import NBodyConfig, NBodyMnist
from geoscope.data.nbody_replay import ReplayedNBody
from geoscope.errors import ConfigError
from geoscope.training.event_windows import EventWindowConfig
from geoscope.training.frame_splits import ENDLESS, First, FrameData
from geoscope.training.simulated_windows import SimulatedWindows


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
        return _drawn(MovingMnist, config, self, beside, seed)


@dataclass(frozen=True, kw_only=True)
class NBodyMnistTable:
    """[data] kind = "nbody-mnist". folder: MNIST's digits; without it drawn glyphs.

    file and validation_file: the random numbers of a published set (see `geoscope.data.nbody_replay`), whose very
    sequences are made again; they need ``folder``, and take the place of ``count`` and the seed. energies: samples hold
    the total energy of each frame, for an alignment network (not of a published set).
    """

    kind: Literal["nbody-mnist"]
    folder: str = ""
    file: str = ""
    validation_file: str = ""
    count: int = 20_000
    validation_count: int = 1000
    in_frames: int = 10
    out_frames: int = 10
    digits: int = 3
    size: int = 64
    energies: bool = False

    def open(self, beside: Path, seed: int) -> FrameData:
        """Sequences made from the seed, or a published set again."""
        config = NBodyConfig(
            in_frames=self.in_frames, out_frames=self.out_frames, digits=self.digits, size=self.size
        )
        if not self.file and not self.validation_file:
            return _drawn(NBodyEnergies if self.energies else NBodyMnist, config, self, beside, seed)
        if not (self.file and self.validation_file and self.folder):
            raise ConfigError(
                "[data] replays published N-body digits: give file, validation_file and folder, all three"
            )
        if self.energies:
            raise ConfigError("[data] energies: a published set has none; leave out file and validation_file")
        train, validation = (
            ReplayedNBody(beside / file, beside / self.folder, config)
            for file in (self.file, self.validation_file)
        )
        return FrameData(
            train,
            First(validation, self.validation_count),
            "unit",
            train.source,
            "published: a file for each split",
        )


def _drawn(
    kind: type[DigitSequences[Any]],
    config: Any,
    table: MovingMnistTable | NBodyMnistTable,
    beside: Path,
    seed: int,
) -> FrameData:
    check_counts(validation_count=table.validation_count)
    folder = beside / table.folder if table.folder else None
    train = kind(folder, "train", count=table.count, seed=seed, config=config)
    validation = kind(folder, "val", count=table.validation_count, seed=seed, config=config)
    return FrameData(train, validation, "unit", f"{kind.title}: {train.source}", "other digits in each split")


@dataclass(frozen=True, kw_only=True)
class SimulatedTable:
    """[data] kind = "simulated": storms that geoscope simulates, to train before, or without, any observation.

    count: windows of an epoch (0: drawn without end). The rest as in `EventWindowConfig`.
    """

    kind: Literal["simulated"]
    validation_count: int = 64
    count: int = 0
    in_frames: int = 7
    out_frames: int = 6
    size: int = 128
    interval_minutes: float = 5.0
    pixel_km: float = 1.0

    def open(self, beside: Path, seed: int) -> FrameData:
        """Windows made from the seed, other storms on either side."""
        check_counts(validation_count=self.validation_count)
        config = EventWindowConfig(
            in_frames=self.in_frames,
            out_frames=self.out_frames,
            size=self.size,
            interval_minutes=self.interval_minutes,
        )
        train = SimulatedWindows(config, pixel_km=self.pixel_km, count=self.count or ENDLESS, seed=seed)
        validation = SimulatedWindows(
            config, "val", pixel_km=self.pixel_km, count=self.validation_count, seed=seed
        )
        return FrameData(
            train,
            validation,
            "log rain",
            train.source,
            "other simulated storms in each split",
            self.pixel_km,
            self.interval_minutes,
            is_endless=not self.count,
        )

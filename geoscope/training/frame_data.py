"""What the table [data] of a recipe can name for networks of frames, opened as two map-style datasets.

Samples are dicts of ``input`` (T, H, W, C) and ``target`` (T', H, W, C), float32, functions of their index alone.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geoscope.data.sevir_windows import SevirWindows
from geoscope.data.vil_sequences import VilSequences
from geoscope.errors import ConfigError, DataError
from geoscope.training import splits
from geoscope.training.augmentation import Augmentation, turned
from geoscope.training.drawn_data import MovingMnistTable, NBodyMnistTable, SimulatedTable
from geoscope.training.event_folder import read_events
from geoscope.training.event_windows import DrawnEventWindows, EventWindowConfig, EventWindows
from geoscope.training.frame_splits import ENDLESS, First, FrameData
from geoscope.zoo.tables import build, nearest


@dataclass(frozen=True, kw_only=True)
class SevirTable:
    """[data] kind = "sevir". folder: that of CATALOG.csv. low_resolution: it is SEVIR-LR (`geoscope prepare sevir-lr`).

    validation_count: windows to validate on (0: the whole split). validation_share: 0 validates on the events from
    2019-01 to 2019-06; above, on this share of the days before 2019-06, and trains on the others: PreDiff's split
    without its overlapping windows. absent: what to do with files that are not there. looks: how often an epoch shows
    each window, flipped and turned in several ways; 1 shows it once, as it is.
    """

    kind: Literal["sevir"]
    folder: str
    low_resolution: bool = False
    validation_count: int = 0
    validation_share: float = 0.0
    absent: Literal["refuse", "leave out"] = "refuse"
    looks: int = 1

    def open(self, beside: Path, seed: int) -> FrameData:
        """The published splits train and val."""
        root = beside / self.folder
        frames = (7, 6, 6) if self.low_resolution else (13, 12, 12)
        train, validation = (
            SevirWindows(
                root,
                split,
                in_frames=frames[0],
                out_frames=frames[1],
                stride=frames[2],
                absent=self.absent,
                validation_share=self.validation_share,
            )
            for split in ("train", "val")
        )
        name = "SEVIR-LR VIL" if self.low_resolution else "SEVIR VIL"
        split = "published: to train before 2019-01-01, to validate before 2019-06-01, whole events"
        if self.validation_share:
            split = f"before 2019-06-01, {self.validation_share:g} of the days to validate, whole days"
        return FrameData(
            turned(train, self.looks, seed),
            First(validation, self.validation_count),
            "vil",
            f"{name}, {len(train)} windows",
            split,
            *((3.0, 10.0) if self.low_resolution else (1.0, 5.0)),
        )


@dataclass(frozen=True, kw_only=True)
class VilSequencesTable:
    """[data] kind = "vil-sequences": `.npz` files of SEVIR codes (see `geoscope.data.vil_sequences`).

    begins: take the files of the folder whose names begin so. validate_on: beginnings of the names kept for validation;
    pieces of one storm belong on one side. looks: as for "sevir".
    """

    kind: Literal["vil-sequences"]
    folder: str
    validate_on: tuple[str, ...]
    begins: str = ""
    in_frames: int = 7
    out_frames: int = 6
    stride: int = 1
    interval_minutes: float | None = None
    looks: int = 1

    def open(self, beside: Path, seed: int) -> FrameData:
        """Windows of the files on either side."""
        folder = beside / self.folder
        paths = sorted(folder.glob("*.npz"))
        if not paths:
            raise DataError(f"[data] folder {folder}: expected .npz files of VIL sequences, found none there")
        paths = [path for path in paths if path.name.startswith(self.begins)]
        kept = [path for path in paths if path.name.startswith(self.validate_on or ("\0",))]
        train, validation = (
            VilSequences(
                side,
                in_frames=self.in_frames,
                out_frames=self.out_frames,
                stride=stride,
                interval_minutes=self.interval_minutes,
                split=split,
            )
            for side, stride, split in (
                ([path for path in paths if path not in kept], self.stride, "train"),
                (kept, self.out_frames, "validation"),
            )
        )
        split = f"files left out to validate: {', '.join(path.stem for path in kept)}"
        return FrameData(
            turned(train, self.looks, seed),
            validation,
            "vil",
            train.source,
            split,
            minutes=self.interval_minutes,
        )


@dataclass(frozen=True, kw_only=True)
class EventsTable:
    """[data] kind = "events": a folder of storms, whole storms apart for validation.

    groups: a TOML file that says which files show one storm (see `splits.read_group_rule`). held_out: beginnings of
    names that are not read into either split. validation_share: of the storms. count: windows of an epoch (0: drawn
    without end). The rest as in `EventWindowConfig` and `Augmentation`.
    """

    kind: Literal["events"]
    folder: str
    groups: str = ""
    held_out: tuple[str, ...] = ()
    validation_share: float = 0.2
    validation_count: int = 200
    count: int = 0
    in_frames: int = 7
    out_frames: int = 6
    size: int = 128
    stride: int = 6
    interval_minutes: float | None = None
    least_known: float = 0.3
    augmentation: Augmentation = field(default_factory=Augmentation)

    def open(self, beside: Path, seed: int) -> FrameData:
        """Windows drawn from some storms, and all windows of the others; refuses storms that stand on both sides."""
        if not 0 < self.validation_share < 1:
            raise ConfigError(
                f"[data] validation_share={self.validation_share}: expected a share between 0 and 1"
            )
        config = EventWindowConfig(
            in_frames=self.in_frames,
            out_frames=self.out_frames,
            size=self.size,
            stride=self.stride,
            interval_minutes=self.interval_minutes,
            least_known=self.least_known,
        )
        rule = splits.read_group_rule(beside / self.groups) if self.groups else None
        found = read_events(beside / self.folder, rule)
        found = [pair for pair in found if not pair[0].name.startswith(self.held_out or ("\0",))]
        traces = {event.name: trace for event, trace in found}
        share = {"train": 1 - self.validation_share, "val": self.validation_share}
        names = splits.split_groups(splits.merged_groups(list(traces.values())), share, seed)
        splits.check_splits({side: [traces[name] for name in held] for side, held in names.items()})
        train, validation = ([e for e, _ in found if e.name in names[side]] for side in ("train", "val"))
        drawn = DrawnEventWindows(train, config, self.augmentation, count=self.count or ENDLESS, seed=seed)
        intervals, pixels = ({getattr(e, key) for e in train} for key in ("interval_minutes", "pixel_km"))
        return FrameData(
            drawn,
            First(EventWindows(validation, config), self.validation_count),
            "log rain",
            f"{len(train)} storm events in {self.folder}: {', '.join(e.name for e in train)}",
            f"whole storms left out to validate: {', '.join(e.name for e in validation)}",
            pixels.pop() if len(pixels) == 1 else None,
            self.interval_minutes or (intervals.pop() if len(intervals) == 1 else None),
            is_endless=not self.count,
        )


TABLES: dict[str, type[Any]] = {
    "sevir": SevirTable,
    "vil-sequences": VilSequencesTable,
    "moving-mnist": MovingMnistTable,
    "nbody-mnist": NBodyMnistTable,
    "simulated": SimulatedTable,
    "events": EventsTable,
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

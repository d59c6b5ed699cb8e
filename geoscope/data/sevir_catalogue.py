"""SEVIR's catalogue: which events count for training, and on which side of the official splits they are.

Source: Veillette, Samsi and Mattioli 2020; filters and dates as in the loader published with Earthformer (Gao et al.
2022): one image type, no missing pixel, no id listed more often than once; train up to 2019-01-01, val up to
2019-06-01, test after it.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np

from geoscope.data.formats.faults import check_bytes, fault, reading
from geoscope.data.frame_samples import Split, check_split
from geoscope.errors import ConfigError, DataError

CATALOGUE = "CATALOG.csv"
_LARGEST = 1 << 28
_NEEDED = ("id", "file_name", "file_index", "img_type", "time_utc", "pct_missing")
_TRAIN_END, _VAL_END = np.datetime64("2019-01-01", "s"), np.datetime64("2019-06-01", "s")
_BOUNDS: dict[Split, tuple[np.datetime64 | None, np.datetime64 | None]] = {
    "train": (None, _TRAIN_END),
    "val": (_TRAIN_END, _VAL_END),
    "test": (_VAL_END, None),
}
_SHUFFLE_SEED = 1  # of the published loader


@dataclass(frozen=True)
class SevirEvent:
    """One event: its id, the file that holds it, its place in that file, and its time in UTC."""

    id: str
    path: Path
    index: int
    time: np.datetime64


@dataclass(frozen=True)
class SevirCatalogue:
    """The events of one image type that pass the official filters, sorted by id; and how many did not."""

    root: Path
    events: tuple[SevirEvent, ...]
    with_missing_pixels: int
    duplicates: int

    def split(
        self, split: Split, *, is_shuffled: bool | None = None, validation_share: float = 0.0
    ) -> tuple[SevirEvent, ...]:
        """The events of one official split; train in the published loader's order, the others by id.

        With ``validation_share`` above 0 the events up to 2019-06-01 are shared out between train and val by whole
        days, drawn from a fixed seed; test stays as it is. PreDiff trains on these events and validates on a tenth of
        their windows, which overlap with those it trains on; by days no storm stands on both sides.

        Raises:
            ConfigError: no such split, or a share that is none.
            DataError: no event falls into it.
        """
        check_split(split)
        if not 0 <= validation_share < 1:
            raise ConfigError(f"validation_share={validation_share}: expected 0 (by date) or a share below 1")
        after, until = _BOUNDS[split]
        if validation_share and split != "test":
            after, until = None, _VAL_END
        events = [
            event
            for event in self.events
            if (after is None or event.time > after) and (until is None or event.time <= until)
        ]
        if validation_share and split != "test":
            kept = _validation_days(events, validation_share)
            events = [
                event for event in events if (event.time.astype("datetime64[D]") in kept) == (split == "val")
            ]
        if not events:
            bounds = (
                f"after {after}"
                if until is None
                else f"up to {until}"
                if after is None
                else f"{after} to {until}"
            )
            raise DataError(
                f"{self.root / CATALOGUE}: the split {split!r} is empty: expected events {bounds}, found none of the "
                f"{len(self.events)} usable ones; take another split or a fuller catalogue"
            )
        if is_shuffled if is_shuffled is not None else split == "train":
            order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(events))
            events = [events[place] for place in order]
        return tuple(events)

    def absent_files(self) -> list[Path]:
        """Files that the catalogue names and the disk does not hold."""
        return [path for path in sorted({event.path for event in self.events}) if not path.is_file()]


def _validation_days(events: list[SevirEvent], share: float) -> set[np.datetime64]:
    """That share of the days on which events begin, one at least."""
    days = sorted({event.time.astype("datetime64[D]") for event in events})
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(days))
    return {days[place] for place in order[: max(1, round(share * len(days)))]}


def find_catalogue(root: str | Path) -> Path:
    """The catalogue in SEVIR's folder.

    Raises:
        DataError: there is none.
    """
    path = Path(root) / CATALOGUE
    if not path.is_file():
        raise fault(
            root, f"SEVIR's folder with {CATALOGUE} in it", "no such file", "name the folder that holds it"
        )
    return path


def read_catalogue(root: str | Path, image_type: str = "vil") -> SevirCatalogue:
    """Read CATALOG.csv in ``root`` and keep the events of ``image_type`` that the official filters keep.

    Raises:
        DataError: no catalogue, a missing column, a row that cannot be read, or a file outside ``root``.
    """
    path = find_catalogue(root)
    folder = data_folder(path)
    listed, missing = [], 0
    for number, row in catalogue_rows(path):
        if row["img_type"] != image_type:
            continue
        if _number(path, number, row, "pct_missing") == 0:
            listed.append(_event(path, folder, number, row))
        else:
            missing += 1
    counts = Counter(event.id for event in listed)
    events = sorted((event for event in listed if counts[event.id] == 1), key=lambda event: event.id)
    return SevirCatalogue(Path(root), tuple(events), missing, len(listed) - len(events))


def catalogue_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a catalogue, each with its line number.

    Raises:
        DataError: a column is missing, the file is too large or not text, or a row has another number of columns.
    """
    check_bytes(path, path.stat().st_size, _LARGEST, "a catalogue")
    with reading(path, "SEVIR's catalogue"), path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if lacking:
            held = ", ".join(reader.fieldnames or ()) or "nothing"
            raise fault(path, f"columns {', '.join(_NEEDED)}", f"no {', '.join(lacking)} in {held}", _CURE)
        for row in reader:
            if None in row or None in row.values():
                raise fault(
                    path,
                    f"{len(reader.fieldnames or ())} columns",
                    f"another number in line {reader.line_num}",
                    _CURE,
                )
            yield reader.line_num, row


_CURE = "fetch CATALOG.csv again"


def _number(path: Path, line: int, row: dict[str, str], name: str) -> float:
    """A number of the catalogue; an empty cell is not a number."""
    try:
        return float(row[name] or "nan")
    except ValueError:
        raise fault(path, f"a number as {name} in line {line}", repr(row[name]), _CURE) from None


def _event(path: Path, folder: Path, line: int, row: dict[str, str]) -> SevirEvent:
    index = _number(path, line, row, "file_index")
    if not (index >= 0 and index.is_integer()):
        raise fault(path, f"a whole number as file_index in line {line}", repr(row["file_index"]), _CURE)
    try:
        moment = datetime.fromisoformat(row["time_utc"].strip())
    except ValueError:
        raise fault(path, f"a time as time_utc in line {line}", repr(row["time_utc"]), _CURE) from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    time = np.datetime64(moment, "s")
    return SevirEvent(row["id"], data_path(path, folder, line, row["file_name"]), int(index), time)


def data_folder(catalogue: Path) -> Path:
    """The folder to which the catalogue's file names are relative: data/ beside it, as published, or its own."""
    folder = catalogue.parent / "data"
    return folder if folder.is_dir() else catalogue.parent


def data_path(catalogue: Path, folder: Path, line: int, name: str) -> Path:
    """Where the file that a row names is, below ``folder``.

    Raises:
        DataError: the name leads out of it.
    """
    inside = PurePosixPath(name)
    if not name or inside.is_absolute() or ".." in inside.parts:
        raise fault(catalogue, f"a file below the catalogue's folder in line {line}", repr(name), _CURE)
    return folder / inside

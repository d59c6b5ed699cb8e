"""A folder of storm events in any format that geoscope reads, each with what tells it from the others."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.data.events import NO_DATA, Event, read_event
from geoscope.data.radar import open_radar
from geoscope.errors import DataError
from geoscope.training.splits import GroupRule, Trace, frame_hashes

_ASIDE = (".csv", ".txt", ".md", ".json", ".toml", ".xml", ".html", ".py")  # may lie beside events


def read_events(folder: str | Path, rule: GroupRule | None = None) -> list[tuple[Event, Trace]]:
    """All events of a folder in the order of names, each with what tells it from others.

    A file is an event, and so is a folder inside, whose files are its frames. Hidden files and notes are passed over.

    Raises:
        DataError: no folder, no event in it, two of one name, or a file that is no event or holds no rain in mm/h.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of events, found none; name the folder that holds them")
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    paths = [path for path in paths if path.suffix.lower() not in _ASIDE]
    found = [_open(path, rule or GroupRule()) for path in paths]
    if not found:
        raise DataError(f"{folder}: expected events (.npz or radar files), found none; put some there")
    names = [event.name for event, _ in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{folder}: expected one event of each name, found {twice[0]!r} twice; rename one")
    return found


def trace_event(path: str | Path, rule: GroupRule | None = None) -> Trace:
    """What tells the event in ``path`` from others.

    Raises:
        DataError: the file is no event.
    """
    return _open(Path(path), rule or GroupRule())[1]


def _open(path: Path, rule: GroupRule) -> tuple[Event, Trace]:
    if path.suffix == ".npz":
        event = read_event(path)
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
        times = _times_told(path, meta.get("times") or [])
        shape = meta.get("full_shape") or ""
        place = f"{meta['projection']} {shape}" if meta.get("projection") else None
    else:
        field = open_radar(path)
        event, times = _event_of_field(path, field), field.time.values
        crs = grids.crs_of(field)
        place = crs.to_wkt() if crs is not None else None
    return event, Trace(
        name=event.name,
        group=rule.group_of(event.name),
        source=rule.source_of(event.name),
        size=event.rain.size,
        start=times.min() if len(times) else None,
        end=times.max() if len(times) else None,
        place=place,
        frames=frame_hashes(event),
    )


def _times_told(path: Path, told: list[object]) -> np.ndarray:
    try:
        return np.array([str(text)[:19] for text in told], dtype="datetime64[s]")
    except ValueError:
        raise DataError(
            f"{path}: expected times in its meta data, found {told[0]!r}; write ISO 8601 in UTC"
        ) from None


def _event_of_field(path: Path, field: xr.DataArray) -> Event:
    units = str(field.attrs.get("units", ""))
    if units != "mm/h":
        raise DataError(
            f"{path}: expected rain in mm/h, found {field.name} in {units or 'no units'}; convert it first"
        )
    if field.sizes["time"] < 2:
        raise DataError(
            f"{path}: expected an event of two frames or more, found one; put its frames in one folder"
        )
    hundredths = np.clip(np.nan_to_num(field.values) * 100, 0, NO_DATA - 1).round().astype(np.uint16)
    rain = np.where(np.isfinite(field.values), hundredths, np.uint16(NO_DATA))
    return Event(path.stem, rain, grids.interval_minutes(field), float(np.mean(grids.pixel_size_km(field))))

"""SEVIR: storm events of 49 frames in HDF5 (event, row, column, time), placed and dated by CATALOG.csv beside it.

Source: Veillette, Samsi and Mattioli 2020 (NeurIPS), and the data set's tutorial: rows run from south to
north, VIL codes 0 to 254 with 255 = missing.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj

from geoscope.data import hdf5
from geoscope.data.formats.faults import check_bytes, fault, reading
from geoscope.data.formats.pieces import Grid, Piece, Request, crs_from, regular_grid, utc

_WHAT = "a SEVIR HDF5 file"
_CATALOG = "CATALOG.csv"
_LEVELS_UP = 4  # the published tree is CATALOG.csv and data/vil/YYYY/file.h5
_LARGEST_CATALOG = 1 << 28
_STEP_MINUTES = 5.0
_KILOMETRES = {"vil": 384.0, "vis": 384.0, "ir069": 384.0, "ir107": 384.0}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One sensor: factor from stored integers, the code of missing data, units and a name for people."""

    factor: float
    missing: int | None
    units: str
    long_name: str


_KINDS = {
    "vil": _Kind(
        factor=1.0, missing=255, units="1", long_name="vertically integrated liquid, SEVIR code 0 to 254"
    ),
    "vis": _Kind(factor=1e-4, missing=None, units="1", long_name="visible reflectance factor, 0.64 um"),
    "ir069": _Kind(factor=1e-2, missing=None, units="degC", long_name="brightness temperature, 6.9 um"),
    "ir107": _Kind(factor=1e-2, missing=None, units="degC", long_name="brightness temperature, 10.7 um"),
}


def recognises(file: Any) -> bool:
    """Whether this HDF5 file has SEVIR's layout."""
    return any(isinstance(file.get(name), h5py.Dataset) and file[name].ndim == 4 for name in _KINDS)


def read(path: Path, request: Request) -> list[Piece]:
    """One event of one sensor: SEVIR's own quantity, not rain.

    `request.event` is the event's id or its place in the file; a file of one event needs none. Without a
    catalogue the frames are dated from 1970-01-01 in steps of 5 minutes, and the field says so.

    Raises:
        DataError: no such sensor or event, several events and none chosen, damaged, or too large.
    """
    with hdf5.opened(path, _WHAT) as file:
        held = [name for name in _KINDS if name in file]
        name = request.variable or held[0]
        if name not in held:
            raise fault(path, f"variable {name!r}", f"only {', '.join(held)}", "name one of these")
        data = hdf5.dataset(file, name, path)
        if data.ndim != 4 or min(data.shape) < 1 or min(data.shape[1:3]) < 2:
            raise fault(path, "events of (row, column, time)", f"shape {data.shape}", "fetch the file again")
        count, rows, columns, frames = data.shape
        ids = _ids(file, count, path, request.max_bytes)
        event = _choose(ids, count, path, request.event)
        hdf5.check_size(data, path, request.max_bytes, data.shape[1:], first=event)
        work = rows * columns * frames * data.dtype.itemsize + 12 * rows * columns
    row = _catalogued(path, ids[event] if ids else None, event, name)
    times, note = _times(path, row, frames)
    kind = _KINDS[name]
    attrs: dict[str, object] = {
        "units": kind.units,
        "long_name": kind.long_name,
        "source": f"SEVIR {name}, event {ids[event] if ids else event}",
        "credit": "Data: SEVIR (MIT Lincoln Laboratory), from NOAA NEXRAD and GOES-16",
        "institution": "MIT Lincoln Laboratory",
        "event": ids[event] if ids else str(event),
        **note,
    }
    return [
        Piece(
            path=str(path),
            times=times,
            grid=_grid(path, row, name, (rows, columns)),
            name=name,
            attrs=attrs,
            frames=partial(_frames, path, name, event, kind),
            work_bytes=work,
        )
    ]


def _ids(file: Any, count: int, path: Path, max_bytes: int) -> list[str]:
    """The ids of the file's events, or none where it does not hold them."""
    held = file.get("id")
    if not isinstance(held, h5py.Dataset) or held.shape != (count,):
        return []
    check_bytes(path, 64.0 * count, max_bytes, "a list of events")
    return [str(hdf5.plain(value)) for value in held[()]]


def _choose(ids: list[str], count: int, path: Path, asked: str | None) -> int:
    if asked is None:
        if count == 1:
            return 0
        some = ", ".join(ids[:3]) or f"0 to {count - 1}"
        raise fault(
            path, "one event", f"{count} events ({some}, ...)", f"choose one: {path.name}#{(ids or ['0'])[0]}"
        )
    if asked in ids:
        return ids.index(asked)
    if asked.isdecimal() and int(asked) < count:
        return int(asked)
    some = ", ".join(ids[:5]) or f"0 to {count - 1}"
    raise fault(
        path, f"event {asked!r}", f"{count} event(s): {some}", "name one of these, or its number from 0"
    )


def _catalogued(path: Path, identity: str | None, event: int, name: str) -> dict[str, str] | None:
    """The event's row of the catalogue beside the file or above it, or None."""
    for folder in list(path.resolve().parents)[:_LEVELS_UP]:
        catalogue = folder / _CATALOG
        if not catalogue.is_file():
            continue
        check_bytes(catalogue, catalogue.stat().st_size, _LARGEST_CATALOG, "a catalogue")
        with reading(catalogue, "SEVIR's catalogue"), catalogue.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                same_file = Path(row.get("file_name") or "").name == path.name
                same_event = row.get("id") == identity if identity else row.get("file_index") == str(event)
                if same_file and same_event and row.get("img_type") == name:
                    return {key: value or "" for key, value in row.items() if key is not None}
    return None


def _times(path: Path, row: dict[str, str] | None, frames: int) -> tuple[np.ndarray, dict[str, object]]:
    if row is None:
        offsets = [_STEP_MINUTES * i for i in range(frames)]
        note = f"no {_CATALOG} beside the file: frames are dated from 1970-01-01, {_STEP_MINUTES:g} minutes apart"
        return np.array([utc(60 * minutes) for minutes in offsets]), {"time_is_relative": note}
    with reading(path, f"a time and minute offsets in {_CATALOG}"):
        moment = datetime.fromisoformat(row["time_utc"]).replace(tzinfo=UTC)
        offsets = [float(text) for text in row["minute_offsets"].split(":")]
    if len(offsets) != frames:
        raise fault(path, f"{frames} minute offsets in {_CATALOG}", str(len(offsets)), "fetch both again")
    return np.array([utc(moment.timestamp() + 60 * minutes) for minutes in offsets]), {}


def _grid(path: Path, row: dict[str, str] | None, name: str, shape: tuple[int, int]) -> Grid:
    """From the catalogue's projection and lower left corner; without it, metres from that corner."""
    rows, columns = shape
    if row is None:
        side = 1000.0 * _KILOMETRES[name]
        dx, dy = side / columns, side / rows
        x, y = dx * (np.arange(columns) + 0.5), dy * (np.arange(rows)[::-1] + 0.5)
        return Grid(shape=shape, x=x, y=y)
    with reading(path, f"a projection and corner in {_CATALOG}"):
        crs = crs_from(path, row["proj"])
        forward = pyproj.Transformer.from_crs(crs.geodetic_crs or "EPSG:4326", crs, always_xy=True)
        left, bottom = forward.transform(float(row["llcrnrlon"]), float(row["llcrnrlat"]))
        dx, dy = float(row["width_m"]) / columns, float(row["height_m"]) / rows
        if not (np.isfinite([left, bottom]).all() and dx > 0 and dy > 0):
            raise fault(path, "a corner inside the projection", "one outside", f"fetch {_CATALOG} again")
        return regular_grid(crs, left, bottom + dy * rows, dx, dy, shape)


def _frames(path: Path, name: str, event: int, kind: _Kind, indices: Sequence[int]) -> Iterator[np.ndarray]:
    with hdf5.opened(path, _WHAT) as file:
        block = file[name][event]  # (row, column, time): an event is one chunk on disk
    for index in indices:
        raw = block[::-1, :, index]
        values = raw.astype(np.float32)
        if kind.factor != 1.0:
            values *= np.float32(kind.factor)
        if kind.missing is not None:
            values[raw == kind.missing] = np.nan
        yield values

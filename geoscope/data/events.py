"""Storm events: one file, one storm, evenly spaced frames of rain.

An event file is a `.npz` with `rain` (T, H, W) uint16 in hundredths of mm/h, 65535 = no data, row 0 in the north, and
`meta` (JSON text with `dt_minutes` and `pixel_km`, and `times` where the clock is known); or anything that
`geoscope.open_radar` reads.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.data.radar import open_radar
from geoscope.data.samples import list_samples, sample
from geoscope.errors import DataError

NO_DATA = 65535
CLOCKLESS_START = np.datetime64("2000-01-01", "ns")  # of an event whose file tells no times


@dataclass(frozen=True)
class Event:
    """One storm: ``rain`` (T, H, W) uint16, mm/h x 100 with 65535 = no data; reliable from ``low`` to ``high`` mm/h."""

    name: str
    rain: np.ndarray
    interval_minutes: float
    pixel_km: float
    low_mm_h: float = 0.0
    high_mm_h: float = np.inf

    def frames(self, index: np.ndarray | slice, rows: slice, columns: slice) -> np.ndarray:
        """Rain in mm/h, float32 with NaN, of some frames and a cut of the picture."""
        raw = self.rain[index, rows, columns]
        return np.where(raw == NO_DATA, np.float32(np.nan), raw.astype(np.float32) * np.float32(0.01))


def _read_npz(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Rain as stored, and the meta data with `dt_minutes` and `pixel_km` as numbers above zero."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            rain, meta = archive["rain"], json.loads(str(archive["meta"]))
        meta["dt_minutes"], meta["pixel_km"] = float(meta["dt_minutes"]), float(meta["pixel_km"])
        if rain.ndim != 3 or rain.dtype != np.uint16 or not (meta["dt_minutes"] > 0 and meta["pixel_km"] > 0):
            raise ValueError(
                f"rain {rain.dtype} {rain.shape}, {meta['dt_minutes']} min, {meta['pixel_km']} km"
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path.name} is not an event (expected arrays rain and meta with dt_minutes and pixel_km, "
            f"got {error}); leave it out of the folder"
        ) from None
    return rain, meta


def read_event(path: Path, censored: dict[str, tuple[float, float]] | None = None) -> Event:
    """The event in ``path``; ``censored`` maps a prefix of names to the range of mm/h in which they are reliable.

    Raises:
        DataError: the file is not an event.
    """
    if path.suffix == ".npz":
        rain, meta = _read_npz(path)
        interval, pixel = meta["dt_minutes"], meta["pixel_km"]
    else:
        field = open_radar(path)
        interval, pixel = grids.interval_minutes(field), float(np.mean(grids.pixel_size_km(field)))
        hundredths = np.clip(np.nan_to_num(field.values) * 100, 0, NO_DATA - 1).round().astype(np.uint16)
        rain = np.where(np.isfinite(field.values), hundredths, np.uint16(NO_DATA))
    low, high = 0.0, np.inf
    for prefix, bounds in (censored or {}).items():
        if path.name.startswith(prefix):
            low, high = bounds
    return Event(path.stem, rain, interval, pixel, low, high)


def open_event_file(path: Path) -> xr.DataArray:
    """The event in a `.npz` file as a rain field (time, y, x) in mm/h, with x and y in metres from its first pixel.

    Times are those of the file; where it tells none, or none that its interval fits, they count from 2000-01-01.

    Raises:
        DataError: the file is not an event.
    """
    stored, meta = _read_npz(path)
    step = np.timedelta64(round(meta["dt_minutes"] * 60), "s")
    times = CLOCKLESS_START + np.arange(len(stored)) * step
    try:
        told = np.array([str(text)[:19] for text in meta.get("times") or ()], dtype="datetime64[ns]")
    except ValueError:
        told = np.array([], dtype="datetime64[ns]")
    if len(told) == len(stored) and (np.diff(told) == step).all():
        times = told
    metres = meta["pixel_km"] * 1000.0
    rain = stored.astype(np.float32) / np.float32(100.0)  # dividing rounds once; optical flow hears one bit
    return xr.DataArray(
        np.where(stored == NO_DATA, np.float32(np.nan), rain),
        dims=("time", "y", "x"),
        coords={
            "time": times,
            "y": -np.arange(stored.shape[1]) * metres,
            "x": np.arange(stored.shape[2]) * metres,
        },
        name="rain_rate",
        attrs={"units": "mm/h", "long_name": "rain rate", "source": path.name},
    )


@dataclass(frozen=True)
class EventSource:
    """An event that is opened when it is wanted: its name, and what gives its field (time, y, x)."""

    name: str
    open: Callable[[], xr.DataArray]


def find_events(word: str) -> list[EventSource]:
    """The events that ``word`` names: a sample, a file, a glob, or a folder.

    A folder with `.npz` event files holds one event a file, and so does one whose first file holds several frames; a
    folder of files with one frame each is one sequence, as is a glob, in the way of `geoscope.open_radar`.

    Raises:
        DataError: nothing of that name, or the first file of a folder cannot be read.
    """
    names = [info.name for info in list_samples()]
    if word in names:
        return [EventSource(word, partial(sample, word))]
    path = Path(word)
    if path.is_dir() and path.suffix != ".zarr":
        return _events_of_folder(path)
    if path.exists():
        return [_event_of_file(path)]
    if set(word) & set("*?["):
        return [EventSource(word, partial(open_radar, word))]
    raise DataError(
        f"EVENT {word!r} is neither a sample ({', '.join(names)}) nor a file, folder or glob here"
    )


def _event_of_file(path: Path) -> EventSource:
    opener = open_event_file if path.suffix == ".npz" else open_radar
    return EventSource(path.stem, partial(opener, path))


def _events_of_folder(folder: Path) -> list[EventSource]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    archives = [path for path in files if path.suffix == ".npz"]
    if archives:
        return [_event_of_file(path) for path in archives]
    if files and open_radar(files[0]).sizes["time"] > 1:
        return [_event_of_file(path) for path in files]
    return [EventSource(folder.name, partial(open_radar, folder))]

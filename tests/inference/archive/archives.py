"""Small archives of radar files, and what a run over them should give."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import xarray as xr

import geoscope as gs
from geoscope.data.writers import write_forecast

START = np.datetime64("2020-06-01T00:00", "ns")
SIDE = 32
LEADS = 3


def rain_field(
    frames: int = 20, minutes: int = 10, start: np.datetime64 = START, side: int = SIDE
) -> xr.DataArray:
    """Two cells of rain that cross a square of ``side`` km, one of them growing; NaN in a corner."""
    row, column = np.mgrid[:side, :side].astype(np.float32)
    values = np.zeros((frames, side, side), np.float32)
    for i, frame in enumerate(values):
        for peak, r, c in ((4.0 + 0.5 * i, 8 + 0.7 * i, 6 + 0.9 * i), (12.0, 24 - 0.4 * i, 10 + 0.5 * i)):
            frame += np.float32(peak) * np.exp(-((row - r) ** 2 + (column - c) ** 2) / np.float32(18))
    values[values < 0.1] = 0.0
    values[:, 0, 0] = np.nan
    metres = 1000.0 * (np.arange(side) + 0.5)
    return xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": start + np.arange(frames) * np.timedelta64(minutes, "m"),
            "y": metres[::-1],
            "x": metres,
        },
        name="rain_rate",
        attrs={"units": "mm/h", "source": "made for a test"},
    )


def write_archive(folder: Path, rain: xr.DataArray, missing: Collection[int] = ()) -> Path:
    """A NetCDF file for each frame but the missing ones."""
    folder.mkdir()
    for i in range(len(rain)):
        if i not in missing:
            write_forecast(rain[[i]], folder / f"frame{i:03d}.nc")
    return folder


def frame_file(folder: Path, frame: int) -> Path:
    return folder / f"frame{frame:03d}.nc"


def forecasts(store: Path) -> np.ndarray:
    """The forecasts (issue_time, lead_time, y, x) of a store as their bits."""
    with xr.open_zarr(store, chunks=None) as data:
        return data["rain_rate"].values.view(np.uint32)


def expected(rain: xr.DataArray, issue: int, history: int, model: str = "extrapolation") -> np.ndarray:
    """What `geoscope.nowcast` gives at frame number ``issue``, as its bits."""
    past = rain.isel(time=slice(issue - history + 1, issue + 1))
    return gs.nowcast(past, model=model, lead_steps=LEADS).values.view(np.uint32)

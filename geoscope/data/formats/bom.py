"""Rainfields of the Bureau of Meteorology (Australia): one accumulation a NetCDF file, on an Albers grid."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from geoscope.data import hdf5
from geoscope.data.formats.faults import fault
from geoscope.data.formats.pieces import Grid, Piece, Request, crs_from_cf, utc
from geoscope.data.formats.rain import Quantity, accumulated_rain

_VARIABLE = "precipitation"
_CREDIT = "Radar: Bureau of Meteorology, Australia (Rainfields)"


def recognises(file: Any) -> bool:
    """Whether this HDF5 file has the layout of Rainfields."""
    return {_VARIABLE, "valid_time", "start_time", "x", "y"} <= set(file)


def read(path: Path, request: Request) -> list[Piece]:
    """The one accumulation of a Rainfields file, as a mean rain rate.

    Raises:
        DataError: the file is damaged, too large, without projection, or the variable is not `precipitation`.
    """
    if request.variable not in (None, _VARIABLE, "rain_rate"):
        raise fault(path, f"variable {_VARIABLE!r}", repr(request.variable), "leave variable= out")
    with hdf5.opened(path, "a Rainfields NetCDF file") as file:
        rain = hdf5.dataset(file, _VARIABLE, path)
        hdf5.check_size(rain, path, request.max_bytes)
        if rain.ndim != 2 or min(rain.shape) < 2:
            raise fault(path, "rain on (y, x)", f"shape {rain.shape}", "take a file of one grid")
        start, end = (float(file[name][()]) for name in ("start_time", "valid_time"))
        minutes = (end - start) / 60.0
        if not 0 < minutes <= 7 * 24 * 60:
            raise fault(
                path, "an accumulation that ends after it starts", f"{minutes:g} minutes", "fetch it again"
            )
        grid, down = _grid(file, rain, path)
        quantity = accumulated_rain(minutes)
        scale = (
            float(hdf5.attribute(rain, "scale_factor", 1.0)),
            float(hdf5.attribute(rain, "add_offset", 0.0)),
        )
        missing = hdf5.attribute(rain, "_FillValue")
        title = hdf5.attribute(file, "title", "radar accumulation")
        attrs = quantity.attrs | {
            "source": f"Bureau of Meteorology Rainfields, {title}",
            "institution": "Bureau of Meteorology, Australia",
            "credit": _CREDIT,
            "licence": str(hdf5.attribute(file, "licence", "")),
        }
        work = rain.size * (rain.dtype.itemsize + 8)
    return [
        Piece(
            path=str(path),
            times=np.array([utc(end)]),
            grid=grid,
            name=quantity.name,
            attrs=attrs,
            frames=partial(_frames, path, scale, missing, down, quantity),
            work_bytes=work,
        )
    ]


def _grid(file: Any, rain: Any, path: Path) -> tuple[Grid, bool]:
    """The grid with y descending, and whether the file's own rows run from south to north."""
    mapping = hdf5.attribute(rain, "grid_mapping")
    holder = file.get(mapping) if isinstance(mapping, str) else None
    if holder is None:
        raise fault(
            path, "a grid mapping (CRS) beside the rain", "none", "take a file with its projection variable"
        )
    crs = crs_from_cf(path, {name: hdf5.attribute(holder, name) for name in holder.attrs})
    axes = []
    for name, length in (("y", rain.shape[0]), ("x", rain.shape[1])):
        axis = hdf5.dataset(file, name, path)
        if axis.shape != (length,):
            raise fault(path, f"{length} values of {name}", f"shape {axis.shape}", "fetch the file again")
        metres = 1000.0 if hdf5.attribute(axis, "units", "m") == "km" else 1.0
        axes.append(axis[()].astype(np.float64) * metres)
    y, x = axes
    upside_down = bool(y[0] < y[-1])
    return Grid(shape=rain.shape, x=x, y=y[::-1] if upside_down else y, crs=crs), upside_down


def _frames(
    path: Path,
    scale: tuple[float, float],
    missing: float | None,
    upside_down: bool,
    quantity: Quantity,
    indices: Sequence[int],
) -> Iterator[np.ndarray]:
    for _ in indices:
        with hdf5.opened(path, "a Rainfields NetCDF file") as file:
            raw = file[_VARIABLE][()]
        values = raw.astype(np.float32) * np.float32(scale[0]) + np.float32(scale[1])
        if missing is not None:
            values[raw == missing] = np.nan
        yield quantity.convert(values[::-1] if upside_down else values)

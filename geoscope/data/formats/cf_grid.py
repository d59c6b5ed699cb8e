"""Where a CF variable's pixels are: its axes, its projection, and how its array turns north up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from geoscope.data.formats.faults import fault
from geoscope.data.formats.pieces import WGS84, Grid, crs_from, crs_from_cf
from geoscope.data.formats.stores import Store, Variable

_TIME_NAMES = ("time", "t", "valid_time", "times")
_Y_NAMES = ("y", "lat", "latitude", "yc", "rlat", "northing", "nj", "south_north", "rows")
_X_NAMES = ("x", "lon", "longitude", "xc", "rlon", "easting", "ni", "west_east", "columns")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a variable's axes become (y, x) with north up: which axis is which, and which run backwards."""

    grid: Grid
    time_axis: int | None
    y_axis: int
    x_axis: int
    flip_y: bool
    flip_x: bool
    axes: int

    def selection(self, index: int) -> tuple[int | slice, ...]:
        """The index of one frame in the variable; axes of length one are taken at 0."""
        out: list[int | slice] = [0] * self.axes
        out[self.y_axis] = out[self.x_axis] = slice(None)
        if self.time_axis is not None:
            out[self.time_axis] = index
        return tuple(out)

    def upright(self, frame: np.ndarray) -> np.ndarray:
        """A selected frame as (y, x), row 0 north, column 0 west."""
        if self.x_axis < self.y_axis:
            frame = frame.T
        if self.flip_y:
            frame = frame[::-1]
        return np.ascontiguousarray(frame[:, ::-1] if self.flip_x else frame)


def layout_of(store: Store, variable: Variable, path: Path, max_bytes: int) -> Layout:
    """The layout and grid of a variable.

    Raises:
        DataError: axes that cannot be told apart, uneven coordinates, or no coordinates at all.
    """
    time_axis = _axis(store, variable, "T", _TIME_NAMES)
    long = [axis for axis, n in enumerate(variable.shape) if n > 1 and axis != time_axis]
    if len(long) == 3 and time_axis is None:
        time_axis, long = long[0], long[1:]
    if len(long) != 2:
        raise fault(
            path,
            f"{variable.name!r} on (time, y, x)",
            f"{variable.dims} {variable.shape}",
            "select the other axes first",
        )
    y_axis, x_axis = _axis(store, variable, "Y", _Y_NAMES), _axis(store, variable, "X", _X_NAMES)
    if y_axis not in long or x_axis not in long or y_axis == x_axis:
        y_axis, x_axis = long
    assert y_axis is not None
    assert x_axis is not None
    shape = (variable.shape[y_axis], variable.shape[x_axis])
    y = _coordinate(store, variable.dims[y_axis], shape[0], path, max_bytes)
    x = _coordinate(store, variable.dims[x_axis], shape[1], path, max_bytes)
    lat, lon = _lat_lon(store, variable, path, max_bytes, (y_axis, x_axis))
    crs = _crs(store, variable, path, is_geographic=_is_latitude(store, variable.dims[y_axis]))
    if x is None or y is None:
        x = y = None
        if lat is None or lon is None:
            raise fault(
                path,
                "coordinates x and y, or lat and lon, or a CRS",
                f"only {', '.join(variable.dims)} without values",
                "add them, or write the field with geoscope",
            )
        crs = None
    flip_y = _runs(y, path, "y") > 0 if y is not None else _south_first(lat)
    flip_x = x is not None and _runs(x, path, "x") < 0
    rows, columns = slice(None, None, -1 if flip_y else 1), slice(None, None, -1 if flip_x else 1)
    if x is not None and crs is not None and crs.is_geographic and x.min() >= 180.0:
        x = x - 360.0
    grid = Grid(
        shape=shape,
        x=None if x is None else x[columns],
        y=None if y is None else y[rows],
        crs=crs,
        lat=None if lat is None else lat[rows, columns],
        lon=None if lon is None else lon[rows, columns],
    )
    return Layout(
        grid=grid,
        time_axis=time_axis,
        y_axis=y_axis,
        x_axis=x_axis,
        flip_y=flip_y,
        flip_x=flip_x,
        axes=len(variable.shape),
    )


def _south_first(lat: np.ndarray | None) -> bool:
    """Whether the first row of a latitude lies south of the last."""
    return lat is not None and bool(np.nanmean(lat[0]) < np.nanmean(lat[-1]))


def _axis(store: Store, variable: Variable, letter: str, names: tuple[str, ...]) -> int | None:
    """The variable's axis that CF attributes, else names, say is T, Y or X."""
    standard = {
        "T": ("time",),
        "Y": ("projection_y_coordinate", "latitude", "grid_latitude"),
        "X": ("projection_x_coordinate", "longitude", "grid_longitude"),
    }[letter]
    for axis, dim in enumerate(variable.dims):
        attrs = store.variables[dim].attrs if dim in store.variables else {}
        if attrs.get("standard_name") in standard or attrs.get("axis") == letter:
            return axis
        if letter == "T" and " since " in str(attrs.get("units", "")):
            return axis
    for axis, dim in enumerate(variable.dims):
        if dim.lower() in names:
            return axis
    return None


def _coordinate(store: Store, dim: str, length: int, path: Path, max_bytes: int) -> np.ndarray | None:
    held = store.variables.get(dim)
    if held is None or held.shape != (length,):
        return None
    values = held.load(path, max_bytes).astype(np.float64)
    values = values * float(held.attrs.get("scale_factor", 1.0)) + float(held.attrs.get("add_offset", 0.0))
    return (
        values * 1000.0
        if str(held.attrs.get("units", "")).lower() in ("km", "kilometer", "kilometre")
        else values
    )


def _is_latitude(store: Store, dim: str) -> bool:
    attrs: Any = store.variables[dim].attrs if dim in store.variables else {}
    return attrs.get("standard_name") == "latitude" or str(attrs.get("units", "")).startswith("degree")


def _lat_lon(
    store: Store, variable: Variable, path: Path, max_bytes: int, axes: tuple[int, int]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """2-D latitude and longitude on the variable's own axes, where the file has them."""
    dims = tuple(variable.dims[axis] for axis in axes)
    found: dict[str, np.ndarray] = {}
    for held in store.variables.values():
        kind = _degrees(held)
        if kind and set(held.dims) == set(dims) and len(held.shape) == 2:
            values = held.load(path, max_bytes)
            values = values.astype(np.float64) if values.dtype.kind != "f" else values
            found.setdefault(kind, values if held.dims == dims else values.T)
    if len(found) < 2:
        return None, None
    return found["lat"], found["lon"]


def _degrees(held: Variable) -> str | None:
    units, name = str(held.attrs.get("units", "")), held.attrs.get("standard_name")
    if name == "latitude" or units == "degrees_north" or held.name.lower() in ("lat", "latitude"):
        return "lat"
    if name == "longitude" or units == "degrees_east" or held.name.lower() in ("lon", "longitude"):
        return "lon"
    return None


def _crs(store: Store, variable: Variable, path: Path, *, is_geographic: bool) -> pyproj.CRS | None:
    named = str(variable.attrs.get("grid_mapping", "spatial_ref")).split(":")[0].split()
    held = store.variables.get(named[0]) if named else None
    if held is not None:
        for text in (
            "crs_wkt",
            "spatial_ref",
            "proj4",
            "proj4_params",
            "proj4text",
            "proj4string",
            "epsg_code",
        ):
            if held.attrs.get(text):
                return crs_from(path, held.attrs[text])
        if held.attrs.get("grid_mapping_name"):
            return crs_from_cf(path, held.attrs)
    return pyproj.CRS.from_user_input(WGS84) if is_geographic else None


def _runs(values: np.ndarray, path: Path, axis: str) -> int:
    """1 where coordinates grow, -1 where they fall.

    Raises:
        DataError: they are missing, not evenly spaced, or stand still.
    """
    steps = np.diff(values)
    step = float(np.median(steps))
    if not np.isfinite(values).all() or step == 0 or float(np.abs(steps - step).max()) > 0.02 * abs(step):
        raise fault(
            path, f"evenly spaced values of {axis}", "uneven or missing ones", "regrid the field first"
        )
    return 1 if step > 0 else -1

"""CF data - NetCDF-4, classic NetCDF, Zarr - and what geoscope itself writes: fields on (time, y, x)."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.formats import stores
from geoscope.data.formats.cf_grid import Layout, layout_of
from geoscope.data.formats.faults import check_bytes, fault, one_line, reading
from geoscope.data.formats.pieces import Piece, Request
from geoscope.data.formats.rain import (
    Quantity,
    accumulated_rain,
    depth_factor,
    is_reflectivity,
    rain_rate,
    rate_factor,
    reflectivity,
)
from geoscope.data.formats.stores import Store, Variable

_WHAT = "a CF NetCDF file or Zarr store"
_RAIN_NAMES = ("rain_rate", "rainrate", "rainfall_rate", "precipitation", "rain", "precip", "pr", "tp")
_PACKING = frozenset(
    (
        *(
            "scale_factor",
            "add_offset",
            "_FillValue",
            "missing_value",
            "valid_min",
            "valid_max",
            "valid_range",
        ),
        *("_Unsigned", "coordinates", "grid_mapping", "units", "standard_name", "long_name", "cell_methods"),
        *("_ChunkSizes", "dtype"),
    )
)
_GLOBAL_SKIP = frozenset(["Conventions", "_NCProperties", "_FillValue", "coordinates", "NCO", "NCProperties"])
_MOST_FRAMES = 1_000_000


def read_hdf5(path: Path, request: Request) -> list[Piece]:
    """The frames of a NetCDF-4 file."""
    return _read(path, request, stores.open_hdf5)


def read_classic(path: Path, request: Request) -> list[Piece]:
    """The frames of a classic NetCDF file."""
    return _read(path, request, stores.open_classic)


def read_zarr(path: Path, request: Request) -> list[Piece]:
    """The frames of a Zarr store."""
    return _read(path, request, stores.open_zarr)


def _read(path: Path, request: Request, opener: stores.Opener) -> list[Piece]:
    """The chosen variable as rain rate where its units allow, else as it is.

    Raises:
        DataError: no such variable, no time, no usable grid, unknown units of rain, or a damaged or
        oversized file.
    """
    with reading(path, _WHAT), opener(path, request.max_bytes) as store:
        variable = _choose(store, path, request)
        layout = layout_of(store, variable, path, request.max_bytes)
        frame = float(np.prod([float(n) for n in layout.grid.shape]))
        check_bytes(path, frame * (variable.dtype.itemsize + 4), request.max_bytes, "a frame")
        times, coords = _times(store, variable, layout, path, request.max_bytes)
        quantity = _quantity(store, variable, times, layout, path, request)
        attrs = _about(store, variable, path) | quantity.attrs
        packing = {name: variable.attrs[name] for name in _PACKING & set(variable.attrs)}
    return [
        Piece(
            path=str(path),
            times=times,
            grid=layout.grid,
            name=quantity.name,
            attrs=attrs,
            frames=partial(
                _frames, path, request.max_bytes, opener, variable.name, layout, packing, quantity
            ),
            work_bytes=int(frame * (variable.dtype.itemsize + 12)),
            coords=coords,
        )
    ]


def _choose(store: Store, path: Path, request: Request) -> Variable:
    fields = [v for v in store.variables.values() if _is_field(store, v)]
    names = ", ".join(v.name for v in fields) or "none"
    if request.variable is not None:
        found = [v for v in fields if request.variable in (v.name, v.attrs.get("standard_name"))]
        if not found:
            raise fault(path, f"variable {request.variable!r}", f"the fields: {names}", "name one of these")
        return found[0]
    if not fields:
        raise fault(
            path, "a variable on (time, y, x)", "none", f"it holds {one_line(', '.join(store.variables))}"
        )
    rain = [v for v in fields if _is_rain(v)]
    for wanted in _RAIN_NAMES:
        rain.sort(key=lambda v: v.name.lower() != wanted) if any(
            v.name.lower() == wanted for v in rain
        ) else None
        if rain and rain[0].name.lower() == wanted:
            return rain[0]
    candidates = rain or fields
    if len(candidates) > 1:
        raise fault(path, "one field of rain", f"several: {names}", "choose one with variable=")
    return candidates[0]


def _is_field(store: Store, variable: Variable) -> bool:
    """On two axes longer than one, at least; coordinates and their bounds are no fields."""
    bounds = {v.attrs.get("bounds") for v in store.variables.values()}
    named = " ".join(str(v.attrs.get("coordinates", "")) for v in store.variables.values()).split()
    if variable.name in bounds or variable.name in named or variable.name in variable.dims:
        return False
    if str(variable.attrs.get("units", "")).startswith(("degrees_north", "degrees_east")):
        return False
    if variable.name.lower() in ("lat", "lon", "latitude", "longitude"):
        return False
    return 2 <= sum(n > 1 for n in variable.shape) <= 3 and len(variable.shape) >= 2


def _is_rain(variable: Variable) -> bool:
    units = str(variable.attrs.get("units", ""))
    named = f"{variable.name} {variable.attrs.get('standard_name', '')} {variable.attrs.get('long_name', '')}"
    says_rain = any(word in named.lower() for word in ("rain", "precip", "pr ", "tp "))
    is_depth = depth_factor(units) is not None
    return is_reflectivity(units) or rate_factor(units) is not None or (is_depth and says_rain)


def _times(
    store: Store, variable: Variable, layout: Layout, path: Path, max_bytes: int
) -> tuple[np.ndarray, dict[str, xr.Variable]]:
    """Frame times and the coordinates that a forecast carries along time (lead time, reference time)."""
    held = _time_variable(store, variable, layout)
    if held is None:
        raise fault(
            path,
            "a coordinate of time",
            "none",
            "add a coordinate time with units such as 'minutes since ...'",
        )
    if held.shape and held.shape[0] > _MOST_FRAMES:
        raise fault(path, f"at most {_MOST_FRAMES} frames", str(held.shape[0]), "cut the file into parts")
    coords: dict[str, xr.Variable] = {}
    times = _decoded(held, path, max_bytes)
    if times.dtype.kind != "M":
        raise fault(
            path,
            "times such as 'minutes since 2020-01-01'",
            f"units {held.attrs.get('units')!r}",
            "add the units",
        )
    count = 1 if layout.time_axis is None else variable.shape[layout.time_axis]
    times = np.atleast_1d(times).astype("datetime64[ns]")
    if times.shape != (count,) or bool(np.isnat(times).any()):
        raise fault(path, f"{count} times", f"shape {times.shape} or missing times", "fetch the file again")
    for name, kind in (("lead_time", "m"), ("forecast_reference_time", "M")):
        extra = store.variables.get(name)
        if extra is not None and extra.shape in ((), (count,)):
            values = _decoded(extra, path, max_bytes)
            if values.dtype.kind == kind:
                coords[name] = xr.Variable(("time",) if values.ndim else (), values.astype(f"{kind}8[ns]"))
    return times, coords


def _time_variable(store: Store, variable: Variable, layout: Layout) -> Variable | None:
    if layout.time_axis is not None:
        return store.variables.get(variable.dims[layout.time_axis])
    for name in (*str(variable.attrs.get("coordinates", "")).split(), "time", "valid_time"):
        held = store.variables.get(name)
        if held is not None and held.shape in ((), (1,)) and " since " in str(held.attrs.get("units", "")):
            return held
    return None


def _decoded(variable: Variable, path: Path, max_bytes: int) -> np.ndarray:
    """The values of a small variable, decoded by xarray (times and durations too)."""
    raw = variable.load(path, max_bytes)
    attrs = {
        name: value for name, value in variable.attrs.items() if name in ("units", "calendar", "dtype")
    } | _fill_attrs(variable)
    dims = [f"axis_{axis}" for axis in range(raw.ndim)]
    source = xr.Dataset({"values": (dims, raw, attrs)})
    return xr.decode_cf(source, decode_timedelta=True)["values"].values


def _fill_attrs(variable: Variable) -> dict[str, Any]:
    fill = _number(variable.attrs.get("_FillValue"), variable.dtype)
    return {} if fill is None else {"_FillValue": variable.dtype.type(fill)}


def _number(value: Any, dtype: np.dtype) -> Any:
    """A fill value as a number; xarray writes those of Zarr 3 floats as base64 of their bytes."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
        with suppress(ValueError):
            raw = base64.standard_b64decode(value)
            return float(np.frombuffer(raw, "<f8" if len(raw) == 8 else dtype.newbyteorder("<"))[0])
        return None
    if isinstance(value, list | tuple):
        return value[0] if value else None
    return value


def _quantity(
    store: Store, variable: Variable, times: np.ndarray, layout: Layout, path: Path, request: Request
) -> Quantity:
    units = str(variable.attrs.get("units", ""))
    factor = rate_factor(units)
    if factor is not None:
        kept = {name: variable.attrs.get(name) for name in ("long_name", "cell_methods")}
        return rain_rate(factor, **{name: text for name, text in kept.items() if text})
    if is_reflectivity(units):
        return reflectivity(request.zr)
    depth = depth_factor(units)
    if depth is not None and _is_rain(variable):
        return accumulated_rain(_accumulation_minutes(store, variable, times, layout, path, request), depth)
    about = {name: variable.attrs.get(name) for name in ("units", "long_name", "standard_name")}
    return Quantity(name=variable.name, attrs={k: v for k, v in about.items() if v is not None})


def _accumulation_minutes(
    store: Store, variable: Variable, times: np.ndarray, layout: Layout, path: Path, request: Request
) -> float:
    """The period of an accumulation: said by the file, else the interval between its frames."""
    said = variable.attrs.get("accumulation_minutes")
    if said is not None:
        return float(said)
    methods = str(variable.attrs.get("cell_methods", ""))
    if "interval:" in methods:
        words = methods.split("interval:")[1].replace(")", " ").split()
        minutes = (
            {"h": 60.0, "m": 1.0, "s": 1 / 60, "d": 1440.0}.get(words[1][0].lower())
            if len(words) > 1
            else None
        )
        if minutes is not None:
            return float(words[0]) * minutes
    held = _time_variable(store, variable, layout)
    bounds = store.variables.get(str(held.attrs.get("bounds"))) if held is not None else None
    if held is not None and bounds is not None and bounds.shape and bounds.shape[-1] == 2:
        raw = bounds.load(path, request.max_bytes).reshape(-1, 2)
        unit = str(held.attrs.get("units", "")).split()[0].lower()
        minutes = {"h": 60.0, "m": 1.0, "s": 1 / 60, "d": 1440.0}.get(unit[:1])
        if minutes is not None and len(raw):
            return float(raw[0, 1] - raw[0, 0]) * minutes
    if len(times) < 2:
        raise fault(
            path,
            "the period of the accumulation",
            "one frame and no time bounds",
            "add cell_methods='time: sum (interval: 10 minutes)' to the variable",
        )
    return float(np.median(np.diff(np.sort(times)).astype("timedelta64[s]").astype(float))) / 60.0


def _about(store: Store, variable: Variable, path: Path) -> dict[str, object]:
    """Global attributes, then the variable's own: names, credit, history, a forecast's run card."""
    merged = {k: v for k, v in store.attrs.items() if k not in _GLOBAL_SKIP}
    merged |= {k: v for k, v in variable.attrs.items() if k not in _PACKING}
    about: dict[str, object] = {k: v for k, v in merged.items() if isinstance(v, str | int | float | list)}
    about.setdefault("source", str(about.get("title", path.name)))
    about.setdefault("credit", f"Data: {about.get('institution', about['source'])}")
    return about


def _frames(
    path: Path,
    max_bytes: int,
    opener: stores.Opener,
    name: str,
    layout: Layout,
    packing: Mapping[str, Any],
    quantity: Quantity,
    indices: Sequence[int],
) -> Iterator[np.ndarray]:
    with reading(path, _WHAT), opener(path, max_bytes) as store:
        variable = store.variables[name]
        for index in indices:
            yield quantity.convert(layout.upright(_unpacked(variable.get(layout.selection(index)), packing)))


def _unpacked(raw: np.ndarray, packing: Mapping[str, Any]) -> np.ndarray:
    """Physical float32 values from packed ones (CF 8.1), NaN where missing or outside the valid range."""
    if str(packing.get("_Unsigned", "")).lower() == "true" and raw.dtype.kind == "i":
        raw = raw.view(raw.dtype.str.replace("i", "u"))
    values = raw.astype(np.float32)
    for name in ("_FillValue", "missing_value"):
        fill = _number(packing.get(name), raw.dtype)
        if fill is not None and not (isinstance(fill, float) and np.isnan(fill)):
            values[raw == np.asarray(fill).astype(raw.dtype)] = np.nan
    low, high = packing.get("valid_min"), packing.get("valid_max")
    if isinstance(packing.get("valid_range"), list) and len(packing["valid_range"]) == 2:
        low, high = packing["valid_range"]
    if low is not None:
        values[raw < low] = np.nan
    if high is not None:
        values[raw > high] = np.nan
    scale, offset = packing.get("scale_factor"), packing.get("add_offset")
    if scale is not None:
        values *= np.float32(scale)
    if offset is not None:
        values += np.float32(offset)
    return values

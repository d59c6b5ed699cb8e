"""ODIM_H5 composites (EUMETNET OPERA of every era, DWD and others): quantities with gain, offset and two codes.

Source: Michelson et al., "EUMETNET OPERA weather radar information model for implementation with the HDF5
file format", version 2.4.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from geoscope.data import hdf5
from geoscope.data.formats.faults import fault
from geoscope.data.formats.pieces import Grid, Piece, Request, crs_from, regular_grid, utc
from geoscope.data.formats.rain import NO_ECHO_DBZ, Quantity, accumulated_rain, rain_rate, reflectivity

_WHAT = "an ODIM_H5 composite"
_RATES, _DEPTHS, _REFLECTIVITIES = ("RATE",), ("ACRR",), ("DBZH", "TH", "DBZV", "TV", "DBZ")
_PREFERRED = (*_RATES, *_DEPTHS, *_REFLECTIVITIES)


def recognises(file: Any) -> bool:
    """Whether this HDF5 file follows ODIM."""
    conventions = str(hdf5.attribute(file, "Conventions", ""))
    return conventions.startswith("ODIM_H5") or {"dataset1", "what", "where"} <= set(file)


def read(path: Path, request: Request) -> list[Piece]:
    """One quantity of a composite: RATE, else ACRR as mean rate, else reflectivity through Z-R.

    Raises:
        DataError: no composite, no such quantity, no projection, damaged, or too large.
    """
    with hdf5.opened(path, _WHAT) as file:
        kind = _text(file, "what", "object", path)
        if kind not in ("COMP", "IMAGE"):
            raise fault(path, "a composite (COMP) on a grid", f"object {kind!r}", "grid polar volumes first")
        found = _quantities(file, path)
        code = _choose(found, path, request)
        node, group = found[code]
        data = hdf5.dataset(file, f"{node}/data", path)
        hdf5.check_size(data, path, request.max_bytes)
        if data.ndim != 2 or min(data.shape) < 2:
            raise fault(path, "a grid of (rows, columns)", f"shape {data.shape}", "fetch the file again")
        start, end = (_moment(file, f"{group}/what", f"{which}date", f"{which}time", path) for which in _ENDS)
        nominal = _moment(file, "what", "date", "time", path)
        quantity = _meaning(code, (end - start) / 60.0, path, request)
        numbers = tuple(_number(file, node, group, name) for name in ("gain", "offset", "nodata", "undetect"))
        attrs = quantity.attrs | _source(file, node, group, code, path)
        grid = _grid(file, path, data.shape)
        work = data.size * (data.dtype.itemsize + 10)
    return [
        Piece(
            path=str(path),
            times=np.array([utc(end if code in _DEPTHS else nominal)]),
            grid=grid,
            name=quantity.name,
            attrs=attrs,
            frames=partial(_frames, path, f"{node}/data", numbers, quantity),
            work_bytes=work,
        )
    ]


_ENDS = ("start", "end")


def _text(file: Any, group: str, name: str, path: Path) -> str:
    return str(hdf5.attribute(hdf5.group(file, group, path), name, ""))


def _quantities(file: Any, path: Path) -> dict[str, tuple[str, str]]:
    """Quantity code to (data group, dataset group), the first of each."""
    out: dict[str, tuple[str, str]] = {}
    for number in range(1, 1000):
        group = f"dataset{number}"
        if group not in file:
            break
        for part in range(1, 1000):
            node = f"{group}/data{part}"
            if node not in file:
                break
            code = None
            for holder in (f"{node}/what", f"{group}/what"):
                if holder in file:
                    code = code or hdf5.attribute(file[holder], "quantity")
            if code:
                out.setdefault(str(code), (node, group))
    if not out:
        raise fault(path, "at least one quantity", "none", "fetch the file again")
    return out


def _choose(found: dict[str, tuple[str, str]], path: Path, request: Request) -> str:
    if request.variable not in (None, "rain_rate"):
        if request.variable not in found:
            raise fault(
                path,
                f"variable {request.variable!r}",
                f"the quantities {', '.join(found)}",
                "name one of these",
            )
        return request.variable
    for code in _PREFERRED:
        if code in found:
            return code
    raise fault(
        path, "rain or reflectivity", f"the quantities {', '.join(found)}", "choose one with variable="
    )


def _moment(file: Any, group: str, date: str, time: str, path: Path) -> float:
    text = _text(file, group, date, path) + _text(file, group, time, path)
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise fault(
            path, f"{date} and {time} as YYYYMMDD and HHMMSS", repr(text), "fetch it again"
        ) from error


def _meaning(code: str, minutes: float, path: Path, request: Request) -> Quantity:
    if code in _RATES:
        return rain_rate()
    if code in _REFLECTIVITIES:
        return reflectivity(request.zr)
    if code in _DEPTHS:
        if not 0 < minutes <= 31 * 24 * 60:
            raise fault(
                path, "an accumulation that ends after it starts", f"{minutes:g} minutes", "fetch it again"
            )
        return accumulated_rain(minutes)
    return Quantity(name=code.lower(), attrs={"long_name": f"ODIM quantity {code}", "units": "1"})


def _number(file: Any, node: str, group: str, name: str) -> float:
    """gain 1, offset 0 and codes that match nothing (NaN) where the file is silent."""
    for holder in (f"{node}/what", f"{group}/what"):
        if holder in file and name in file[holder].attrs:
            return float(hdf5.attribute(file[holder], name))
    return {"gain": 1.0, "offset": 0.0}.get(name, float("nan"))


def _source(file: Any, node: str, group: str, code: str, path: Path) -> dict[str, object]:
    centre = _text(file, "what", "source", path)
    product = str(hdf5.attribute(hdf5.group(file, f"{group}/what", path), "prodname", ""))
    is_opera = "ORG:247" in centre
    if is_opera and not product:
        newer = _text(file, "what", "version", path) >= "H5rad 2.3"
        product = f"OPERA CIRRUS {code} composite" if newer else f"OPERA ODYSSEY {code} composite"
    out: dict[str, object] = {
        "source": product or f"ODIM_H5 composite {code} of {centre or 'an unnamed source'}",
        "credit": "Radar: EUMETNET OPERA" if is_opera else f"Radar: {centre or 'unnamed source'}",
    }
    if is_opera:
        out["institution"] = "EUMETNET OPERA"
    how = file.get(f"{node}/how")
    if code not in _REFLECTIVITIES and how is not None:
        a, b = hdf5.attribute(how, "zr_a"), hdf5.attribute(how, "zr_b")
        if a is not None and b is not None:
            out["zr_relation"] = f"Z = {float(a):g} R^{float(b):g} (by the producer)"
    return out


def _grid(file: Any, path: Path, shape: tuple[int, int]) -> Grid:
    where = hdf5.group(file, "where", path)
    crs = crs_from(path, hdf5.attribute(where, "projdef"))
    dx, dy = (float(hdf5.attribute(where, name, 0.0)) for name in ("xscale", "yscale"))
    columns, rows = (int(hdf5.attribute(where, name, -1)) for name in ("xsize", "ysize"))
    if (rows, columns) != tuple(shape) or not (dx > 0 and dy > 0):
        raise fault(
            path,
            "a grid that fits its data",
            f"{rows} x {columns} pixels of {dx:g} x {dy:g} m for data {shape}",
            "fetch the file again",
        )
    corner = {name: hdf5.attribute(where, name) for name in ("UL_lon", "UL_lat", "LL_lon", "LL_lat")}
    forward = _projection(crs.to_wkt())
    if corner["UL_lon"] is not None and corner["UL_lat"] is not None:
        left, top = forward.transform(float(corner["UL_lon"]), float(corner["UL_lat"]))
    elif corner["LL_lon"] is not None and corner["LL_lat"] is not None:
        left, bottom = forward.transform(float(corner["LL_lon"]), float(corner["LL_lat"]))
        top = bottom + rows * dy
    else:
        raise fault(
            path, "a corner of the grid in degrees", "none", "take a file with its group where complete"
        )
    if not (np.isfinite(left) and np.isfinite(top)):
        raise fault(path, "a corner inside the projection", "one outside", "fetch the file again")
    # Corners are given in degrees, right to about a metre; files of one grid must agree.
    return regular_grid(crs, float(round(left)), float(round(top)), dx, dy, (rows, columns))


@lru_cache(maxsize=16)
def _projection(wkt: str) -> pyproj.Transformer:
    crs = pyproj.CRS.from_wkt(wkt)
    return pyproj.Transformer.from_crs(crs.geodetic_crs or "EPSG:4326", crs, always_xy=True)


def _frames(
    path: Path, name: str, numbers: tuple[float, ...], quantity: Quantity, indices: Sequence[int]
) -> Iterator[np.ndarray]:
    gain, offset, nodata, undetect = numbers
    for _ in indices:
        with hdf5.opened(path, _WHAT) as file:
            raw = file[name][()]
        values = raw.astype(np.float32)
        values *= np.float32(gain)
        values += np.float32(offset)
        is_dbz = quantity.zr is not None or quantity.attrs.get("units") == "dBZ"
        values[raw == undetect] = NO_ECHO_DBZ if is_dbz else 0.0
        values[raw == nodata] = np.nan
        yield quantity.convert(values)

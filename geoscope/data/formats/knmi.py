"""Composites of KNMI (the Netherlands) in its own HDF5 layout: pixel values with a formula in text."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from geoscope.data import hdf5
from geoscope.data.formats.faults import fault
from geoscope.data.formats.pieces import Grid, Piece, Request, crs_from, regular_grid, utc
from geoscope.data.formats.rain import NO_ECHO_DBZ, Quantity, accumulated_rain, reflectivity

_IMAGE = "image1/image_data"
_WHAT = "a KNMI HDF5 composite"
_FORMULA = re.compile(r"^\s*GEO\s*=\s*([-+0-9.eE]+)\s*\*\s*PV\s*([-+]\s*[0-9.eE]+)?\s*$")
_KILOMETRES = re.compile(r"\+(a|b|x_0|y_0)=([-+0-9.eE]+)")


def recognises(file: Any) -> bool:
    """Whether this HDF5 file has KNMI's layout."""
    return "image1" in file and "geographic" in file and "overview" in file


def read(path: Path, request: Request) -> list[Piece]:
    """The one image of a KNMI file: accumulation as mean rain rate, or reflectivity through Z-R.

    Raises:
        DataError: the file is damaged, too large, without projection or formula, or holds another variable.
    """
    with hdf5.opened(path, _WHAT) as file:
        image = hdf5.dataset(file, _IMAGE, path)
        hdf5.check_size(image, path, request.max_bytes)
        if image.ndim != 2 or min(image.shape) < 2:
            raise fault(path, "an image of (rows, columns)", f"shape {image.shape}", "fetch the file again")
        start, end = _time(file, path, "start"), _time(file, path, "end")
        quantity, shown = _quantity(file, path, request, (end - start) / 60.0)
        formula = str(hdf5.attribute(file["image1/calibration"], "calibration_formulas", ""))
        match = _FORMULA.match(formula)
        if match is None:
            raise fault(path, "a calibration such as GEO=0.01*PV+0.0", repr(formula), "take a newer product")
        gain, offset = float(match[1]), float((match[2] or "0").replace(" ", ""))
        codes = {
            hdf5.attribute(file["image1/calibration"], f"calibration_{name}")
            for name in ("missing_data", "out_of_image")
        } - {None}
        grid = _grid(file, path, image.shape)
        work = image.size * (image.dtype.itemsize + 8)
    attrs = quantity.attrs | {
        "source": f"KNMI radar composite, {shown}",
        "institution": "Royal Netherlands Meteorological Institute (KNMI)",
        "credit": "Radar: KNMI, CC BY 4.0",
        "licence": "CC BY 4.0",
    }
    return [
        Piece(
            path=str(path),
            times=np.array([utc(end)]),
            grid=grid,
            name=quantity.name,
            attrs=attrs,
            frames=partial(_frames, path, gain, offset, tuple(codes), quantity),
            work_bytes=work,
        )
    ]


def _time(file: Any, path: Path, which: str) -> float:
    text = str(hdf5.attribute(file["overview"], f"product_datetime_{which}", ""))
    try:
        moment = datetime.strptime(text.title(), "%d-%b-%Y;%H:%M:%S.%f")
    except ValueError as error:
        raise fault(
            path, "a time such as 26-AUG-2010;00:05:00.000", repr(text), "fetch the file again"
        ) from error
    return moment.replace(tzinfo=UTC).timestamp()


def _quantity(file: Any, path: Path, request: Request, minutes: float) -> tuple[Quantity, str]:
    held = str(hdf5.attribute(file["image1"], "image_geo_parameter", ""))
    product = str(hdf5.attribute(file["image1"], "image_product_name", "composite"))
    if request.variable not in (None, held, "rain_rate"):
        raise fault(path, f"variable {held!r}", repr(request.variable), "leave variable= out")
    if "MM" in held.upper() and ("ACCUM" in held.upper() or "PRECIP" in held.upper()):
        if not 0 < minutes <= 7 * 24 * 60:
            raise fault(
                path, "an accumulation that ends after it starts", f"{minutes:g} minutes", "fetch it again"
            )
        return accumulated_rain(minutes), product
    if "DBZ" in held.upper() or "REFLECTIVITY" in held.upper():
        return reflectivity(request.zr), product
    raise fault(path, "accumulated rain or reflectivity", repr(held), "take a rain or reflectivity product")


def _grid(file: Any, path: Path, shape: tuple[int, int]) -> Grid:
    """KNMI counts in km from the projection's origin: columns from the left edge, rows downwards."""
    where = hdf5.group(file, "geographic", path)
    holder = where.get("map_projection")
    text = None if holder is None else hdf5.attribute(holder, "projection_proj4_params")
    numbers = {
        name: hdf5.attribute(where, f"geo_{name}")
        for name in ("column_offset", "row_offset", "pixel_size_x", "pixel_size_y")
    }
    if text is None or any(value is None for value in numbers.values()):
        raise fault(
            path, "a map projection (CRS) and its offsets", "none", "take a file with its group geographic"
        )
    metres = _KILOMETRES.sub(lambda m: f"+{m[1]}={float(m[2]) * 1000:.10g}", str(text)) + " +units=m"
    crs = crs_from(path, metres)
    dx, dy = 1000.0 * abs(float(numbers["pixel_size_x"])), 1000.0 * abs(float(numbers["pixel_size_y"]))
    left = float(numbers["column_offset"]) * dx
    top = -float(numbers["row_offset"]) * dy
    return regular_grid(crs, left, top, dx, dy, shape)


def _frames(
    path: Path,
    gain: float,
    offset: float,
    codes: tuple[float, ...],
    quantity: Quantity,
    indices: Sequence[int],
) -> Iterator[np.ndarray]:
    for _ in indices:
        with hdf5.opened(path, _WHAT) as file:
            raw = file[_IMAGE][()]
        values = raw.astype(np.float32) * np.float32(gain) + np.float32(offset)
        if quantity.attrs.get("units") == "dBZ" or quantity.zr is not None:
            values[raw == 0] = NO_ECHO_DBZ
        values[np.isin(raw, codes)] = np.nan
        yield quantity.convert(values)

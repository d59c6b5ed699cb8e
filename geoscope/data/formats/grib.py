"""GRIB2 as NOAA's MRMS publishes it (plain or gzipped), decoded by GDAL's own driver."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from geoscope.data.formats import raster
from geoscope.data.formats.faults import fault
from geoscope.data.formats.pieces import WGS84, Piece, Request, utc
from geoscope.data.formats.rain import (
    NO_ECHO_DBZ,
    Quantity,
    accumulated_rain,
    depth_factor,
    is_reflectivity,
    rain_rate,
    rate_factor,
    reflectivity,
)

_WHAT = "a GRIB2 file"
_HOURS = re.compile(r"(\d{2})H")


def recognises(head: bytes) -> bool:
    """Whether these first bytes are a GRIB message of edition 2."""
    return head[:4] == b"GRIB" and head[7:8] == b"\x02"


def read(path: Path, request: Request) -> list[Piece]:
    """The messages of one element: rain rate, accumulation as mean rate, or reflectivity through Z-R.

    Raises:
        DataError: no such element, no time, damaged, or too large.
    """
    with raster.opened(path, "GRIB", _WHAT, request.max_bytes) as data:
        tags = [data.tags(band) for band in range(1, data.count + 1)]
        element = _choose(tags, path, request)
        bands = [band for band, held in enumerate(tags, start=1) if held.get("GRIB_ELEMENT") == element]
        first = tags[bands[0] - 1]
        quantity = _meaning(first, element, path, request)
        is_mrms = "CENTER=161" in first.get("GRIB_IDS", "")
        # MRMS writes an old ellipsoid into its messages; NOAA documents the grid as WGS 84.
        grid, upside_down = raster.grid_of(data, path, WGS84 if is_mrms else None)
        times = [_seconds(tags[band - 1], path) for band in bands]
        nodata = data.nodata
        work = data.width * data.height * 22
    about: dict[str, object] = {
        "source": f"GRIB2 {first.get('GRIB_COMMENT', element)}",
        "credit": "Data: GRIB2 file",
    }
    if is_mrms:
        about = {
            "source": f"NOAA MRMS {element}",
            "institution": "NOAA National Severe Storms Laboratory",
            "credit": "Radar: NOAA MRMS, public domain",
            "licence": "public domain",
        }
    return [
        Piece(
            path=str(path),
            times=np.array([utc(seconds) for seconds in times]),
            grid=grid,
            name=quantity.name,
            attrs=quantity.attrs | about,
            frames=partial(_frames, path, request.max_bytes, tuple(bands), nodata, upside_down, quantity),
            work_bytes=work,
        )
    ]


def _choose(tags: list[dict[str, str]], path: Path, request: Request) -> str:
    held = list(dict.fromkeys(str(tag.get("GRIB_ELEMENT", "")) for tag in tags))
    if request.variable not in (None, "rain_rate"):
        if request.variable not in held:
            raise fault(
                path, f"variable {request.variable!r}", f"only {', '.join(held)}", "name one of these"
            )
        return request.variable
    usable = [name for name in held if _is_known(next(t for t in tags if t.get("GRIB_ELEMENT") == name))]
    if len(usable) != 1:
        found = ", ".join(usable or held) or "none"
        raise fault(
            path, "one element of rain or reflectivity", f"the elements {found}", "choose with variable="
        )
    return usable[0]


def _unit(tag: dict[str, str]) -> str:
    return str(tag.get("GRIB_UNIT", "")).strip("[]")


def _is_known(tag: dict[str, str]) -> bool:
    unit = _unit(tag)
    return rate_factor(unit) is not None or is_reflectivity(unit) or _minutes(tag) is not None


def _minutes(tag: dict[str, str]) -> float | None:
    """The period of an accumulation from the element's name, such as MultiSensor_QPE_01H_Pass2."""
    hours = _HOURS.search(str(tag.get("GRIB_ELEMENT", "")))
    return 60.0 * int(hours[1]) if hours and int(hours[1]) and depth_factor(_unit(tag)) is not None else None


def _meaning(tag: dict[str, str], element: str, path: Path, request: Request) -> Quantity:
    unit, minutes = _unit(tag), _minutes(tag)
    factor, depth = rate_factor(unit), depth_factor(unit)
    if factor is not None:
        return rain_rate(factor)
    if is_reflectivity(unit):
        return reflectivity(request.zr)
    if minutes is not None and depth is not None:
        return accumulated_rain(minutes, depth)
    return Quantity(
        name=element, attrs={"units": unit or "1", "long_name": str(tag.get("GRIB_COMMENT", element))}
    )


def _seconds(tag: dict[str, str], path: Path) -> float:
    text = str(tag.get("GRIB_VALID_TIME", "")).split()
    try:
        return float(text[0])
    except (IndexError, ValueError) as error:
        raise fault(
            path, "a valid time in each message", repr(" ".join(text)), "fetch the file again"
        ) from error


def _frames(
    path: Path,
    max_bytes: int,
    bands: tuple[int, ...],
    nodata: float | None,
    upside_down: bool,
    quantity: Quantity,
    indices: Sequence[int],
) -> Iterator[np.ndarray]:
    with raster.opened(path, "GRIB", _WHAT, max_bytes) as data:
        for index in indices:
            yield _decoded(data, bands[index], nodata, upside_down, quantity)


def _decoded(data: Any, band: int, nodata: float | None, upside_down: bool, quantity: Quantity) -> np.ndarray:
    values = data.read(band, out_dtype=np.float32)
    if nodata is not None and not np.isnan(nodata):
        values[values == np.float32(nodata)] = np.nan
    if quantity.zr is not None or quantity.attrs.get("units") == "dBZ":
        values[values <= -999.0] = np.nan  # MRMS: -999 outside coverage, -99 no echo
        values[values <= -99.0] = NO_ECHO_DBZ
    elif quantity.name == "rain_rate":
        values[values < 0] = np.nan  # MRMS: -3 outside coverage, -1 missing
    return quantity.convert(values[::-1] if upside_down else values)

"""GeoTIFF: FMI's open data, what geoscope writes, and any stack of rain or reflectivity with a time.

A file is one frame, or one frame a band. Times come from tags; where there are none, from twelve or fourteen
digits in the file's name, which is then said in the attribute `time_from`.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.formats import raster
from geoscope.data.formats.faults import fault
from geoscope.data.formats.pieces import Piece, Request
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

_WHAT = "a GeoTIFF"
_ITEM = re.compile(r'<Item name="([^"]{1,80})"([^>]{0,200})>([^<]{0,200})</Item>')
_UNIT = re.compile(r'unit="([^"]{1,40})"')
_TIME_TAGS = ("valid_time", "time", "TIMESTAMP", "datetime", "Observation time", "TIFFTAG_DATETIME")
_RESERVED = (
    "AREA_OR_POINT",
    "valid_time",
    "lead_minutes",
    "OVR_RESAMPLING_ALG",
    "variable",
    "name",
    "units",
    "unit",
    "time",
    "times",
    "forecast_reference_time",
)
_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d{10})(\d{2})?(?!\d)")


def recognises(head: bytes) -> bool:
    """Whether these first bytes are a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read(path: Path, request: Request) -> list[Piece]:
    """The bands of a GeoTIFF: rain through their units and Z-R, other quantities as they are.

    Raises:
        DataError: no CRS, no time, a rotated grid, no such variable, damaged, or too large.
    """
    with raster.opened(path, "GTiff", _WHAT, request.max_bytes) as data:
        tags = _tags(data)
        grid, upside_down = raster.grid_of(data, path)
        times, origin = _times(data, tags, path)
        units = str(data.units[0] or tags.get("units") or tags.get("unit") or "")
        name = str(tags.get("name") or tags.get("variable") or _plain(tags.get("Quantity", "")) or "value")
        quantity = _meaning(units, name, tags, path, request)
        gain = _number(tags, "Gain", float(data.scales[0]))
        offset = _number(tags, "Offset", float(data.offsets[0]))
        codes = (_number(tags, "Nodata", data.nodata), _number(tags, "Undetect", None))
        work = data.width * data.height * (np.dtype(data.dtypes[0]).itemsize + 10)
        coords = _forecast_coords(data, tags)
    attrs = _about(tags, path) | quantity.attrs
    if origin:
        attrs["time_from"] = origin
    return [
        Piece(
            path=str(path),
            times=times,
            grid=grid,
            name=quantity.name,
            attrs=attrs,
            frames=partial(
                _frames,
                path,
                request.max_bytes,
                (float(gain or 1.0), float(offset or 0.0)),
                codes,
                upside_down,
                quantity,
            ),
            work_bytes=work,
            coords=coords,
        )
    ]


def _tags(data: Any) -> dict[str, Any]:
    """The dataset's tags; FMI's own lie as XML inside one of them, geoscope's as JSON."""
    tags: dict[str, Any] = dict(data.tags()) | {k: v for k, v in data.tags(1).items() if k not in data.tags()}
    for name, about, value in _ITEM.findall(str(tags.pop("GDAL_METADATA", ""))[:100_000]):
        tags[name] = value.strip()
        unit = _UNIT.search(about)
        if unit:
            tags.setdefault("unit", unit[1])
    return tags


def _plain(text: str) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", text.lower()))


def _number(tags: dict[str, Any], name: str, default: float | None) -> float | None:
    try:
        return float(tags[name])
    except (KeyError, TypeError, ValueError):
        return default


def _times(data: Any, tags: dict[str, Any], path: Path) -> tuple[np.ndarray, str]:
    """A time for each band and, where the file's name had to give it, a note of that."""
    out = []
    for band in range(1, data.count + 1):
        own = dict(data.tags(band))
        texts = [own.get(name) for name in _TIME_TAGS] + [data.descriptions[band - 1]]
        if data.count == 1:
            texts += [tags.get(name) for name in _TIME_TAGS]
        found = [time for time in map(_moment, texts) if time is not None]
        if not found:
            break
        out.append(found[0])
    if len(out) == data.count:
        return np.array(out, dtype="datetime64[ns]"), ""
    named = _IN_NAME.search(path.name)
    if data.count == 1 and named and (time := _moment(named[1] + (named[2] or "00"))) is not None:
        return np.array([time], dtype="datetime64[ns]"), "file name"
    raise fault(
        path,
        f"a time for each of {data.count} band(s)",
        "none in its tags or name",
        "name the file YYYYMMDDhhmm..., or set the tag time",
    )


def _forecast_coords(data: Any, tags: dict[str, Any]) -> dict[str, xr.Variable]:
    """When a forecast was issued and how far each band lies ahead, where geoscope wrote it down."""
    issued = _moment(tags.get("forecast_reference_time"))
    leads = [_number(data.tags(band), "lead_minutes", None) for band in range(1, data.count + 1)]
    if issued is None or any(lead is None for lead in leads):
        return {}
    seconds = np.array([round(60 * (lead or 0.0)) for lead in leads], dtype="timedelta64[s]")
    return {
        "forecast_reference_time": xr.Variable((), issued),
        "lead_time": xr.Variable("time", seconds.astype("timedelta64[ns]")),
    }


def _moment(text: Any) -> np.datetime64 | None:
    """A time in any of the ways in which tags write it, or None."""
    digits = "".join(re.findall(r"\d+", str(text or "")[:40].split("+")[0].split(".")[0]))
    if len(digits) not in (8, 10, 12, 14) or not digits.startswith(("19", "20")):
        return None
    digits = digits.ljust(14, "0")
    date = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:]}"
    try:
        return np.datetime64(date, "ns")
    except ValueError:
        return None


def _meaning(units: str, name: str, tags: dict[str, Any], path: Path, request: Request) -> Quantity:
    if request.variable not in (None, name, "rain_rate"):
        raise fault(path, f"variable {request.variable!r}", f"only {name!r}", "leave variable= out")
    factor = rate_factor(units)
    if factor is not None:
        kept = {name: tags[name] for name in ("long_name", "cell_methods") if tags.get(name)}
        return rain_rate(factor, **kept)
    if is_reflectivity(units):
        return reflectivity(request.zr)
    minutes = _number(tags, "accumulation_minutes", None)
    depth = depth_factor(units)
    if depth is not None and minutes is not None and minutes > 0:
        return accumulated_rain(minutes, depth)
    return Quantity(name=name, attrs={"units": units or "1", "long_name": str(tags.get("long_name", name))})


def _about(tags: dict[str, Any], path: Path) -> dict[str, object]:
    if "Observation time" in tags and "Undetect" in tags:  # the tags of FMI's open data
        return {
            "source": f"FMI radar composite, {tags.get('Quantity', 'reflectivity')}",
            "institution": "Finnish Meteorological Institute",
            "credit": "Radar: Finnish Meteorological Institute, CC BY 4.0",
            "licence": "CC BY 4.0",
        }
    about: dict[str, object] = {
        name: value for name, value in tags.items() if value and name not in _RESERVED and "TIFF" not in name
    }
    for name in ("accumulation_minutes", "interval_minutes"):
        if _number(tags, name, None) is not None:
            about[name] = _number(tags, name, None)
    about.setdefault("source", str(about.get("title", path.name)))
    about.setdefault("credit", f"Data: {about.get('institution', about['source'])}")
    return about


def _frames(
    path: Path,
    max_bytes: int,
    scale: tuple[float, float],
    codes: tuple[float | None, float | None],
    upside_down: bool,
    quantity: Quantity,
    indices: Sequence[int],
) -> Iterator[np.ndarray]:
    gain, offset = (np.float32(value) for value in scale)
    nodata, undetect = codes
    with raster.opened(path, "GTiff", _WHAT, max_bytes) as data:
        for index in indices:
            stored = data.read(index + 1)
            is_byte = stored.dtype == np.uint8  # then 256 values are decoded instead of millions
            raw = np.arange(256, dtype=np.uint8) if is_byte else stored
            values = raw.astype(np.float32) * gain + offset
            if undetect is not None:
                is_dbz = quantity.zr is not None or quantity.attrs.get("units") == "dBZ"
                values[raw == undetect] = NO_ECHO_DBZ if is_dbz else 0.0
            if nodata is not None and not np.isnan(nodata):
                values[raw == nodata] = np.nan
            field = quantity.convert(values)[stored] if is_byte else quantity.convert(values)
            yield field[::-1] if upside_down else field

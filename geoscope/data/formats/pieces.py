"""What a reader hands to the door: frames on a grid, not yet decoded."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike

import numpy as np
import pyproj
import xarray as xr
from pyproj.exceptions import ProjError

from geoscope.data.formats.faults import fault

MAX_BYTES = 2 * 2**30
WGS84 = "EPSG:4326"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the caller of `open_radar` asked of every file.

    `variable` is the quantity by the source's name, or None for the rain; `zr` the pair (a, b) of Z = a R^b,
    or None to keep reflectivity; `event` one event of a file that holds many (SEVIR).
    """

    variable: str | None = None
    zr: tuple[float, float] | None = (200.0, 1.6)
    max_bytes: int = MAX_BYTES
    event: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Where the pixel centres are: row 0 in the north, column 0 in the west.

    Either `crs` with `x` (W,) and `y` (H,) in its units, or `lat` and `lon` (H, W) in degrees, or only `x`
    and `y` in metres.
    """

    shape: tuple[int, int]
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    crs: pyproj.CRS | None = None
    lat: np.ndarray | None = None
    lon: np.ndarray | None = None

    def same_as(self, other: "Grid") -> bool:
        """Whether both grids have the same pixels, to a hundredth of a pixel."""
        if self.shape != other.shape or (self.crs is None) != (other.crs is None):
            return False
        if self.crs is not other.crs and self.crs != other.crs:
            return False
        pairs = ((self.x, other.x), (self.y, other.y), (self.lat, other.lat), (self.lon, other.lon))
        return all(_close(mine, theirs) for mine, theirs in pairs)

    def coords(self) -> dict[str, xr.Variable]:
        """The coordinates x, y, lat, lon and spatial_ref, as far as they are known."""
        out: dict[str, xr.Variable] = {}
        geographic = self.crs is not None and self.crs.is_geographic
        if self.y is not None and self.x is not None:
            out["y"] = xr.Variable("y", self.y, _axis_attrs("y", geographic))
            out["x"] = xr.Variable("x", self.x, _axis_attrs("x", geographic))
        if self.lat is not None and self.lon is not None:
            out["lat"] = xr.Variable(
                ("y", "x"), self.lat, {"standard_name": "latitude", "units": "degrees_north"}
            )
            out["lon"] = xr.Variable(
                ("y", "x"), self.lon, {"standard_name": "longitude", "units": "degrees_east"}
            )
        if self.crs is not None:
            out["spatial_ref"] = xr.Variable((), np.int64(0), self._mapping_attrs(self.crs))
        return out

    def _mapping_attrs(self, crs: pyproj.CRS) -> dict[str, object]:
        attrs = dict(_cf_attrs(crs.to_wkt()))
        if self.x is not None and self.y is not None and min(len(self.x), len(self.y)) > 1:
            dx, dy = float(self.x[1] - self.x[0]), float(self.y[1] - self.y[0])
            attrs["GeoTransform"] = f"{self.x[0] - dx / 2} {dx} 0.0 {self.y[0] - dy / 2} 0.0 {dy}"
        return attrs

    def __str__(self) -> str:
        place = "no CRS" if self.crs is None else (self.crs.name or "a CRS without a name")
        corner = "" if self.x is None or self.y is None else f" from x {self.x[0]:g}, y {self.y[0]:g}"
        return f"{self.shape[0]} x {self.shape[1]} pixels{corner} ({place})"


def _axis_attrs(axis: str, geographic: bool) -> dict[str, str]:
    if geographic:
        name, units = ("latitude", "degrees_north") if axis == "y" else ("longitude", "degrees_east")
    else:
        name, units = f"projection_{axis}_coordinate", "m"
    return {"standard_name": name, "units": units, "axis": axis.upper()}


def _close(mine: np.ndarray | None, theirs: np.ndarray | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    step = float(np.abs(np.diff(mine, axis=-1)).max()) if mine.shape[-1] > 1 else 1.0
    return bool(np.allclose(mine, theirs, rtol=0, atol=0.01 * step, equal_nan=True))


def regular_grid(
    crs: pyproj.CRS, left: float, top: float, dx: float, dy: float, shape: tuple[int, int]
) -> Grid:
    """A grid from its outer corner in the north-west; a pixel is `dx` wide and `dy` high, both positive."""
    rows, columns = shape
    x = left + dx * (np.arange(columns, dtype=np.float64) + 0.5)
    y = top - dy * (np.arange(rows, dtype=np.float64) + 0.5)
    return Grid(shape=shape, x=x, y=y, crs=crs)


def crs_from(path: str | PathLike, text: object) -> pyproj.CRS:
    """The CRS that a file's PROJ string, WKT or EPSG code describes.

    Raises:
        DataError: there is none, or it cannot be understood.
    """
    cure = "the file does not say where it is: take a file with its projection, or add the CRS to it"
    if text is None or not str(text).strip():
        raise fault(path, "a coordinate reference system (CRS)", "none", cure)
    try:
        return _parsed_crs(text if isinstance(text, str | int) else str(text))
    except (ProjError, UnicodeError, ValueError, TypeError) as error:
        raise fault(path, "a coordinate reference system (CRS)", repr(text), cure) from error


def crs_from_cf(path: str | PathLike, attrs: Mapping[str, object]) -> pyproj.CRS:
    """The CRS of a CF grid mapping's attributes.

    Raises:
        DataError: they describe none.
    """
    try:
        return _crs_of_mapping(json.dumps(attrs, sort_keys=True, default=str))
    except (ProjError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise fault(
            path, "a grid mapping (CRS) that CF describes", error, "add its crs_wkt to the grid mapping"
        ) from error


@lru_cache(maxsize=64)
def _crs_of_mapping(
    attrs: str,
) -> pyproj.CRS:  # kept: pyproj takes 0.2 s for one, and a folder holds hundreds
    return _usable(pyproj.CRS.from_cf(json.loads(attrs)))


@lru_cache(maxsize=64)
def _cf_attrs(wkt: str) -> dict[str, object]:
    """Attributes of a grid mapping: the WKT, for GDAL under a second name, and what CF has words for."""
    attrs: dict[str, object] = {}
    with warnings.catch_warnings(), suppress(KeyError, ValueError, TypeError):
        # CF lacks words for some parameters; the WKT beside it has them all.
        warnings.simplefilter("ignore", UserWarning)
        attrs = dict(pyproj.CRS.from_wkt(wkt).to_cf())
    return attrs | {"crs_wkt": wkt, "spatial_ref": wkt}


@lru_cache(maxsize=64)
def _parsed_crs(text: str | int) -> pyproj.CRS:
    return _usable(pyproj.CRS.from_user_input(text))


def _usable(crs: pyproj.CRS) -> pyproj.CRS:
    """The CRS, once PROJ has found a way from it to longitude and latitude."""
    pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
    return crs


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The frames of one file, on one grid, in one quantity.

    `frames(indices)` yields float32 (H, W) fields, row 0 north, NaN = no data, one for each index, in order.
    `times` (n,) is datetime64[ns] UTC, in the file's order. `work_bytes` is what decoding one frame may need
    beside the frame itself; `coords` holds further coordinates, scalar or along time.
    """

    path: str
    times: np.ndarray
    grid: Grid
    name: str
    attrs: Mapping[str, object]
    frames: Callable[[Sequence[int]], Iterator[np.ndarray]]
    work_bytes: int = 0
    coords: Mapping[str, xr.Variable] = field(default_factory=dict)


def utc(seconds: float) -> np.datetime64:
    """A time from seconds since 1970-01-01 UTC."""
    return np.datetime64(round(seconds * 1000), "ms").astype("datetime64[ns]")

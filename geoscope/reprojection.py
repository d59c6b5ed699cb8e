"""From the pixels of a Web Mercator picture to the pixels of a field, as an index table made once a grid.

Projecting a frame anew for every picture costs a hundred times more than looking its pixels up. A
`MercatorTable` holds, for each pixel of a picture in EPSG:3857, the flat index of the source pixel that
contains it; drawing a frame is then one `take`. Rows run from north to south in both. A field that does not
say where it is gets a plain table: the picture is the frame, in metres.

Longitudes are unwrapped around the middle of the field, so a field across the antimeridian stays in one piece
and its picture reaches past x = 20037508 m; `geoscope.viz.basemap` repeats the world there.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyproj
import xarray as xr

from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.grids import crs_of

MERCATOR_RADIUS = 6378137.0  # metres; EPSG:3857 is spherical on the WGS 84 semi-major axis
WORLD_WIDTH = 2 * np.pi * MERCATOR_RADIUS
MAX_LATITUDE = 85.0511287798066  # where EPSG:3857 ends: a square world

_COMFORTABLE_SIDE = 700  # smaller pictures are oversampled, so that pixel edges stay sharp
_MAX_SIDE = 2048
_CACHE_SIZE = 16
_cache: "OrderedDict[str, MercatorTable]" = OrderedDict()
_cache_lock = threading.Lock()


def to_mercator(lon: Any, lat: Any) -> tuple[np.ndarray, np.ndarray]:
    """EPSG:3857 metres of longitude and latitude in degrees; latitudes are cut at +-85.05."""
    lat = np.clip(np.asarray(lat, dtype=np.float64), -MAX_LATITUDE, MAX_LATITUDE)
    mx = MERCATOR_RADIUS * np.deg2rad(np.asarray(lon, dtype=np.float64))
    return mx, MERCATOR_RADIUS * np.arctanh(np.sin(np.deg2rad(lat)))


def from_mercator(mx: Any, my: Any) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude in degrees of EPSG:3857 metres; longitudes may pass 180."""
    lon = np.rad2deg(np.asarray(mx, dtype=np.float64) / MERCATOR_RADIUS)
    lat = np.rad2deg(np.arcsin(np.tanh(np.asarray(my, dtype=np.float64) / MERCATOR_RADIUS)))
    return lon, lat


def wrap_longitude(lon: Any, middle: float = 0.0) -> np.ndarray:
    """Longitudes moved by whole turns into [middle - 180, middle + 180)."""
    return (np.asarray(lon, dtype=np.float64) - middle + 180.0) % 360.0 - 180.0 + middle


class _Grid(Protocol):
    """How a source grid and the picture's plane know each other; rows and columns may be fractions."""

    shape: tuple[int, int]
    is_even: bool

    def position(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def locate(self, mx: np.ndarray, my: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def extent(self) -> tuple[float, float, float, float]: ...


class _Axis:
    """Pixel centres along one axis, from index to value and back, half a pixel past both ends."""

    def __init__(self, values: np.ndarray, name: str) -> None:
        values = np.asarray(values, dtype=np.float64)
        step = np.diff(values)
        if len(values) < 2 or not np.isfinite(values).all() or not ((step > 0).all() or (step < 0).all()):
            raise DataError(
                f"coordinate {name} must hold at least 2 finite values that only rise or only fall; "
                "sort the field by it, and cut it to more than one pixel"
            )
        self.values = values
        self.length = len(values)
        self.step = (values[-1] - values[0]) / (self.length - 1)
        even = values[0] + self.step * np.arange(self.length)
        self.is_even = bool(np.abs(values - even).max() < 0.05 * abs(self.step))
        index = np.concatenate([[-0.5], np.arange(self.length, dtype=np.float64), [self.length - 0.5]])
        knots = np.concatenate([[values[0] - step[0] / 2], values, [values[-1] + step[-1] / 2]])
        self._index, self._knots = (index, knots) if self.step > 0 else (index[::-1], knots[::-1])

    def value(self, index: np.ndarray) -> np.ndarray:
        if self.is_even:
            return self.values[0] + self.step * index
        order = np.argsort(self._index)
        return np.interp(index, self._index[order], self._knots[order])

    def index(self, value: np.ndarray) -> np.ndarray:
        if self.is_even:
            return (value - self.values[0]) / self.step
        return np.interp(value, self._knots, self._index, left=np.nan, right=np.nan)


class _RectangularGrid:
    """A grid with 1-D x and y: in a projected CRS, in degrees, or in metres without a place."""

    def __init__(self, x: np.ndarray, y: np.ndarray, crs: pyproj.CRS | None) -> None:
        self.x, self.y = _Axis(x, "x"), _Axis(y, "y")
        self.shape = (self.y.length, self.x.length)
        self.is_even = self.x.is_even and self.y.is_even
        self._to_geographic = None
        self._is_plain = crs is None
        middle = (np.array([self.shape[0] / 2]), np.array([self.shape[1] / 2]))
        self._turns = 0.0  # degrees between the axis' own longitudes and the unwrapped ones
        self._middle_lon = 0.0
        if crs is not None and crs.is_geographic:
            own = float(self.x.values.mean())
            self._turns = 360.0 * np.ceil((own - 180.0) / 360.0)
            if abs(self.x.step) * (self.x.length - 1) >= 360.0:
                raise DataError(
                    f"longitudes span {abs(self.x.step) * (self.x.length - 1):g} degrees, expected less than "
                    "360: cut the repeated columns"
                )
        elif crs is not None:
            self._to_geographic = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
            lon, _ = self._to_geographic.transform(self.x.value(middle[1]), self.y.value(middle[0]))
            self._middle_lon = float(lon[0]) if np.isfinite(lon[0]) else 0.0

    def position(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = self.x.value(col), self.y.value(row)
        if self._is_plain:
            return x, y
        if self._to_geographic is None:
            return to_mercator(x - self._turns, y)
        lon, lat = self._to_geographic.transform(x, y)
        finite = np.isfinite(lon) & np.isfinite(lat)
        lon, lat = np.where(finite, lon, 0.0), np.where(finite, lat, 0.0)
        mx, my = to_mercator(wrap_longitude(lon, self._middle_lon), lat)
        return np.where(finite, mx, np.nan), np.where(finite, my, np.nan)

    def locate(self, mx: np.ndarray, my: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._is_plain:
            return self.y.index(my), self.x.index(mx)
        lon, lat = from_mercator(mx, my)
        if self._to_geographic is None:
            return self.y.index(lat), self.x.index(lon + self._turns)
        x, y = self._to_geographic.transform(wrap_longitude(lon), lat, direction="INVERSE")
        x, y = np.asarray(x), np.asarray(y)
        lost = ~(np.isfinite(x) & np.isfinite(y))
        row, col = self.y.index(np.where(lost, 0.0, y)), self.x.index(np.where(lost, 0.0, x))
        return np.where(lost, np.nan, row), np.where(lost, np.nan, col)

    def extent(self) -> tuple[float, float, float, float]:
        rows = np.linspace(-0.5, self.shape[0] - 0.5, min(2 * self.shape[0] + 1, 513))
        cols = np.linspace(-0.5, self.shape[1] - 0.5, min(2 * self.shape[1] + 1, 513))
        outline = [(rows, np.full_like(rows, c)) for c in (cols[0], cols[-1])]
        outline += [(np.full_like(cols, r), cols) for r in (rows[0], rows[-1])]
        inner = np.meshgrid(rows[:: max(1, len(rows) // 32)], cols[:: max(1, len(cols) // 32)], indexing="ij")
        row = np.concatenate([*(r for r, _ in outline), inner[0].ravel()])
        col = np.concatenate([*(c for _, c in outline), inner[1].ravel()])
        mx, my = self.position(row, col)
        if not np.isfinite(mx).any():
            raise DataError("no pixel of the field lies on the Earth by its CRS: check the units of x and y")
        x0, x1, y0, y1 = np.nanmin(mx), np.nanmax(mx), np.nanmin(my), np.nanmax(my)
        if self._to_geographic is not None:
            for pole in (-90.0, 90.0):  # a grid around a pole sees every longitude, its outline does not
                x, y = self._to_geographic.transform(0.0, pole, direction="INVERSE")
                if np.isfinite(x) and np.isfinite(y):
                    r, c = self.y.index(np.array([y]))[0], self.x.index(np.array([x]))[0]
                    if -0.5 <= r <= self.shape[0] - 0.5 and -0.5 <= c <= self.shape[1] - 0.5:
                        middle, half = to_mercator(self._middle_lon, 0)[0], WORLD_WIDTH / 2
                        x0, x1 = middle - half, middle + half
                        y0, y1 = (y0, half) if pole > 0 else (-half, y1)
        return float(x0), float(y0), float(x1), float(y1)


class _CurvilinearGrid:
    """A grid that gives latitude and longitude of each pixel and no projection.

    The inverse starts from bins that each remember one source pixel, so the start is never more than a few
    pixels off whatever shape the grid has, and ends with Newton steps on the surface through the centres.
    """

    def __init__(self, lon: np.ndarray, lat: np.ndarray) -> None:
        if lon.shape != lat.shape or lon.ndim != 2 or min(lon.shape) < 2:
            raise DataError(
                f"lat {lat.shape} and lon {lon.shape} must both be (y, x) with at least 2 x 2 pixels"
            )
        self.shape = lon.shape
        self.is_even = False
        known = np.isfinite(lon) & np.isfinite(lat)
        if not known.any():
            raise DataError("lat and lon of the field hold no finite value: the field cannot be put on a map")
        middle = np.argwhere(known)[known.sum() // 2]
        middle_lon = float(wrap_longitude(lon[tuple(middle)]))
        unwrapped = wrap_longitude(np.where(known, lon, 0.0), middle_lon)
        for axis in (0, 1):
            jump = np.abs(np.diff(np.where(known, unwrapped, np.nan), axis=axis))
            if np.nanmax(jump, initial=0.0) > 180.0:
                raise DataError(
                    "lat and lon of the field run around a pole or around the Earth, which 2-D coordinates "
                    "cannot say on a map: give the field its CRS with field.rio.write_crs and 1-D x and y"
                )
        mx, my = to_mercator(unwrapped, np.where(known, lat, 0.0))
        self._mx, self._my = np.where(known, mx, np.nan), np.where(known, my, np.nan)
        self._make_bins()

    def _make_bins(self) -> None:
        x0, y0, x1, y1 = self._bounds = self.extent()
        count = (max(1, self.shape[0] // 3), max(1, self.shape[1] // 3))
        self._bin_size = ((y1 - y0) / count[0], (x1 - x0) / count[1])
        bins = np.full(count, -1, dtype=np.int64)
        known = np.flatnonzero(np.isfinite(self._mx))
        rows, cols = self._bin_of(self._mx.ravel()[known], self._my.ravel()[known], count)
        bins[rows, cols] = known
        for _ in range(4):  # empty bins between or just beside pixels borrow a neighbour's
            for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
                moved = np.roll(bins, shift, axis)
                edge = [slice(None), slice(None)]
                edge[axis] = slice(0, 1) if shift > 0 else slice(-1, None)
                moved[tuple(edge)] = -1
                bins = np.where(bins < 0, moved, bins)
        self._bins = bins

    def _bin_of(
        self, mx: np.ndarray, my: np.ndarray, count: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = np.clip(((my - self._bounds[1]) / self._bin_size[0]).astype(np.int64), 0, count[0] - 1)
        cols = np.clip(((mx - self._bounds[0]) / self._bin_size[1]).astype(np.int64), 0, count[1] - 1)
        return rows, cols

    def _surface(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, ...]:
        """mx, my and their derivatives by row and column; linear beyond the outer centres."""
        i = np.clip(np.floor(row), 0, self.shape[0] - 2).astype(np.int64)
        j = np.clip(np.floor(col), 0, self.shape[1] - 2).astype(np.int64)
        v, u = row - i, col - j
        flat = i * self.shape[1] + j
        out = []
        for plane in (self._mx.ravel(), self._my.ravel()):
            a, b = plane.take(flat), plane.take(flat + 1)
            c, d = plane.take(flat + self.shape[1]), plane.take(flat + self.shape[1] + 1)
            out += [
                (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d),
                (1 - u) * (c - a) + u * (d - b),
                (1 - v) * (b - a) + v * (d - c),
            ]
        return tuple(out)

    def position(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        surface = self._surface(np.asarray(row, dtype=np.float64), np.asarray(col, dtype=np.float64))
        return surface[0], surface[3]

    def locate(self, mx: np.ndarray, my: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x0, y0, x1, y1 = self._bounds
        start = self._bins[self._bin_of(mx, my, self._bins.shape)]
        near = (start >= 0) & (mx >= x0) & (mx <= x1) & (my >= y0) & (my <= y1)
        row_out = np.full(np.shape(mx), np.nan)
        col_out = np.full(np.shape(mx), np.nan)
        goal_x, goal_y = mx[near], my[near]
        row, col = (v.astype(np.float64) for v in np.divmod(start[near], self.shape[1]))
        open_points = np.arange(len(row))
        for _ in range(30):
            r, c = row[open_points], col[open_points]
            sx, sx_r, sx_c, sy, sy_r, sy_c = self._surface(r, c)
            ex, ey = goal_x[open_points] - sx, goal_y[open_points] - sy
            determinant = sx_r * sy_c - sx_c * sy_r
            with np.errstate(divide="ignore", invalid="ignore"):
                step_r = (ex * sy_c - ey * sx_c) / determinant
                step_c = (ey * sx_r - ex * sy_r) / determinant
            step_r, step_c = np.clip(step_r, -6, 6), np.clip(step_c, -6, 6)
            row[open_points] = np.clip(r + step_r, -4.0, self.shape[0] + 3.0)
            col[open_points] = np.clip(c + step_c, -4.0, self.shape[1] + 3.0)
            moved = np.maximum(np.abs(step_r), np.abs(step_c))
            open_points = open_points[moved > 1e-3]  # a NaN step leaves a NaN position: outside
            if not len(open_points):
                break
        row[open_points] = np.nan  # did not settle: no source pixel answers for it
        row_out[near], col_out[near] = row, col
        return row_out, col_out

    def extent(self) -> tuple[float, float, float, float]:
        rows, cols = np.arange(self.shape[0], dtype=np.float64), np.arange(self.shape[1], dtype=np.float64)
        mx, my = [self._mx.ravel()], [self._my.ravel()]
        corners = (np.array([-0.5, -0.5, rows[-1] + 0.5, rows[-1] + 0.5]), np.tile([-0.5, cols[-1] + 0.5], 2))
        sides = [(rows, np.full_like(rows, c)) for c in (-0.5, cols[-1] + 0.5)]
        sides += [(np.full_like(cols, r), cols) for r in (-0.5, rows[-1] + 0.5)]
        for row, col in [corners, *sides]:
            x, y = self.position(row, col)
            mx.append(x)
            my.append(y)
        x, y = np.concatenate(mx), np.concatenate(my)
        return float(np.nanmin(x)), float(np.nanmin(y)), float(np.nanmax(x)), float(np.nanmax(y))


@dataclass(frozen=True, eq=False)
class MercatorTable:
    """Which source pixel each pixel of a Web Mercator picture shows.

    `extent` is (x0, y0, x1, y1) of the picture's outer edges in EPSG:3857 metres (plain metres when
    `has_place` is False); `shape` is (h, w) of the picture, `source_shape` (H, W) of the field; `outside`
    (h, w) is True where no source pixel lies. Row 0 is the northern one in both.
    """

    shape: tuple[int, int]
    source_shape: tuple[int, int]
    extent: tuple[float, float, float, float]
    has_place: bool
    key: str
    outside: np.ndarray = field(repr=False)
    _index: np.ndarray = field(repr=False)
    _grid: _Grid = field(repr=False)

    @classmethod
    def for_field(cls, source: xr.DataArray, width: int | None = None) -> "MercatorTable":
        """The table of a field's grid, from the cache when the grid was seen before.

        `source` has y and x as its last two dimensions. `width` is the picture's width in pixels; None takes
        the field's own resolution, oversampled by a whole number when the field is small.

        Raises:
            ConfigError: `width` is not between 2 and 2048.
            DataError: the coordinates cannot be used (message says which and why).
        """
        if width is not None and not 2 <= width <= _MAX_SIDE:
            raise ConfigError(f"width={width} of the picture must lie between 2 and {_MAX_SIDE} pixels")
        key = _grid_key(source, width)
        with _cache_lock:
            if key in _cache:
                _cache.move_to_end(key)
                return _cache[key]
        table = _build(source, width, key)
        with _cache_lock:
            _cache[key] = table
            while len(_cache) > _CACHE_SIZE:
                _cache.popitem(last=False)
        return table

    def apply(self, frame: np.ndarray, fill: float | int | None = None) -> np.ndarray:
        """The picture (h, w) of a frame (H, W), nearest pixel, of the frame's own dtype.

        Outside the field stands `fill`: by default NaN for floats and 0 for whole numbers (0 is the class
        "outside" of `geoscope.viz.colours`).

        Raises:
            ShapeError: the frame is not of this table's grid.
        """
        frame = np.asarray(frame)
        if frame.shape != self.source_shape:
            raise ShapeError(
                f"frame has shape {frame.shape}, this table is for {self.source_shape}; "
                "make one for its own grid with MercatorTable.for_field"
            )
        if fill is None:
            fill = np.nan if frame.dtype.kind == "f" else 0
        padded = np.empty(frame.size + 1, dtype=frame.dtype)
        padded[:-1] = frame.ravel()
        padded[-1] = fill
        return padded.take(self._index)

    def pixels_at(self, mx: Any, my: Any) -> tuple[np.ndarray, np.ndarray]:
        """Row and column (int64) of the source pixels that hold the points; -1 in both outside the field."""
        mx, my = np.broadcast_arrays(np.asarray(mx, dtype=np.float64), np.asarray(my, dtype=np.float64))
        shape = mx.shape
        row, col = self._grid.locate(mx.ravel(), my.ravel())
        row, col, inside = _whole(row, col, self.source_shape)
        return np.where(inside, row, -1).reshape(shape), np.where(inside, col, -1).reshape(shape)

    def pixel_at(self, mx: float, my: float) -> tuple[int, int] | None:
        """Row and column of the source pixel that contains a point in metres, or None outside the field."""
        if not (np.isfinite(mx) and np.isfinite(my)):
            return None
        row, col = self.pixels_at(mx, my)
        return (int(row), int(col)) if row >= 0 else None

    def position_of(self, row: Any, col: Any) -> tuple[Any, Any]:
        """Metres (mx, my) of the centre of source pixel (row, col); arrays give arrays, also of fractions."""
        r, c = np.broadcast_arrays(np.asarray(row, dtype=np.float64), np.asarray(col, dtype=np.float64))
        mx, my = self._grid.position(r.ravel(), c.ravel())
        if r.ndim == 0:
            return float(mx[0]), float(my[0])
        return np.reshape(mx, r.shape), np.reshape(my, r.shape)

    def lonlat_at(self, mx: float, my: float) -> tuple[float, float] | None:
        """Longitude in [-180, 180) and latitude, degrees, of a point in metres; None without a place."""
        if not self.has_place:
            return None
        lon, lat = from_mercator(mx, my)
        return float(wrap_longitude(lon)), float(lat)

    def pixels_within(self, xs: Any, ys: Any) -> np.ndarray:
        """Which source pixels (H, W), by their centres, lie in the polygon with corners (xs, ys) in metres.

        The even-odd rule decides where the polygon crosses itself.

        Raises:
            ShapeError: fewer than three corners, or xs and ys of different lengths.
        """
        xs, ys = np.asarray(xs, dtype=np.float64).ravel(), np.asarray(ys, dtype=np.float64).ravel()
        if len(xs) != len(ys) or len(xs) < 3:
            raise ShapeError(f"a polygon needs as many xs as ys and at least 3, got {len(xs)} and {len(ys)}")
        rows, cols = np.indices(self.source_shape)
        px, py = self.position_of(rows, cols)
        inside = np.zeros(self.source_shape, dtype=bool)
        for x0, y0, x1, y1 in zip(xs, ys, np.roll(xs, -1), np.roll(ys, -1), strict=True):
            if y0 != y1:
                inside ^= ((y0 > py) != (y1 > py)) & (px < (x1 - x0) * (py - y0) / (y1 - y0) + x0)
        return inside


def _whole(
    row: np.ndarray, col: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inside = (row >= -0.5) & (row < shape[0] - 0.5) & (col >= -0.5) & (col < shape[1] - 0.5)
    row = np.floor(np.where(inside, row, 0.0) + 0.5).astype(np.int64)
    col = np.floor(np.where(inside, col, 0.0) + 0.5).astype(np.int64)
    return row, col, inside


def _coordinates(source: xr.DataArray) -> tuple[str, np.ndarray, np.ndarray, pyproj.CRS | None]:
    """The kind of grid, its x-like and y-like arrays, and the CRS of a rectangular one."""
    crs = crs_of(source)
    if crs is not None and "x" in source.coords and "y" in source.coords:
        return "rectangular", source["x"].values, source["y"].values, crs
    if "lat" in source.coords and "lon" in source.coords:
        lon, lat = source["lon"].values, source["lat"].values
        if lat.ndim == 1 and lon.ndim == 1:
            return "rectangular", lon, lat, pyproj.CRS.from_epsg(4326)
        return "curvilinear", np.asarray(lon, np.float64), np.asarray(lat, np.float64), None
    height, width = source.shape[-2:]
    x = source["x"].values if "x" in source.coords else np.arange(width, dtype=np.float64)
    y = source["y"].values if "y" in source.coords else -np.arange(height, dtype=np.float64)
    return "rectangular", x, y, None


def _grid_key(source: xr.DataArray, width: int | None) -> str:
    kind, x, y, crs = _coordinates(source)
    digest = hashlib.sha256(f"{kind} {x.shape} {y.shape} {width} {crs.to_wkt() if crs else ''}".encode())
    digest.update(np.ascontiguousarray(x).tobytes())
    digest.update(np.ascontiguousarray(y).tobytes())
    return digest.hexdigest()


def _picture_shape(grid: _Grid, width: int | None) -> tuple[int, int]:
    """Rows and columns of square picture pixels, as fine as the finest source pixel of the middle lines."""
    x0, y0, x1, y1 = grid.extent()
    if width is None:
        rows, cols = (np.arange(n, dtype=np.float64) for n in grid.shape)
        down = grid.position(rows, np.full_like(rows, grid.shape[1] // 2))
        across = grid.position(np.full_like(cols, grid.shape[0] // 2), cols)
        steps = np.concatenate([np.hypot(np.diff(mx), np.diff(my)) for mx, my in (down, across)])
        pixel = np.nanmin(steps, initial=np.inf)
        if not np.isfinite(pixel) or pixel <= 0:
            pixel = max(x1 - x0, y1 - y0) / max(grid.shape)
        longest = max(x1 - x0, y1 - y0) / pixel
        pixel /= max(1, int(_COMFORTABLE_SIDE / longest))
        width = max(2, round(min((x1 - x0) / pixel, _MAX_SIDE)))
    height = max(2, round((y1 - y0) / (x1 - x0) * width))
    if height > _MAX_SIDE:
        height, width = _MAX_SIDE, max(2, round(width * _MAX_SIDE / height))
    return height, width


def _build(source: xr.DataArray, width: int | None, key: str) -> MercatorTable:
    kind, x, y, crs = _coordinates(source)
    has_place = kind == "curvilinear" or crs is not None
    grid: _Grid = _CurvilinearGrid(x, y) if kind == "curvilinear" else _RectangularGrid(x, y, crs)
    if grid.shape != source.shape[-2:]:
        raise DataError(f"coordinates describe {grid.shape} pixels, the field has {source.shape[-2:]} (y, x)")
    extent = x0, y0, x1, y1 = grid.extent()
    is_identity = not has_place and width is None and grid.is_even
    shape = grid.shape if is_identity else _picture_shape(grid, width)
    mx = x0 + (np.arange(shape[1]) + 0.5) * (x1 - x0) / shape[1]
    my = y1 - (np.arange(shape[0]) + 0.5) * (y1 - y0) / shape[0]
    px, py = np.meshgrid(mx, my)
    row, col = grid.locate(px.ravel(), py.ravel())
    row, col, inside = _whole(row, col, grid.shape)
    index = np.where(inside, row * grid.shape[1] + col, grid.shape[0] * grid.shape[1]).reshape(shape)
    outside = ~inside.reshape(shape)
    for table in (index, outside):
        table.flags.writeable = False
    return MercatorTable(shape, grid.shape, extent, has_place, key, outside, index, grid)

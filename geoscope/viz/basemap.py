"""The base map: land, coast, borders, graticule and scale bar in EPSG:3857, from files inside the package.

Everything is clipped to an extent (x0, y0, x1, y1) in metres and nothing asks the network. Extents may reach
past the antimeridian (x beyond +-20037508 m): the world is repeated there.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from geoscope.errors import ConfigError
from geoscope.grids import EARTH_RADIUS_KM
from geoscope.reprojection import MERCATOR_RADIUS, WORLD_WIDTH, from_mercator, to_mercator, wrap_longitude

Extent = tuple[float, float, float, float]
Scale = Literal["auto", "50m", "110m"]
Layer = Literal["land", "coast", "borders", "countries"]

CREDIT = "Made with Natural Earth"

_COARSE_FROM = 14_000_000.0  # metres: wider maps use the 110m files
_DEGREES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60)
_FOLDER = Path(__file__).parent / "natural_earth"


@dataclass(frozen=True)
class MapLook:
    """Colours of the base map on one theme, "#rrggbb"."""

    sea: str
    land: str
    coast: str
    border: str
    graticule: str
    text: str
    halo: str


LOOKS: dict[str, MapLook] = {
    "light": MapLook("#dbe4ea", "#efece5", "#4c5a66", "#8d97a0", "#aab5be", "#26313b", "#ffffff"),
    "dark": MapLook("#10161c", "#1f272f", "#93a2b0", "#5d6b78", "#36424e", "#dde5ec", "#0b0f13"),
}


@dataclass(frozen=True)
class GridLine:
    """One line of the graticule: (n, 2) metres, its text ("77°W") and whether it is a meridian."""

    points: np.ndarray
    label: str
    is_meridian: bool


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `km` kilometres on the ground, `length` map metres long at the map's middle latitude."""

    km: float
    length: float
    label: str


@dataclass(frozen=True)
class _Parts:
    points: np.ndarray  # (n, 2) metres
    starts: np.ndarray  # (parts + 1,)
    shape: np.ndarray  # (parts,)
    boxes: np.ndarray  # (parts, 4) x0, y0, x1, y1


@functools.lru_cache(maxsize=8)
def _load(layer: str, scale: str) -> _Parts:
    with np.load(_FOLDER / f"ne_{scale}.npz", allow_pickle=False) as file:
        steps, starts, shape = (file[f"{layer}_{what}"] for what in ("points", "starts", "shape"))
    total = np.cumsum(steps.astype(np.int64), axis=0)
    before = np.concatenate([np.zeros((1, 2), np.int64), total])[starts[:-1]]
    degrees = (total - np.repeat(before, np.diff(starts), axis=0)) / 10_000
    points = np.stack(to_mercator(degrees[:, 0], degrees[:, 1]), axis=-1)
    low = np.minimum.reduceat(points, starts[:-1], axis=0)
    high = np.maximum.reduceat(points, starts[:-1], axis=0)
    return _Parts(points, starts, shape, np.concatenate([low, high], axis=1))


@functools.lru_cache(maxsize=2)
def _names(scale: str) -> tuple[str, ...]:
    with np.load(_FOLDER / f"ne_{scale}.npz", allow_pickle=False) as file:
        return tuple(str(name) for name in file["countries_names"])


def land(extent: Extent, scale: Scale = "auto") -> list[list[np.ndarray]]:
    """Land polygons in the extent: each a list of rings (n, 2), holes included by the even-odd rule."""
    return [rings for _, rings in _polygons("land", extent, scale)]


def coast(extent: Extent, scale: Scale = "auto") -> list[np.ndarray]:
    """Coastlines in the extent as polylines (n, 2)."""
    return _lines("coast", extent, scale)


def borders(extent: Extent, scale: Scale = "auto") -> list[np.ndarray]:
    """Borders between countries on land, in the extent, as polylines (n, 2)."""
    return _lines("borders", extent, scale)


def countries(extent: Extent, scale: Scale = "auto") -> list[tuple[str, list[np.ndarray]]]:
    """Name and rings (n, 2) of every country in the extent; twice where the world repeats."""
    resolved = _scale(extent, scale)
    names = _names(resolved)
    return [(names[shape], rings) for shape, rings in _polygons("countries", extent, resolved)]


def _scale(extent: Extent, scale: Scale) -> Scale:
    x0, y0, x1, y1 = extent
    if not all(map(math.isfinite, extent)) or x1 <= x0 or y1 <= y0:
        raise ConfigError(f"extent {extent} must be (x0, y0, x1, y1) in metres with x0 < x1 and y0 < y1")
    if scale == "auto":
        return "110m" if x1 - x0 > _COARSE_FROM else "50m"
    if scale not in ("50m", "110m"):
        raise ConfigError(f"scale={scale!r} of the base map is not carried: choose 'auto', '50m' or '110m'")
    return scale


def _turns(extent: Extent) -> Iterator[float]:
    """How far to move the world, in metres, so that its copies cover the extent."""
    first = math.floor((extent[0] + WORLD_WIDTH / 2) / WORLD_WIDTH)
    last = math.ceil((extent[2] - WORLD_WIDTH / 2) / WORLD_WIDTH)
    for turn in range(first, max(first, last) + 1):
        yield turn * WORLD_WIDTH


def _meeting(boxes: np.ndarray, extent: Extent) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes meet the extent, and which lie wholly inside."""
    x0, y0, x1, y1 = extent
    meets = (boxes[:, 0] <= x1) & (boxes[:, 2] >= x0) & (boxes[:, 1] <= y1) & (boxes[:, 3] >= y0)
    inside = (boxes[:, 0] >= x0) & (boxes[:, 2] <= x1) & (boxes[:, 1] >= y0) & (boxes[:, 3] <= y1)
    return np.flatnonzero(meets), inside


def _polygons(layer: Layer, extent: Extent, scale: Scale) -> list[tuple[int, list[np.ndarray]]]:
    parts = _load(layer, _scale(extent, scale))
    found = []
    for shift in _turns(extent):
        moved = np.array([shift, 0.0])
        window = (extent[0] - shift, extent[1], extent[2] - shift, extent[3])
        rings: dict[int, list[np.ndarray]] = {}
        candidates, inside = _meeting(parts.boxes, window)
        for index in candidates:
            ring = parts.points[parts.starts[index] : parts.starts[index + 1]]
            if not inside[index]:
                ring = clip_ring(ring, window)
            if len(ring) >= 3:
                rings.setdefault(int(parts.shape[index]), []).append(ring + moved)
        found += rings.items()
    return found


def _lines(layer: Layer, extent: Extent, scale: Scale) -> list[np.ndarray]:
    parts = _load(layer, _scale(extent, scale))
    found = []
    for shift in _turns(extent):
        window = (extent[0] - shift, extent[1], extent[2] - shift, extent[3])
        candidates, _ = _meeting(parts.boxes, window)
        if len(candidates):
            pieces = [parts.points[parts.starts[i] : parts.starts[i + 1]] for i in candidates]
            found += [line + np.array([shift, 0.0]) for line in clip_lines(pieces, window)]
    return found


def _crossings(here: np.ndarray, there: np.ndarray, axis: int, bound: float) -> np.ndarray:
    """Where the segments from `here` to `there` (n, 2) meet the line coordinate[axis] = bound."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = (bound - here[:, axis]) / (there[:, axis] - here[:, axis])
        points = here + share[:, None] * (there - here)
    points[:, axis] = bound
    return points


def _sides(extent: Extent) -> Iterator[tuple[int, float, int]]:
    """Axis, bound and sign of the four half-planes whose common part is the extent."""
    x0, y0, x1, y1 = extent
    yield from ((0, x0, 1), (0, x1, -1), (1, y0, 1), (1, y1, -1))


def clip_ring(ring: np.ndarray, extent: Extent) -> np.ndarray:
    """The part of a closed ring (n, 2) inside an extent, as a ring; empty (0, 2) when none is.

    Where the ring leaves and returns it follows the extent's edge: right to fill, wrong to stroke.
    Source: Sutherland and Hodgman (1974).
    """
    for axis, bound, sign in _sides(extent):
        if not len(ring):
            break
        following = np.roll(ring, -1, axis=0)
        inside = sign * (ring[:, axis] - bound) >= 0
        crosses = inside != np.roll(inside, -1)
        slots = np.stack([ring, _crossings(ring, following, axis, bound)], axis=1).reshape(-1, 2)
        ring = slots[np.stack([inside, crosses], axis=1).ravel()]
    return ring


def clip_lines(lines: list[np.ndarray], extent: Extent) -> list[np.ndarray]:
    """The pieces of polylines (n, 2) inside an extent, each of at least two points."""
    gap = np.full((1, 2), np.nan)
    path = np.concatenate([piece for line in lines for piece in (line, gap)])
    for axis, bound, sign in _sides(extent):
        following = np.concatenate([path[1:], gap])
        inside = sign * (path[:, axis] - bound) >= 0  # False for a gap
        next_inside = sign * (following[:, axis] - bound) >= 0
        is_gap = np.isnan(path[:, 0])
        crosses = (inside != next_inside) & ~is_gap & ~np.isnan(following[:, 0])
        slots = np.stack([path, _crossings(path, following, axis, bound), np.full_like(path, np.nan)], axis=1)
        keep = np.stack([inside | is_gap, crosses, crosses & inside], axis=1)
        path = slots.reshape(-1, 2)[keep.ravel()]
    breaks = np.flatnonzero(np.isnan(path[:, 0]))
    pieces = (path[a + 1 : b] for a, b in zip([-1, *breaks[:-1]], breaks, strict=True))
    return [piece for piece in pieces if len(piece) >= 2]


def _degree_label(value: float, positive: str, negative: str) -> str:
    text = f"{abs(value):.6f}".rstrip("0").rstrip(".")
    return f"{text}°" + ("" if value == 0 else positive if value > 0 else negative)


def _degree_step(span: float, lines: int) -> float:
    return next((float(step) for step in _DEGREES if span / step <= lines + 0.5), float(_DEGREES[-1]))


def graticule(extent: Extent, lines: int = 5) -> list[GridLine]:
    """Meridians and parallels at round degrees, about `lines` of each, inside the extent."""
    _scale(extent, "auto")
    x0, y0, x1, y1 = extent
    (west, east), (south, north) = from_mercator([x0, x1], [y0, y1])
    step = _degree_step(max(east - west, 1e-6), lines)
    found = []
    for number in range(math.ceil(west / step - 1e-9), math.floor(east / step + 1e-9) + 1):
        mx = float(to_mercator(number * step, 0.0)[0])
        lon = round(float(wrap_longitude(number * step)), 6)
        label = "180°" if abs(lon) == 180 else _degree_label(lon, "E", "W")
        found.append(GridLine(np.array([[mx, y0], [mx, y1]]), label, True))
    step = _degree_step(max(north - south, 1e-6), lines)
    for number in range(math.ceil(south / step - 1e-9), math.floor(north / step + 1e-9) + 1):
        if abs(number * step) < 85.06:
            my = float(to_mercator(0.0, number * step)[1])
            label = _degree_label(round(number * step, 6), "N", "S")
            found.append(GridLine(np.array([[x0, my], [x1, my]]), label, False))
    return found


def scale_bar(extent: Extent, has_place: bool = True, share: float = 0.25) -> ScaleBar:
    """A scale bar of a round length, at most `share` of the map's width, true at the middle latitude.

    A Web Mercator metre is cos(latitude) of a metre on the ground. `has_place` False means plain metres.
    """
    _scale(extent, "auto")
    x0, y0, x1, y1 = extent
    ground = 1e-3  # km on the ground for a metre of the map
    if has_place:
        _, latitude = from_mercator(0.0, (y0 + y1) / 2)
        ground = math.cos(math.radians(float(latitude))) * EARTH_RADIUS_KM / MERCATOR_RADIUS
    longest = (x1 - x0) * share * ground
    power = 10.0 ** math.floor(math.log10(longest))
    km = max(f * power for f in (1, 2, 5) if f * power <= longest * (1 + 1e-9))
    label = f"{km:g} km" if km >= 1 else f"{km * 1000:g} m"
    return ScaleBar(km, km / ground, label)

"""Points and areas that were chosen on the maps: their pixels, and what to call them."""

from functools import lru_cache

import numpy as np

from geoscope.reprojection import MercatorTable
from geoscope.ui.open_field import OpenField


@lru_cache(maxsize=32)
def _cached_mask(table: MercatorTable, area: tuple[tuple[float, float], ...]) -> np.ndarray | None:
    xs, ys = zip(*area, strict=True)
    mask = table.pixels_within(xs, ys)
    mask.flags.writeable = False
    return mask if mask.any() else None


def region_mask(field: OpenField, area: tuple[tuple[float, float], ...] | None) -> np.ndarray | None:
    """The pixels (H, W) of a polygon on the map; None for the whole field, also when the polygon holds no pixel."""
    return _cached_mask(field.table, area) if area else None


def point_mask(field: OpenField, x: float, y: float) -> np.ndarray | None:
    """The one pixel (H, W) that holds a place in metres on the map, or None outside the field."""
    pixel = field.table.pixel_at(x, y)
    if pixel is None:
        return None
    mask = np.zeros(field.rain.shape[1:], dtype=bool)
    mask[pixel] = True
    return mask


def say_place(field: OpenField, x: float, y: float) -> str:
    """A place on the map in degrees, or in kilometres when the field has no place on the Earth."""
    lonlat = field.table.lonlat_at(x, y)
    if lonlat is None:
        return f"x {x / 1000:.1f} km, y {y / 1000:.1f} km"
    lon, lat = lonlat
    return f"{abs(lat):.3f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.3f}° {'E' if lon >= 0 else 'W'}"

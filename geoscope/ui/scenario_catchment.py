"""A catchment from a GeoJSON file, as corners on the map of a page."""

import json
from typing import Any

import numpy as np

from geoscope.errors import ConfigError
from geoscope.reprojection import to_mercator
from geoscope.ui.view_state import MAX_CORNERS

_CURE = "give a GeoJSON file with a polygon in degrees"


def corners_of(content: bytes, most_bytes: int, has_place: bool) -> tuple[tuple[float, float], ...]:
    """Corners in metres on the map of the largest polygon of a GeoJSON text, at most `MAX_CORNERS` of them.

    Raises:
        ConfigError: too large, not GeoJSON, without a polygon, or for a field without a place on the Earth.
    """
    if not has_place:
        raise ConfigError(
            "the field has no place on the Earth: draw the catchment with Polygon above the maps"
        )
    if len(content) > most_bytes:
        raise ConfigError(f"the catchment's file has more than {most_bytes / 1e6:g} MB: simplify it first")
    try:
        rings = [np.asarray(ring, dtype=float)[:, :2] for ring in _outer_rings(json.loads(content))]
        rings = [ring for ring in rings if len(ring) >= 4 and np.isfinite(ring).all()]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ConfigError(f"the catchment's file cannot be read as GeoJSON: {_CURE}") from error
    if not rings:
        raise ConfigError(f"the catchment's file holds no polygon: {_CURE}")
    ring = max(rings, key=_area)[:-1]
    if np.abs(ring[:, 0]).max() > 360 or np.abs(ring[:, 1]).max() > 85:
        raise ConfigError(f"the catchment's corners are no longitudes and latitudes: {_CURE}")
    kept = ring[np.unique(np.linspace(0, len(ring) - 1, min(len(ring), MAX_CORNERS)).round().astype(int))]
    x, y = to_mercator(kept[:, 0], kept[:, 1])
    return tuple(zip(x.tolist(), y.tolist(), strict=True))


def _outer_rings(content: Any) -> list[Any]:
    kind = content["type"]
    if kind == "FeatureCollection":
        return [ring for feature in content["features"] for ring in _outer_rings(feature)]
    if kind == "Feature":
        return _outer_rings(content["geometry"])
    if kind == "Polygon":
        return [content["coordinates"][0]]
    return [part[0] for part in content["coordinates"]] if kind == "MultiPolygon" else []


def _area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2

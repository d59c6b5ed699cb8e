"""The base map as sources for Bokeh, wide enough to pan one field's width past the field."""

from typing import Any

import numpy as np

from geoscope.reprojection import MercatorTable
from geoscope.viz import basemap
from geoscope.viz.basemap import Extent

_GRATICULE_LINES = 12  # over the widened extent, so about four over the field


def map_layers(table: MercatorTable) -> dict[str, Any]:
    """Land, sea, coast, borders, graticule with degree labels around a field, and the edge of its grid.

    All but sea and edge are empty without a place.
    """
    wide = widened(table.extent)
    x0, y0, x1, y1 = wide
    sea = {"x": [(x0 + x1) / 2], "y": [(y0 + y1) / 2], "w": [5 * (x1 - x0)], "h": [5 * (y1 - y0)]}
    if not table.has_place:
        nothing: dict[str, list[Any]] = {"xs": [], "ys": []}
        empty = {"coast": [], "borders": [], "graticule": [], "land": nothing}
        return {**empty, "edge": [_edge(table)], "sea": sea, "degrees": {"x": [], "y": [], "text": []}}
    polygons = basemap.land(wide)
    lines = basemap.graticule(wide, lines=_GRATICULE_LINES)
    left, bottom = table.extent[:2]
    return {
        "land": {
            "xs": [[[ring[:, 0] for ring in rings]] for rings in polygons],
            "ys": [[[ring[:, 1] for ring in rings]] for rings in polygons],
        },
        "sea": sea,
        "coast": basemap.coast(wide),
        "borders": basemap.borders(wide),
        "graticule": [line.points for line in lines],
        "edge": [_edge(table)],
        "degrees": {
            "x": [float(line.points[0, 0]) if line.is_meridian else left for line in lines],
            "y": [bottom if line.is_meridian else float(line.points[0, 1]) for line in lines],
            "text": [line.label for line in lines],
        },
    }


def _edge(table: MercatorTable) -> np.ndarray:
    """The outline of the grid as one closed line (n, 2)."""
    rows, cols = table.source_shape
    along = np.linspace(-0.5, cols - 0.5, 65), np.linspace(-0.5, rows - 0.5, 65)
    row = np.concatenate([np.full(65, -0.5), along[1], np.full(65, rows - 0.5), along[1][::-1]])
    col = np.concatenate([along[0], np.full(65, cols - 0.5), along[0][::-1], np.full(65, -0.5)])
    return np.stack(table.position_of(row, col), axis=-1)


def widened(extent: Extent) -> Extent:
    """An extent with its own size added on every side, within what Web Mercator holds in the north and south."""
    x0, y0, x1, y1 = extent
    width, height = x1 - x0, y1 - y0
    reach = 20_000_000.0
    low, high = max(y0 - height, min(y0, -reach)), min(y1 + height, max(y1, reach))
    return x0 - width, float(np.clip(y0 - height, low, y0)), x1 + width, float(np.clip(y1 + height, y1, high))

"""The base map as sources for Bokeh, for everything around a field that its maps can be moved to."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from geoscope.reprojection import MercatorTable, from_mercator
from geoscope.viz import basemap
from geoscope.viz.basemap import Extent, GridLine

DEGREES = ("x", "y", "text", "label", "place", "is_meridian", "number", "gap", "room")
REACH = 5  # the longer sides of a field that its maps can be moved and zoomed out to
_GRATICULE_LINES = 4 * REACH  # about four over the field
_ROOM_FOR_DEGREES = (26, 48)  # pixels that a label needs in y, and in x
_EARTH = 40_000_000.0  # metres around it: no two lines are further apart
_HIGHEST = 20_000_000.0  # metres: Web Mercator ends here in the north and south


def map_layers(table: MercatorTable) -> dict[str, Any]:
    """Land, sea, coast, borders, graticule with degree labels around a field, and the edge of its grid.

    "reach" is the square (x0, y0, x1, y1) that they fill. Without a place all but reach, sea and edge are empty.
    """
    square = x0, y0, x1, y1 = reach(table.extent)
    # Larger than the square, for the moment in which a window grows and the maps were not fitted to it yet.
    sea = {"x": [(x0 + x1) / 2], "y": [(y0 + y1) / 2], "w": [5 * (x1 - x0)], "h": [5 * (y1 - y0)]}
    always = {"edge": [_edge(table)], "sea": sea, "reach": square}
    if not table.has_place:
        nothing: dict[str, list[Any]] = {"xs": [], "ys": []}
        empty = {"coast": [], "borders": [], "graticule": [], "land": nothing}
        return {**empty, **always, "degrees": {name: [] for name in DEGREES}}
    world = x0, max(y0, -_HIGHEST), x1, min(y1, _HIGHEST)
    polygons, lines = basemap.land(world), basemap.graticule(world, lines=_GRATICULE_LINES)
    return {
        "land": {
            "xs": [[[ring[:, 0] for ring in rings]] for rings in polygons],
            "ys": [[[ring[:, 1] for ring in rings]] for rings in polygons],
        },
        "coast": basemap.coast(world),
        "borders": basemap.borders(world),
        "graticule": [line.points for line in lines],
        "degrees": _degrees(lines, square),
        **always,
    }


def reach(extent: Extent) -> Extent:
    """The square around a field that its maps can be moved and zoomed out to, `REACH` of its longer sides wide."""
    x0, y0, x1, y1 = extent
    half = REACH * max(x1 - x0, y1 - y0) / 2
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    return cx - half, cy - half, cx + half, cy + half


def _degrees(lines: Sequence[GridLine], square: Extent) -> dict[str, Any]:
    """The labels of a graticule, for the browser to put along the lower and the left edge of what it shows.

    ``place`` is where the line of each is, in x or y. Each has the number of its line, so that all but the even ones,
    or every fourth, can be left out where the ``gap`` between the lines in metres is smaller than the ``room`` in
    pixels that a label needs.
    """
    left, bottom = square[:2]
    columns: dict[str, list[Any]] = {name: [] for name in DEGREES}
    for is_meridian in (True, False):
        axis = 0 if is_meridian else 1
        these = [line for line in lines if line.is_meridian == is_meridian]
        places = np.array([line.points[0, axis] for line in these])
        degrees = np.asarray(from_mercator(places, places)[axis])
        numbers = (
            np.rint(degrees / np.diff(degrees)[0]).astype(int)
            if len(these) > 1
            else np.zeros(len(these), int)
        )
        columns["x"] += places.tolist() if is_meridian else [left] * len(these)
        columns["y"] += [bottom] * len(these) if is_meridian else places.tolist()
        columns["place"] += places.tolist()
        columns["is_meridian"] += [is_meridian] * len(these)
        columns["number"] += numbers.tolist()
        columns["gap"] += [float(np.diff(places).min(initial=_EARTH))] * len(these)
        columns["room"] += [_ROOM_FOR_DEGREES[is_meridian]] * len(these)
        columns["label"] += [line.label for line in these]
    columns["text"] = list(columns["label"])
    return columns


def _edge(table: MercatorTable) -> np.ndarray:
    """The outline of the grid as one closed line (n, 2)."""
    rows, cols = table.source_shape
    along = np.linspace(-0.5, cols - 0.5, 65), np.linspace(-0.5, rows - 0.5, 65)
    row = np.concatenate([np.full(65, -0.5), along[1], np.full(65, rows - 0.5), along[1][::-1]])
    col = np.concatenate([along[0], np.full(65, cols - 0.5), along[0][::-1], np.full(65, -0.5)])
    return np.stack(table.position_of(row, col), axis=-1)

"""Class pictures of fields for the maps: classified and reprojected once, then kept.

A picture is uint8, one class a pixel, row 0 in the north; the browser turns classes into colours, so that a change of
theme or opacity sends no picture again. Measured: classify and look up take 1 to 3 ms at 384 x 384 pixels.
"""

from collections import OrderedDict
from functools import lru_cache

import numpy as np

from geoscope.reprojection import MercatorTable
from geoscope.viz.colours import NO_DATA, ColourScale, Theme

KEPT_BYTES = 96_000_000  # a session; some 200 pictures of 700 x 700


class Pictures:
    """The class pictures of one session, the last ones kept up to `KEPT_BYTES`."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._bytes = 0

    def of(self, values: np.ndarray, identity: tuple, table: MercatorTable, scale: ColourScale) -> np.ndarray:
        """The picture (h, w) of values (H, W) on a table's map; `hatch_class` marks stripes where there is no data."""
        key = (*identity, table.key, scale.name)
        picture = self._kept.get(key)
        if picture is None:
            picture = table.apply(scale.classify(values))
            _hatch(picture, scale)
            self._kept[key] = picture
            self._bytes += picture.nbytes
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        else:
            self._kept.move_to_end(key)
        return picture

    def clear(self) -> None:
        """Forget all pictures, for another field."""
        self._kept.clear()
        self._bytes = 0


def hatch_class(scale: ColourScale) -> int:
    """The class of the stripes over missing data; it follows the scale's own ones."""
    return scale.classes


def _hatch(picture: np.ndarray, scale: ColourScale) -> None:
    rows, cols = np.nonzero(picture == NO_DATA)
    stripe = (rows + cols) % 8 < 2
    picture[rows[stripe], cols[stripe]] = hatch_class(scale)


@lru_cache(maxsize=32)
def browser_palette(scale: ColourScale, theme: Theme) -> tuple[str, ...]:
    """ "#rrggbbaa" of every class and of the stripes, for Bokeh's colour mapper."""
    stripes = scale.rgba(np.full((1, 1), NO_DATA, dtype=np.uint8), theme)[0]  # the corner lies in a stripe
    colours = np.concatenate([scale.palette(theme), stripes])
    return tuple("#" + bytes(colour).hex() for colour in colours)

"""A map as a pillow image: what never changes is drawn once, then each frame is laid between land and
coast."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from PIL import Image, ImageDraw, ImageFont

from geoscope.reprojection import WORLD_WIDTH, MercatorTable
from geoscope.viz import basemap
from geoscope.viz.colours import ColourScale, Theme

_MARGIN = 0.045  # of the field's longer side, shown around it so that outside is seen as outside
_FINER_TEXT = 4
_FINER = 2  # lines are drawn twice as large and reduced, which smooths them
Colour = tuple[int, int, int, int]


@functools.lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that pillow carries, so that a picture looks the same on every machine."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> float:
    """Pixels that a text takes."""
    return font(size * _FINER_TEXT).getlength(text) / _FINER_TEXT


def write_text(
    image: Image.Image,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: str,
    anchor: str = "ls",
    halo: str | None = None,
) -> None:
    """Write on an RGB or RGBA image; `anchor` as in pillow, `halo` the colour of a thin rim.

    Letters are drawn larger and reduced: at small sizes the font's own hinting spoils the gaps between words.
    """
    rim = 2 * _FINER_TEXT if halo else 0
    face = font(size * _FINER_TEXT)
    left, top, right, bottom = face.getbbox(text, stroke_width=rim, anchor=anchor)
    # the mask begins on a whole pixel of the image and leaves one pixel around the letters
    x0, y0 = math.floor(at[0] + left / _FINER_TEXT) - 1, math.floor(at[1] + top / _FINER_TEXT) - 1
    x1, y1 = math.ceil(at[0] + right / _FINER_TEXT) + 1, math.ceil(at[1] + bottom / _FINER_TEXT) + 1
    start = ((at[0] - x0) * _FINER_TEXT, (at[1] - y0) * _FINER_TEXT)
    for tint, stroke in ((halo, rim), (colour, 0)):
        if tint:
            large = Image.new("L", ((x1 - x0) * _FINER_TEXT, (y1 - y0) * _FINER_TEXT))
            ImageDraw.Draw(large).text(start, text, 255, face, anchor=anchor, stroke_width=stroke)
            image.paste(opaque(tint)[: len(image.getbands())], (x0, y0), large.reduce(_FINER_TEXT))


def opaque(colour: str, alpha: int = 255) -> Colour:
    """RGBA of "#rrggbb"."""
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16), alpha)


@dataclass(frozen=True)
class _Frame:
    """Where map metres fall on an image of (width, height) pixels."""

    extent: tuple[float, float, float, float]
    size: tuple[int, int]

    def pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        """Image x, y of map points (n, 2)."""
        x0, y0, x1, y1 = self.extent
        x = (points[:, 0] - x0) / (x1 - x0) * self.size[0]
        y = (y1 - points[:, 1]) / (y1 - y0) * self.size[1]
        return list(zip(x.tolist(), y.tolist(), strict=True))


class FieldMap:
    """The map of a field's grid, `width` pixels wide and as high as the grid asks, at most `tallest`.

    `draw` gives the picture of one frame; everything else is prepared once.
    """

    def __init__(self, field: xr.DataArray, width: int, theme: Theme = "light", tallest: int = 860) -> None:
        x0, y0, x1, y1 = MercatorTable.for_field(field, width=2).extent
        margin = _MARGIN * max(x1 - x0, y1 - y0)
        room = (x0 - margin, y0 - margin, x1 + margin, y1 + margin)
        height = round(width * (room[3] - room[1]) / (room[2] - room[0]))
        if height > tallest:  # a tall field gets more land to its sides
            more = ((room[3] - room[1]) * width / tallest - (room[2] - room[0])) / 2
            room, height = (room[0] - more, room[1], room[2] + more, room[3]), tallest
        elif height < width // 3:
            more = ((room[2] - room[0]) / 3 - (room[3] - room[1])) / 2
            room, height = (room[0], room[1] - more, room[2], room[3] + more), width // 3
        self.size = (width, height)
        self.theme: Theme = theme
        self._frame = _Frame(room, self.size)
        metres = (room[2] - room[0]) / width
        self._table = MercatorTable.for_field(field, width=int(np.clip(round((x1 - x0) / metres), 2, 2048)))
        left, top = self._frame.pixels(np.array([[x0, y1]]))[0]
        right, bottom = self._frame.pixels(np.array([[x1, y0]]))[0]
        self._box = (round(left), round(top), round(right), round(bottom))
        self._below = self._land()
        self._above = self._lines()

    def draw(self, values: np.ndarray, scale: ColourScale, opacity: float = 0.92) -> Image.Image:
        """The RGB picture of a frame (H, W) in the scale's unit, north up."""
        classes = self._table.apply(scale.classify(values))
        picture = Image.fromarray(scale.rgba(classes, self.theme, opacity))
        size = (self._box[2] - self._box[0], self._box[3] - self._box[1])
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.NEAREST)
        result = self._below.copy()
        result.paste(picture, self._box[:2], picture)
        result.paste(self._above, (0, 0), self._above)
        return result

    def _land(self) -> Image.Image:
        look = basemap.LOOKS[self.theme]
        if not self._table.has_place:
            return Image.new("RGB", self.size, look.land)
        large = _Frame(self._frame.extent, (self.size[0] * _FINER, self.size[1] * _FINER))
        image = Image.new("RGB", large.size, look.sea)
        draw = ImageDraw.Draw(image)
        for rings in basemap.land(large.extent):
            for number, ring in enumerate(rings):  # after the first ring come holes
                draw.polygon(large.pixels(ring), fill=look.sea if number else look.land)
        return image.resize(self.size, Image.Resampling.LANCZOS)

    def _lines(self) -> Image.Image:
        """Graticule, borders, coast, the field's outline, labels and the scale bar, on nothing."""
        look = basemap.LOOKS[self.theme]
        large = _Frame(self._frame.extent, (self.size[0] * _FINER, self.size[1] * _FINER))
        image = Image.new("RGBA", large.size, opaque(look.coast, 0))
        draw = ImageDraw.Draw(image)
        lines = 4 if self.size[0] < 600 else 6
        grid = basemap.graticule(large.extent, lines) if self._table.has_place else []
        for line in grid:
            draw.line(large.pixels(line.points), fill=opaque(look.graticule, 150), width=2)
        if self._table.has_place:
            for line in basemap.borders(large.extent):
                draw.line(large.pixels(line), fill=opaque(look.border, 210), width=2, joint="curve")
            coast = [large.pixels(line) for line in basemap.coast(large.extent)]
            for line in coast:  # a rim keeps the coast readable over heavy rain
                draw.line(line, fill=opaque(look.halo, 120), width=7, joint="curve")
            for line in coast:
                draw.line(line, fill=opaque(look.coast, 255), width=3, joint="curve")
        outline = self._outline()
        if outline is not None:
            draw.line(large.pixels(outline), fill=opaque(look.text, 130), width=2, joint="curve")
        image = image.resize(self.size, Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(image)
        self._labels(image, grid)
        self._scale_bar(image)
        draw.rectangle((0, 0, self.size[0] - 1, self.size[1] - 1), outline=opaque(look.border))
        return image

    def _outline(self) -> np.ndarray | None:
        """The outer edge of the field's pixels as a closed line; None for a field around the whole Earth."""
        x0, _, x1, _ = self._table.extent
        if self._table.has_place and x1 - x0 > 0.9 * WORLD_WIDTH:
            return None
        height, width = self._table.source_shape
        rows, cols = np.linspace(-0.5, height - 0.5, 65), np.linspace(-0.5, width - 0.5, 65)
        row = np.concatenate([np.full(65, rows[0]), rows, np.full(65, rows[-1]), rows[::-1]])
        col = np.concatenate([cols, np.full(65, cols[-1]), cols[::-1], np.full(65, cols[0])])
        mx, my = self._table.position_of(row, col)
        known = np.isfinite(mx) & np.isfinite(my)
        return np.stack([mx, my], axis=-1)[known] if known.sum() > 2 else None

    def _labels(self, image: Image.Image, grid: list[basemap.GridLine]) -> None:
        look = basemap.LOOKS[self.theme]
        width, height = self.size
        for line in grid:
            x, y = self._frame.pixels(line.points)[0]
            if line.is_meridian and 40 < x < width - 190:  # right below lies the scale bar
                write_text(image, (x, height - 6), line.label, 13, look.text, "ms", look.halo)
            elif not line.is_meridian and 16 < y < height - 34:
                write_text(image, (6, y), line.label, 13, look.text, "lm", look.halo)

    def _scale_bar(self, image: Image.Image) -> None:
        look = basemap.LOOKS[self.theme]
        x0, _, x1, _ = self._frame.extent
        share = min(140 / self.size[0], 0.3)
        bar = basemap.scale_bar(self._frame.extent, self._table.has_place, share=share)
        length = bar.length / (x1 - x0) * self.size[0]
        right, bottom = self.size[0] - 14, self.size[1] - 12
        left = right - max(length, 48)
        draw = ImageDraw.Draw(image)
        draw.rectangle((left - 10, bottom - 30, right + 8, bottom + 6), fill=opaque(look.halo, 200))
        left = right - length
        draw.line([(left, bottom - 6), (left, bottom), (right, bottom), (right, bottom - 6)], look.text, 2)
        write_text(image, ((left + right) / 2, bottom - 9), bar.label, 13, look.text, "ms")

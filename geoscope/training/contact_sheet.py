"""A picture of sample forecasts: rows of frames, labelled, for a look at how training goes. No maps, no legends."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

_GAP, _LABEL = 2, 56
# Dark blue over green to light yellow, even in lightness; interpolated in RGB.
_RAMP = np.array(
    [[13, 17, 40], [29, 66, 110], [30, 125, 125], [112, 180, 92], [253, 245, 170]], dtype=np.float64
)
_MISSING = np.array([90, 90, 90], dtype=np.uint8)


def colour(field: np.ndarray, top: float) -> np.ndarray:
    """(H, W) from 0 to ``top`` as (H, W, 3) uint8; grey where it is NaN."""
    share = np.clip(np.nan_to_num(field / top), 0.0, 1.0) * (len(_RAMP) - 1)
    lower = np.minimum(share.astype(int), len(_RAMP) - 2)
    mixed = _RAMP[lower] + (share - lower)[..., None] * (_RAMP[lower + 1] - _RAMP[lower])
    return np.where(np.isnan(field)[..., None], _MISSING, np.rint(mixed).astype(np.uint8))


def contact_sheet(
    rows: Sequence[tuple[str, np.ndarray]], *, top: float = 1.0, columns: int = 6
) -> np.ndarray:
    """A picture (H, W, 3) uint8 with one labelled row for each (label, frames (T, H, W)), evenly picked in time.

    Frames are enlarged to at least 96 pixels or thinned to at most 192; at most ``columns`` of them show.
    """
    tallest = max(frames.shape[1] for _, frames in rows)
    widest = max(frames.shape[2] for _, frames in rows)
    scale = max(1, -(-96 // max(tallest, widest)))
    step = max(1, -(-max(tallest, widest) // 192))
    height, width = -(-tallest // step) * scale, -(-widest // step) * scale
    shown = min(columns, max(len(frames) for _, frames in rows))
    sheet = Image.new(
        "RGB",
        (_LABEL + shown * (width + _GAP), len(rows) * (height + _GAP)),
        (255, 255, 255),
    )
    pen = ImageDraw.Draw(sheet)
    for row, (label, frames) in enumerate(rows):
        y = row * (height + _GAP)
        pen.text((4, y + height // 2 - 6), label, fill=(0, 0, 0))
        count = min(shown, len(frames))
        for column, index in enumerate(np.linspace(0, len(frames) - 1, count).round().astype(int)):
            pixels = colour(frames[index, ::step, ::step].astype(np.float64), top)
            large = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
            sheet.paste(Image.fromarray(large), (_LABEL + column * (width + _GAP), y))
    return np.asarray(sheet)

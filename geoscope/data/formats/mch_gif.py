"""Rain of MeteoSwiss as GIF: the palette index is a code for the rain of the last minutes, on the Swiss grid."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from geoscope.data.formats.faults import check_bytes, fault, reading
from geoscope.data.formats.pieces import Piece, Request, crs_from, regular_grid, utc
from geoscope.data.formats.rain import Quantity, accumulated_rain

_SHAPE = (640, 710)
_LEFT_M, _TOP_M, _PIXEL_M = 255_000.0, 480_000.0, 1000.0  # EPSG:21781, outer corner in the north-west
_DRY, _NODATA = 1, 255
_MOST_PIXELS = 1 << 24
_PRODUCT = re.compile(r"PRDT=(AQC)(\d{2})(\d{3})(\d{2})(\d{2})")
_PERIOD = re.compile(r"ACC[Uu]m=(\d{1,6})")


def recognises(head: bytes) -> bool:
    """Whether these first bytes are a GIF."""
    return head[:6] in (b"GIF87a", b"GIF89a")


def read(path: Path, request: Request) -> list[Piece]:
    """The accumulation of one AQC image, as a mean rain rate.

    Raises:
        DataError: no MeteoSwiss comment, another product, size or palette, or a damaged image.
    """
    if request.variable not in (None, "rain_rate", "AQC"):
        raise fault(path, "variable 'AQC'", repr(request.variable), "leave variable= out")
    check_bytes(path, path.stat().st_size, request.max_bytes, "a file")
    with _opened(path) as image:
        comment = image.info.get("comment", b"")
        text = comment.decode("ascii", "replace") if isinstance(comment, bytes) else str(comment)
        size, mode = image.size, image.mode
    product, period = _PRODUCT.search(text), _PERIOD.search(text)
    if product is None or period is None or not 0 < int(period[1]) <= 24 * 60:
        raise fault(
            path, "a MeteoSwiss AQC image with PRDT= and ACCUm= in its comment", repr(text[:60]), _CURE
        )
    if size != _SHAPE[::-1] or mode not in ("P", "L"):
        raise fault(path, "710 x 640 palette indices", f"{size[0]} x {size[1]} pixels of mode {mode}", _CURE)
    try:
        time = datetime.strptime("".join(product.groups()[1:]), "%y%j%H%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise fault(path, "a time YYDDDhhmm after PRDT=AQC", product[0], "fetch the file again") from error
    quantity = accumulated_rain(float(period[1]))
    attrs = quantity.attrs | {
        "source": "MeteoSwiss radar composite AQC",
        "institution": "MeteoSwiss",
        "credit": "Radar: MeteoSwiss",
    }
    return [
        Piece(
            path=str(path),
            times=np.array([utc(time.timestamp())]),
            grid=regular_grid(crs_from(path, "EPSG:21781"), _LEFT_M, _TOP_M, _PIXEL_M, _PIXEL_M, _SHAPE),
            name=quantity.name,
            attrs=attrs,
            frames=partial(_frames, path, quantity),
            work_bytes=16 * _SHAPE[0] * _SHAPE[1],
        )
    ]


_CURE = "take the original file of MeteoSwiss, not a picture made from it"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The GIF's first image, its size checked before anything is decoded."""
    with reading(path, "a MeteoSwiss GIF"), Image.open(path, formats=["GIF"]) as image:
        if image.size[0] * image.size[1] > _MOST_PIXELS:
            raise fault(path, "710 x 640 pixels", f"{image.size[0]} x {image.size[1]}", _CURE)
        yield image


def _frames(path: Path, quantity: Quantity, indices: Sequence[int]) -> Iterator[np.ndarray]:
    for _ in indices:
        with _opened(path) as image:
            raw = np.asarray(image)
        yield quantity.convert(millimetres(raw))


def millimetres(index: np.ndarray) -> np.ndarray:
    """Rain in mm of AQC palette indices: (10^((i - 71.5) / 20) / 316)^(1 / 1.5), 0 and 1 dry, 255 no data."""
    codes = np.arange(256, dtype=np.float64)
    table = ((10.0 ** ((codes - 71.5) / 20.0)) / 316.0) ** (1.0 / 1.5)
    table[: _DRY + 1] = 0.0
    table[_NODATA] = np.nan
    return table.astype(np.float32)[index]

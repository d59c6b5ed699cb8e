"""Files that GDAL decodes - GeoTIFF and GRIB - opened with one driver, no sidecars and nothing remote.

GDAL picks a driver by content and some drivers read whatever file or address they are told to. Here the
driver is fixed by the caller, files beside the data are not looked at, and sizes are checked before pixels
are read.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from geoscope.data.formats import compressed
from geoscope.data.formats.faults import check_bytes, fault, reading
from geoscope.data.formats.pieces import Grid, crs_from

_MOST_BANDS = 10_000


@contextmanager
def opened(path: Path, driver: str, what: str, max_bytes: int) -> Iterator[Any]:
    """A rasterio dataset; packed files (gz, bz2) are unpacked in memory first.

    Raises:
        DataError: the driver cannot read it, or a band or block needs more than `max_bytes`.
    """
    with reading(path, what), ExitStack() as stack:
        stack.enter_context(
            rasterio.Env(
                GDAL_PAM_ENABLED="NO",
                GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
                GDAL_CACHEMAX=64,
                GDAL_NUM_THREADS="1",
            )
        )
        if is_packed(path):
            memory = stack.enter_context(MemoryFile(compressed.contents(path, max_bytes)))
            data = stack.enter_context(memory.open(driver=driver))
        else:
            data = stack.enter_context(rasterio.open(path.resolve(), driver=driver))
        if not 0 < data.count <= _MOST_BANDS:
            raise fault(path, f"1 to {_MOST_BANDS} bands", str(data.count), "cut the file into parts")
        itemsize = max(np.dtype(kind).itemsize for kind in data.dtypes)
        check_bytes(path, float(data.width) * data.height * (itemsize + 8), max_bytes, "a band")
        for rows, columns in set(data.block_shapes):
            check_bytes(path, float(rows) * columns * itemsize, max_bytes, "a block")
        yield data


def is_packed(path: Path) -> bool:
    """Whether the file is gzip or bzip2."""
    with path.open("rb") as file:
        head = file.read(3)
    return head.startswith((compressed.GZIP, compressed.BZIP2))


def grid_of(data: Any, path: Path, crs_text: str | None = None) -> tuple[Grid, bool]:
    """The grid of a dataset, y descending, and whether its own rows run from south to north.

    Raises:
        DataError: no CRS, or a grid that is rotated.
    """
    crs = crs_from(path, crs_text or (data.crs.to_wkt() if data.crs else None))
    step = data.transform
    if (
        step.b
        or step.d
        or step.a <= 0
        or not step.e
        or not np.isfinite([step.a, step.c, step.e, step.f]).all()
    ):
        raise fault(
            path, "rows from west to east and columns from north to south", step[:6], "warp the file first"
        )
    if min(data.width, data.height) < 2:
        raise fault(path, "at least 2 x 2 pixels", f"{data.height} x {data.width}", "take the whole grid")
    x = step.c + step.a * (np.arange(data.width) + 0.5)
    y = step.f + step.e * (np.arange(data.height) + 0.5)
    upside_down = step.e > 0
    if crs.is_geographic and float(x.min()) >= 180.0:
        x = x - 360.0
    return Grid(shape=(data.height, data.width), x=x, y=y[::-1] if upside_down else y, crs=crs), upside_down

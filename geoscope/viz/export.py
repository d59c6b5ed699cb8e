"""`save`: the one door through which the command line and the page write a field, as data or as a picture."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from geoscope.data.writers import SUFFIXES as DATA_SUFFIXES
from geoscope.data.writers import single_field, write_forecast
from geoscope.errors import ConfigError
from geoscope.viz.animation import write_gif, write_mp4, write_png
from geoscope.viz.colours import Kind, Theme

PICTURE_SUFFIXES = (".png", ".gif", ".mp4")


def save(
    field: xr.DataArray | xr.Dataset,
    path: str | PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
    kind: Kind = "stepped",
    theme: Theme = "light",
    width: int | None = None,
    frame: int | None = None,
    frames_per_second: float = 3.0,
) -> Path:
    """Write a field (time, y, x) by the ending of `path`; the result is the path.

    .nc, .zarr, .tif keep the numbers (see `geoscope.data.writers.write_forecast`). .png is one `frame`, or a
    sheet of up to six when it is None; .gif and .mp4 show all frames at `frames_per_second`. `kind` is the
    colour scale (stepped, perceptual, diverging), `theme` light or dark, `width` in pixels; data files have
    no use for them. Whatever stops the writing, no part of a file stays behind.

    Raises:
        ConfigError: an unknown ending, an existing file without `overwrite`, an option that is not carried.
        DataError: the field cannot be drawn or written so.
        MissingExtraError: .zarr without zarr, .mp4 without imageio-ffmpeg.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix in DATA_SUFFIXES:
        return write_forecast(field, target, overwrite=overwrite, progress=progress)
    if suffix not in PICTURE_SUFFIXES:
        known = ", ".join((*DATA_SUFFIXES, *PICTURE_SUFFIXES))
        raise ConfigError(f"{target} ends in {target.suffix or 'nothing'!r}; expected one of {known}")
    field = single_field(field, target)
    look: dict[str, Any] = {
        "kind": kind,
        "theme": theme,
        "width": width,
        "overwrite": overwrite,
        "progress": progress,
    }
    if suffix == ".png":
        return write_png(field, target, frame=frame, **look)
    if suffix == ".gif":
        return write_gif(field, target, frames_per_second=frames_per_second, **look)
    return write_mp4(field, target, frames_per_second=frames_per_second, **look)

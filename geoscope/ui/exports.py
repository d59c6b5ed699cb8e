"""The files that a page gives away: made in a worker thread, each with the run card, folders zipped for the browser."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from geoscope.data.writers import write_point_csv
from geoscope.errors import DataError
from geoscope.inference.jobs import Report
from geoscope.ui.nowcast_frames import Series

FORMATS = {
    "NetCDF (.nc)": "nc",
    "Zarr (zipped)": "zarr",
    "GeoTIFF, cloud optimised, a band a frame": "tif",
    "Animation GIF": "gif",
    "Animation MP4": "mp4",
    "Picture PNG of this frame": "png",
    "Point or area series CSV": "csv",
}
MAX_BYTES = 500_000_000  # of a file that goes through a page

Maker = Callable[[Report], Path]


def make_file(field: xr.DataArray, target: Path, progress: Report, **look: Any) -> Path:
    """Write a field (time, y, x) by the ending of ``target``; returns the file to download.

    ``look`` goes to `geoscope.viz.export.save`: frame, kind of the colour scale, theme, frames_per_second.

    Raises:
        DataError, ConfigError: the field cannot be written so, or is too large; the message says why.
    """
    from geoscope.viz.export import save

    options = look if target.suffix in (".png", ".gif", ".mp4") else {}
    written = Path(save(field, target, progress=lambda stage, done: progress(stage, 0.9 * done), **options))
    if written.is_dir():
        progress("zipping", 0.92)
        written = _zip(written)
    return check_size(written)


def make_series_file(content: Series, target: Path, about: dict[str, Any]) -> Path:
    """Write the series of a point or an area as CSV, with ``about`` in comment lines before it."""
    lines = {
        line: xr.DataArray(
            values, dims="time", coords={"time": content.times}, attrs={"units": content.units}
        )
        for line, values in content.lines.items()
    }
    return write_point_csv(target, lines, about={"place": content.place, **about})


def clean_stem(name: str) -> str:
    """A file name's stem with letters, digits, dots, dashes and underscores only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:100] or "geoscope"


def _zip(folder: Path) -> Path:
    packed = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(packed, "w", compression=zipfile.ZIP_STORED) as archive:
        for part in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(part, part.relative_to(folder.parent))
    return packed


def needs(kind: str, has_run: bool, has_series: bool) -> str:
    """What is missing before a file can be made, as a line for the page; empty when nothing is."""
    if kind == "csv" and not has_series:
        return "Choose a point or an area on a map first; its series becomes the CSV file."
    if kind != "csv" and not has_run:
        return "No forecast to export yet: press Run forecast (step 4)."
    return ""


def check_size(path: Path, limit: int = MAX_BYTES) -> Path:
    """The path, if the file is small enough to go through a page.

    Raises:
        DataError: it is larger than ``limit`` bytes.
    """
    size = path.stat().st_size
    if size > limit:
        raise DataError(
            f"{path.name} has {size / 1e6:.0f} MB, this page gives at most {limit / 1e6:.0f} MB: use the command "
            "geoscope nowcast --out instead"
        )
    return path

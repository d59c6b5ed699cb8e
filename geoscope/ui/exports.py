"""The files that a page gives away: made in a worker thread, each with the run card, some zipped for the browser."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from geoscope.errors import DataError
from geoscope.inference.jobs import Report
from geoscope.ui.nowcast_frames import Series

FORMATS = {
    "NetCDF (.nc)": "nc",
    "Zarr (zipped)": "zarr",
    "GeoTIFF, cloud optimised (zipped)": "tif",
    "Animation GIF": "gif",
    "Animation MP4": "mp4",
    "Picture PNG of this frame": "png",
    "Point or area series CSV": "csv",
}
ZIPPED = ("zarr", "tif")


def make_file(
    field: xr.DataArray, kind: str, folder: Path, name: str, progress: Report, frame: int | None = None
) -> Path:
    """Write a field (time, y, x) as one file of ``kind`` into ``folder``; returns the file to download.

    ``frame`` chooses the one frame of a picture.

    Raises:
        DataError: the field cannot be written so; the message says why.
    """
    from geoscope.viz.export import save

    stem = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]
    target = folder / f"{stem}.{kind}"
    content = field
    if kind == "png" and frame is not None:
        content = field.isel(time=[frame])
    progress(f"writing {target.name}", 0.1)
    written = Path(save(content, target, progress=lambda stage, done: progress(stage, 0.1 + 0.7 * done)))
    if kind in ZIPPED or written.is_dir():
        progress("zipping", 0.85)
        return _zip(written)
    return written


def _zip(written: Path) -> Path:
    packed = written.with_name(written.name + ".zip")
    with zipfile.ZipFile(packed, "w", compression=zipfile.ZIP_STORED) as archive:
        parts = sorted(path for path in written.rglob("*") if path.is_file()) if written.is_dir() else [written]
        for part in parts:
            archive.write(part, part.relative_to(written.parent))
    return packed


def series_csv(content: Series, run_card: str, place: str) -> str:
    """A series as CSV: comment lines with place, unit and run card, then time and one column a line."""
    text = io.StringIO()
    text.write(f"# {place}\n# units: {content.units}\n# run_card: {json.dumps(json.loads(run_card or '{}'))}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["time_utc", *content.lines])
    for index, time in enumerate(content.times):
        values = [line[index] for line in content.lines.values()]
        rows.writerow([f"{time}Z", *("" if np.isnan(value) else f"{value:.4g}" for value in values)])
    return text.getvalue()


def needs(kind: str, has_run: bool, has_series: bool) -> str:
    """What is missing before a file can be made, as a line for the page; empty when nothing is."""
    if kind == "csv" and not has_series:
        return "Choose a point or an area on a map first; its series becomes the CSV file."
    if kind != "csv" and not has_run:
        return "No forecast to export yet: press Run forecast (step 4)."
    return ""


def check_size(path: Path, limit: int = 500_000_000) -> Path:
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


Maker = Callable[[Report], Path]

"""The one door to radar files: `open_radar` recognises the format by content and gives back a field."""

import glob
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import xarray as xr

from geoscope.data import radar_sequence
from geoscope.data.formats.faults import fault, one_line, reading
from geoscope.data.formats.pieces import MAX_BYTES, Piece, Request
from geoscope.data.formats.recognise import is_zarr, reader_for
from geoscope.errors import ConfigError, DataError

PathLikes = str | PathLike[str] | Sequence[str | PathLike[str]]
_MOST_FILES = 20_000
# What lies beside radar files in a folder and is passed over there when no reader knows it.
_SIDECARS = (".csv", ".txt", ".md", ".json", ".xml", ".idx", ".sha256", ".md5", ".html", ".py")


def open_radar(
    path_or_paths: PathLikes,
    variable: str | None = None,
    *,
    fill_gaps: str | None = None,
    zr: tuple[float, float] | None = (200.0, 1.6),
    chunks: int | Mapping[str, int] | str | None = None,
    max_bytes: int = MAX_BYTES,
) -> xr.DataArray:
    """The rain field of one or many radar files: (time, y, x), float32, mm/h, NaN = no data, row 0 = north.

    Args:
        path_or_paths: a file, a folder (its files, not those of its subfolders), a glob pattern, or a list
        of these.
            Frames are sorted by time. One event of a SEVIR file is named after a #:
            ``SEVIR_VIL_2018.h5#S831624`` by its id, ``...h5#0`` by its place in the file.
        variable: the quantity by the source's own name, where a file holds several; None takes the rain.
        fill_gaps: what a missing frame becomes: None refuses and names its time, "nan" fills with no data,
            "linear" interpolates in time, "previous" repeats the frame before it.
        zr: (a, b) of Z = a R^b that turns reflectivity into rain; None keeps reflectivity in dBZ.
        chunks: None reads everything now. Frames in a chunk, {"time": n} or "auto" read it when it is used
            (dask, extra `scale`); all-missing files are then found only when they are read.
        max_bytes: the most memory that the field (or one frame and its decoding, with `chunks`) may take.

    The result carries x, y and `spatial_ref`, or lat and lon; attributes units, source, credit, history,
    where known `accumulation_minutes` and `zr_relation`; `interval_minutes` where there are two frames or
    more.

    Raises:
        DataError: nothing there, an unknown or damaged file, no data at all, a gap, duplicate times, mixed
        grids or
            quantities, or a need for more than `max_bytes`.
        ConfigError: an unknown `fill_gaps`, or `zr` or `chunks` that cannot work.
        MissingExtraError: `chunks` without dask, or a Zarr store without zarr.
    """
    radar_sequence.check_options(fill_gaps, chunks)
    request = Request(variable=variable, zr=_checked_zr(zr), max_bytes=int(max_bytes))
    pieces: list[Piece] = []
    for path, event, in_folder in _files(path_or_paths):
        pieces += _pieces(path, event, in_folder, request)
    if not pieces:
        raise DataError(
            f"{one_line(path_or_paths)}: expected radar files, found none that hold radar; check the path"
        )
    return radar_sequence.assemble(pieces, fill_gaps=fill_gaps, chunks=chunks, max_bytes=int(max_bytes))


def _checked_zr(zr: tuple[float, float] | None) -> tuple[float, float] | None:
    if zr is None:
        return None
    try:
        a, b = (float(value) for value in zr)
    except (TypeError, ValueError):
        raise ConfigError(
            f"zr={zr!r}: expected a pair (a, b) of Z = a R^b, such as (200, 1.6), or None"
        ) from None
    if not (0 < a < 1e6 and 0.1 <= b <= 10):
        raise ConfigError(f"zr={zr!r}: expected a > 0 and b between 0.1 and 10, such as (200, 1.6)")
    return a, b


def _pieces(path: Path, event: str | None, in_folder: bool, request: Request) -> list[Piece]:
    """The pieces of one file; a sidecar found in a folder, and nothing else, may hold none."""
    asked = Request(variable=request.variable, zr=request.zr, max_bytes=request.max_bytes, event=event)
    try:
        reader = reader_for(path)
    except DataError:
        if in_folder and path.name.lower().endswith(_SIDECARS):
            return []
        raise
    with reading(path, "a radar file"):
        return reader(path, asked)


def _files(path_or_paths: PathLikes) -> list[tuple[Path, str | None, bool]]:
    """(file, event, was found in a folder) for all that was asked, in the order of names."""
    asked = [path_or_paths] if isinstance(path_or_paths, str | PathLike) else list(path_or_paths)
    if not asked:
        raise DataError("open_radar was given an empty list: name at least one file")
    out: list[tuple[Path, str | None, bool]] = []
    for item in asked:
        text = str(item)
        path, event = Path(text).expanduser(), None
        if not path.exists() and "#" in path.name:
            name, event = path.name.split("#", 1)
            path = path.with_name(name)
        with reading(path, "a file or folder"):
            if path.is_dir() and not is_zarr(path):
                out += [(child, None, True) for child in _children(path)]
            elif path.exists():
                out.append((_regular(path), event, False))
            else:
                out += [(_regular(Path(found)), None, False) for found in _matches(text, path)]
        if len(out) > _MOST_FILES:
            raise fault(text, f"at most {_MOST_FILES} files", str(len(out)), "read them in parts")
    return out


def _children(folder: Path) -> list[Path]:
    found = [
        child
        for child in sorted(folder.iterdir())
        if not child.name.startswith(".") and (child.is_file() or (child.is_dir() and is_zarr(child)))
    ]
    if not found:
        raise fault(
            folder, "a folder of radar files", "no files", "name the folder that holds the files itself"
        )
    return found


def _matches(text: str, path: Path) -> list[str]:
    if "://" in text or text.startswith("/vsi"):
        raise fault(text, "a path on this computer", "a remote address", "download the file first")
    if not glob.has_magic(text):
        raise fault(path, "an existing file", "nothing there", "check the path")
    found = sorted(glob.glob(str(path)))
    if not found:
        raise fault(text, "files that match the pattern", "none", "check the pattern")
    return found


def _regular(path: Path) -> Path:
    """The path, once it is known to be a file or a Zarr folder: a pipe or a device would never end."""
    if not (path.is_file() or path.is_dir()):
        raise fault(path, "a file", "a pipe, socket or device", "copy its data to a file")
    if path.is_dir() and not is_zarr(path):
        raise fault(path, "a file or a Zarr store", "a folder without one", "name the files in it")
    return path

"""Composites of the Finnish Meteorological Institute as PGM: eight-bit reflectivity, everything else in comments."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyproj

from geoscope.data.formats import compressed
from geoscope.data.formats.faults import check_bytes, fault
from geoscope.data.formats.pieces import Grid, Piece, Request, crs_from, regular_grid, utc
from geoscope.data.formats.rain import NO_ECHO_DBZ, Quantity, reflectivity

_LONGEST_HEADER = 1 << 16
_SIZE = re.compile(rb"(\d{1,7})\s+(\d{1,7})\s+(\d{1,5})\s")
_SPHERE_RADIUS_M = 6371288  # with it the corners give the file's own metres per pixel, to a millimetre


def recognises(head: bytes) -> bool:
    """Whether these first bytes are a binary PGM."""
    return head[:2] == b"P5" and head[2:3].isspace()


def read(path: Path, request: Request) -> list[Piece]:
    """The composite of one PGM or PGM.gz, as rain through Z-R or as reflectivity.

    Raises:
        DataError: no FMI header (time, projection, corners), another quantity, or fewer pixels than it says.
    """
    blob = compressed.contents(path, request.max_bytes)
    comments, shape, offset = _header(path, blob, request.max_bytes)
    held = comments.get("param", "")
    if "reflectivity" not in held.lower():
        raise fault(path, "a composite of reflectivity", f"param {held!r}", "take the reflectivity product")
    if request.variable not in (None, "rain_rate", held):
        raise fault(path, f"variable {held!r}", repr(request.variable), "leave variable= out")
    try:
        time = datetime.strptime(comments.get("obstime", ""), "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise fault(
            path, "a comment obstime YYYYMMDDhhmm", repr(comments.get("obstime")), "take an FMI composite"
        ) from error
    quantity = reflectivity(request.zr)
    attrs = quantity.attrs | {
        "source": f"FMI radar composite {comments.get('producttype', '')} {comments.get('productname', '')}".strip(),
        "institution": "Finnish Meteorological Institute",
        "credit": "Radar: Finnish Meteorological Institute, CC BY 4.0",
        "licence": "CC BY 4.0",
    }
    return [
        Piece(
            path=str(path),
            times=np.array([utc(time.timestamp())]),
            grid=_grid(path, comments, shape),
            name=quantity.name,
            attrs=attrs,
            frames=partial(_frames, path, request.max_bytes, offset, shape, quantity),
            work_bytes=3 * len(blob) + 12 * shape[0] * shape[1],
        )
    ]


def _header(path: Path, blob: bytes, max_bytes: int) -> tuple[dict[str, str], tuple[int, int], int]:
    """Comments, (rows, columns) and the first pixel's place."""
    at = 3
    comments: dict[str, str] = {}
    while blob[at : at + 1] == b"#":
        stop = blob.find(b"\n", at, _LONGEST_HEADER)
        if stop < 0:
            raise fault(path, "a PGM header of short comments", "one without end", "fetch the file again")
        words = blob[at + 1 : stop].decode("ascii", "replace").strip().split(maxsplit=1)
        if words:
            comments.setdefault(words[0], words[1] if len(words) > 1 else "")
        at = stop + 1
    match = _SIZE.match(blob, at)
    if match is None or int(match[3]) != 255:
        raise fault(path, "an eight-bit PGM header", repr(blob[at : at + 24]), "fetch the file again")
    columns, rows = int(match[1]), int(match[2])
    check_bytes(path, 12.0 * rows * columns, max_bytes, "an image")
    if min(rows, columns) < 2 or len(blob) != match.end() + rows * columns:
        raise fault(
            path,
            f"{rows} x {columns} pixels after the header",
            f"{len(blob) - match.end()} bytes",
            "the file is cut short or damaged: fetch it again",
        )
    return comments, (rows, columns), match.end()


def _grid(path: Path, comments: dict[str, str], shape: tuple[int, int]) -> Grid:
    if comments.get("type") != "stereographic":
        raise fault(
            path,
            "a stereographic projection (CRS) in the comments",
            repr(comments.get("type", "none")),
            "take an FMI composite with its projection",
        )
    numbers = {}
    for name, count in (
        ("centrallongitude", 1),
        ("centrallatitude", 1),
        ("truelatitude", 1),
        ("bottomleft", 2),
        ("topright", 2),
    ):
        try:
            numbers[name] = [float(word) for word in comments.get(name, "").split()]
        except ValueError:
            numbers[name] = []
        if len(numbers[name]) != count or not np.isfinite(numbers[name]).all():
            raise fault(
                path, f"a comment {name}", repr(comments.get(name)), "take an FMI composite with its corners"
            )
    crs = crs_from(
        path,
        f"+proj=stere +lat_0={numbers['centrallatitude'][0]} +lon_0={numbers['centrallongitude'][0]} "
        f"+lat_ts={numbers['truelatitude'][0]} +R={_SPHERE_RADIUS_M} +units=m",
    )
    forward = _projection(crs.to_wkt())
    left, bottom = forward.transform(*numbers["bottomleft"])
    right, top = forward.transform(*numbers["topright"])
    if not np.isfinite([left, bottom, right, top]).all() or right <= left or top <= bottom:
        raise fault(path, "corners inside the projection", "others", "fetch the file again")
    return regular_grid(crs, left, top, (right - left) / shape[1], (top - bottom) / shape[0], shape)


@lru_cache(maxsize=4)
def _projection(wkt: str) -> pyproj.Transformer:
    crs = pyproj.CRS.from_wkt(wkt)
    return pyproj.Transformer.from_crs(crs.geodetic_crs or "EPSG:4326", crs, always_xy=True)


def _frames(
    path: Path,
    max_bytes: int,
    offset: int,
    shape: tuple[int, int],
    quantity: Quantity,
    indices: Sequence[int],
) -> Iterator[np.ndarray]:
    for _ in indices:
        raw = np.frombuffer(compressed.contents(path, max_bytes), np.uint8, offset=offset).reshape(shape)
        yield quantity.convert(decoded(np.arange(256, dtype=np.uint8)))[raw]


def decoded(raw: np.ndarray) -> np.ndarray:
    """dBZ of FMI's eight-bit codes: (code - 64) / 2, 0 = no echo, 255 = no data."""
    values = raw.astype(np.float32) * np.float32(0.5) - np.float32(32.0)
    values[raw == 0] = NO_ECHO_DBZ
    values[raw == 255] = np.nan
    return values

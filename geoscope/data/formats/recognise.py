"""Which reader a file needs, told by its first bytes and its structure, never by its name."""

import re
from collections.abc import Callable
from pathlib import Path

from geoscope.data import hdf5
from geoscope.data.formats import (
    bom,
    cf,
    compressed,
    fmi_pgm,
    geotiff,
    grib,
    knmi,
    mch_gif,
    odim,
    radolan,
    sevir,
)
from geoscope.data.formats.faults import fault, one_line
from geoscope.data.formats.pieces import Piece, Request

Reader = Callable[[Path, Request], list[Piece]]

KNOWN = (
    "BoM, KNMI or ODIM HDF5, CF NetCDF or Zarr, MRMS GRIB2, DWD RADOLAN, FMI PGM, MeteoSwiss GIF, GeoTIFF "
    "or SEVIR"
)
_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((folder / mark).is_file() for mark in _ZARR_MARKS)


def reader_for(path: Path) -> Reader:
    """The reader for what this file, or Zarr folder, holds.

    Raises:
        DataError: there is no such file, it may not be read, or no reader knows its content.
    """
    if path.is_dir():
        return cf.read_zarr
    head = compressed.head(path)
    if head.startswith(_HDF5_MAGIC):
        return _hdf5_reader(path)
    if head.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05")):
        return cf.read_classic
    for room in (geotiff, grib, mch_gif, fmi_pgm, radolan):
        if room.recognises(head):
            return room.read
    raise _unknown(path, head)


def _hdf5_reader(path: Path) -> Reader:
    with hdf5.opened(path) as file:
        for room in (odim, knmi, bom, sevir):
            if room.recognises(file):
                return room.read
    return cf.read_hdf5


def _unknown(path: Path, head: bytes) -> Exception:
    text = head.lstrip()
    cure = f"geoscope reads {KNOWN}"
    if text.startswith((b"<VRTDataset", b"<?xml")) and b"VRTDataset" in text:
        remote = re.search(rb"(/vsi\w+/|\w+://)[^<\"\s]{0,80}", text)
        named = f" that points to {remote[0].decode('ascii', 'replace')}" if remote else ""
        return fault(
            path,
            "a file with its own data",
            f"a GDAL VRT{named}",
            "open the files it names, copied to this disk",
        )
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if printable >= 0.97 * len(head):
        return fault(
            path, "a radar file", f"text beginning {one_line(head[:40].decode('ascii', 'replace'))!r}", cure
        )
    return fault(path, "a radar file", f"unknown content beginning {head[:8].hex(' ')}", cure)

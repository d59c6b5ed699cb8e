"""Whole files in memory, unpacked (gzip, bzip2), never past a cap: a small one can unpack to terabytes."""

import bz2
import zlib
from pathlib import Path

from geoscope.data.formats.faults import check_bytes, fault, human_bytes, reading

GZIP, BZIP2 = b"\x1f\x8b", b"BZh"
_STEP = 1 << 20


def head(path: Path, length: int = 4096) -> bytes:
    """The first bytes of what the file holds, unpacked where it is packed.

    Raises:
        DataError: the file is empty, cannot be read, or its packing is damaged from the start.
    """
    with reading(path, "a radar file"):
        with path.open("rb") as file:
            raw = file.read(max(length, 8192))
        if not raw:
            raise fault(path, "a radar file", "an empty file", "fetch it again")
        if raw.startswith(GZIP):
            return zlib.decompressobj(wbits=31).decompress(raw, length)
        if raw.startswith(BZIP2):
            with bz2.open(path) as unpacked:  # a block of bzip2 may be longer than `raw`
                return unpacked.read(length)
        return raw[:length]


def contents(path: Path, max_bytes: int) -> bytes:
    """All that the file holds, unpacked where it is packed.

    Raises:
        DataError: it holds more than `max_bytes`, is cut short, or cannot be read.
    """
    with reading(path, "a whole file"):
        check_bytes(path, path.stat().st_size, max_bytes, "a file")
        raw = path.read_bytes()
        if raw.startswith(GZIP):
            return _unpack(path, raw, zlib.decompressobj(wbits=31), max_bytes)
        if raw.startswith(BZIP2):
            return _unpack(path, raw, bz2.BZ2Decompressor(), max_bytes)
        return raw


def _unpack(
    path: Path, raw: bytes, decoder: "zlib._Decompress | bz2.BZ2Decompressor", max_bytes: int
) -> bytes:
    out = bytearray()
    data = raw
    while not decoder.eof:
        chunk = decoder.decompress(data, _STEP)
        data = decoder.unconsumed_tail if not isinstance(decoder, bz2.BZ2Decompressor) else b""
        out += chunk
        if len(out) > max_bytes:
            raise fault(
                path,
                f"at most {human_bytes(max_bytes)} when unpacked",
                "more",
                "pass max_bytes= if the file is right",
            )
        if not chunk and not data and not decoder.eof:
            raise fault(path, "a whole compressed file", "one that is cut short", "fetch it again")
    return bytes(out)

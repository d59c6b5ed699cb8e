"""Classic NetCDF (CDF-1, CDF-2, CDF-5): the header, and one slab of a variable at a time.

The format is a plain description of big-endian arrays (Unidata, "NetCDF Classic Format Specification"), so
it is read here with bounds on every count rather than through a library.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

from geoscope.data.formats.faults import fault

_TYPES = {
    1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4",
    10: ">i8", 11: ">u8",
}  # fmt: skip
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12
_LONGEST_HEADER = 1 << 24
_MOST_ENTRIES = 10_000
_CURE = "the file is damaged or cut short: fetch it again"


@dataclass(frozen=True, kw_only=True)
class Held:
    """Where a variable lies on disk. `record_bytes` is the step between its records, 0 when it has none."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attrs: Mapping[str, Any]
    begin: int
    record_bytes: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """All variables of numbers, by name, and the global attributes."""

    variables: Mapping[str, Held]
    attrs: Mapping[str, Any]


class _Cursor:
    """Reads the header's fields one after the other; a count out of bounds is a fault."""

    def __init__(self, data: bytes, path: str | PathLike) -> None:
        self.data, self.path, self.at = data, path, 4
        self.version = data[3]

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if count < 0 or len(part) < count:
            raise fault(self.path, "a whole classic NetCDF header", "one that is cut short", _CURE)
        self.at += count + (-count % 4)
        return part

    def number(self, code: str = ">I") -> int:
        part = self.data[self.at : self.at + struct.calcsize(code)]
        if len(part) < struct.calcsize(code):
            raise fault(self.path, "a whole classic NetCDF header", "one that is cut short", _CURE)
        self.at += len(part)
        return int(struct.unpack(code, part)[0])

    def count(self) -> int:
        return self.number(">Q" if self.version == 5 else ">I")

    def entries(self, tag: int) -> range:
        found, number = self.number(), self.count()
        if found not in (0, tag) or number > _MOST_ENTRIES or (found == 0 and number):
            raise fault(self.path, "a list of classic NetCDF", f"tag {found} with {number} entries", _CURE)
        return range(number)

    def text(self) -> str:
        return self.take(self.count()).decode("utf-8", "replace")

    def kind(self) -> np.dtype:
        code = self.number()
        if code not in _TYPES:
            raise fault(self.path, "a type of classic NetCDF", f"code {code}", _CURE)
        return np.dtype(_TYPES[code])

    def attributes(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for _ in self.entries(_ATTRIBUTES):
            name, kind = self.text(), self.kind()
            raw = self.take(self.count() * kind.itemsize)
            if kind.kind == "S":
                out[name] = raw.decode("utf-8", "replace").rstrip("\0")
            else:
                held = np.frombuffer(raw, kind)
                out[name] = held[0].item() if held.size == 1 else held.tolist()
        return out


def header(file: BinaryIO, path: str | PathLike) -> Header:
    """The variables and attributes of an open classic file.

    Raises:
        DataError: the header is cut short or its counts make no sense.
    """
    file.seek(0)
    cursor = _Cursor(file.read(_LONGEST_HEADER), path)
    records = cursor.count()
    dims = [(cursor.text(), cursor.count()) for _ in cursor.entries(_DIMENSIONS)]
    attrs = cursor.attributes()
    found: dict[str, Held] = {}
    record_size = 0
    growing = []
    for _ in cursor.entries(_VARIABLES):
        name = cursor.text()
        ids = [cursor.count() for _ in range(min(cursor.count(), 64))]
        if any(i >= len(dims) for i in ids):
            raise fault(path, f"dimensions of {name!r} that exist", f"numbers {ids}", _CURE)
        held_attrs, kind = cursor.attributes(), cursor.kind()
        cursor.count()  # vsize: overflows for large variables, so it is computed instead
        begin = cursor.number(">I" if cursor.version == 1 else ">Q")
        is_record = bool(ids) and dims[ids[0]][1] == 0
        shape = tuple(records if dims[i][1] == 0 else dims[i][1] for i in ids)
        if is_record:
            size = kind.itemsize
            for length in shape[1:]:
                size *= length
            record_size += size + (-size % 4)
            growing.append((name, size))
        if kind.kind in "iuf":
            names = tuple(dims[i][0] for i in ids)
            found[name] = Held(
                dims=names,
                shape=shape,
                dtype=kind,
                attrs=held_attrs,
                begin=begin,
                record_bytes=int(is_record),
            )
    if len(growing) == 1:  # a single record variable is not padded
        record_size = growing[0][1]
    variables = {
        name: held if not held.record_bytes else _with_records(held, record_size)
        for name, held in found.items()
    }
    return Header(variables=variables, attrs=attrs)


def _with_records(held: Held, record_bytes: int) -> Held:
    return Held(
        dims=held.dims,
        shape=held.shape,
        dtype=held.dtype,
        attrs=held.attrs,
        begin=held.begin,
        record_bytes=record_bytes,
    )


def values(
    file: BinaryIO, path: str | PathLike, held: Held, file_size: int, index: tuple[int | slice, ...]
) -> np.ndarray:
    """The part `index` of a variable, in native byte order, from a file of `file_size` bytes.

    Raises:
        DataError: the variable lies beyond the end of the file.
    """
    count = 1
    for length in held.shape:
        count *= length
    inner = count // max(held.shape[0], 1) * held.dtype.itemsize if held.shape else held.dtype.itemsize
    step = held.record_bytes or inner
    last = held.begin + (step * (held.shape[0] - 1) + inner if held.shape else inner)
    if count == 0 or last > file_size:
        raise fault(path, f"a file of at least {last} bytes", f"{file_size} bytes", _CURE)
    if held.shape and isinstance(index[0], int):
        raw = _slab(file, held, held.begin + index[0] * step, inner, held.shape[1:])
        picked = raw[tuple(index[1:])]
    elif not held.record_bytes:
        picked = _slab(file, held, held.begin, count * held.dtype.itemsize, held.shape)[tuple(index)]
    else:
        slabs = [
            _slab(file, held, held.begin + i * step, inner, held.shape[1:]) for i in range(held.shape[0])
        ]
        picked = np.stack(slabs)[tuple(index)]
    return np.asarray(picked).astype(held.dtype.newbyteorder("="))


def _slab(file: BinaryIO, held: Held, offset: int, count: int, shape: tuple[int, ...]) -> np.ndarray:
    file.seek(offset)
    return np.frombuffer(file.read(count), held.dtype).reshape(shape)

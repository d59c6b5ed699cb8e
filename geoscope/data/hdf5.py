"""HDF5 files, one at a time in the process, checked before anything in them is read.

The HDF5 library is not built for several threads; every read of geoscope goes through `opened`, which holds
one lock. A file may point to other files, claim any size and carry attributes of any length: none of that is
followed.
"""

import math
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from os import PathLike
from typing import Any

import h5py
import numpy as np

from geoscope.data.formats.faults import check_bytes, fault, reading

LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):  # a worker never starts in the middle of another thread's read
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
_MOST_OBJECTS = 20_000
_LONGEST_ATTRIBUTE = 1 << 20
_DEFLATE_RATIO = 1032  # the most that one byte of deflate can become
_STEP = 1 << 20
_FREE_BYTES = 1 << 28  # what a chunk may inflate to without being measured first


@contextmanager
def opened(path: str | PathLike, what: str = "an HDF5 file") -> Iterator[Any]:
    """The `h5py.File`, open for reading under the process-wide lock; the library's faults become `DataError`.

    Raises:
        DataError: it is no HDF5 file, is damaged, or reaches into other files.
    """
    with LOCK, reading(path, what), h5py.File(path, "r") as file:
        _refuse_foreign(file, path)
        yield file


def _refuse_foreign(file: h5py.File, path: str | PathLike) -> None:
    """Refuse links into other files and data kept in other files; soft links are not followed."""
    seen: set[int] = set()
    waiting: list[h5py.Group] = [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise fault(path, "all data inside the file", f"an external link {name!r}", _CURE)
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            address = hash(item.id)  # of the place in the file: two links to one object are equal
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise fault(path, f"at most {_MOST_OBJECTS} objects", "more", "take a file of one product")
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                raise fault(path, "all data inside the file", f"{name!r} kept in another file", _CURE)


_CURE = "copy the data into one file, for example with h5repack"


def attribute(item: Any, name: str, default: Any = None) -> Any:
    """An attribute as str, int, float or list of these; `default` where it is missing or very long."""
    if name not in item.attrs:
        return default
    if item.attrs.get_id(name).get_storage_size() > _LONGEST_ATTRIBUTE:
        return default
    return plain(item.attrs[name])


def plain(value: Any) -> Any:
    """A numpy or HDF5 value as str, int, float or list of these."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, np.ndarray):
        return plain(value.reshape(-1)[0]) if value.size == 1 else [plain(v) for v in value.reshape(-1)]
    return value.item() if isinstance(value, np.generic) and not isinstance(value, bytes) else value


def dataset(file: Any, name: str, path: str | PathLike) -> h5py.Dataset:
    """A dataset of numbers. `check_size` says whether it may be read.

    Raises:
        DataError: it is missing, or not numbers.
    """
    item = file.get(name) if isinstance(file.get(name, getlink=True), h5py.HardLink | h5py.SoftLink) else None
    if not isinstance(item, h5py.Dataset):
        raise fault(path, f"a dataset {name!r}", "none", "take a whole file of this product")
    if item.dtype.kind not in "iuf":
        raise fault(path, f"numbers in {name!r}", f"values of type {item.dtype}", "take a file of numbers")
    return item


def group(file: Any, name: str, path: str | PathLike) -> Any:
    """A group of the file.

    Raises:
        DataError: there is none of this name.
    """
    item = file.get(name)
    if not isinstance(item, h5py.Group):
        raise fault(path, f"a group {name!r}", "none", "take a whole file of this product")
    return item


def _itemsize(item: h5py.Dataset) -> int:
    return int(np.dtype(item.dtype).itemsize)


def check_size(
    item: h5py.Dataset,
    path: str | PathLike,
    max_bytes: int,
    shape: tuple[int, ...] = (),
    first: int | None = None,
) -> None:
    """Refuse a dataset whose part `shape` (default: all of it) or one chunk needs more than `max_bytes`.

    `first` is the place along the first axis where one entry will be read: then only its chunks are looked at.

    Raises:
        DataError: it needs more.
    """
    count = float(np.prod([float(n) for n in (shape or item.shape)]))
    check_bytes(path, count * _itemsize(item), max_bytes, f"a dataset {item.name!r}")
    refuse_bomb(item, path, max_bytes, first)


def refuse_bomb(item: h5py.Dataset, path: str | PathLike, max_bytes: int, first: int | None = None) -> None:
    """Refuse chunks that are larger than `max_bytes`, or that unpack to more than they say.

    The library inflates a chunk whole before it looks at the size. A chunk whose stored bytes could become
    more than a few times its nominal size is therefore measured here first, a step at a time.

    Raises:
        DataError: a chunk is too large.
    """
    if not item.chunks:
        return
    nominal = int(np.prod([float(n) for n in item.chunks])) * _itemsize(item)
    check_bytes(path, nominal, max_bytes, f"a chunk of {item.name!r}")
    if item.compression != "gzip" or item.id.get_storage_size() * _DEFLATE_RATIO <= _FREE_BYTES:
        return
    for stored in _stored_chunks(item, first):
        if stored.size * _DEFLATE_RATIO <= _FREE_BYTES:
            continue
        check_bytes(path, stored.size, max_bytes, f"a stored chunk of {item.name!r}")
        _, packed = item.id.read_direct_chunk(stored.chunk_offset)
        if _inflates_past(packed, 2 * nominal + _STEP):
            raise fault(
                path, f"chunks of {nominal} bytes in {item.name!r}", "one that unpacks to more", _CURE
            )


def _stored_chunks(item: h5py.Dataset, first: int | None) -> Iterator[Any]:
    """What the file says about its chunks: all, or those that hold entry `first` of the first axis."""
    count, lengths = item.id.get_num_chunks(), item.chunks or item.shape
    if first is not None:
        spans = [range(0, length, step) for length, step in zip(item.shape[1:], lengths[1:], strict=True)]
        if math.prod(len(span) for span in spans) < count:
            row = first // lengths[0] * lengths[0]
            for corner in product([row], *spans):
                stored = item.id.get_chunk_info_by_coord(corner)
                if stored.byte_offset is not None:
                    yield stored
            return
    for number in range(count):
        yield item.id.get_chunk_info(number)


def _inflates_past(packed: bytes, limit: int) -> bool:
    decoder, count = zlib.decompressobj(), 0
    while packed and not decoder.eof:
        try:
            chunk = decoder.decompress(packed, _STEP)
        except zlib.error:  # not deflate, or damaged: the library will say so itself
            return False
        count += len(chunk)
        packed = decoder.unconsumed_tail
        if count > limit:
            return True
    return False

"""Frames of a long archive, read when they are needed and forgotten when they are not.

`LazyFrames` is cut into `Cut`s: a few blocks of the archive with all that is needed to read them, small enough to
travel to another process. Blocks that the next forecast needs too are kept, up to a bound.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr

FRAMES_IN_A_BLOCK = 4
KEPT_BYTES = 256 * 2**20  # of blocks already read, in each process


@dataclass(frozen=True, eq=False)
class Cut:
    """Frames of an archive: `blocks` are keys of `graph`, in order; the first `skip` of their frames do not count."""

    graph: Mapping[Any, Any]
    blocks: tuple[Any, ...]
    skip: int
    count: int

    def read(self) -> np.ndarray:
        """The frames, (count, H, W) float32; NaN = no data.

        Raises:
            DataError: a file cannot be read.
        """
        parts = [_kept.get(key, self.graph) for key in self.blocks]
        return np.concatenate(parts)[self.skip : self.skip + self.count]


class LazyFrames:
    """The frames of a field (time, y, x), lazy (dask) or in memory, ready to be cut by time."""

    def __init__(self, rain: xr.DataArray) -> None:
        chunks = rain.chunks
        if chunks is None:
            self._values: np.ndarray | None = rain.values
            return
        self._values = None
        whole = rain.data.rechunk({1: -1, 2: -1}) if max(len(chunks[1]), len(chunks[2])) > 1 else rain.data
        self._graph = dict(whole.__dask_graph__())
        self._name = whole.name
        self._bounds = np.concatenate([[0], np.cumsum(whole.chunks[0])])

    def cut(self, frames: slice) -> Cut:
        """The frames from ``frames.start`` up to ``frames.stop``."""
        start, stop = int(frames.start), int(frames.stop)
        if self._values is not None:
            key = ("frames", start, stop)
            return Cut({key: np.asarray(self._values[start:stop], np.float32)}, (key,), 0, stop - start)
        from dask.optimization import cull

        first = int(np.searchsorted(self._bounds, start, "right")) - 1
        last = int(np.searchsorted(self._bounds, stop, "left")) - 1
        keys = tuple((self._name, block, 0, 0) for block in range(first, last + 1))
        graph, _ = cull(self._graph, list(keys))
        return Cut(graph, keys, start - int(self._bounds[first]), stop - start)


class _Kept:
    """The blocks read last, up to `KEPT_BYTES` of them."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, graph: Mapping[Any, Any]) -> np.ndarray:
        """The block behind ``key``, read unless it is kept."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        held = graph[key]
        block = held if isinstance(held, np.ndarray) else _compute(graph, key)
        if held is block:  # already in memory: nothing to keep
            return block
        with self._lock:
            self._blocks[key] = block
            while len(self._blocks) > 1 and sum(kept.nbytes for kept in self._blocks.values()) > KEPT_BYTES:
                self._blocks.popitem(last=False)
        return block


def _compute(graph: Mapping[Any, Any], key: Any) -> np.ndarray:
    """In this thread: a worker must not ask its own cluster, nor read with more threads than it has."""
    from dask.local import get_sync

    return np.asarray(get_sync(dict(graph), key), np.float32)


_kept = _Kept()

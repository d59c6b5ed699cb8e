"""Relative positions inside a cuboid, and the learned bias that belongs to each.

A bias table has one row for every difference (dt, dh, dw) = query - key that two tokens of a cuboid can have:
(2t-1)(2h-1)(2w-1) rows for a cuboid (t, h, w), row-major. Along a dilated axis the difference counts places
in the cuboid, not pixels.
"""

from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Axes


def table_rows(size: Axes) -> int:
    """Rows of the bias table of cuboids of ``size``."""
    return prod(2 * length - 1 for length in size)


def _places(size: Axes) -> Tensor:
    """(t, h, w) of each token of a cuboid, (L, 3)."""
    return torch.cartesian_prod(*(torch.arange(length) for length in size)).view(-1, 3)


def relative_position_index(
    table_size: Axes,
    size: Axes | None = None,
    key_size: Axes | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Row of the bias table for each pair of tokens, (Lq, Lk) int64.

    ``table_size`` is the cuboid that the table was made for; ``size`` and ``key_size`` are the cuboids of
    queries and keys, no longer than it along any axis (by default the same). Both count places from 0.
    """
    kept = _index if torch.compiler.is_compiling() else _kept_index  # a graph keeps what it made by itself
    return kept(table_size, size or table_size, key_size or size or table_size, device)


def _index(table_size: Axes, size: Axes, key_size: Axes, device: torch.device | str) -> Tensor:
    query, key = _places(size), _places(key_size)
    steps = query[:, None] - key[None]  # (Lq, Lk, 3)
    t, h, w = table_size
    index = (
        ((steps[..., 0] + t - 1) * (2 * h - 1) + steps[..., 1] + h - 1) * (2 * w - 1) + steps[..., 2] + w - 1
    )
    return index.to(device)


# What is kept must serve training too.
_kept_index = lru_cache(maxsize=64)(torch.inference_mode(False)(_index))


def relative_bias(table: Tensor, index: Tensor) -> Tensor:
    """The bias of each pair of tokens, (heads, Lq, Lk), from a table (rows, heads)."""
    return table[index.flatten()].view(*index.shape, -1).permute(2, 0, 1)

"""Large fields in overlapping tiles, blended so that no seam shows.

A tile's weight rises linearly from its rim over the overlap; weights are normalised, so constant fields pass
unchanged and a pixel well inside one tile is that tile's alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def tile_starts(length: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """Where tiles of ``tile`` pixels begin, multiples of ``multiple``, the last one reaching the end.

    ``tile`` and ``overlap`` are multiples of ``multiple``. One tile, at 0, where ``length`` <= ``tile``.
    """
    if length <= tile:
        return [0]
    stride = tile - overlap
    last = -(-(length - tile) // multiple) * multiple
    return [*range(0, last, stride), last]


def _ramp(size: int, overlap: int, is_first: bool, is_last: bool, like: Tensor) -> Tensor:
    place = torch.arange(size, dtype=like.dtype, device=like.device) + 0.5
    weight = torch.ones_like(place)
    if not is_first:
        weight = torch.minimum(weight, place / overlap)
    if not is_last:
        weight = torch.minimum(weight, (size - place) / overlap)
    return weight


def run_in_tiles(
    run: Callable[[Tensor], Tensor], x: Tensor, *, tile: int, overlap: int, multiple: int, scale: int
) -> Tensor:
    """``run`` on overlapping tiles of ``x`` (B, T, H, W, C), blended: (B, S, H / scale, W / scale, C').

    ``run`` turns a tile (B, T, h, w, C) into (B, S, h / scale, w / scale, C'). H and W are multiples of ``multiple``,
    which is a multiple of ``scale``.
    """
    height, width = x.shape[2:4]
    rows, columns = (tile_starts(length, tile, overlap, multiple) for length in (height, width))
    if len(rows) == len(columns) == 1:
        return run(x)
    total: Tensor | None = None
    weights: Tensor | None = None
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            part = run(x[:, :, row : row + tile, column : column + tile])
            h, w = part.shape[2:4]
            down = _ramp(h, overlap // scale, i == 0, i == len(rows) - 1, part)
            across = _ramp(w, overlap // scale, j == 0, j == len(columns) - 1, part)
            weight = (down[:, None] * across[None, :])[..., None]
            if total is None or weights is None:
                total = part.new_zeros(*part.shape[:2], height // scale, width // scale, part.shape[-1])
                weights = part.new_zeros(height // scale, width // scale, 1)
            place = (slice(row // scale, row // scale + h), slice(column // scale, column // scale + w))
            total[:, :, place[0], place[1]] += part * weight
            weights[place] += weight
    assert total is not None
    assert weights is not None
    return total / weights

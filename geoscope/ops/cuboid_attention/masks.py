"""Which tokens of a cuboid may attend to each other.

Two things close a pair: a shifted volume wraps around, so a cuboid can hold tokens from opposite edges; and
padding of kind "ignore" is not data. Both depend on shapes only, so masks are kept between calls.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Axes, Cuboids, cut, partition_cuboids, volume_shape
from geoscope.ops.cuboid_attention.request import Request


@dataclass(frozen=True)
class CuboidMask:
    """``pairs`` (N, Lq, Lk), True where query and key may meet; ``has_closed_rows`` when a query of real
    data sees no key at all.
    """

    pairs: Tensor
    has_closed_rows: bool


def _regions(shape: Axes, cuboids: Cuboids) -> Tensor:
    """Region of every token after the roll, (N, L); tokens of different regions are not neighbours."""
    region = torch.zeros(cuboids.padded(shape), dtype=torch.int64)
    for axis, (step, roll, way) in enumerate(zip(cuboids.size, cuboids.shift, cuboids.strategy, strict=True)):
        along = torch.zeros(region.shape[axis], dtype=torch.int64)
        if roll and way == "local":  # a dilated cuboid spans the axis anyway: it has no seam
            along[-step:] = 1  # the last cuboid holds what was there ...
            along[-roll:] = 2  # ... and what wrapped around from the start
        region = region * 3 + along.view([-1 if a == axis else 1 for a in range(3)])
    return partition_cuboids(region[None], cuboids.size, cuboids.strategy)[0]


def _is_data(shape: Axes, cuboids: Cuboids) -> Tensor:
    """Which tokens are data and not padding, (N, L) bool."""
    return cut(torch.ones(1, *shape), cuboids)[0] > 0


def request_mask(request: Request) -> CuboidMask | None:
    """Which pairs of a request may meet, with its mask of the keys; None when all may."""
    query, key, key_cuboids = request.query, request.key, request.key_cuboids
    mask = attention_mask(volume_shape(query), request.cuboids, volume_shape(key), key_cuboids, query.device)
    if request.key_mask is None:
        return mask
    open_keys = cut(request.key_mask[None].float(), key_cuboids)[0] > 0
    if key_cuboids.padding == "zeros":  # such padding is seen, whatever the mask of the data says
        open_keys |= cut(torch.ones_like(request.key_mask[None], dtype=torch.float32), key_cuboids)[0] == 0
    of_cuboids = open_keys[:, None].expand(-1, request.cuboids.volume, -1)
    return CuboidMask(of_cuboids if mask is None else mask.pairs & of_cuboids, has_closed_rows=True)


def attention_mask(
    shape: Axes, cuboids: Cuboids, key_shape: Axes, key_cuboids: Cuboids, device: torch.device
) -> CuboidMask | None:
    """Which pairs of tokens may meet, or None when all may.

    ``shape`` and ``key_shape`` are the (T, H, W) of queries and keys before padding.
    """
    is_shifted = any(cuboids.shift) or any(key_cuboids.shift)
    if is_shifted or _hides_padding(shape, cuboids) or _hides_padding(key_shape, key_cuboids):
        make = _make_mask if torch.compiler.is_compiling() else _kept_mask
        return make(shape, cuboids, key_shape, key_cuboids, device)
    return None


def _hides_padding(shape: Axes, cuboids: Cuboids) -> bool:
    return cuboids.padding == "ignore" and cuboids.padded(shape) != tuple(shape)


def _make_mask(
    shape: Axes, cuboids: Cuboids, key_shape: Axes, key_cuboids: Cuboids, device: torch.device
) -> CuboidMask:
    pairs = _regions(shape, cuboids)[:, :, None] == _regions(key_shape, key_cuboids)[:, None, :]
    is_data = _is_data(shape, cuboids)
    if _hides_padding(key_shape, key_cuboids):
        pairs &= _is_data(key_shape, key_cuboids)[:, None, :]
    has_closed_rows = bool((~pairs.any(-1) & is_data).any())
    if _hides_padding(shape, cuboids):
        pairs &= is_data[:, :, None]
    return CuboidMask(pairs.to(device), has_closed_rows)


# What is kept must serve training too.
_kept_mask = lru_cache(maxsize=32)(torch.inference_mode(False)(_make_mask))

"""What is asked of cuboid attention, and the refusal of what does not fit together."""

from typing import NamedTuple

import torch
from torch import Tensor

from geoscope.errors import ConfigError, ShapeError
from geoscope.ops.cuboid_attention.cuboids import Cuboids, volume_shape


class ExtraKeys(NamedTuple):
    """Keys outside the volume that every token sees beside those of its own cuboid (global vectors).

    query: what the tokens ask these keys with, (B, T, H, W, heads, F); it may be the query itself.
    key: (B, K, heads, F).
    value: (B, K, heads, E) with the E of the values of the volume.
    """

    query: Tensor
    key: Tensor
    value: Tensor


class Request(NamedTuple):
    """One attention, as every implementation takes it; shapes and meanings as in `cuboid_attention`."""

    query: Tensor
    key: Tensor
    value: Tensor
    cuboids: Cuboids
    key_cuboids: Cuboids
    scale: float
    bias: Tensor | None = None
    extra: ExtraKeys | None = None
    key_mask: Tensor | None = None
    dropout: float = 0.0

    @property
    def cuboid_count(self) -> int:
        """Cuboids of one volume, N."""
        return self.cuboids.count(volume_shape(self.query))

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels of a head: of the keys, of the values, of the extra keys (0 where there are none)."""
        extra = 0 if self.extra is None else self.extra.key.shape[-1]
        return self.query.shape[-1], self.value.shape[-1], extra


def check(request: Request) -> None:
    """Refuse tensors that do not fit together.

    Raises:
        ShapeError: names the tensor with its shape, and the one expected.
        ConfigError: tensors of several types or devices, or a dropout outside [0, 1).
    """
    _check_shapes(request)
    _check_types(request)
    if not 0.0 <= request.dropout < 1.0:
        raise ConfigError(f"dropout={request.dropout}: give a share from 0 to below 1")


def _check_shapes(request: Request) -> None:
    query, key, value = request.query, request.key, request.value
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim != 6:
            raise ShapeError(f"{name} has shape {tuple(x.shape)}: expected (B, T, H, W, heads, channels)")
    if key.shape[:5] != value.shape[:5]:
        raise ShapeError(f"key {tuple(key.shape)} and value {tuple(value.shape)} differ before the last axis")
    if (query.shape[0], *query.shape[4:]) != (key.shape[0], *key.shape[4:]):
        raise ShapeError(
            f"query {tuple(query.shape)} and key {tuple(key.shape)} differ in batch, heads or channels"
        )
    n_query, n_key = request.cuboid_count, request.key_cuboids.count(volume_shape(key))
    if n_query != n_key:
        raise ShapeError(
            f"queries are cut into {n_query} cuboids and keys into {n_key}: both must be as many"
        )
    wanted = (query.shape[4], request.cuboids.volume, request.key_cuboids.volume)
    if request.bias is not None and tuple(request.bias.shape) != wanted:
        raise ShapeError(f"bias has shape {tuple(request.bias.shape)}: expected (heads, Lq, Lk) = {wanted}")
    mask = request.key_mask
    if mask is not None and tuple(mask.shape) != volume_shape(key):
        raise ShapeError(f"key_mask has shape {tuple(mask.shape)}: expected {volume_shape(key)} as the keys")
    if request.extra is not None:
        _check_extra(request, request.extra)


def _check_extra(request: Request, extra: ExtraKeys) -> None:
    query = request.query
    batch, heads, count = query.shape[0], query.shape[4], extra.key.shape[1] if extra.key.ndim == 4 else -1
    if extra.query.shape[:5] != query.shape[:5]:
        raise ShapeError(
            f"extra query {tuple(extra.query.shape)} does not lie over query {tuple(query.shape)}"
        )
    wanted_key = (batch, count, heads, extra.query.shape[-1])
    wanted_value = (batch, count, heads, request.value.shape[-1])
    if tuple(extra.key.shape) != wanted_key or tuple(extra.value.shape) != wanted_value:
        raise ShapeError(
            f"extra key {tuple(extra.key.shape)} and value {tuple(extra.value.shape)}: "
            f"expected (B, K, heads, channels) = {wanted_key} and {wanted_value}"
        )


def _check_types(request: Request) -> None:
    query, bias, mask = request.query, request.bias, request.key_mask
    others = {"key": request.key, "value": request.value}
    if request.extra is not None:
        others |= {f"extra {name}": x for name, x in zip(ExtraKeys._fields, request.extra, strict=True)}
    for name, x in others.items():
        if x.dtype != query.dtype:
            raise ConfigError(
                f"{name} is {x.dtype} and query {query.dtype}: convert them to one type first with .to(dtype)"
            )
    if bias is not None and bias.dtype not in (query.dtype, torch.float32):
        raise ConfigError(
            f"bias is {bias.dtype} and query {query.dtype}: give a bias of that type or of torch.float32"
        )
    if mask is not None and mask.dtype != torch.bool:
        raise ConfigError(f"key_mask is {mask.dtype}: give torch.bool, False where a key is never to be seen")
    for name, x in {**others, "bias": bias, "key_mask": mask}.items():
        if x is not None and x.device != query.device:
            raise ConfigError(
                f"{name} lies on {x.device} and query on {query.device}: move them to one device first"
            )

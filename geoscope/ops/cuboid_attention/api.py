"""The one public door of cuboid attention: it checks once, then runs the implementation asked for."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from geoscope.errors import ConfigError, ShapeError
from geoscope.ops.cuboid_attention import reference, sdpa
from geoscope.ops.cuboid_attention.cuboids import Cuboids, cut, volume_shape
from geoscope.ops.cuboid_attention.masks import CuboidMask, attention_mask
from geoscope.ops.cuboid_attention.recording import AttentionMap, current_recorder

Impl = Literal["auto", "reference", "sdpa"]
IMPLS = ("auto", "reference", "sdpa")


class ExtraKeys(NamedTuple):
    """Keys outside the volume that every token sees beside those of its own cuboid (global vectors).

    query: what the tokens ask these keys with, (B, T, H, W, heads, F); it may be the query itself.
    key: (B, K, heads, F).
    value: (B, K, heads, E) with the E of the values of the volume.
    """

    query: Tensor
    key: Tensor
    value: Tensor


def cuboid_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cuboids: Cuboids,
    *,
    key_cuboids: Cuboids | None = None,
    bias: Tensor | None = None,
    extra: ExtraKeys | None = None,
    key_mask: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    label: str = "",
    impl: Impl = "auto",
) -> Tensor:
    """Attention between the tokens that share a cuboid, (B, T, H, W, heads, E).

    Shapes: ``query`` (B, T, H, W, heads, D); ``key`` (B, T', H', W', heads, D) and ``value`` (B, T', H', W',
    heads, E) over the same volume, or over another one that ``key_cuboids`` cuts into as many cuboids:
    cuboid n of the queries sees cuboid n of the keys. With T = 1 and size (1, M, M) this is window attention
    (Swin).

    Args:
        query: not yet scaled.
        key: see above.
        value: see above.
        cuboids: how the query volume is cut; used as given (call `Cuboids.fit` first to clip it to the
            volume).
        key_cuboids: how the key volume is cut; by default as the queries.
        bias: added to the scores, (heads, Lq, Lk), for instance `positions.relative_bias`.
        extra: keys that every token sees, in the same softmax as its cuboid.
        key_mask: (T', H', W') bool, False where a key is never to be seen (missing data).
        scale: of the scores; by default D ** -0.5.
        dropout: of the weights; 0 outside training.
        label: the name under which the map is recorded.
        impl: "reference" is the meaning of the operation, "sdpa" PyTorch's fused kernel; "auto" takes the
            fused kernel unless the weights are recorded, there are extra keys, or a bias is learnt on a CPU.

    Raises:
        ShapeError: tensors that do not fit together, named with both shapes.
        ConfigError: an unknown ``impl``, one that cannot do what is asked, or a dropout outside [0, 1).

    Source: Gao et al. 2022 (Earthformer), equations 1 to 6.
    """
    key_cuboids = key_cuboids or cuboids
    _check(query, key, value, cuboids, key_cuboids, bias, extra, key_mask)
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"dropout={dropout}: give a share from 0 to below 1")
    recorder = current_recorder()
    chosen = _choose(impl, needs_reference=extra is not None or recorder is not None, bias=bias)
    mask = _mask(query, key, cuboids, key_cuboids, key_mask)
    scale = float(query.shape[-1] ** -0.5) if scale is None else scale
    if chosen == "sdpa":
        return sdpa.attend(
            query,
            key,
            value,
            cuboids=cuboids,
            key_cuboids=key_cuboids,
            mask=mask,
            bias=bias,
            scale=scale,
            dropout=dropout,
        )
    out, weights = reference.attend(
        query,
        key,
        value,
        cuboids=cuboids,
        key_cuboids=key_cuboids,
        mask=mask,
        bias=bias,
        extra=extra,
        scale=scale,
        dropout=dropout,
    )
    if recorder is not None:
        recorder(
            AttentionMap(
                label=label,
                weights=weights.detach(),
                shape=volume_shape(query),
                cuboids=cuboids,
                key_shape=volume_shape(key),
                key_cuboids=key_cuboids,
                extra_keys=0 if extra is None else extra.key.shape[1],
            )
        )
    return out


def _choose(impl: Impl, *, needs_reference: bool, bias: Tensor | None) -> Literal["reference", "sdpa"]:
    if impl not in IMPLS:
        raise ConfigError(f"impl={impl!r} is not known: choose one of {', '.join(IMPLS)}")
    if impl == "sdpa" and needs_reference:
        raise ConfigError(
            "impl='sdpa' keeps no weights and knows no extra keys: use impl='auto' or 'reference'"
        )
    if impl != "auto":
        return impl
    # On a CPU the fused kernel has no gradient for the bias; what PyTorch runs instead is the slower of the two.
    is_slower = (
        bias is not None and bias.device.type == "cpu" and bias.requires_grad and torch.is_grad_enabled()
    )
    return "reference" if needs_reference or is_slower else "sdpa"


def _mask(
    query: Tensor, key: Tensor, cuboids: Cuboids, key_cuboids: Cuboids, key_mask: Tensor | None
) -> CuboidMask | None:
    mask = attention_mask(volume_shape(query), cuboids, volume_shape(key), key_cuboids, query.device)
    if key_mask is None:
        return mask
    open_keys = (cut(key_mask[None].to(query.dtype), key_cuboids)[0] > 0)[:, None, :]
    if key_cuboids.padding == "zeros":  # such padding is seen, whatever the mask of the data says
        open_keys = (
            open_keys
            | (cut(torch.ones_like(key_mask[None], dtype=query.dtype), key_cuboids)[0] == 0)[:, None]
        )
    pairs = open_keys.expand(-1, cuboids.volume, -1) if mask is None else mask.pairs & open_keys
    return CuboidMask(pairs, has_closed_rows=True)


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cuboids: Cuboids,
    key_cuboids: Cuboids,
    bias: Tensor | None,
    extra: ExtraKeys | None,
    key_mask: Tensor | None,
) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.ndim != 6:
            raise ShapeError(f"{name} has shape {tuple(x.shape)}: expected (B, T, H, W, heads, channels)")
    if key.shape[:5] != value.shape[:5]:
        raise ShapeError(f"key {tuple(key.shape)} and value {tuple(value.shape)} differ before the last axis")
    heads = query.shape[4]
    if (query.shape[0], *query.shape[4:]) != (key.shape[0], *key.shape[4:]):
        raise ShapeError(
            f"query {tuple(query.shape)} and key {tuple(key.shape)} differ in batch, heads or channels"
        )
    n_query, n_key = cuboids.count(volume_shape(query)), key_cuboids.count(volume_shape(key))
    if n_query != n_key:
        raise ShapeError(
            f"queries are cut into {n_query} cuboids and keys into {n_key}: both must be as many"
        )
    if bias is not None and tuple(bias.shape) != (heads, cuboids.volume, key_cuboids.volume):
        wanted = (heads, cuboids.volume, key_cuboids.volume)
        raise ShapeError(f"bias has shape {tuple(bias.shape)}: expected (heads, Lq, Lk) = {wanted}")
    if key_mask is not None and tuple(key_mask.shape) != volume_shape(key):
        raise ShapeError(
            f"key_mask has shape {tuple(key_mask.shape)}: expected {volume_shape(key)} as the keys"
        )
    if extra is None:
        return
    batch, count = query.shape[0], extra.key.shape[1] if extra.key.ndim == 4 else -1
    wanted_key, wanted_value = (
        (batch, count, heads, extra.query.shape[-1]),
        (batch, count, heads, value.shape[-1]),
    )
    if extra.query.shape[:5] != query.shape[:5]:
        raise ShapeError(
            f"extra query {tuple(extra.query.shape)} does not lie over query {tuple(query.shape)}"
        )
    if tuple(extra.key.shape) != wanted_key or tuple(extra.value.shape) != wanted_value:
        raise ShapeError(
            f"extra key {tuple(extra.key.shape)} and value {tuple(extra.value.shape)}: "
            f"expected (B, K, heads, channels) = {wanted_key} and {wanted_value}"
        )

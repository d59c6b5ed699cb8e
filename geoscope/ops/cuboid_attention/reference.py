"""What cuboid attention means, in plain PyTorch: cut, compare, weigh, put together again."""

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Cuboids, cut, join, volume_shape
from geoscope.ops.cuboid_attention.masks import CuboidMask

CLOSED = -1e18  # far below any score, and finite, so that a row without an open key has no NaN


def closed_score(dtype: torch.dtype) -> float:
    """The score of a pair that may not meet: -1e18, or what half precision can still hold."""
    return max(CLOSED, torch.finfo(dtype).min / 2)


def masked_softmax(scores: Tensor, pairs: Tensor | None) -> Tensor:
    """Softmax over the last axis among the open pairs; a row without any is all zeros."""
    if pairs is None:
        return scores.softmax(-1)
    weights = scores.masked_fill(~pairs, closed_score(scores.dtype)).softmax(-1)
    return weights * pairs


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    cuboids: Cuboids,
    key_cuboids: Cuboids,
    mask: CuboidMask | None,
    bias: Tensor | None,
    extra: tuple[Tensor, Tensor, Tensor] | None,
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Attention inside cuboids, and its weights.

    Shapes: ``query`` (B, T, H, W, heads, D), ``key`` the same over its own volume, ``value`` (..., heads, E);
    ``extra`` is (query for the extra keys (B, T, H, W, heads, F), keys (B, K, heads, F), values (B, K,
    heads, E)). The result is (B, T, H, W, heads, E), the weights (B, heads, N, Lq, Lk + K).
    """
    q, k, v = cut(query * scale, cuboids), cut(key, key_cuboids), cut(value, key_cuboids)
    scores = torch.einsum("bnqhd,bnkhd->bhnqk", q, k)
    if bias is not None:
        scores = scores + bias[:, None]
    pairs = None if mask is None else mask.pairs
    if extra is None:
        weights = masked_softmax(scores, pairs)
        out = torch.einsum("bhnqk,bnkhe->bnqhe", torch.dropout(weights, dropout, dropout > 0), v)
        return join(out, volume_shape(query), cuboids), weights
    extra_query, extra_key, extra_value = extra
    extra_scores = torch.einsum("bnqhf,bkhf->bhnqk", cut(extra_query * scale, cuboids), extra_key)
    if pairs is not None:
        pairs = torch.cat([pairs, pairs.new_ones(*pairs.shape[:2], extra_key.shape[1])], dim=-1)
    weights = masked_softmax(torch.cat([scores, extra_scores], dim=-1), pairs)
    local, glob = torch.dropout(weights, dropout, dropout > 0).split([k.shape[2], extra_key.shape[1]], dim=-1)
    out = torch.einsum("bhnqk,bnkhe->bnqhe", local, v) + torch.einsum("bhnqk,bkhe->bnqhe", glob, extra_value)
    return join(out, volume_shape(query), cuboids), weights

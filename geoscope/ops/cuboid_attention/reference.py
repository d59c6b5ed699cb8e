"""What cuboid attention means, in plain PyTorch: cut, compare, weigh, put together again."""

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import cut, join, volume_shape
from geoscope.ops.cuboid_attention.masks import request_mask
from geoscope.ops.cuboid_attention.request import Request

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


def attend(request: Request) -> tuple[Tensor, Tensor]:
    """Attention inside cuboids (B, T, H, W, heads, E), and its weights (B, heads, N, Lq, Lk + K)."""
    query, cuboids, key_cuboids = request.query, request.cuboids, request.key_cuboids
    q, k, v = (
        cut(query * request.scale, cuboids),
        cut(request.key, key_cuboids),
        cut(request.value, key_cuboids),
    )
    mask = request_mask(request)
    pairs = None if mask is None else mask.pairs
    scores = torch.einsum("bnqhd,bnkhd->bhnqk", q, k)
    if request.bias is not None:
        scores = scores + request.bias[:, None]
    if request.extra is None:
        weights = masked_softmax(scores, pairs)
        dropped = torch.dropout(weights, request.dropout, request.dropout > 0).to(v.dtype)
        out = torch.einsum("bhnqk,bnkhe->bnqhe", dropped, v)
        return join(out, volume_shape(query), cuboids), weights
    asked, extra_key, extra_value = request.extra
    extra_scores = torch.einsum("bnqhf,bkhf->bhnqk", cut(asked * request.scale, cuboids), extra_key)
    if pairs is not None:
        pairs = torch.cat([pairs, pairs.new_ones(*pairs.shape[:2], extra_key.shape[1])], dim=-1)
    weights = masked_softmax(torch.cat([scores, extra_scores], dim=-1), pairs)
    dropped = torch.dropout(weights, request.dropout, request.dropout > 0).to(v.dtype)
    local, glob = dropped.split([k.shape[2], extra_key.shape[1]], dim=-1)
    out = torch.einsum("bhnqk,bnkhe->bnqhe", local, v) + torch.einsum("bhnqk,bkhe->bnqhe", glob, extra_value)
    return join(out, volume_shape(query), cuboids), weights

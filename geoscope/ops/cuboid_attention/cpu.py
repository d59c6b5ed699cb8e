"""Cuboid attention by PyTorch's own operations, arranged as they run fastest on a CPU; equal to the reference within
rounding.

Two arrangements, chosen by what was measured (benchmarks/cuboid_attention.py):
    fused: `scaled_dot_product_attention` on views of the volume, which copies only where cuboids are no plain axis
        of it. It has no gradient for a bias on a CPU.
    batched: two batched matrix products around one softmax; for extra keys, which have queries of their own (a fused
        operation would have to compare channels twice as wide), for a bias that is learnt, and for bfloat16 in
        cuboids of up to 256 tokens, which the fused operation widens piece by piece.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Cuboids, cut, join, volume_shape
from geoscope.ops.cuboid_attention.masks import CuboidMask, request_mask
from geoscope.ops.cuboid_attention.reference import closed_score
from geoscope.ops.cuboid_attention.request import Request

SHORT = 256  # tokens of a cuboid up to which scores in bfloat16 are best kept whole


def attend(request: Request) -> Tensor:
    """The attention of `reference.attend` without its weights."""
    if request.extra is not None:
        return _batched(request)
    bias, is_cpu = request.bias, request.query.device.type == "cpu"
    learns_bias = bias is not None and bias.requires_grad and torch.is_grad_enabled()
    longest = max(request.cuboids.volume, request.key_cuboids.volume)
    is_short = request.query.dtype == torch.bfloat16 and longest <= SHORT
    return _batched(request) if is_cpu and (learns_bias or is_short) else _fused(request)


def _fused(request: Request) -> Tensor:
    query, cuboids, key_cuboids, batch = (
        request.query,
        request.cuboids,
        request.key_cuboids,
        request.query.shape[0],
    )
    mask = request_mask(request)
    q, k, v = (
        rearrange(cut(x, kind), "b n l h d -> (b n) h l d")
        for x, kind in ((query, cuboids), (request.key, key_cuboids), (request.value, key_cuboids))
    )
    added = None if request.bias is None else request.bias[None].to(q.dtype)  # (1, heads, Lq, Lk)
    if mask is not None:
        added = q.new_zeros(1, 1, 1, 1) if added is None else added
        added = added.masked_fill(~mask.pairs[:, None], closed_score(q.dtype))  # (N, 1 or heads, Lq, Lk)
        added = added.repeat(batch, 1, 1, 1) if batch > 1 else added
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=added, scale=request.scale, dropout_p=request.dropout
    )
    if mask is not None and mask.has_closed_rows:
        open_rows = mask.pairs.any(-1)[:, None, :, None]
        out = out * (open_rows.repeat(batch, 1, 1, 1) if batch > 1 else open_rows)
    return join(rearrange(out, "(b n) h l d -> b n l h d", b=batch), volume_shape(query), cuboids)


def _batched(request: Request) -> Tensor:
    query, cuboids, key_cuboids = request.query, request.cuboids, request.key_cuboids
    mask = request_mask(request)
    q, k, v = (
        _by_head(x, kind)
        for x, kind in ((query, cuboids), (request.key, key_cuboids), (request.value, key_cuboids))
    )
    scores = _scores(q, k, request)
    if request.extra is None:
        out = torch.matmul(_weights(scores, mask, 0, request.dropout), v)
        return join(rearrange(out, "b h n l e -> b n l h e"), volume_shape(query), cuboids)
    asked, extra_key, extra_value = request.extra
    own = q if asked is query else _by_head(asked, cuboids)
    extra = torch.matmul(own.flatten(2, 3), rearrange(extra_key * request.scale, "b k h f -> b h f k"))
    scores, count = torch.cat([scores, extra.view(*scores.shape[:4], -1)], dim=-1), extra_key.shape[1]
    local, glob = _weights(scores, mask, count, request.dropout).split([k.shape[3], count], dim=-1)
    out = torch.matmul(glob.flatten(2, 3), rearrange(extra_value, "b k h e -> b h k e")).view(
        *q.shape[:4], -1
    )
    out = out + torch.matmul(local, v)
    return join(rearrange(out, "b h n l e -> b n l h e"), volume_shape(query), cuboids)


def _by_head(x: Tensor, cuboids: Cuboids) -> Tensor:
    """The tokens of each cuboid, (B, heads, N, L, D), one block of memory for each matrix product."""
    return rearrange(cut(x, cuboids), "b n l h d -> b h n l d").contiguous()


def _scores(q: Tensor, k: Tensor, request: Request) -> Tensor:
    """Scores with their bias, (B, heads, N, Lq, Lk): one product that scales and adds as it goes."""
    shape = (*q.shape[:4], k.shape[3])
    if request.bias is None:
        start, weight = q.new_zeros(1, 1, 1), 0.0
    else:
        start, weight = request.bias[None, :, None].to(q.dtype).expand(shape).reshape(-1, *shape[3:]), 1.0
    queries, keys = q.flatten(0, 2), k.flatten(0, 2).transpose(1, 2)
    return torch.baddbmm(start, queries, keys, beta=weight, alpha=request.scale).view(shape)


def _weights(scores: Tensor, mask: CuboidMask | None, extra: int, dropout: float) -> Tensor:
    """The softmax of scores that nobody else reads, (B, heads, N, Lq, Lk + extra); the extra keys are open to all."""
    if mask is not None:
        scores = scores.masked_fill_(F.pad(~mask.pairs, (0, extra)), closed_score(scores.dtype))
    weights = scores.softmax(-1)
    if mask is not None and mask.has_closed_rows and not extra:  # what is closed in other rows is 0 already
        weights = weights * mask.pairs
    return torch.dropout(weights, dropout, dropout > 0)

"""Cuboid attention by PyTorch's own operations, arranged as they run fastest on a CPU; equal to the reference within
rounding.

Two arrangements, chosen by what was measured (benchmarks/cuboid_attention.py):
    fused: `scaled_dot_product_attention` on views of the volume, which copies only where cuboids are no plain axis
        of it. It has no gradient for a bias on a CPU.
    batched: two batched matrix products around one softmax; for extra keys, which have queries of their own (a fused
        operation would have to compare channels twice as wide), for a bias that is learnt, for cuboids so small that
        starting the fused operation costs more than its work, and for bfloat16 in cuboids of up to 256 tokens, which
        the fused operation widens piece by piece.
PyTorch takes the softmax of a row that is shorter than a vector of the processor number by number, up to 13 times as
slowly: such rows are filled up with closed keys.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import cut, cut_by_head, join, volume_shape
from geoscope.ops.cuboid_attention.masks import CuboidMask, request_mask
from geoscope.ops.cuboid_attention.reference import closed_score
from geoscope.ops.cuboid_attention.request import Request

LANES_BYTES = 64  # of a vector of the processor
SMALL = 512  # numbers that the keys of one head and cuboid hold, up to which float32 goes through batched products
SHORT = 256  # tokens of a cuboid up to which scores in bfloat16 are best kept whole


def attend(request: Request) -> Tensor:
    """The attention of `reference.attend` without its weights."""
    if request.extra is not None:
        return _batched(request)
    bias, is_cpu = request.bias, request.query.device.type == "cpu"
    learns_bias = bias is not None and bias.requires_grad and torch.is_grad_enabled()
    return _batched(request) if is_cpu and (learns_bias or _is_small(request)) else _fused(request)


def _is_small(request: Request) -> bool:
    longest = max(request.cuboids.volume, request.key_cuboids.volume)
    if request.query.dtype == torch.bfloat16:
        return longest <= SHORT
    lanes = LANES_BYTES // request.query.element_size()
    return longest < lanes or longest * request.query.shape[-1] <= SMALL


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
        cut_by_head(x, kind)
        for x, kind in ((query, cuboids), (request.key, key_cuboids), (request.value, key_cuboids))
    )
    scores = _scores(q, k, request)
    if request.extra is None:
        out = torch.matmul(_weights(scores, None, mask, request.dropout), v)
        return join(rearrange(out, "b h n l e -> b n l h e"), volume_shape(query), cuboids)
    asked, extra_key, extra_value = request.extra
    own = q if asked is query else cut_by_head(asked, cuboids)
    extra = torch.matmul(own.flatten(2, 3), rearrange(extra_key * request.scale, "b k h f -> b h f k"))
    extra = extra.view(*scores.shape[:4], -1)
    weights = _weights(scores, extra, mask, request.dropout)
    local, glob = weights.split([k.shape[3], extra.shape[-1]], dim=-1)
    out = torch.matmul(glob.flatten(2, 3), rearrange(extra_value, "b k h e -> b h k e")).view(
        *q.shape[:4], -1
    )
    out = out + torch.matmul(local, v)
    return join(rearrange(out, "b h n l e -> b n l h e"), volume_shape(query), cuboids)


def _scores(q: Tensor, k: Tensor, request: Request) -> Tensor:
    """Scores with their bias, (B, heads, N, Lq, Lk): one product that scales and adds as it goes."""
    shape = (*q.shape[:4], k.shape[3])
    queries, keys = q.flatten(0, 2), k.flatten(0, 2).transpose(1, 2)
    if request.bias is None:
        return torch.baddbmm(q.new_zeros(1, 1, 1), queries, keys, beta=0.0, alpha=request.scale).view(shape)
    start = request.bias[None, :, None].to(q.dtype).expand(shape).clone(memory_format=torch.contiguous_format)
    return start.flatten(0, 2).baddbmm_(queries, keys, alpha=request.scale).view(shape)


def _weights(scores: Tensor, extra: Tensor | None, mask: CuboidMask | None, dropout: float) -> Tensor:
    """The softmax of scores that nobody else reads (B, heads, N, Lq, Lk) and of those of extra keys, open to all."""
    closed, parts = closed_score(scores.dtype), [scores] if extra is None else [scores, extra]
    own, width = scores.shape[-1], sum(part.shape[-1] for part in parts)
    missing = LANES_BYTES // scores.element_size() - width
    if missing > 0:
        parts.append(scores.new_full((), closed).expand(*scores.shape[:-1], missing))
    scores = scores if len(parts) == 1 else torch.cat(parts, dim=-1)
    if mask is not None:
        scores = scores.masked_fill_(F.pad(~mask.pairs, (0, scores.shape[-1] - own)), closed)
    weights = scores.softmax(-1)[..., :width]
    if (
        mask is not None and mask.has_closed_rows and extra is None
    ):  # what is closed in other rows is 0 already
        weights = weights * mask.pairs
    return torch.dropout(weights, dropout, dropout > 0)

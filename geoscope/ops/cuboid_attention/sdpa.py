"""Cuboid attention through PyTorch's fused `scaled_dot_product_attention`, equal within rounding.

It keeps no weights, so it cannot be recorded, and knows no extra keys.
"""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Cuboids, cut, join, volume_shape
from geoscope.ops.cuboid_attention.masks import CuboidMask
from geoscope.ops.cuboid_attention.reference import closed_score


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    cuboids: Cuboids,
    key_cuboids: Cuboids,
    mask: CuboidMask | None,
    bias: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """The attention of `reference.attend` without its weights; shapes as there."""
    batch = query.shape[0]
    q, k, v = (
        rearrange(cut(x, kind), "b n l h d -> (b n) h l d")
        for x, kind in ((query, cuboids), (key, key_cuboids), (value, key_cuboids))
    )
    added = None if bias is None else bias[None]  # (1, heads, Lq, Lk)
    if mask is not None:
        closed = q.new_zeros(mask.pairs.shape).masked_fill_(~mask.pairs, closed_score(q.dtype))[:, None]
        added = closed if added is None else closed + added
        added = added.repeat(batch, 1, 1, 1) if batch > 1 else added
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale, dropout_p=dropout)
    if mask is not None and mask.has_closed_rows:
        open_rows = mask.pairs.any(-1)[:, None, :, None]
        out = out * (open_rows.repeat(batch, 1, 1, 1) if batch > 1 else open_rows)
    return join(rearrange(out, "(b n) h l d -> b n l h d", b=batch), volume_shape(query), cuboids)

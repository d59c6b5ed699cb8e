# pyright: basic, reportInvalidTypeForm=false
"""The forward kernel: one pass over the keys of each cuboid with an online softmax (Milakov and Gimelshein 2018;
Dao et al. 2022), the extra keys after them in the same softmax.

A program works on one head of BLOCK_Q queries: of one cuboid, or of GROUP small cuboids at once, whose keys then
share the tiles and do not see each other.
"""

from geoscope.ops.cuboid_attention.kernels.language import tl, triton
from geoscope.ops.cuboid_attention.kernels.places import locate, offset_of, pair_scores
from geoscope.ops.cuboid_attention.kernels.tiles import (
    extra_scores,
    load_extra_keys,
    load_keys,
    load_tokens,
    own_work,
    store_tokens,
)


@triton.jit
def _fold(scores, value, highest, total, acc, DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr):
    """One more tile of keys in the softmax: new maximum [Q], sum [Q] and weighted values [Q, E]."""
    above = tl.maximum(highest, tl.max(scores, 1))
    base = tl.where(above == float("-inf"), 0.0, above)  # a row without an open key so far
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(highest - base)
    acc = tl.dot(weights.to(DOT), value, acc * shrink[:, None], input_precision=PRECISION, out_dtype=ACC)
    return above, total * shrink + tl.sum(weights, 1), acc


@triton.jit
def forward_kernel(
    query, key, value, out, highs, shares, bias, key_mask, extra_query, extra_key, extra_value,
    query_strides, key_strides, value_strides, out_strides, highs_strides, bias_strides, key_mask_strides,
    extra_query_strides, extra_key_strides, extra_value_strides,
    VOLUME_Q, VOLUME_K, heads, groups, extra_count, scale_log2,
    CUT_Q: tl.constexpr, CUT_K: tl.constexpr, GROUP: tl.constexpr, HIDES: tl.constexpr, REGIONS: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, F: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_F: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Writes ``out`` (B, T, H, W, heads, E), and of each softmax (B, T, H, W, heads) its highest score, in units of
    log2, and one over its sum relative to that.
    """
    LENGTH_Q: tl.constexpr = CUT_Q[0] * CUT_Q[1] * CUT_Q[2]
    LENGTH_K: tl.constexpr = CUT_K[0] * CUT_K[1] * CUT_K[2]
    BLOCKS: tl.constexpr = (GROUP * LENGTH_Q + BLOCK_Q - 1) // BLOCK_Q
    head, block, group, batch = own_work(heads, groups, BLOCKS)

    rows = locate(block * BLOCK_Q + tl.arange(0, BLOCK_Q), group, VOLUME_Q, CUT_Q, GROUP)
    q = load_tokens(query, query_strides, rows, batch, head, D, BLOCK_D, DOT)
    highest = tl.full([BLOCK_Q], float("-inf"), ACC)
    total = tl.zeros([BLOCK_Q], ACC)
    acc = tl.zeros([BLOCK_Q, BLOCK_E], ACC)
    for start in range(0, GROUP * LENGTH_K, BLOCK_K):
        columns, seen, k, v = load_keys(
            key, value, key_mask, key_strides, value_strides, key_mask_strides, start + tl.arange(0, BLOCK_K),
            group, batch, head, VOLUME_K, CUT_K, GROUP, HIDES, D, E, BLOCK_D, BLOCK_E, DOT,
        )  # fmt: skip
        scores = pair_scores(
            q, k, rows, columns, seen, bias, bias_strides, head, scale_log2, GROUP, REGIONS, ACC, PRECISION
        )
        highest, total, acc = _fold(scores, v, highest, total, acc, DOT, ACC, PRECISION)
    if extra_query is not None:
        q = load_tokens(extra_query, extra_query_strides, rows, batch, head, F, BLOCK_F, DOT)
        for start in range(0, extra_count, BLOCK_K):
            number = start + tl.arange(0, BLOCK_K)
            k, v = load_extra_keys(
                extra_key, extra_value, extra_key_strides, extra_value_strides, number, extra_count, batch, head,
                F, E, BLOCK_F, BLOCK_E, DOT,
            )  # fmt: skip
            scores = extra_scores(q, k, number, extra_count, scale_log2, ACC, PRECISION)
            highest, total, acc = _fold(scores, v, highest, total, acc, DOT, ACC, PRECISION)

    is_closed = total == 0.0
    share = tl.where(is_closed, 1.0, total)
    store_tokens(out, out_strides, rows, batch, head, acc / share[:, None], E, BLOCK_E)
    row_at = offset_of(rows, highs_strides, batch, head)
    tl.store(highs + row_at, tl.where(is_closed, 0.0, highest), mask=rows[6])
    tl.store(shares + row_at, tl.where(is_closed, 0.0, 1.0 / share), mask=rows[6])

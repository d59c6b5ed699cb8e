# pyright: basic, reportInvalidTypeForm=false
"""The forward kernel: one pass over the keys of each cuboid with an online softmax (Milakov and Gimelshein 2018;
Dao et al. 2022), the extra keys after them in the same softmax.

A program works on one head of BLOCK_Q queries: of one cuboid, or of GROUP small cuboids at once, whose keys then
share the tiles and do not see each other.
"""

from geoscope.ops.cuboid_attention.kernels.language import tl, triton
from geoscope.ops.cuboid_attention.kernels.places import (
    load_tile,
    locate,
    offset_of,
    open_keys,
    pair_scores,
    store_tile,
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
    program = tl.program_id(0)
    head = program % heads
    block = program // heads % BLOCKS
    group = program // (heads * BLOCKS) % groups
    batch = program // (heads * BLOCKS) // groups

    rows = locate(block * BLOCK_Q + tl.arange(0, BLOCK_Q), group, VOLUME_Q, CUT_Q, GROUP)
    q = load_tile(
        query, offset_of(rows, query_strides, batch, head), rows[6], query_strides[5], D, BLOCK_D, DOT
    )
    highest = tl.full([BLOCK_Q], float("-inf"), ACC)
    total = tl.zeros([BLOCK_Q], ACC)
    acc = tl.zeros([BLOCK_Q, BLOCK_E], ACC)
    for start in range(0, GROUP * LENGTH_K, BLOCK_K):
        columns = locate(start + tl.arange(0, BLOCK_K), group, VOLUME_K, CUT_K, GROUP)
        seen = open_keys(columns, key_mask, key_mask_strides, HIDES)
        k = load_tile(
            key, offset_of(columns, key_strides, batch, head), columns[6], key_strides[5], D, BLOCK_D, DOT
        )
        v = load_tile(
            value,
            offset_of(columns, value_strides, batch, head),
            columns[6],
            value_strides[5],
            E,
            BLOCK_E,
            DOT,
        )
        scores = pair_scores(
            q, k, rows, columns, seen, bias, bias_strides, head, scale_log2, GROUP, REGIONS, ACC, PRECISION
        )
        highest, total, acc = _fold(scores, v, highest, total, acc, DOT, ACC, PRECISION)
    if extra_query is not None:
        q = load_tile(
            extra_query, offset_of(rows, extra_query_strides, batch, head), rows[6], extra_query_strides[5],
            F, BLOCK_F, DOT,
        )  # fmt: skip
        for start in range(0, extra_count, BLOCK_K):
            number = start + tl.arange(0, BLOCK_K)
            k_at = batch.to(tl.int64) * extra_key_strides[0] + number.to(tl.int64) * extra_key_strides[1]
            v_at = batch.to(tl.int64) * extra_value_strides[0] + number.to(tl.int64) * extra_value_strides[1]
            k_at += head.to(tl.int64) * extra_key_strides[2]
            v_at += head.to(tl.int64) * extra_value_strides[2]
            k = load_tile(extra_key, k_at, number < extra_count, extra_key_strides[3], F, BLOCK_F, DOT)
            v = load_tile(extra_value, v_at, number < extra_count, extra_value_strides[3], E, BLOCK_E, DOT)
            scores = tl.dot(q, tl.trans(k), input_precision=PRECISION, out_dtype=ACC) * scale_log2
            scores = tl.where((number < extra_count)[None, :], scores, float("-inf"))
            highest, total, acc = _fold(scores, v, highest, total, acc, DOT, ACC, PRECISION)

    is_closed = total == 0.0
    share = tl.where(is_closed, 1.0, total)
    store_tile(
        out,
        offset_of(rows, out_strides, batch, head),
        rows[6],
        out_strides[5],
        acc / share[:, None],
        E,
        BLOCK_E,
    )
    row_at = offset_of(rows, highs_strides, batch, head)
    tl.store(highs + row_at, tl.where(is_closed, 0.0, highest), mask=rows[6])
    tl.store(shares + row_at, tl.where(is_closed, 0.0, 1.0 / share), mask=rows[6])

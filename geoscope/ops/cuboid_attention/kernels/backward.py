# pyright: basic, reportInvalidTypeForm=false
"""The backward kernels for queries and for keys. No program adds to what another one wrote: each token of the
queries, and each of the keys, belongs to exactly one cuboid and so to one program. The result is the same bits in
every run.

Weights are made again from the scores, their maximum and one over their sum: the log of the sum alone, as Dao et al.
(2022) keep it, would round them once more. A query that is
padding has no gradient: its output was cropped.
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
def slopes_of(
    scores, high, share, delta, grad_out, value, DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr
):
    """Weights and the gradients of the scores, both [Q, K]; high, share and delta are [Q]."""
    weights = tl.exp2(scores - high[:, None]) * share[:, None]  # 0 where the score is minus infinity
    slopes = tl.dot(grad_out, tl.trans(value), input_precision=PRECISION, out_dtype=ACC)
    return weights, weights * (slopes - delta[:, None])


@triton.jit
def query_kernel(
    query, key, value, out, highs, shares, grad_out, delta, grad_query, bias, key_mask,
    extra_query, extra_key, extra_value, grad_extra_query,
    query_strides, key_strides, value_strides, out_strides, highs_strides, grad_out_strides, grad_query_strides,
    bias_strides, key_mask_strides, extra_query_strides, extra_key_strides, extra_value_strides,
    grad_extra_query_strides,
    VOLUME_Q, VOLUME_K, heads, groups, extra_count, scale, scale_log2,
    CUT_Q: tl.constexpr, CUT_K: tl.constexpr, GROUP: tl.constexpr, HIDES: tl.constexpr, REGIONS: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, F: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_F: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Writes ``grad_query``, ``grad_extra_query`` and ``delta`` (B, T, H, W, heads), the dot of out and its gradient.

    Programs are those of `forward_kernel`.
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
    row_at = offset_of(rows, highs_strides, batch, head)
    row_high = tl.load(highs + row_at, mask=rows[6], other=0.0)
    row_share = tl.load(shares + row_at, mask=rows[6], other=0.0)
    do = load_tile(
        grad_out,
        offset_of(rows, grad_out_strides, batch, head),
        rows[6],
        grad_out_strides[5],
        E,
        BLOCK_E,
        DOT,
    )
    o = load_tile(out, offset_of(rows, out_strides, batch, head), rows[6], out_strides[5], E, BLOCK_E, ACC)
    row_delta = tl.sum(o * do.to(ACC), 1)
    tl.store(delta + row_at, row_delta, mask=rows[6])

    q = load_tile(
        query, offset_of(rows, query_strides, batch, head), rows[6], query_strides[5], D, BLOCK_D, DOT
    )
    dq = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
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
        _, ds = slopes_of(scores, row_high, row_share, row_delta, do, v, DOT, ACC, PRECISION)
        dq = tl.dot(ds.to(DOT), k, dq, input_precision=PRECISION, out_dtype=ACC)
    store_tile(
        grad_query, offset_of(rows, grad_query_strides, batch, head), rows[6], grad_query_strides[5], dq * scale,
        D, BLOCK_D,
    )  # fmt: skip
    if extra_query is not None:
        q = load_tile(
            extra_query, offset_of(rows, extra_query_strides, batch, head), rows[6], extra_query_strides[5],
            F, BLOCK_F, DOT,
        )  # fmt: skip
        dq = tl.zeros([BLOCK_Q, BLOCK_F], ACC)
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
            _, ds = slopes_of(scores, row_high, row_share, row_delta, do, v, DOT, ACC, PRECISION)
            dq = tl.dot(ds.to(DOT), k, dq, input_precision=PRECISION, out_dtype=ACC)
        store_tile(
            grad_extra_query, offset_of(rows, grad_extra_query_strides, batch, head), rows[6],
            grad_extra_query_strides[5], dq * scale, F, BLOCK_F,
        )  # fmt: skip


@triton.jit
def key_kernel(
    query, key, value, highs, shares, grad_out, delta, grad_key, grad_value, bias, key_mask,
    query_strides, key_strides, value_strides, highs_strides, grad_out_strides, grad_key_strides, grad_value_strides,
    bias_strides, key_mask_strides,
    VOLUME_Q, VOLUME_K, heads, groups, scale, scale_log2,
    CUT_Q: tl.constexpr, CUT_K: tl.constexpr, GROUP: tl.constexpr, HIDES: tl.constexpr, REGIONS: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Writes ``grad_key`` and ``grad_value``; a program takes BLOCK_K keys and runs over the queries that see them."""
    LENGTH_Q: tl.constexpr = CUT_Q[0] * CUT_Q[1] * CUT_Q[2]
    LENGTH_K: tl.constexpr = CUT_K[0] * CUT_K[1] * CUT_K[2]
    BLOCKS: tl.constexpr = (GROUP * LENGTH_K + BLOCK_K - 1) // BLOCK_K
    program = tl.program_id(0)
    head = program % heads
    block = program // heads % BLOCKS
    group = program // (heads * BLOCKS) % groups
    batch = program // (heads * BLOCKS) // groups

    columns = locate(block * BLOCK_K + tl.arange(0, BLOCK_K), group, VOLUME_K, CUT_K, GROUP)
    seen = open_keys(columns, key_mask, key_mask_strides, HIDES)
    k = load_tile(
        key, offset_of(columns, key_strides, batch, head), columns[6], key_strides[5], D, BLOCK_D, DOT
    )
    v = load_tile(
        value, offset_of(columns, value_strides, batch, head), columns[6], value_strides[5], E, BLOCK_E, DOT
    )
    dk = tl.zeros([BLOCK_K, BLOCK_D], ACC)
    dv = tl.zeros([BLOCK_K, BLOCK_E], ACC)
    for start in range(0, GROUP * LENGTH_Q, BLOCK_Q):
        rows = locate(start + tl.arange(0, BLOCK_Q), group, VOLUME_Q, CUT_Q, GROUP)
        row_at = offset_of(rows, highs_strides, batch, head)
        row_high = tl.load(highs + row_at, mask=rows[6], other=0.0)
        row_share = tl.load(shares + row_at, mask=rows[6], other=0.0)
        row_delta = tl.load(delta + row_at, mask=rows[6], other=0.0)
        q = load_tile(
            query, offset_of(rows, query_strides, batch, head), rows[6], query_strides[5], D, BLOCK_D, DOT
        )
        do = load_tile(
            grad_out,
            offset_of(rows, grad_out_strides, batch, head),
            rows[6],
            grad_out_strides[5],
            E,
            BLOCK_E,
            DOT,
        )
        scores = pair_scores(
            q, k, rows, columns, seen, bias, bias_strides, head, scale_log2, GROUP, REGIONS, ACC, PRECISION
        )
        weights, ds = slopes_of(scores, row_high, row_share, row_delta, do, v, DOT, ACC, PRECISION)
        dv = tl.dot(tl.trans(weights.to(DOT)), do, dv, input_precision=PRECISION, out_dtype=ACC)
        dk = tl.dot(tl.trans(ds.to(DOT)), q, dk, input_precision=PRECISION, out_dtype=ACC)
    store_tile(
        grad_key, offset_of(columns, grad_key_strides, batch, head), columns[6], grad_key_strides[5], dk * scale,
        D, BLOCK_D,
    )  # fmt: skip
    store_tile(
        grad_value, offset_of(columns, grad_value_strides, batch, head), columns[6], grad_value_strides[5], dv,
        E, BLOCK_E,
    )  # fmt: skip

# pyright: basic, reportInvalidTypeForm=false
"""The backward kernels for queries and for keys. No program adds to what another one wrote: each token of the
queries, and each of the keys, belongs to exactly one cuboid and so to one program. The result is the same bits in
every run.

Weights are made again from the scores, their maximum and one over their sum: the log of the sum alone, as Dao et al.
(2022) keep it, would round them once more. A query that is padding has no gradient: its output was cropped.
"""

from geoscope.ops.cuboid_attention.kernels.language import tl, triton
from geoscope.ops.cuboid_attention.kernels.places import locate, offset_of, pair_scores
from geoscope.ops.cuboid_attention.kernels.tiles import (
    extra_scores,
    load_backward_rows,
    load_extra_keys,
    load_keys,
    load_softmax,
    load_tokens,
    own_work,
    store_tokens,
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
    head, block, group, batch = own_work(heads, groups, BLOCKS)

    rows = locate(block * BLOCK_Q + tl.arange(0, BLOCK_Q), group, VOLUME_Q, CUT_Q, GROUP)
    high, share = load_softmax(highs, shares, highs_strides, rows, batch, head)
    do = load_tokens(grad_out, grad_out_strides, rows, batch, head, E, BLOCK_E, DOT)
    o = load_tokens(out, out_strides, rows, batch, head, E, BLOCK_E, ACC)
    row_delta = tl.sum(o * do.to(ACC), 1)
    tl.store(delta + offset_of(rows, highs_strides, batch, head), row_delta, mask=rows[6])

    q = load_tokens(query, query_strides, rows, batch, head, D, BLOCK_D, DOT)
    dq = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
    for start in range(0, GROUP * LENGTH_K, BLOCK_K):
        columns, seen, k, v = load_keys(
            key, value, key_mask, key_strides, value_strides, key_mask_strides, start + tl.arange(0, BLOCK_K),
            group, batch, head, VOLUME_K, CUT_K, GROUP, HIDES, D, E, BLOCK_D, BLOCK_E, DOT,
        )  # fmt: skip
        scores = pair_scores(
            q, k, rows, columns, seen, bias, bias_strides, head, scale_log2, GROUP, REGIONS, ACC, PRECISION
        )
        _, ds = slopes_of(scores, high, share, row_delta, do, v, DOT, ACC, PRECISION)
        dq = tl.dot(ds.to(DOT), k, dq, input_precision=PRECISION, out_dtype=ACC)
    store_tokens(grad_query, grad_query_strides, rows, batch, head, dq * scale, D, BLOCK_D)
    if extra_query is not None:
        q = load_tokens(extra_query, extra_query_strides, rows, batch, head, F, BLOCK_F, DOT)
        dq = tl.zeros([BLOCK_Q, BLOCK_F], ACC)
        for start in range(0, extra_count, BLOCK_K):
            number = start + tl.arange(0, BLOCK_K)
            k, v = load_extra_keys(
                extra_key, extra_value, extra_key_strides, extra_value_strides, number, extra_count, batch, head,
                F, E, BLOCK_F, BLOCK_E, DOT,
            )  # fmt: skip
            scores = extra_scores(q, k, number, extra_count, scale_log2, ACC, PRECISION)
            _, ds = slopes_of(scores, high, share, row_delta, do, v, DOT, ACC, PRECISION)
            dq = tl.dot(ds.to(DOT), k, dq, input_precision=PRECISION, out_dtype=ACC)
        store_tokens(grad_extra_query, grad_extra_query_strides, rows, batch, head, dq * scale, F, BLOCK_F)


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
    head, block, group, batch = own_work(heads, groups, BLOCKS)

    columns, seen, k, v = load_keys(
        key, value, key_mask, key_strides, value_strides, key_mask_strides, block * BLOCK_K + tl.arange(0, BLOCK_K),
        group, batch, head, VOLUME_K, CUT_K, GROUP, HIDES, D, E, BLOCK_D, BLOCK_E, DOT,
    )  # fmt: skip
    dk = tl.zeros([BLOCK_K, BLOCK_D], ACC)
    dv = tl.zeros([BLOCK_K, BLOCK_E], ACC)
    for start in range(0, GROUP * LENGTH_Q, BLOCK_Q):
        rows = locate(start + tl.arange(0, BLOCK_Q), group, VOLUME_Q, CUT_Q, GROUP)
        q, do, high, share, row_delta = load_backward_rows(
            query, grad_out, highs, shares, delta, query_strides, grad_out_strides, highs_strides, rows, batch, head,
            D, E, BLOCK_D, BLOCK_E, DOT,
        )  # fmt: skip
        scores = pair_scores(
            q, k, rows, columns, seen, bias, bias_strides, head, scale_log2, GROUP, REGIONS, ACC, PRECISION
        )
        weights, ds = slopes_of(scores, high, share, row_delta, do, v, DOT, ACC, PRECISION)
        dv = tl.dot(tl.trans(weights.to(DOT)), do, dv, input_precision=PRECISION, out_dtype=ACC)
        dk = tl.dot(tl.trans(ds.to(DOT)), q, dk, input_precision=PRECISION, out_dtype=ACC)
    store_tokens(grad_key, grad_key_strides, columns, batch, head, dk * scale, D, BLOCK_D)
    store_tokens(grad_value, grad_value_strides, columns, batch, head, dv, E, BLOCK_E)

# pyright: basic, reportInvalidTypeForm=false
"""The backward kernels for what all cuboids share: the bias, and the extra keys and values.

Each of their gradients is a sum over every cuboid. A program sums its own part in registers and writes it to a
place of its own; the caller adds the few parts up in a fixed order. Nothing is added atomically, so the result is
the same bits in every run.
"""

from geoscope.ops.cuboid_attention.kernels.backward import slopes_of
from geoscope.ops.cuboid_attention.kernels.language import tl, triton
from geoscope.ops.cuboid_attention.kernels.places import locate, pair_scores
from geoscope.ops.cuboid_attention.kernels.tiles import (
    extra_scores,
    load_backward_rows,
    load_extra_keys,
    load_keys,
)


@triton.jit
def bias_kernel(
    query, key, value, highs, shares, grad_out, delta, parts, bias, key_mask,
    query_strides, key_strides, value_strides, highs_strides, grad_out_strides, bias_strides, key_mask_strides,
    VOLUME_Q, VOLUME_K, heads, groups, items, chunks, scale_log2,
    CUT_Q: tl.constexpr, CUT_K: tl.constexpr, GROUP: tl.constexpr, HIDES: tl.constexpr, REGIONS: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Writes ``parts`` (chunks, heads, GROUP * Lq, GROUP * Lk): one tile of the slopes of the scores, summed over
    every ``chunks``-th group of cuboids of all ``items`` = batch * groups.
    """
    ALL_Q: tl.constexpr = GROUP * CUT_Q[0] * CUT_Q[1] * CUT_Q[2]
    ALL_K: tl.constexpr = GROUP * CUT_K[0] * CUT_K[1] * CUT_K[2]
    BLOCKS_Q: tl.constexpr = (ALL_Q + BLOCK_Q - 1) // BLOCK_Q
    BLOCKS_K: tl.constexpr = (ALL_K + BLOCK_K - 1) // BLOCK_K
    program = tl.program_id(0)
    head = program % heads
    block_q = program // heads % BLOCKS_Q
    block_k = program // (heads * BLOCKS_Q) % BLOCKS_K
    chunk = program // (heads * BLOCKS_Q * BLOCKS_K)

    token_q = block_q * BLOCK_Q + tl.arange(0, BLOCK_Q)
    token_k = block_k * BLOCK_K + tl.arange(0, BLOCK_K)
    total = tl.zeros([BLOCK_Q, BLOCK_K], ACC)
    for item in range(chunk, items, chunks):
        batch = item // groups
        group = item % groups
        rows = locate(token_q, group, VOLUME_Q, CUT_Q, GROUP)
        columns, seen, k, v = load_keys(
            key, value, key_mask, key_strides, value_strides, key_mask_strides, token_k, group, batch, head,
            VOLUME_K, CUT_K, GROUP, HIDES, D, E, BLOCK_D, BLOCK_E, DOT,
        )  # fmt: skip
        q, do, high, share, row_delta = load_backward_rows(
            query, grad_out, highs, shares, delta, query_strides, grad_out_strides, highs_strides, rows, batch, head,
            D, E, BLOCK_D, BLOCK_E, DOT,
        )  # fmt: skip
        scores = pair_scores(
            q, k, rows, columns, seen, bias, bias_strides, head, scale_log2, GROUP, REGIONS, ACC, PRECISION
        )
        _, ds = slopes_of(scores, high, share, row_delta, do, v, DOT, ACC, PRECISION)
        total += ds
    first = (chunk.to(tl.int64) * heads + head) * ALL_Q * ALL_K
    at = first + token_q.to(tl.int64)[:, None] * ALL_K + token_k.to(tl.int64)[None, :]
    tl.store(parts + at, total, mask=(token_q < ALL_Q)[:, None] & (token_k < ALL_K)[None, :])


@triton.jit
def extra_kernel(
    extra_query, extra_key, extra_value, highs, shares, grad_out, delta, key_parts, value_parts,
    extra_query_strides, extra_key_strides, extra_value_strides, highs_strides, grad_out_strides,
    T, H, W, heads, extra_count, batches, chunks, scale, scale_log2,
    E: tl.constexpr, F: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_F: tl.constexpr,
    DOT: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Writes ``key_parts`` (chunks, B, heads, K, F) and ``value_parts`` (chunks, B, heads, K, E).

    Every token sees every extra key, so tokens are taken row by row; program ``chunk`` takes every ``chunks``-th block.
    """
    program = tl.program_id(0)
    head = program % heads
    batch = program // heads % batches
    chunk = program // (heads * batches) % chunks
    block = program // (heads * batches) // chunks

    number = block * BLOCK_K + tl.arange(0, BLOCK_K)
    k, v = load_extra_keys(
        extra_key, extra_value, extra_key_strides, extra_value_strides, number, extra_count, batch, head,
        F, E, BLOCK_F, BLOCK_E, DOT,
    )  # fmt: skip
    dk = tl.zeros([BLOCK_K, BLOCK_F], ACC)
    dv = tl.zeros([BLOCK_K, BLOCK_E], ACC)
    tokens = T * H * W
    for start in range(chunk * BLOCK_Q, tokens, chunks * BLOCK_Q):
        token = start + tl.arange(0, BLOCK_Q)
        is_there = token < tokens
        rows = (token, token, token // (H * W), token // W % H, token % W, is_there, is_there)
        q, do, high, share, row_delta = load_backward_rows(
            extra_query, grad_out, highs, shares, delta, extra_query_strides, grad_out_strides, highs_strides, rows,
            batch, head, F, E, BLOCK_F, BLOCK_E, DOT,
        )  # fmt: skip
        scores = extra_scores(q, k, number, extra_count, scale_log2, ACC, PRECISION)
        scores = tl.where(is_there[:, None], scores, float("-inf"))
        weights, ds = slopes_of(scores, high, share, row_delta, do, v, DOT, ACC, PRECISION)
        dv = tl.dot(tl.trans(weights.to(DOT)), do, dv, input_precision=PRECISION, out_dtype=ACC)
        dk = tl.dot(tl.trans(ds.to(DOT)), q, dk, input_precision=PRECISION, out_dtype=ACC)
    row = ((chunk.to(tl.int64) * batches + batch) * heads + head) * extra_count + number
    for_key, for_value = tl.arange(0, BLOCK_F), tl.arange(0, BLOCK_E)
    is_there = number < extra_count
    tl.store(
        key_parts + row[:, None] * F + for_key[None, :],
        dk * scale,
        mask=is_there[:, None] & (for_key < F)[None, :],
    )
    tl.store(
        value_parts + row[:, None] * E + for_value[None, :],
        dv,
        mask=is_there[:, None] & (for_value < E)[None, :],
    )

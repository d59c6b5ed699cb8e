# pyright: basic, reportInvalidTypeForm=false
"""Tiles of tokens, between memory and the kernels; the index arithmetic is that of `places`.

``rows``, ``columns`` and ``spot`` are what `places.locate` says about the tokens of a tile: entries 2 to 4 are their
place in the volume, entry 6 says which of them are data. What is no data reads as zeros and is not written.
"""

from geoscope.ops.cuboid_attention.kernels.language import tl, triton
from geoscope.ops.cuboid_attention.kernels.places import locate, offset_of, open_keys


@triton.jit
def own_work(heads, groups, BLOCKS: tl.constexpr):
    """Head, block of tokens, group of cuboids and sample of this program, heads running fastest."""
    program = tl.program_id(0)
    block = program // heads % BLOCKS
    group = program // (heads * BLOCKS) % groups
    return program % heads, block, group, program // (heads * BLOCKS) // groups


@triton.jit
def _pointers(pointer, offsets, stride, BLOCK: tl.constexpr):
    """Pointers [len(offsets), BLOCK] to the channels of each token."""
    channels = tl.arange(0, BLOCK).to(tl.int64)
    return pointer + offsets[:, None] + channels[None, :] * stride


@triton.jit
def _inside(is_there, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    return is_there[:, None] & (tl.arange(0, BLOCK) < WIDTH)[None, :]


@triton.jit
def _load(pointer, offsets, is_there, stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr):
    """The channels [len(offsets), BLOCK] of each token; zeros where there is no token or no channel."""
    mask = _inside(is_there, WIDTH, BLOCK)
    return tl.load(_pointers(pointer, offsets, stride, BLOCK), mask=mask, other=0.0).to(DOT)


@triton.jit
def load_tokens(
    pointer, strides, spot, batch, head, WIDTH: tl.constexpr, BLOCK: tl.constexpr, DOT: tl.constexpr
):
    """The channels [tokens, BLOCK] of the tokens ``spot`` in a tensor (B, T, H, W, heads, WIDTH)."""
    return _load(pointer, offset_of(spot, strides, batch, head), spot[6], strides[5], WIDTH, BLOCK, DOT)


@triton.jit
def store_tokens(pointer, strides, spot, batch, head, tile, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Undo `load_tokens`."""
    places = _pointers(pointer, offset_of(spot, strides, batch, head), strides[5], BLOCK)
    tl.store(places, tile.to(pointer.dtype.element_ty), mask=_inside(spot[6], WIDTH, BLOCK))


@triton.jit
def load_keys(
    key, value, key_mask, key_strides, value_strides, key_mask_strides, tokens, group, batch, head,
    VOLUME, CUT: tl.constexpr, GROUP: tl.constexpr, HIDES: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """The keys ``tokens`` of a group: where they lie, which may be seen, the keys [K, D] and their values [K, E]."""
    columns = locate(tokens, group, VOLUME, CUT, GROUP)
    is_seen = open_keys(columns, key_mask, key_mask_strides, HIDES)
    k = load_tokens(key, key_strides, columns, batch, head, D, BLOCK_D, DOT)
    v = load_tokens(value, value_strides, columns, batch, head, E, BLOCK_E, DOT)
    return columns, is_seen, k, v


@triton.jit
def load_extra_keys(
    key, value, key_strides, value_strides, number, count, batch, head,
    F: tl.constexpr, E: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_E: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """The extra keys ``number`` out of ``count`` [K, F] and their values [K, E]; tensors are (B, count, heads, ...)."""
    sample, own = batch.to(tl.int64), head.to(tl.int64)
    k_at = sample * key_strides[0] + number.to(tl.int64) * key_strides[1] + own * key_strides[2]
    v_at = sample * value_strides[0] + number.to(tl.int64) * value_strides[1] + own * value_strides[2]
    k = _load(key, k_at, number < count, key_strides[3], F, BLOCK_F, DOT)
    return k, _load(value, v_at, number < count, value_strides[3], E, BLOCK_E, DOT)


@triton.jit
def extra_scores(q, k, number, count, scale_log2, ACC: tl.constexpr, PRECISION: tl.constexpr):
    """Scores [Q, K] of queries and extra keys in units of log2; minus infinity beyond the last key."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION, out_dtype=ACC) * scale_log2
    return tl.where((number < count)[None, :], scores, float("-inf"))


@triton.jit
def load_softmax(highs, shares, strides, rows, batch, head):
    """Of the softmax of each row its highest score and one over its sum, both [Q]."""
    at = offset_of(rows, strides, batch, head)
    return tl.load(highs + at, mask=rows[6], other=0.0), tl.load(shares + at, mask=rows[6], other=0.0)


@triton.jit
def load_backward_rows(
    query, grad_out, highs, shares, delta, query_strides, grad_out_strides, highs_strides, rows, batch, head,
    WIDTH: tl.constexpr, E: tl.constexpr, BLOCK_WIDTH: tl.constexpr, BLOCK_E: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """Queries [Q, WIDTH], the gradient of their results [Q, E], and high, share and delta of each row [Q]."""
    q = load_tokens(query, query_strides, rows, batch, head, WIDTH, BLOCK_WIDTH, DOT)
    do = load_tokens(grad_out, grad_out_strides, rows, batch, head, E, BLOCK_E, DOT)
    high, share = load_softmax(highs, shares, highs_strides, rows, batch, head)
    row_delta = tl.load(delta + offset_of(rows, highs_strides, batch, head), mask=rows[6], other=0.0)
    return q, do, high, share, row_delta

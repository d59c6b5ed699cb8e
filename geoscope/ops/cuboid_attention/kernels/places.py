# pyright: basic, reportInvalidTypeForm=false
"""Where a token of a cuboid lies in its volume, and which pairs of tokens may meet: the index arithmetic that
all kernels share. Nothing is reordered in memory; every kernel reads the tensors where they are.

Tuples that travel through the kernels:
    VOLUME (runtime): T, H, W, then the same padded, then cuboids along each axis, then padded steps before t = 0
    CUT (constexpr): size along T, H, W; roll along each; whether each is dilated
    rows, columns: what `locate` says about the tokens of a tile
"""

from geoscope.ops.cuboid_attention.kernels.language import tl, triton

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _along(
    number, step, length, padded, count, first, SIZE: tl.constexpr, ROLL: tl.constexpr, DILATED: tl.constexpr
):
    """Place along one axis of token ``step`` of cuboid ``number``, whether it is data, and its region."""
    at = step * count + number if DILATED else number * SIZE + step
    region = at * 0
    if ROLL > 0:
        if not DILATED:  # as masks._regions: what wrapped around is 2, the rest of the last cuboid 1
            region = tl.where(at >= padded - ROLL, 2, tl.where(at >= padded - SIZE, 1, 0))
        at = (at + ROLL) % padded
    at = at - first
    return at, (at >= 0) & (at < length), region


@triton.jit
def locate(tokens, group, VOLUME, CUT: tl.constexpr, GROUP: tl.constexpr):
    """The tokens [BLOCK] of a group of cuboids: (cuboid, place in it, t, h, w, exists, is data, region), each [BLOCK].

    Token i of the group is token i % L of its cuboid i // L. A token that exists and is no data is padding.
    """
    LENGTH: tl.constexpr = CUT[0] * CUT[1] * CUT[2]
    cuboid = group * GROUP + tokens // LENGTH
    place = tokens % LENGTH
    exists = (tokens < GROUP * LENGTH) & (cuboid < VOLUME[6] * VOLUME[7] * VOLUME[8])
    columns = VOLUME[8]
    frame = VOLUME[7] * columns
    t, in_t, region_t = _along(
        cuboid // frame,
        place // (CUT[1] * CUT[2]),
        VOLUME[0],
        VOLUME[3],
        VOLUME[6],
        VOLUME[9],
        CUT[0],
        CUT[3],
        CUT[6],
    )
    h, in_h, region_h = _along(
        cuboid // columns % VOLUME[7],
        place // CUT[2] % CUT[1],
        VOLUME[1],
        VOLUME[4],
        VOLUME[7],
        0,
        CUT[1],
        CUT[4],
        CUT[7],
    )
    w, in_w, region_w = _along(
        cuboid % columns, place % CUT[2], VOLUME[2], VOLUME[5], VOLUME[8], 0, CUT[2], CUT[5], CUT[8]
    )
    is_data = exists & in_t & in_h & in_w
    return cuboid, place, t, h, w, exists, is_data, (region_t * 3 + region_h) * 3 + region_w


@triton.jit
def offset_of(spot, strides, batch, head):
    """Offsets [BLOCK] (64 bits) of the tokens ``spot`` in a tensor (B, T, H, W, heads, ...)."""
    start = batch.to(tl.int64) * strides[0] + head.to(tl.int64) * strides[4]
    return (
        start
        + spot[2].to(tl.int64) * strides[1]
        + spot[3].to(tl.int64) * strides[2]
        + spot[4].to(tl.int64) * strides[3]
    )


@triton.jit
def open_keys(columns, key_mask, key_mask_strides, HIDES: tl.constexpr):
    """Which keys [BLOCK] may be seen at all: padding only where it is attended to, data unless it is masked."""
    is_open = columns[5]
    if HIDES:
        is_open = columns[6]
    if key_mask is not None:
        at = (
            columns[2].to(tl.int64) * key_mask_strides[0]
            + columns[3].to(tl.int64) * key_mask_strides[1]
            + columns[4].to(tl.int64) * key_mask_strides[2]
        )
        is_open = is_open & (tl.load(key_mask + at, mask=columns[6], other=1) != 0)
    return is_open


@triton.jit
def pair_scores(
    q, k, rows, columns, is_seen, bias, bias_strides, head, scale_log2,
    GROUP: tl.constexpr, REGIONS: tl.constexpr, ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores of each pair in units of log2, [len(rows), len(columns)]; minus infinity where they may not meet."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION, out_dtype=ACC) * scale_log2
    is_open = rows[6][:, None] & is_seen[None, :]
    if GROUP > 1:
        is_open = is_open & (rows[0][:, None] == columns[0][None, :])
    if REGIONS:
        is_open = is_open & (rows[7][:, None] == columns[7][None, :])
    if bias is not None:
        at = (
            head.to(tl.int64) * bias_strides[0]
            + rows[1].to(tl.int64)[:, None] * bias_strides[1]
            + columns[1].to(tl.int64)[None, :] * bias_strides[2]
        )
        scores += tl.load(bias + at, mask=is_open, other=0.0).to(ACC) * LOG2E
    return tl.where(is_open, scores, float("-inf"))

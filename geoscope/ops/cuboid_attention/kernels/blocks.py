"""How much one program of a kernel takes on: a small table by the width of a head, so that nothing is tuned on
first use.

Cuboids shorter than a tile share it: GROUP of them lie one after the other in its rows and columns, and pairs of
different cuboids are closed. Matrix units compute such pairs at no cost in memory traffic, which is what bounds
attention over short cuboids.
"""

from dataclasses import dataclass

MAX_WIDTH = 256  # channels of a head
MAX_PROGRAMS = 2**31 - 1  # of one launch, by CUDA
LEAST = 16  # rows and columns of a tile, by the matrix units
PROGRAMS_OF_A_SUM = 512  # over which a sum across all cuboids is spread: some for each multiprocessor

# Widest head: (queries, keys, warps, stages of loads in flight). Larger tiles spill registers: the offsets are 64 bits.
_TABLE = {32: (64, 64, 4, 2), 64: (64, 64, 4, 2), 128: (64, 32, 8, 1), 256: (32, 32, 8, 1)}


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What one program holds.

    group: cuboids that share a tile; 1 unless cuboids are short.
    queries, keys: rows and columns of a tile of scores, powers of two of at least 16.
    warps, stages: how Triton compiles it.
    """

    group: int
    queries: int
    keys: int
    warps: int
    stages: int


def block_width(width: int) -> int:
    """Channels of a tile for heads of ``width``: the next power of two, at least 16."""
    return max(LEAST, 1 << (width - 1).bit_length())


def choose_blocks(length_q: int, length_k: int, count: int, width: int, itemsize: int) -> Blocks:
    """The blocks for ``count`` cuboids of ``length_q`` queries and ``length_k`` keys, heads of at most ``width``."""
    queries, keys, warps, stages = _TABLE[max(32, block_width(width))]
    if itemsize >= 4:  # single precision takes twice the registers and the shared memory
        queries, stages = max(LEAST, queries // 2), 1
    group = max(1, min(min(queries, keys) // max(length_q, length_k), count))
    return Blocks(
        group=group,
        queries=min(queries, block_width(group * length_q)),
        keys=min(keys, block_width(group * length_k)),
        warps=warps,
        stages=stages,
    )

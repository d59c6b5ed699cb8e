"""Scores after maximum pooling: did the forecast have the event somewhere in the same block?

Counts are those of `contingency`, over blocks instead of pixels, so its formulas apply. Pools of 4 and 16
pixels are what generative nowcasts are compared with (Ravuri et al. 2021; Gao et al. 2023, PreDiff).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics.contingency import Contingency, count_events
from geoscope.metrics.sums import known_pair, stack


def checked_sizes(name: str, sizes: Sequence[int], smallest: int = 1) -> tuple[int, ...]:
    """Window or block sizes in pixels as rising integers.

    Raises:
        ConfigError: not whole numbers of at least ``smallest``, or one twice.
    """
    values = tuple(sizes)
    is_whole = all(float(size).is_integer() and size >= smallest for size in values)
    if not is_whole or len(set(values)) != len(values):
        raise ConfigError(f"{name}={values} must be different whole numbers of pixels, {smallest} or more")
    return tuple(sorted(int(size) for size in values))


def block_maxima(values: np.ndarray, size: int) -> np.ndarray:
    """The largest value of each block of ``size`` x ``size`` pixels; rows and columns left over are dropped.

    ``values`` is (..., H, W); the result is (..., H // size, W // size). A block with a NaN is NaN.

    Raises:
        ShapeError: the field is smaller than one block.
    """
    rows, columns = values.shape[-2] // size, values.shape[-1] // size
    if not rows or not columns:
        raise ShapeError(f"a field of {values.shape[-2:]} pixels has no block of {size} x {size}: pool less")
    cut = values[..., : rows * size, : columns * size]
    tall = cut.reshape(*cut.shape[:-2], rows, size, columns * size).max(-2)
    return tall.reshape(*tall.shape[:-1], columns, size).max(-1)


def count_pooled(
    forecast: Any, observed: Any, thresholds: Sequence[float] | np.ndarray, pools: Sequence[int]
) -> Contingency:
    """Counts (pool, threshold) of blocks whose largest known value reaches the threshold.

    `forecast` and `observed` are (..., H, W). Only pixels known in both take part, and a block without any is
    left out; blocks start at the first row and column, and what does not fill a block at the far edges is dropped.

    Raises:
        ConfigError: pools or thresholds that cannot be used.
        ShapeError: shapes differ, or the field is smaller than a pool.
    """
    pools = checked_sizes("pools", pools)
    forecast, observed, known = known_pair(forecast, observed)
    lowest_forecast, lowest_observed = (np.where(known, field, -np.inf) for field in (forecast, observed))
    counts: list[Contingency] = []
    for size in pools:
        is_known = block_maxima(known, size)
        pooled_forecast, pooled_observed = (
            np.where(is_known, block_maxima(field, size), np.nan)
            for field in (lowest_forecast, lowest_observed)
        )
        counts.append(count_events(pooled_forecast, pooled_observed, thresholds))
    return stack(counts)

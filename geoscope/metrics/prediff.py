"""The columns of PreDiff's table for ensembles on SEVIR-LR: CRPS, and CSI of the ensemble mean with pools 1, 4, 16.

Fields are vertically integrated liquid on 0-255, as `sevir_scores` takes them. Source: Gao et al. 2023; that CSI is of
the mean of several samples is what its authors answer where they are asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ShapeError
from geoscope.metrics.ensemble import EnsembleSums, crps, crps_fair, spread_skill_ratio, sum_ensemble
from geoscope.metrics.pooling import checked_sizes
from geoscope.metrics.sevir import SEVIR_THRESHOLDS, SevirCounts, count_sevir, scores_of_counts
from geoscope.metrics.sums import as_array, ratio, stack

POOLS = (1, 4, 16)
TOP = 255.0


@dataclass(frozen=True, eq=False)
class PrediffSums(EnsembleSums):
    """`EnsembleSums` on 0-255 with the error of the mean, and counts (pool, threshold) of events of the mean, int64."""

    absolute_error: Any = 0.0  # of the ensemble mean
    hits: Any = 0
    misses: Any = 0
    false_alarms: Any = 0


def sum_prediff(
    members: Any,
    observed: Any,
    thresholds: Sequence[float] = SEVIR_THRESHOLDS,
    pools: Sequence[int] = POOLS,
) -> PrediffSums:
    """Sums of a batch of ensembles ``members`` (B, M, T, H, W) against ``observed`` (B, T, H, W), both on 0-255.

    Sums of batches and machines add up. A pixel takes part where the observation and all members are known.

    Raises:
        ShapeError: other axes, or a field smaller than a pool; ConfigError: thresholds or pools that cannot be used.
    """
    x, y = as_array(members), as_array(observed)
    if x.ndim != 5 or x.shape[:1] + x.shape[2:] != y.shape or not x.shape[1]:
        raise ShapeError(
            f"members {x.shape} and observed {y.shape}: expected (batch, member, time, row, column) and the same "
            "without member"
        )
    by_member = np.moveaxis(x, 1, 0)
    mean = by_member.mean(axis=0, dtype=np.float64)
    error = np.abs(mean - y)
    counts = stack(
        [count_sevir(mean, y, thresholds, layout="NTHW", pool=pool) for pool in checked_sizes("pools", pools)]
    )
    return PrediffSums(
        **sum_ensemble(by_member, y).parts(),
        absolute_error=float(np.nansum(error)),
        **counts.parts(),
    )


def prediff_scores(
    sums: PrediffSums,
    thresholds: Sequence[float] = SEVIR_THRESHOLDS,
    pools: Sequence[int] = POOLS,
) -> dict[str, float]:
    """The table's columns from the sums of `sum_prediff`, with the same ``thresholds`` and ``pools``.

    crps and crps_fair (see `geoscope.metrics.ensemble`), mse and mae of the mean: of values in [0, 1], as the table
    has them. csi, csi_pool4, csi_pool16: of the ensemble mean, all counts added before dividing, mean over thresholds;
    csi_T: at threshold T without pooling. spread_skill. What has no pixel is NaN.

    Raises:
        ShapeError: the sums are of other thresholds or pools.
    """
    sizes = checked_sizes("pools", pools)
    if np.shape(sums.hits)[:1] != (len(sizes),):
        raise ShapeError(
            f"counts of shape {np.shape(sums.hits)} do not fit {len(sizes)} pools: give the same pools"
        )
    table = {
        "crps": float(crps(sums)) / TOP,
        "crps_fair": float(crps_fair(sums)) / TOP,
        "mse": float(ratio(sums.squared_error, sums.pixels)) / TOP**2,
        "mae": float(ratio(sums.absolute_error, sums.pixels)) / TOP,
        "spread_skill": float(spread_skill_ratio(sums)),
    }
    for place, size in enumerate(sizes):
        counts = SevirCounts(sums.hits[place], sums.misses[place], sums.false_alarms[place])
        scores = scores_of_counts(counts, thresholds)
        table["csi" if size == 1 else f"csi_pool{size}"] = scores["csi_m"]
        if size == 1:
            table |= {f"csi_{level:g}": value for level, value in scores["csi"].items()}
    return table

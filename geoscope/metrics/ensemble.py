"""Scores of ensembles: CRPS, spread against skill, rank histogram.

Members are the first axis. A pixel takes part when the observation and all members are known there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ShapeError
from geoscope.metrics.sums import Sums, as_array, ratio


@dataclass(frozen=True, eq=False)
class EnsembleSums(Sums):
    """Sums over pixels, float64, of an ensemble's CRPS, of its variance and of the error of its mean.

    `crps_fair` and the variances are NaN-free zeros with `several` = 0 pixels for a single member.
    """

    pixels: Any = 0
    several: Any = 0  # pixels of ensembles with two members or more
    crps: Any = 0.0
    crps_fair: Any = 0.0
    variance: Any = 0.0  # unbiased
    scaled_variance: Any = 0.0  # (M + 1) / M of the unbiased variance
    squared_error: Any = 0.0  # of the ensemble mean


def known_members(members: Any, observed: Any) -> tuple[np.ndarray, np.ndarray]:
    """Members (M, P) and observations (P,) of the pixels that are known in all of them.

    Raises:
        ShapeError: members are not (M, ...) over the shape of the observations, or there are none.
    """
    members, observed = as_array(members), as_array(observed)
    if members.ndim != observed.ndim + 1 or members.shape[1:] != observed.shape or not len(members):
        raise ShapeError(
            f"members {members.shape} and observed {observed.shape} must be (member, ...) and (...)"
        )
    known = ~(np.isnan(members).any(axis=0) | np.isnan(observed))
    return members[:, known], observed[known]


def sum_ensemble(members: Any, observed: Any) -> EnsembleSums:
    """Sums for `members` (M, ...) against `observed` (...).

    Raises:
        ShapeError: members are not (M, ...) over the shape of the observations, or there are none.
    """
    x, y = known_members(members, observed)
    x, y = np.sort(x.astype(np.float64), axis=0), y.astype(np.float64)
    count = len(x)
    distance = np.abs(x - y).sum() / count
    # the mean over pairs of |x_i - x_j| follows from the sorted members: Hersbach 2000 in kernel form
    weights = 2.0 * np.arange(1, count + 1) - count - 1
    pairs = 2.0 * float((weights @ x).sum())  # sum over all i, j of |x_i - x_j|
    mean = x.mean(axis=0)
    is_several = count > 1
    variance = float(x.var(axis=0, ddof=1).sum()) if is_several else 0.0
    return EnsembleSums(
        pixels=y.size,
        several=y.size if is_several else 0,
        crps=float(distance - pairs / (2 * count**2)),
        crps_fair=float(distance - pairs / (2 * count * (count - 1))) if is_several else 0.0,
        variance=variance,
        scaled_variance=variance * (count + 1) / count,
        squared_error=float(np.square(mean - y).sum()),
    )


def crps(sums: EnsembleSums) -> np.ndarray:
    """Mean continuous ranked probability score of the members' step function, in the field's unit; 0 is perfect.

    For one member it is the mean absolute error. Source: Hersbach 2000.
    """
    return ratio(sums.crps, sums.pixels)


def crps_fair(sums: EnsembleSums) -> np.ndarray:
    """CRPS as an ensemble of endlessly many such members would have it, so that sizes compare; NaN for one member.

    Members must be exchangeable. Source: Ferro 2014, with the pairs' mean over M (M - 1).
    """
    return ratio(sums.crps_fair, sums.several)


def spread(sums: EnsembleSums) -> np.ndarray:
    """Root of the mean unbiased variance of the members; NaN for one member. Source: Fortin et al. 2014."""
    return np.sqrt(ratio(sums.variance, sums.several))


def mean_rmse(sums: EnsembleSums) -> np.ndarray:
    """Root mean square error of the ensemble mean."""
    return np.sqrt(ratio(sums.squared_error, sums.pixels))


def spread_skill_ratio(sums: EnsembleSums) -> np.ndarray:
    """Spread over error of the mean, 1 where the ensemble knows how uncertain it is, below 1 overconfident.

    The variance is scaled by (M + 1) / M, as the mean of M members errs by its own sampling too. NaN without any error
    or for one member. Source: Fortin et al. 2014, equation 15.
    """
    return np.sqrt(
        ratio(sums.scaled_variance, np.where(np.asarray(sums.several) > 0, sums.squared_error, 0.0))
    )


@dataclass(frozen=True, eq=False)
class RankCounts(Sums):
    """How often the observation took each place among the sorted members, float64 (M + 1,)."""

    ranks: np.ndarray


def count_ranks(members: Any, observed: Any, *, smallest: float | None = None) -> RankCounts:
    """Ranks of the observations among the members: place 0 is below all of them.

    Where the observation ties with t members, each of its t + 1 possible places gets 1 / (t + 1): the mean of the
    random choice of Hamill 2001, without its chance. With ``smallest``, values below it count as equal, and pixels
    where nothing reaches it are left out: rain that nobody forecast and nobody saw says nothing.

    Raises:
        ShapeError: members are not (M, ...) over the shape of the observations, or there are none.
    """
    x, y = known_members(members, observed)
    if smallest is not None:
        tells = (y >= smallest) | (x >= smallest).any(axis=0)
        x, y = x[:, tells], y[tells]
        x, y = (np.where(values < smallest, -np.inf, values) for values in (x, y))
    below, ties = (x < y).sum(axis=0), (x == y).sum(axis=0)
    width = len(x) + 1
    # how often each pair (members below, ties) came, spread over the places it allows
    often = np.bincount(below * width + ties, minlength=width * width).reshape(width, width)
    ranks = np.zeros(width)
    for first, tied in zip(*np.nonzero(often), strict=True):
        ranks[first : first + tied + 1] += often[first, tied] / (tied + 1)
    return RankCounts(ranks)


def rank_histogram(counts: RankCounts) -> np.ndarray:
    """Share of observations at each place (..., M + 1): flat at 1 / (M + 1) is right, a U is too little spread."""
    return ratio(counts.ranks, counts.ranks.sum(axis=-1, keepdims=True))

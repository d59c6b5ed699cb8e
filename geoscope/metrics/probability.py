"""Scores of probabilities of an event: Brier score and its parts, reliability, ROC, economic value.

One table serves all of them: for each bin of forecast probability, how many pixels it held, the sum of their
probabilities and how many saw the event. Arrays are (..., bin), bins of equal width from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.metrics.contingency import at_or_above, rising_thresholds
from geoscope.metrics.sums import Sums, as_array, ratio, stack

_EDGE = 1e-6  # 3 of 10 members in float32 still belong to the bin that begins at 0.3


@dataclass(frozen=True, eq=False)
class ProbabilityTable(Sums):
    """Pixels, events seen (int64) and sums of probability by bin (..., bin), and the Brier sum (...)."""

    pixels: np.ndarray
    events: np.ndarray
    probability: np.ndarray
    squared_error: np.ndarray


def count_probability(
    probability: Any, observed: Any, threshold: float, *, bins: int = 10
) -> ProbabilityTable:
    """The table (bin,) of forecast probabilities of ``observed >= threshold``; NaN in either is left out.

    A bin holds probabilities from its lower edge up to, and without, the next; the last one holds 1 too.

    Raises:
        ShapeError: the arrays differ in shape.
        DataError: probabilities outside [0, 1].
        ConfigError: fewer than one bin.
    """
    if bins < 1:
        raise ConfigError(f"bins={bins} must be 1 or more")
    probability, observed = as_array(probability), as_array(observed)
    if probability.shape != observed.shape:
        raise ShapeError(
            f"probability {probability.shape} and observed {observed.shape} must have the same shape"
        )
    known = ~(np.isnan(probability) | np.isnan(observed))
    p, seen = probability[known].astype(np.float64), at_or_above(observed[known], threshold)
    if p.size and (p.min() < -_EDGE or p.max() > 1 + _EDGE):
        raise DataError(
            f"probabilities reach from {p.min():g} to {p.max():g}, expected [0, 1]: divide percentages by 100"
        )
    at = np.clip((p * bins + bins * _EDGE).astype(np.int64), 0, bins - 1)
    pixels = np.bincount(at, minlength=bins)
    events = np.bincount(at[seen], minlength=bins)
    error = p - seen
    return ProbabilityTable(
        pixels=pixels.astype(np.int64),
        events=events.astype(np.int64),
        probability=np.bincount(at, weights=p, minlength=bins),
        squared_error=np.asarray(float(error @ error)),
    )


def count_probabilities(
    probabilities: Any, observed: Any, thresholds: Sequence[float], *, bins: int = 10
) -> ProbabilityTable:
    """Tables (threshold, bin) of probabilities (threshold, H, W) in the rising order of thresholds.

    Raises:
        ShapeError: not one field of probabilities a threshold, or another shape than the observations.
        DataError: probabilities outside [0, 1].
        ConfigError: thresholds or bins that cannot be used.
    """
    levels = rising_thresholds(thresholds)
    probabilities = as_array(probabilities)
    if len(probabilities) != len(levels):
        raise ShapeError(
            f"{len(probabilities)} fields of probability for {len(levels)} thresholds: give one for each"
        )
    pairs = zip(probabilities, levels, strict=True)
    return stack([count_probability(p, observed, float(level), bins=bins) for p, level in pairs])


def member_share(members: Any, thresholds: Sequence[float]) -> np.ndarray:
    """Share of members (M, ...) at or above each threshold, (threshold, ...) float64; NaN where a member is NaN."""
    members = as_array(members)
    missing = np.isnan(members).any(axis=0)
    shares = [at_or_above(members, float(level)).mean(axis=0) for level in rising_thresholds(thresholds)]
    return np.where(missing, np.nan, np.stack(shares))


def brier_score(table: ProbabilityTable) -> np.ndarray:
    """Mean squared difference of probability and outcome, in [0, 1]; 0 is perfect. Source: Brier 1950."""
    return ratio(table.squared_error, table.pixels.sum(-1))


def brier_reliability(table: ProbabilityTable) -> np.ndarray:
    """Mean squared distance of the bins' mean probability from their observed frequency; 0 is perfect. Murphy 1973."""
    n, events, p = (np.asarray(part, np.float64) for part in (table.pixels, table.events, table.probability))
    squared = np.square(p - events) / np.where(n > 0, n, 1.0)
    return ratio(squared.sum(-1), n.sum(-1))


def brier_resolution(table: ProbabilityTable) -> np.ndarray:
    """Mean squared distance of the bins' observed frequency from the base rate; larger is better. Murphy 1973."""
    n, events = np.asarray(table.pixels, np.float64), np.asarray(table.events, np.float64)
    base = ratio(events.sum(-1), n.sum(-1))[..., None]
    distance = events / np.where(n > 0, n, 1.0) - base
    return ratio((n * np.square(distance)).sum(-1), n.sum(-1))


def brier_uncertainty(table: ProbabilityTable) -> np.ndarray:
    """Variance of the outcome, base rate times its complement. Murphy 1973.

    Reliability - resolution + uncertainty is the Brier score when all probabilities of a bin are equal; else the
    spread within bins is missing from it (Stephenson et al. 2008).
    """
    base = base_rate(table)
    return base * (1 - base)


def brier_skill_score(table: ProbabilityTable) -> np.ndarray:
    """1 - Brier score over that of always forecasting the base rate seen; NaN where the outcome never varied."""
    return 1 - ratio(brier_score(table), brier_uncertainty(table))


def base_rate(table: ProbabilityTable) -> np.ndarray:
    """Share of pixels that saw the event."""
    return ratio(table.events.sum(-1), table.pixels.sum(-1))


def reliability_curve(table: ProbabilityTable) -> tuple[np.ndarray, np.ndarray]:
    """Mean forecast probability and observed frequency of each bin (..., bin), NaN for empty bins."""
    return ratio(table.probability, table.pixels), ratio(table.events, table.pixels)


def roc_curve(table: ProbabilityTable) -> tuple[np.ndarray, np.ndarray]:
    """False alarm rate and probability of detection (..., bin + 1) when warning from each bin's lower edge on.

    Ordered from (0, 0), never warning, to (1, 1), always; NaN where no event, or nothing but events, was seen.
    """
    curves: list[np.ndarray] = []
    for part in (table.pixels - table.events, table.events):
        from_top = np.cumsum(part[..., ::-1], axis=-1)
        share = ratio(from_top, part.sum(-1)[..., None])
        curves.append(np.concatenate([share[..., :1] * 0.0, share], axis=-1))
    return curves[0], curves[1]


def roc_area(table: ProbabilityTable) -> np.ndarray:
    """Area under the ROC curve by trapezoids between the bins' edges: 1 is perfect, 0.5 tells nothing. Mason 1982."""
    false_alarms, detection = roc_curve(table)
    steps = np.diff(false_alarms, axis=-1)
    return (steps * (detection[..., 1:] + detection[..., :-1]) / 2).sum(-1)


def economic_value(table: ProbabilityTable, cost_loss: Sequence[float] | np.ndarray) -> np.ndarray:
    """Relative value (..., cost_loss) for users who pay ``cost_loss`` of their loss to be safe.

    1 is perfect knowledge, 0 the better of always and never acting; each user acts from the bin edge that serves
    them best. NaN where no event, or nothing but events, was seen. Source: Richardson 2000, envelope over thresholds.

    Raises:
        ConfigError: ratios of cost and loss outside (0, 1).
    """
    ratios = np.asarray(cost_loss, np.float64)
    if not ratios.size or not ((ratios > 0) & (ratios < 1)).all():
        raise ConfigError(f"cost_loss={cost_loss} must lie between 0 and 1")
    false_alarms, detection = (curve[..., None] for curve in roc_curve(table))  # (..., edge, 1)
    base = base_rate(table)[..., None, None]
    least = np.minimum(ratios, base)
    expense = false_alarms * ratios * (1 - base) + detection * base * ratios + (1 - detection) * base
    value = (least - expense) / np.where(base * ratios < least, least - base * ratios, np.nan)
    return value.max(axis=-2)

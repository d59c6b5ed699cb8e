"""Scores of yes-or-no forecasts: hits, misses, false alarms and what follows from them.

Counts are int64 and add up exactly, so frames, tiles and machines combine in any order. Formulas stand apart
and give NaN where they have nothing to divide by. Source of the names: Wilks, Statistical Methods in the
Atmospheric Sciences, chapter on forecast verification.
"""

from dataclasses import dataclass

import numpy as np

from geoscope.errors import ConfigError, ShapeError


@dataclass(frozen=True, eq=False)
class Contingency:
    """Counts of pixels: int64 arrays of one shape, for example (threshold,) or (lead time, threshold)."""

    hits: np.ndarray
    misses: np.ndarray
    false_alarms: np.ndarray
    correct_negatives: np.ndarray

    def __add__(self, other: "Contingency") -> "Contingency":
        if self.hits.shape != other.hits.shape:
            raise ShapeError(
                f"counts of shape {self.hits.shape} and {other.hits.shape} do not add up: "
                "count both for the same thresholds"
            )
        return Contingency(
            self.hits + other.hits,
            self.misses + other.misses,
            self.false_alarms + other.false_alarms,
            self.correct_negatives + other.correct_negatives,
        )

    @property
    def pixels(self) -> np.ndarray:
        """All pixels that were counted."""
        return self.hits + self.misses + self.false_alarms + self.correct_negatives

    def pooled(self, axis: int = 0) -> "Contingency":
        """The counts added up along an axis: scores of the pool, not means of scores."""
        return Contingency(
            self.hits.sum(axis),
            self.misses.sum(axis),
            self.false_alarms.sum(axis),
            self.correct_negatives.sum(axis),
        )


def stack(counts: list[Contingency]) -> Contingency:
    """Counts side by side along a new first axis, for example lead time."""
    return Contingency(
        np.stack([c.hits for c in counts]),
        np.stack([c.misses for c in counts]),
        np.stack([c.false_alarms for c in counts]),
        np.stack([c.correct_negatives for c in counts]),
    )


def rising_thresholds(thresholds: tuple[float, ...]) -> np.ndarray:
    """Thresholds as a rising float64 array.

    Raises:
        ConfigError: none given, or not finite, or one twice.
    """
    values = np.sort(np.atleast_1d(np.asarray(thresholds, dtype=np.float64)).ravel())
    if not values.size or not np.isfinite(values).all() or (np.diff(values) == 0).any():
        raise ConfigError(f"thresholds={thresholds} must be one or more different finite numbers")
    return values


def count_events(forecast: np.ndarray, observed: np.ndarray, thresholds: tuple[float, ...]) -> Contingency:
    """Counts (threshold,) over all pixels, thresholds rising; an event is a value at or above the threshold.

    `forecast` and `observed` have one shape and one unit; a pixel that is NaN in either is left out.

    Raises:
        ConfigError: thresholds that cannot be used.
        ShapeError: the two arrays differ in shape.
    """
    edges = rising_thresholds(thresholds)
    forecast, observed = np.asarray(forecast), np.asarray(observed)
    if forecast.shape != observed.shape:
        raise ShapeError(f"forecast {forecast.shape} and observed {observed.shape} must have the same shape")
    if forecast.dtype.kind == "f":  # 0.7 in float32 lies below 0.7 in float64: compare like with like
        edges = edges.astype(np.result_type(forecast, observed))
    known = ~(np.isnan(forecast) | np.isnan(observed))
    bins = len(edges) + 1
    # one pass: how often forecast lies in bin i while observed lies in bin j
    at = np.searchsorted(edges, forecast[known], "right") * bins
    at += np.searchsorted(edges, observed[known], "right")
    joint = np.bincount(at, minlength=bins * bins).reshape(bins, bins).astype(np.int64)
    above = joint[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1]  # both at or above bins i and j
    hits = np.diagonal(above)[1:].copy()
    forecast_yes, observed_yes, total = above[1:, 0], above[0, 1:], above[0, 0]
    return Contingency(
        hits, observed_yes - hits, forecast_yes - hits, total - forecast_yes - observed_yes + hits
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def critical_success_index(counts: Contingency) -> np.ndarray:
    """Hits over all events forecast or seen, in [0, 1]; NaN when there were none."""
    return _ratio(counts.hits, counts.hits + counts.misses + counts.false_alarms)


def probability_of_detection(counts: Contingency) -> np.ndarray:
    """Hits over events seen, in [0, 1]; NaN when none was seen."""
    return _ratio(counts.hits, counts.hits + counts.misses)


def false_alarm_ratio(counts: Contingency) -> np.ndarray:
    """False alarms over events forecast, in [0, 1]; NaN when none was forecast."""
    return _ratio(counts.false_alarms, counts.hits + counts.false_alarms)


def success_ratio(counts: Contingency) -> np.ndarray:
    """Hits over events forecast, in [0, 1], which is 1 - false alarm ratio; NaN when none was forecast."""
    return _ratio(counts.hits, counts.hits + counts.false_alarms)


def frequency_bias(counts: Contingency) -> np.ndarray:
    """Events forecast over events seen: 1 is right, above 1 too many; NaN when none was seen."""
    return _ratio(counts.hits + counts.false_alarms, counts.hits + counts.misses)

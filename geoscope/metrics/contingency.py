"""Scores of yes-or-no forecasts: hits, misses, false alarms and what follows from them.

Counts are int64 and add up exactly, so frames, tiles and machines combine in any order. Formulas stand apart
and give NaN where they have nothing to divide by. Source of the names: Wilks, Statistical Methods in the
Atmospheric Sciences, chapter on forecast verification.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ConfigError
from geoscope.metrics.sums import Sums, known_pair, ratio
from geoscope.metrics.sums import stack as stack


@dataclass(frozen=True, eq=False)
class Contingency(Sums):
    """Counts of pixels: int64 arrays of one shape, for example (threshold,) or (lead time, threshold)."""

    hits: np.ndarray
    misses: np.ndarray
    false_alarms: np.ndarray
    correct_negatives: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """All pixels that were counted."""
        return self.hits + self.misses + self.false_alarms + self.correct_negatives


def rising_thresholds(thresholds: Sequence[float] | np.ndarray | float) -> np.ndarray:
    """Thresholds as a rising float64 array.

    Raises:
        ConfigError: none given, or not finite, or one twice.
    """
    values = np.sort(np.atleast_1d(np.asarray(thresholds, dtype=np.float64)).ravel())
    if not values.size or not np.isfinite(values).all() or (np.diff(values) == 0).any():
        raise ConfigError(f"thresholds={thresholds} must be one or more different finite numbers")
    return values


def at_or_above(values: np.ndarray, threshold: float) -> np.ndarray:
    """Where ``values`` reach ``threshold``; NaN never does. 0.7 means 0.7 in the precision of the values."""
    return values >= (values.dtype.type(threshold) if values.dtype.kind == "f" else threshold)


def events(
    forecast: Any, observed: Any, thresholds: Sequence[float] | np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each threshold, rising: where an event was forecast and where one was seen, over what both know.

    A pixel that is NaN in either field is an event in neither.

    Raises:
        ConfigError: thresholds that cannot be used.
        ShapeError: the two arrays differ in shape.
    """
    edges = rising_thresholds(thresholds)
    forecast, observed, known = known_pair(forecast, observed)
    everywhere = bool(known.all())
    for edge in edges:
        forecast_yes, observed_yes = at_or_above(forecast, edge), at_or_above(observed, edge)
        yield (forecast_yes, observed_yes) if everywhere else (forecast_yes & known, observed_yes & known)


def count_events(forecast: Any, observed: Any, thresholds: Sequence[float] | np.ndarray) -> Contingency:
    """Counts (threshold,) over all pixels, thresholds rising; an event is a value at or above the threshold.

    `forecast` and `observed` have one shape and one unit; a pixel that is NaN in either is left out.

    Raises:
        ConfigError: thresholds that cannot be used.
        ShapeError: the two arrays differ in shape.
    """
    rows = [
        (np.count_nonzero(f & o), np.count_nonzero(f), np.count_nonzero(o))
        for f, o in events(forecast, observed, thresholds)
    ]
    hits, forecast_yes, observed_yes = np.array(rows, dtype=np.int64).T
    pixels = np.count_nonzero(known_pair(forecast, observed)[2])
    return Contingency(
        hits, observed_yes - hits, forecast_yes - hits, pixels - forecast_yes - observed_yes + hits
    )


def critical_success_index(counts: Contingency) -> np.ndarray:
    """Hits over all events forecast or seen, in [0, 1]; NaN when there were none."""
    return ratio(counts.hits, counts.hits + counts.misses + counts.false_alarms)


def probability_of_detection(counts: Contingency) -> np.ndarray:
    """Hits over events seen, in [0, 1]; NaN when none was seen."""
    return ratio(counts.hits, counts.hits + counts.misses)


def false_alarm_ratio(counts: Contingency) -> np.ndarray:
    """False alarms over events forecast, in [0, 1]; NaN when none was forecast."""
    return ratio(counts.false_alarms, counts.hits + counts.false_alarms)


def false_alarm_rate(counts: Contingency) -> np.ndarray:
    """False alarms over non-events seen (probability of false detection), in [0, 1]; NaN when none was seen."""
    return ratio(counts.false_alarms, counts.false_alarms + counts.correct_negatives)


def success_ratio(counts: Contingency) -> np.ndarray:
    """Hits over events forecast, in [0, 1], which is 1 - false alarm ratio; NaN when none was forecast."""
    return ratio(counts.hits, counts.hits + counts.false_alarms)


def frequency_bias(counts: Contingency) -> np.ndarray:
    """Events forecast over events seen: 1 is right, above 1 too many; NaN when none was seen."""
    return ratio(counts.hits + counts.false_alarms, counts.hits + counts.misses)


def base_rate(counts: Contingency) -> np.ndarray:
    """Share of pixels that saw the event, in [0, 1]; NaN without a pixel."""
    return ratio(counts.hits + counts.misses, counts.pixels)


def f1_score(counts: Contingency) -> np.ndarray:
    """Harmonic mean of detection and success ratio, 2 CSI / (1 + CSI); NaN when there were no events."""
    return ratio(2 * counts.hits, 2 * counts.hits + counts.misses + counts.false_alarms)


def heidke_skill_score(counts: Contingency) -> np.ndarray:
    """Share of right answers beyond those of chance, in [-1, 1]; 0 is chance, NaN when all answers are one.

    Source: Heidke 1926, in the form of Wilks.
    """
    a, b, c, d = _as_floats(counts)
    return ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d))


def equitable_threat_score(counts: Contingency) -> np.ndarray:
    """CSI less the hits of chance (Gilbert skill score), in [-1/3, 1]; 0 is chance, NaN without events."""
    a, b, c, d = _as_floats(counts)
    by_chance = (a + b) * ratio(a + c, a + b + c + d)
    return ratio(a - by_chance, a + b + c - by_chance)


def _as_floats(counts: Contingency) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hits, false alarms, misses, correct negatives: products of int64 counts would overflow."""
    parts = (counts.hits, counts.false_alarms, counts.misses, counts.correct_negatives)
    a, b, c, d = (np.asarray(part, np.float64) for part in parts)
    return a, b, c, d

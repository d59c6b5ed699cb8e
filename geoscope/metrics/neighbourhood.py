"""Scores that forgive a small displacement: fractions skill score and tolerant (neighbourhood) CSI.

Windows are squares; outside the field and where data are missing there is no event, in both fields alike.
Sums are whole numbers (window counts, not fractions), so they merge exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.metrics.contingency import events
from geoscope.metrics.pooling import checked_sizes
from geoscope.metrics.sums import Sums, ratio


@dataclass(frozen=True, eq=False)
class FractionSums(Sums):
    """Sums over pixels of squared and multiplied event counts in windows, int64 (scale, threshold)."""

    forecast_squared: np.ndarray
    observed_squared: np.ndarray
    product: np.ndarray


def window_table(is_event: np.ndarray, reach: int) -> np.ndarray:
    """Summed-area table of a boolean field (H, W), from which any window is counted by slices.

    (H + 1 + 2 reach, W + 1 + 2 reach) int32: the table goes on unchanged for ``reach`` pixels
    beyond the edges, where there are no events.
    """
    height, width = is_event.shape
    table = np.zeros((height + 1 + 2 * reach, width + 1 + 2 * reach), np.int32)
    inner = table[reach + 1 : reach + 1 + height, reach + 1 : reach + 1 + width]
    np.cumsum(is_event, axis=0, dtype=np.int32, out=inner)
    np.cumsum(inner, axis=1, out=inner)
    table[reach + 1 + height :] = table[reach + height]
    table[:, reach + 1 + width :] = table[:, reach + width, None]
    return table


def window_counts(table: np.ndarray, size: int, reach: int, out: np.ndarray | None = None) -> np.ndarray:
    """Events in the window of ``size`` x ``size`` pixels around each pixel, (H, W), from a table of that ``reach``.

    An even window reaches one pixel further to the north and west; ``reach`` is at least half the size. ``out`` takes
    the result.
    """
    height, width = (length - 1 - 2 * reach for length in table.shape)
    first = reach - size // 2
    rows = table[first + size : first + size + height] - table[first : first + height]
    return np.subtract(rows[:, first + size : first + size + width], rows[:, first : first + width], out=out)


def sum_fractions(
    forecast: Any, observed: Any, thresholds: Sequence[float] | np.ndarray, scales: Sequence[int]
) -> FractionSums:
    """Sums (scale, threshold) for the fractions skill score of one frame (H, W); scales in pixels, rising.

    All scales that cover the whole field from every pixel give the same sums.

    Raises:
        ConfigError: scales or thresholds that cannot be used.
        ShapeError: the two arrays differ in shape.
    """
    everywhere = 2 * max(np.shape(forecast)) + 1  # a window that covers the field from any pixel
    sizes = [min(size, everywhere) for size in checked_sizes("scales", scales)]
    reach = sizes[-1] // 2
    room = np.empty(
        (2, *np.shape(forecast))
    )  # asking the system for it again for every window costs more than counting
    rows: list[list[tuple[int, int, int]]] = []
    for forecast_yes, observed_yes in events(forecast, observed, thresholds):
        tables = window_table(forecast_yes, reach), window_table(observed_yes, reach)
        rows.append([_products(tables, size, reach, room) for size in sizes])
    forecast_squared, observed_squared, product = np.array(rows, np.int64).transpose(2, 1, 0)
    return FractionSums(forecast_squared, observed_squared, product)


def _products(
    tables: tuple[np.ndarray, np.ndarray], size: int, reach: int, room: np.ndarray
) -> tuple[int, int, int]:
    f, o = (window_counts(table, size, reach, out).ravel() for table, out in zip(tables, room, strict=True))
    return int(f @ f), int(o @ o), int(f @ o)  # whole numbers far below 2**53: exact


def fractions_skill_score(sums: FractionSums) -> np.ndarray:
    """1 - squared difference of window fractions over its largest possible value, in [0, 1].

    1 is perfect at that scale, NaN where neither field has an event. Source: Roberts and Lean 2008, with windows
    cut at the edges counted as dry outside (as in pysteps). A scale is called useful from
    0.5 + half the observed share of events.
    """
    return ratio(2 * sums.product, sums.forecast_squared + sums.observed_squared)


@dataclass(frozen=True, eq=False)
class TolerantCounts(Sums):
    """Events that found a partner within the tolerance and those that did not, int64 (tolerance, threshold)."""

    observed_hits: np.ndarray
    misses: np.ndarray
    forecast_hits: np.ndarray
    false_alarms: np.ndarray


def count_tolerant(
    forecast: Any, observed: Any, thresholds: Sequence[float] | np.ndarray, tolerances: Sequence[int]
) -> TolerantCounts:
    """Counts (tolerance, threshold) of one frame (H, W); a tolerance of r pixels is a window of 2 r + 1.

    An observed event is a hit when any event was forecast in the window around it, a forecast event a false
    alarm when none was seen in the window around it. Tolerance 0 gives the plain counts.

    Raises:
        ConfigError: tolerances or thresholds that cannot be used.
        ShapeError: the two arrays differ in shape.
    """
    reaches = [min(r, max(np.shape(forecast))) for r in checked_sizes("tolerances", tolerances, smallest=0)]
    furthest = reaches[-1]
    rows: list[list[tuple[int, int, int, int]]] = []
    for forecast_yes, observed_yes in events(forecast, observed, thresholds):
        tables = window_table(forecast_yes, furthest), window_table(observed_yes, furthest)
        row: list[tuple[int, int, int, int]] = []
        for reach in reaches:
            size = 2 * reach + 1
            near_forecast, near_observed = (window_counts(table, size, furthest) > 0 for table in tables)
            row.append(
                (
                    int(np.count_nonzero(observed_yes & near_forecast)),
                    int(np.count_nonzero(observed_yes & ~near_forecast)),
                    int(np.count_nonzero(forecast_yes & near_observed)),
                    int(np.count_nonzero(forecast_yes & ~near_observed)),
                )
            )
        rows.append(row)
    return TolerantCounts(*np.array(rows, np.int64).transpose(2, 1, 0))


def tolerant_critical_success_index(counts: TolerantCounts) -> np.ndarray:
    """Observed hits over observed hits, misses and false alarms, in [0, 1]; NaN without events.

    Source: the neighbourhood contingency table of Clark, Gallus and Weisman 2010, with square windows.
    """
    return ratio(counts.observed_hits, counts.observed_hits + counts.misses + counts.false_alarms)


def tolerant_probability_of_detection(counts: TolerantCounts) -> np.ndarray:
    """Share of observed events with a forecast event within the tolerance; NaN when none was seen."""
    return ratio(counts.observed_hits, counts.observed_hits + counts.misses)


def tolerant_success_ratio(counts: TolerantCounts) -> np.ndarray:
    """Share of forecast events with an observed event within the tolerance; NaN when none was forecast."""
    return ratio(counts.forecast_hits, counts.forecast_hits + counts.false_alarms)

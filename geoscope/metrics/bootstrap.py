"""How sure is a score? Intervals from drawing issue times or events again and again, with replacement.

What is drawn must be independent: give one `Verification` for each event, or for each issue time where these lie
far enough apart. Frames of one forecast are not independent, so they are never drawn singly.
Source: Efron and Tibshirani 1993, percentile intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from geoscope.errors import ConfigError
from geoscope.metrics.accumulate import Verification
from geoscope.metrics.sums import Sums, stack
from geoscope.metrics.tables import formula_of

Statistic = Callable[[Verification], float]


def interval(
    each: Sequence[Verification],
    statistic: Statistic | str,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Lowest and highest of a statistic in the middle ``level`` of the draws, from counts added over what was drawn.

    ``each`` holds one verification for each event or issue time. ``statistic`` names a score of all leads together,
    such as "csi_mean", "mae", "csi" or "fss" (arrays by threshold, or scale and threshold), or takes the
    verification of a draw and gives a number: a name is much faster. Draws in which it is not defined are left out;
    NaN when it never is. One event alone gives no interval: (NaN, NaN).

    Raises:
        ConfigError: nothing to draw from, different settings, fewer than one draw, a level outside (0, 1), or a
            statistic that was not counted.
    """
    return intervals(each, {"it": statistic}, draws=draws, level=level, seed=seed)["it"]


def intervals(
    each: Sequence[Verification],
    statistics: Mapping[str, Statistic | str] | Sequence[str],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[Any, Any]]:
    """`interval` of several statistics, by name, from the same draws.

    Raises:
        ConfigError: as `interval`.
    """
    wanted = statistics if isinstance(statistics, Mapping) else {name: name for name in statistics}
    often = _draw(len(each), draws, level, seed)
    return {
        name: _middle(_values(each, statistic, often), level, len(each)) for name, statistic in wanted.items()
    }


def paired_interval(
    each: Sequence[Verification],
    baseline: Sequence[Verification],
    statistic: Statistic | str,
    *,
    compare: Callable[[Any, Any], Any] = lambda one, other: one - other,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Interval of a comparison (by default the difference) with a baseline on the same events, drawn together.

    A difference whose interval leaves out 0 is more than the luck of which storms came; two intervals of their own
    that overlap do not tell, as both forecasts share the hard events. ``compare`` takes the arrays of all draws.

    Raises:
        ConfigError: as `interval`, or another number of events in the baseline.
    """
    if len(each) != len(baseline):
        raise ConfigError(
            f"{len(each)} events against {len(baseline)} of the baseline: give the same events to both"
        )
    often = _draw(len(each), draws, level, seed)
    values = compare(_values(each, statistic, often), _values(baseline, statistic, often))
    return _middle(values, level, len(each))


def interval_of_mean(
    values: Sequence[float] | np.ndarray, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """`interval` of the plain mean of one number for each event, so that long and wet events weigh no more.

    A draw with an event whose number is NaN is left out.

    Raises:
        ConfigError: nothing to draw from, fewer than one draw, or a level outside (0, 1).
    """
    numbers = np.asarray(values, np.float64)
    often = _draw(len(numbers), draws, level, seed)
    drawn = np.where(often > 0, often * numbers, 0.0).mean(axis=1)
    return _middle(drawn, level, len(numbers))


def _draw(count: int, draws: int, level: float, seed: int) -> np.ndarray:
    """How often each event is taken in each draw, int64 (draw, event)."""
    if not count:
        raise ConfigError("nothing to draw from: give one verification for each event or issue time")
    if draws < 1 or not 0 < level < 1:
        raise ConfigError(f"draws={draws} must be 1 or more, and level={level} between 0 and 1")
    generator = np.random.default_rng(seed)
    taken = generator.integers(count, size=(draws, count))
    return np.stack([np.bincount(row, minlength=count) for row in taken])


def _values(each: Sequence[Verification], statistic: Statistic | str, often: np.ndarray) -> np.ndarray:
    """The statistic in each draw, (draw, ...)."""
    if any(one.settings != each[0].settings for one in each):
        raise ConfigError(
            "the verifications have different settings: count all events with the same thresholds"
        )
    if isinstance(statistic, str):
        family, formula = formula_of(statistic)
        totals = [one.total(family) for one in each]
        known = [total for total in totals if total is not None]
        if not known:
            raise ConfigError(
                f"statistic={statistic!r} was not counted: ask for its family, or for another score"
            )
        return formula(_weighted(stack([total or known[0].zeros() for total in totals]), often))
    drawn = (
        sum((one for i, one in enumerate(each) for _ in range(row[i])), each[0].empty()) for row in often
    )
    return np.array([statistic(together) for together in drawn], np.float64)


def _weighted(sums: Sums, often: np.ndarray) -> Sums:
    """Sums of the draws (draw, ...) from those of the events (event, ...)."""
    parts = {name: np.tensordot(often, np.asarray(part), 1) for name, part in sums.parts().items()}
    return type(sums)(**parts)


def _middle(values: np.ndarray, level: float, events: int) -> tuple[Any, Any]:
    ends: list[Any] = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        end = np.full(values.shape[1:], np.nan)
        for place in np.ndindex(end.shape):
            known = values[(slice(None), *place)]
            known = known[~np.isnan(known)]
            if known.size and events > 1:
                end[place] = np.quantile(known, share)
        ends.append(end if end.ndim else float(end))
    return ends[0], ends[1]

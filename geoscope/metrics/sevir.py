"""The scores of the published Earthformer and PreDiff on SEVIR, as their code computes them.

Fields are vertically integrated liquid on 0-255. The published code adds a small number to every denominator
(1e-4) and counts in float32, which loses whole numbers above 2**24; here counts are int64, and everything
after them is float64. Scores without that small number are in `contingency`. Mind the way to 0-255: a pixel of
219 divided by 255 and divided by 1 / 255 in float32 comes back below 219 and is missed; multiplied by 1 / 255 it
comes back whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics.contingency import at_or_above
from geoscope.metrics.pooling import block_maxima, checked_sizes
from geoscope.metrics.sums import Sums, known_pair

SEVIR_THRESHOLDS = (16, 74, 133, 160, 181, 219)
EPSILON = 1e-4
MODES = ("0", "1", "2")
_AXES = "NTHWC"


@dataclass(frozen=True, eq=False)
class SevirCounts(Sums):
    """Hits, misses and false alarms, int64: (threshold,) in mode 0, (threshold, lead) in modes 1 and 2."""

    hits: np.ndarray
    misses: np.ndarray
    false_alarms: np.ndarray


def count_sevir(
    prediction: Any,
    target: Any,
    thresholds: Sequence[float] = SEVIR_THRESHOLDS,
    *,
    mode: int | str = 0,
    layout: str | None = None,
    pool: int = 1,
) -> SevirCounts:
    """Counts of one batch, to be added over batches; see `sevir_scores` for the arguments.

    An event is a value at or above the threshold, compared in float32 as the published code does; a pixel that is
    NaN in either field is no event in both. Pooling takes the largest value of each block of ``pool`` x ``pool``
    pixels first; a block with a NaN is NaN, and what does not fill a block is dropped.

    Raises:
        ConfigError: an unknown mode or layout, thresholds or pool that cannot be used.
        ShapeError: shapes differ, or do not fit the layout.
    """
    wanted = checked_mode(mode)
    levels = _checked_thresholds(thresholds)
    (size,) = checked_sizes("pool", (pool,))
    prediction, target, _ = known_pair(prediction, target)
    if wanted == "0" and size == 1 and layout is None:
        axes, kept = "", ()
    else:
        axes = _checked_layout(layout, prediction.ndim)
        kept = () if wanted == "0" else (axes.index("T"),)
    prediction, target = (_pooled(values.astype(np.float32), axes, size) for values in (prediction, target))
    missing = np.isnan(prediction) | np.isnan(target)
    reduced = tuple(axis for axis in range(prediction.ndim) if axis not in kept)
    rows: list[tuple[Any, ...]] = []
    for level in levels:
        predicted, seen = at_or_above(prediction, level) & ~missing, at_or_above(target, level) & ~missing
        pairs = (predicted & seen, ~predicted & seen, predicted & ~seen)
        rows.append(tuple(np.sum(pair, axis=reduced, dtype=np.int64) for pair in pairs))
    hits, misses, false_alarms = (np.stack(each) for each in zip(*rows, strict=True))
    return SevirCounts(hits, misses, false_alarms)


def sevir_scores(
    prediction: Any,
    target: Any,
    thresholds: Sequence[float] = SEVIR_THRESHOLDS,
    *,
    mode: int | str = 0,
    layout: str | None = None,
    pool: int = 1,
) -> dict[str, Any]:
    """The published SEVIR scores of values on 0-255 (numpy or torch), by threshold.

    Modes: 0 adds the counts of everything before it divides (the published CSI-M); 1 gives vectors by lead;
    2 gives the mean over leads of the scores by lead. ``layout`` names the axes, such as "NTHWC" (the default for
    five axes), "NHWT", "NTHW" (for four), "THW" (for three); mode 0 without pooling needs none. ``pool`` is 4 or 16
    for the pooled scores of PreDiff.

    The result has `csi`, `pod`, `sucr`, `bias` and `published_bias`, each a dict by threshold as it was given;
    their means over thresholds `csi_m`, `pod_m`, `sucr_m`, `bias_m`, `published_bias_m`; and the int64 counts
    `hits`, `misses`, `false_alarms`, (threshold,) or (threshold, lead). `bias` is the frequency bias, events
    forecast over events seen. `published_bias` is what the published code reports under the name bias,
    (frequency bias / ln 2) ** 2: a slip for the square of log2, kept for comparison with published tables only.

    For several batches add `count_sevir` of each and give the sum to `scores_of_counts`.

    Raises:
        ConfigError: an unknown mode or layout, thresholds or pool that cannot be used.
        ShapeError: shapes differ, or do not fit the layout.
    """
    counts = count_sevir(prediction, target, thresholds, mode=mode, layout=layout, pool=pool)
    return scores_of_counts(counts, thresholds, mode=mode)


def scores_of_counts(
    counts: SevirCounts, thresholds: Sequence[float] = SEVIR_THRESHOLDS, *, mode: int | str = 0
) -> dict[str, Any]:
    """The scores of `sevir_scores` from counts that were added over batches.

    Raises:
        ConfigError: an unknown mode.
        ShapeError: the counts are not those of the thresholds and mode.
    """
    wanted = checked_mode(mode)
    levels = _checked_thresholds(thresholds)
    if counts.hits.shape[:1] != (len(levels),) or counts.hits.ndim != (1 if wanted == "0" else 2):
        raise ShapeError(
            f"counts of shape {counts.hits.shape} do not fit {len(levels)} thresholds in mode {wanted}: "
            "count with the same thresholds and mode"
        )
    hits, misses, alarms = (part.astype(np.float64) for part in counts.parts().values())
    bias = (hits + alarms) / (hits + misses + EPSILON)
    scores = {
        "csi": hits / (hits + misses + alarms + EPSILON),
        "pod": hits / (hits + misses + EPSILON),
        "sucr": hits / (hits + alarms + EPSILON),
        "bias": bias,
        "published_bias": np.square(bias / np.log(2.0)),
    }
    result: dict[str, Any] = {}
    for name, values in scores.items():
        by_level = values.mean(axis=1) if wanted == "2" else values
        result[name] = {level: _plain(by_level[k]) for k, level in enumerate(levels)}
        result[f"{name}_m"] = _plain(by_level.mean(axis=0))
    return {**result, **counts.parts()}


def checked_mode(mode: int | str) -> str:
    """The mode as "0", "1" or "2".

    Raises:
        ConfigError: another mode.
    """
    if isinstance(mode, bool) or str(mode) not in MODES:
        raise ConfigError(f"mode={mode!r} must be 0 (everything pooled), 1 (by lead) or 2 (mean over leads)")
    return str(mode)


def _checked_thresholds(thresholds: Sequence[float]) -> list[float]:
    levels = list(thresholds)
    if not levels or len(set(levels)) != len(levels) or not np.isfinite(levels).all():
        raise ConfigError(f"thresholds={thresholds} must be one or more different finite numbers on 0-255")
    return levels


def _checked_layout(layout: str | None, axes: int) -> str:
    names = {5: "NTHWC", 4: "NTHW", 3: "THW"}.get(axes, "") if layout is None else layout.upper()
    if not {"T", "H", "W"} <= set(names) or not set(names) <= set(_AXES) or len(set(names)) != len(names):
        raise ConfigError(f"layout={layout!r} must name T, H, W and perhaps N, C once each, such as 'NTHWC'")
    if len(names) != axes:
        raise ShapeError(
            f"fields with {axes} axes do not fit layout={names!r}: give the layout of your fields"
        )
    return names


def _pooled(values: np.ndarray, axes: str, size: int) -> np.ndarray:
    """Block maxima over H and W; the axes keep their order."""
    if size == 1:
        return values
    rows, columns = axes.index("H"), axes.index("W")
    pooled = block_maxima(np.moveaxis(values, (rows, columns), (-2, -1)), size)
    return np.moveaxis(pooled, (-2, -1), (rows, columns))


def _plain(value: np.ndarray) -> Any:
    return float(value) if np.ndim(value) == 0 else value

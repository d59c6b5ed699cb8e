"""Structural similarity (SSIM) of two fields, with missing data."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics.sums import Sums, known_pair, ratio

WINDOW, SIGMA = 11, 1.5
_OFFSETS = np.arange(WINDOW) - WINDOW // 2
_WEIGHTS = np.exp(-np.square(_OFFSETS) / (2 * SIGMA**2))
_KERNEL = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, eq=False)
class SimilaritySums(Sums):
    """Sum of local similarity over the windows that are known whole, and their number."""

    windows: Any = 0
    similarity: Any = 0.0


def _smooth(field: np.ndarray) -> np.ndarray:
    """Gaussian mean in every whole window: (H, W) to (H - 10, W - 10)."""
    for axis in (0, 1):
        length = field.shape[axis] - WINDOW + 1
        parts = (weight * field.take(range(i, i + length), axis) for i, weight in enumerate(_KERNEL))
        field = sum(parts, np.zeros(1))
    return field


def sum_similarity(forecast: Any, observed: Any, *, value_range: float) -> SimilaritySums:
    """Sums of one frame (H, W); ``value_range`` is the span of values, fixed so that frames can be added.

    Windows are 11 x 11 pixels with Gaussian weights of 1.5 pixels; those with an unknown pixel are left out.

    Raises:
        ConfigError: a range that is not above zero.
        ShapeError: the two arrays differ in shape, are not (H, W), or are smaller than a window.
    """
    if not value_range > 0:
        raise ConfigError(f"value_range={value_range} must be above 0: the span of values, such as 255")
    forecast, observed, known = known_pair(forecast, observed)
    if forecast.ndim != 2 or min(forecast.shape) < WINDOW:
        raise ShapeError(
            f"similarity needs fields (H, W) of {WINDOW} x {WINDOW} pixels or more, not {forecast.shape}"
        )
    f, o = (np.where(known, field, 0.0).astype(np.float64) for field in (forecast, observed))
    mean_f, mean_o = _smooth(f), _smooth(o)
    variance_f = _smooth(f * f) - mean_f * mean_f
    variance_o = _smooth(o * o) - mean_o * mean_o
    covariance = _smooth(f * o) - mean_f * mean_o
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    local = ((2 * mean_f * mean_o + c1) * (2 * covariance + c2)) / (
        (np.square(mean_f) + np.square(mean_o) + c1) * (variance_f + variance_o + c2)
    )
    gaps = np.pad(np.cumsum(np.cumsum(~known, 0), 1), ((1, 0), (1, 0)))
    in_window = (
        gaps[WINDOW:, WINDOW:] - gaps[:-WINDOW, WINDOW:] - gaps[WINDOW:, :-WINDOW] + gaps[:-WINDOW, :-WINDOW]
    )
    is_whole = in_window == 0
    return SimilaritySums(int(is_whole.sum()), float(local[is_whole].sum()))


def structural_similarity(sums: SimilaritySums) -> np.ndarray:
    """Mean similarity of luminance, contrast and structure, in [-1, 1]; 1 is equal. Source: Wang et al. 2004."""
    return ratio(sums.similarity, sums.windows)

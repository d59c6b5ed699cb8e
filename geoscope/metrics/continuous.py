"""Scores of amounts: errors, correlation and error of the logarithm, from sums that merge."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.metrics.sums import Sums, known_pair, ratio


@dataclass(frozen=True, eq=False)
class ErrorSums(Sums):
    """Sums over pixels of forecast F, observed O and their error F - O, in the field's unit (float64)."""

    pixels: Any = 0
    error: Any = 0.0
    absolute: Any = 0.0
    squared: Any = 0.0
    forecast: Any = 0.0
    observed: Any = 0.0
    forecast_squared: Any = 0.0
    observed_squared: Any = 0.0
    product: Any = 0.0


def sum_errors(forecast: Any, observed: Any) -> ErrorSums:
    """Sums of forecast minus observed over the pixels that are known in both (not NaN).

    Raises:
        ShapeError: the two arrays differ in shape.
    """
    forecast, observed, known = known_pair(forecast, observed)
    f, o = forecast[known].astype(np.float64), observed[known].astype(np.float64)
    error = f - o
    return ErrorSums(
        pixels=f.size,
        error=float(error.sum()),
        absolute=float(np.abs(error).sum()),
        squared=float(error @ error),
        forecast=float(f.sum()),
        observed=float(o.sum()),
        forecast_squared=float(f @ f),
        observed_squared=float(o @ o),
        product=float(f @ o),
    )


def mean_error(sums: ErrorSums) -> np.ndarray:
    """Mean of forecast minus observed: above 0 is too much; NaN without a pixel."""
    return ratio(sums.error, sums.pixels)


def mean_absolute_error(sums: ErrorSums) -> np.ndarray:
    """Mean of the absolute error; NaN without a pixel."""
    return ratio(sums.absolute, sums.pixels)


def root_mean_square_error(sums: ErrorSums) -> np.ndarray:
    """Root of the mean squared error; NaN without a pixel."""
    return np.sqrt(ratio(sums.squared, sums.pixels))


def mean_forecast(sums: ErrorSums) -> np.ndarray:
    """Mean of the forecast over known pixels; NaN without a pixel."""
    return ratio(sums.forecast, sums.pixels)


def mean_observed(sums: ErrorSums) -> np.ndarray:
    """Mean of the observations over known pixels; NaN without a pixel."""
    return ratio(sums.observed, sums.pixels)


def correlation(sums: ErrorSums) -> np.ndarray:
    """Pearson correlation over all pixels that were added up, in [-1, 1]; NaN where either field is constant.

    A variance that is below the rounding of its own sums counts as none.
    """
    n = np.asarray(sums.pixels, np.float64)
    of_forecast = np.asarray(sums.forecast_squared) - ratio(np.square(sums.forecast), n)
    of_observed = np.asarray(sums.observed_squared) - ratio(np.square(sums.observed), n)
    together = np.asarray(sums.product) - ratio(np.multiply(sums.forecast, sums.observed), n)
    rounding = 1e-13
    varies = (of_forecast > rounding * np.asarray(sums.forecast_squared)) & (
        of_observed > rounding * np.asarray(sums.observed_squared)
    )
    whole = np.sqrt(np.where(varies, of_forecast * of_observed, 0.0))
    return np.clip(ratio(together, whole), -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class LogErrorSums(Sums):
    """Sums over pixels where both fields are zero or more of d = ln(1 + F) - ln(1 + O)."""

    pixels: Any = 0
    error: Any = 0.0
    squared: Any = 0.0


def sum_log_errors(forecast: Any, observed: Any) -> LogErrorSums:
    """Sums of the error of ln(1 + value) over the pixels known in both; values below zero are left out.

    Raises:
        ShapeError: the two arrays differ in shape.
    """
    forecast, observed, known = known_pair(forecast, observed)
    known = known & (forecast >= 0) & (observed >= 0)
    error = np.log1p(forecast[known].astype(np.float64)) - np.log1p(observed[known].astype(np.float64))
    return LogErrorSums(error.size, float(error.sum()), float(error @ error))


def mean_log_error(sums: LogErrorSums) -> np.ndarray:
    """Mean of ln((1 + F) / (1 + O)): above 0 is too much, weak rain counts as much as heavy; NaN without a pixel."""
    return ratio(sums.error, sums.pixels)


def root_mean_square_log_error(sums: LogErrorSums) -> np.ndarray:
    """Root of the mean square of ln((1 + F) / (1 + O)), often written RMSLE; NaN without a pixel."""
    return np.sqrt(ratio(sums.squared, sums.pixels))

"""Scores of amounts: mean error, mean absolute error, root mean square error, from sums that merge."""

from dataclasses import dataclass

import numpy as np

from geoscope.errors import ShapeError


@dataclass(frozen=True)
class ErrorSums:
    """Sums over pixels of error, absolute error and squared error, in the field's unit (float64)."""

    pixels: int = 0
    error: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        return ErrorSums(
            self.pixels + other.pixels,
            self.error + other.error,
            self.absolute + other.absolute,
            self.squared + other.squared,
        )


def sum_errors(forecast: np.ndarray, observed: np.ndarray) -> ErrorSums:
    """Sums of forecast minus observed over the pixels that are known in both (not NaN).

    Raises:
        ShapeError: the two arrays differ in shape.
    """
    forecast, observed = np.asarray(forecast), np.asarray(observed)
    if forecast.shape != observed.shape:
        raise ShapeError(f"forecast {forecast.shape} and observed {observed.shape} must have the same shape")
    error = forecast.astype(np.float64) - observed
    error = error[~np.isnan(error)]
    return ErrorSums(
        error.size, float(error.sum()), float(np.abs(error).sum()), float(np.square(error).sum())
    )


def mean_error(sums: ErrorSums) -> float:
    """Mean of forecast minus observed: above 0 is too much; NaN without a pixel."""
    return sums.error / sums.pixels if sums.pixels else float("nan")


def mean_absolute_error(sums: ErrorSums) -> float:
    """Mean of the absolute error; NaN without a pixel."""
    return sums.absolute / sums.pixels if sums.pixels else float("nan")


def root_mean_square_error(sums: ErrorSums) -> float:
    """Root of the mean squared error; NaN without a pixel."""
    return (sums.squared / sums.pixels) ** 0.5 if sums.pixels else float("nan")

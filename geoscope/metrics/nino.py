"""Skill of sea-surface temperature forecasts: the Nino 3.4 index by lead, as the published Earthformer scores it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ShapeError
from geoscope.metrics.sums import Sums, known_pair

EPSILON = 1e-6  # the published code adds it to the denominator of the correlation


@dataclass(frozen=True, eq=False)
class IndexSums(Sums):
    """Sums over samples by lead of prediction P, target Y, their squares and product, float64 (lead,)."""

    samples: np.ndarray
    prediction: np.ndarray
    target: np.ndarray
    prediction_squared: np.ndarray
    target_squared: np.ndarray
    product: np.ndarray
    squared_error: np.ndarray


def sum_indices(prediction: Any, target: Any) -> IndexSums:
    """Sums of index values (sample, lead), to be added over batches; pairs with a NaN are left out.

    Raises:
        ShapeError: not two arrays (sample, lead) of one shape.
    """
    prediction, target, known = known_pair(prediction, target)
    if prediction.ndim != 2:
        raise ShapeError(f"index values have shape {prediction.shape}, expected (sample, lead)")
    p, y = (np.where(known, values, 0.0).astype(np.float64) for values in (prediction, target))
    return IndexSums(
        samples=known.sum(axis=0, dtype=np.int64),
        prediction=p.sum(0),
        target=y.sum(0),
        prediction_squared=np.square(p).sum(0),
        target_squared=np.square(y).sum(0),
        product=(p * y).sum(0),
        squared_error=np.square(p - y).sum(0),
    )


def lead_weights(leads: int) -> np.ndarray:
    """Weights (lead,) of the weighted mean correlation, a * ln(month): a is 1.5, 2, 3, 4 up to months 4, 11, 18 and on.

    The first month weighs nothing, as ln 1 = 0.
    """
    month = np.arange(1, leads + 1)
    a = np.select([month <= 4, month <= 11, month <= 18], [1.5, 2.0, 3.0], 4.0)
    return a * np.log(month)


def skill_of_sums(sums: IndexSums) -> dict[str, Any]:
    """The scores of `nino34_skill` from sums that were added over batches."""
    n = np.where(sums.samples > 0, sums.samples, np.nan).astype(np.float64)
    # deviations from the mean; rounding may leave a constant index a hair below zero
    of_prediction = np.maximum(sums.prediction_squared - np.square(sums.prediction) / n, 0.0)
    of_target = np.maximum(sums.target_squared - np.square(sums.target) / n, 0.0)
    together = sums.product - sums.prediction * sums.target / n
    correlation = together / (np.sqrt(of_prediction * of_target) + EPSILON)
    rmse_by_lead = np.sqrt(sums.squared_error / n)
    return {
        "c_m": float(correlation.mean()),
        "c_wm": float((lead_weights(len(n)) * correlation).mean()),
        "rmse": float(rmse_by_lead.mean()),
        "correlation": correlation,
        "rmse_by_lead": rmse_by_lead,
    }


def nino34_skill(prediction: Any, target: Any) -> dict[str, Any]:
    """Published skill of Nino 3.4 indices (sample, lead), numpy or torch, leads in months from 1.

    `c_m` is the mean over leads of the correlation over samples; `c_wm` the mean over leads of a * ln(lead) *
    correlation (see `lead_weights`); `rmse` the mean over leads of the root mean square error; `correlation` and
    `rmse_by_lead` are (lead,). The correlation of an index that does not vary is 0, as in the published code, whose
    denominator has 1e-6 added. Pairs with a NaN are left out; a lead without any pair makes the means NaN.
    For several batches add `sum_indices` of each and give the sum to `skill_of_sums`.

    Raises:
        ShapeError: not two arrays (sample, lead) of one shape.
    """
    return skill_of_sums(sum_indices(prediction, target))

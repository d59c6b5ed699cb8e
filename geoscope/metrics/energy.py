"""Errors of the energy in forecasts of moving bodies: E.MSE and E.MAE of PreDiff's N-body experiment.

Energies come from frames, see `geoscope.data.nbody_tracker`; their scale is that of whoever reads them, so these errors
compare only among forecasts that were read alike. Source: Gao et al. 2023.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ShapeError
from geoscope.metrics.sums import Sums, known_pair, ratio


@dataclass(frozen=True, eq=False)
class EnergySums(Sums):
    """Sums over frames (T,) of all sequences: number, error, its size and square, float64."""

    frames: np.ndarray
    error: np.ndarray
    absolute: np.ndarray
    squared: np.ndarray


def sum_energy(forecast: Any, observed: Any) -> EnergySums:
    """Sums of energies (..., T), frames that are unknown (NaN) in either left out; of several batches they add up.

    Raises:
        ShapeError: the two differ in shape, or have no axis of time.
    """
    forecast, observed, known = known_pair(forecast, observed)
    if not forecast.ndim:
        raise ShapeError("energies without an axis: expected (..., time)")
    error = np.where(known, forecast.astype(np.float64) - observed, 0.0).reshape(-1, forecast.shape[-1])
    count = known.reshape(error.shape).sum(axis=0)
    return EnergySums(count, error.sum(axis=0), np.abs(error).sum(axis=0), np.square(error).sum(axis=0))


def energy_scores(sums: EnergySums) -> dict[str, Any]:
    """e_mse, e_mae, e_bias (forecast minus observed) over all frames and e_mae_by_frame (T,); NaN without frames."""
    frames = np.asarray(sums.frames).sum()
    return {
        "e_mse": float(ratio(sums.squared.sum(), frames)),
        "e_mae": float(ratio(sums.absolute.sum(), frames)),
        "e_bias": float(ratio(sums.error.sum(), frames)),
        "e_mae_by_frame": ratio(sums.absolute, sums.frames),
    }

"""The mean of several fields where not all of them have data everywhere."""

import numpy as np


def mean_of_fields(fields: np.ndarray) -> np.ndarray:
    """The mean (...) of ``fields`` (N, ...) over those with data at a pixel, float32; NaN where none has."""
    known = np.isfinite(fields)
    count = known.sum(axis=0)
    total = np.where(known, fields, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)

"""Errors of energies, by hand and merged."""

import numpy as np
import pytest

from geoscope.errors import ShapeError
from geoscope.metrics.energy import energy_scores, sum_energy

FORECAST = np.array([[1.0, 2, 3], [4, np.nan, 9]])
OBSERVED = np.array([[1.0, 4, 2], [1, 5, 9]])


def test_by_hand():
    scores = energy_scores(sum_energy(FORECAST, OBSERVED))
    assert scores["e_mse"] == pytest.approx((0 + 4 + 1 + 9 + 0) / 5)
    assert scores["e_mae"] == pytest.approx((0 + 2 + 1 + 3 + 0) / 5)
    assert scores["e_bias"] == pytest.approx((0 - 2 + 1 + 3 + 0) / 5)
    np.testing.assert_allclose(scores["e_mae_by_frame"], [1.5, 2, 0.5])


def test_batches_add_up():
    parts = sum(sum_energy(FORECAST[i], OBSERVED[i]) for i in range(2))
    whole = sum_energy(FORECAST, OBSERVED)
    for name, value in whole.parts().items():
        np.testing.assert_allclose(getattr(parts, name), value)


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match="must have the same shape"):
        sum_energy(FORECAST, OBSERVED[:, :2])
    with pytest.raises(ShapeError, match="energies without an axis"):
        sum_energy(np.array(1.0), np.array(1.0))

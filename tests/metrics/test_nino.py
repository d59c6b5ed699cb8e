"""Skill of the Nino 3.4 index: by hand, and against the numbers of the published code."""

import json

import numpy as np
import pytest
import torch

from geoscope.errors import ShapeError
from geoscope.metrics import nino34_skill
from geoscope.metrics.nino import lead_weights, skill_of_sums, sum_indices


def test_by_hand():
    target = np.array([[0, 1.0], [2, 3.0]])
    prediction = np.array([[0, 3.0], [4, 1.0]])  # right in its changes at lead 1, opposite at lead 2
    skill = nino34_skill(prediction, target)
    np.testing.assert_allclose(skill["correlation"], [1, -1], atol=1e-6)
    np.testing.assert_allclose(skill["rmse_by_lead"], [2**0.5, 2])
    assert skill["c_m"] == pytest.approx(0, abs=1e-6)
    assert skill["c_wm"] == pytest.approx(-1.5 * np.log(2) / 2, abs=1e-6)
    assert skill["rmse"] == pytest.approx((2**0.5 + 2) / 2)


@pytest.mark.parametrize("case", ["T14", "T26"])
def test_weights_equal_the_published_ones(shared, case):
    oracle = json.loads((shared / "oracle/earthformer/metrics/enso_scores.json").read_text())
    expected = oracle[case]["default_weights"]
    np.testing.assert_allclose(lead_weights(len(expected)), expected, rtol=1e-6)


def test_equal_to_the_published_code(shared):
    folder = shared / "oracle/earthformer/metrics"
    expected = json.loads((folder / "enso_scores.json").read_text())["T14"]["script_reported"]
    with np.load(folder / "enso_T14.npz") as data:
        pair = data["nino_pred"], data["nino_target"]
    halves = sum(sum_indices(pair[0][s], pair[1][s]) for s in (slice(4), slice(4, None)))
    for skill in (nino34_skill(*pair), nino34_skill(*map(torch.tensor, pair)), skill_of_sums(halves)):
        assert skill["c_m"] == pytest.approx(expected["C_Nino34_M"], rel=1e-6)
        assert skill["c_wm"] == pytest.approx(expected["C_Nino34_WM"], rel=1e-6)
        assert skill["rmse"] == pytest.approx(expected["nino_rmse"], rel=1e-6)


def test_an_index_that_does_not_vary_correlates_with_nothing():
    skill = nino34_skill(np.full((5, 3), 0.1), np.random.default_rng(0).normal(size=(5, 3)))
    np.testing.assert_allclose(skill["correlation"], 0, atol=1e-6)


def test_missing_pairs_are_left_out():
    rng = np.random.default_rng(1)
    prediction, target = rng.normal(size=(2, 6, 2))
    gap = prediction.copy()
    gap[5, 0] = np.nan
    assert nino34_skill(gap, target)["correlation"][0] == pytest.approx(
        nino34_skill(prediction[:5], target[:5])["correlation"][0]
    )
    assert np.isnan(nino34_skill(np.full((2, 2), np.nan), target[:2])["c_m"])


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"\(sample, lead\)"):
        nino34_skill(np.zeros(3), np.zeros(3))
    with pytest.raises(ShapeError, match="same shape"):
        nino34_skill(np.zeros((3, 2)), np.zeros((2, 3)))

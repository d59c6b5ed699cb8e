"""Scores that grow frame by frame, merge, and survive being written down."""

import datetime
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics.accumulate import Verification

NAN = float("nan")
frames = hnp.arrays(np.float32, (5, 4, 6), elements=st.floats(0, 40, width=32) | st.just(np.float32(NAN)))
EVERYTHING = {"pools": (2,), "scales": (1, 3), "tolerances": (0, 1), "log_error": True}


def fed(forecast, observed, leads, **families):
    return Verification((1, 5), **(families or EVERYTHING)).update(forecast, observed, leads)


def assert_same(one, other):
    one, other = one.to_dataset(), other.to_dataset()
    assert set(one.variables) == set(other.variables)
    np.testing.assert_array_equal(one.lead_time, other.lead_time)
    for name in one.data_vars:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-7, err_msg=name)
    assert one.attrs == pytest.approx(other.attrs, rel=1e-6, abs=1e-7, nan_ok=True)


def test_scores_by_hand():
    scores = Verification((2, 5))
    scores.update(np.array([[3, 2, 0, 0.0]]), np.array([[0, 2, 5, 1.0]]), 5)
    scores.update(np.array([[0, 0, 6, 1.0]]), np.array([[0, 1, 6, NAN]]), 10)
    table = scores.to_dataset()
    np.testing.assert_array_equal(table.hits, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(table.correct_negatives, [[1, 3], [2, 2]])
    np.testing.assert_allclose(table.csi, [[1 / 3, 0], [1, 1]])
    np.testing.assert_allclose(table.csi_pooled, [2 / 4, 1 / 2])
    np.testing.assert_allclose(table.mae, [9 / 4, 1 / 3])
    np.testing.assert_array_equal(table.pixels, [4, 3])
    assert table.attrs["csi_mean"] == scores.csi_mean() == 0.5
    assert table.attrs["mae"] == pytest.approx(10 / 7)
    assert table.attrs["frames"] == 2


@settings(max_examples=20)
@given(forecast=frames, observed=frames, cut=st.integers(0, 5))
def test_merged_halves_are_the_whole(forecast, observed, cut):
    leads = np.array([5, 10, 5, 15, 10])
    halves = [fed(forecast[s], observed[s], leads[s]) for s in (slice(cut), slice(cut, None))]
    whole = fed(forecast, observed, leads)
    assert_same(halves[0] + halves[1], whole)
    assert_same(sum(halves), whole)


@settings(max_examples=20)
@given(forecast=frames, observed=frames)
def test_what_is_written_down_comes_back(forecast, observed):
    scores = fed(forecast, observed, [5, 10, 5, 15, 10])
    state = json.loads(json.dumps(scores.state_dict()))
    again = Verification.from_state(state)
    assert again.to_dataset().identical(scores.to_dataset())
    assert_same(again + again.empty(), scores)


def test_it_travels_between_processes():
    scores = fed(np.ones((2, 4, 6)), np.ones((2, 4, 6)), [5, 10])
    assert_same(pickle.loads(pickle.dumps(scores)), scores)


def test_scores_of_all_leads_by_name():
    scores = fed(np.full((2, 4, 6), 3.0), np.ones((2, 4, 6)), [5, 10])
    assert scores.overall("mae") == 2
    assert scores.overall("csi").tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert np.isnan(scores.overall("crps"))  # no ensemble was counted
    with pytest.raises(ConfigError, match="'CSI' is no score: give one of csi_mean, csi"):
        scores.overall("CSI")


def test_a_lead_is_a_time_or_minutes():
    field = np.ones((2, 2))
    for lead in (5, 5.0, np.float32(5), np.timedelta64(300, "s"), datetime.timedelta(minutes=5)):
        assert Verification().update(field, field, lead).leads == np.timedelta64(5, "m")
    with pytest.raises(ConfigError, match="minutes"):
        Verification().update(field, field, "5")


def test_torch_tensors_count_as_arrays_do():
    forecast, observed = np.array([[1.0, 7, NAN]]), np.array([[2.0, 0.5, 3]])
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        tensors = (torch.tensor(values, dtype=dtype, requires_grad=True) for values in (forecast, observed))
        assert_same(Verification().update(*tensors, 5), Verification().update(forecast, observed, 5))


def test_masked_arrays_are_missing_where_masked():
    masked = np.ma.MaskedArray(np.array([[9, 1]]), mask=[[True, False]])
    assert Verification().update(masked, np.zeros((1, 2)), 5).to_dataset().pixels == 1


def test_what_does_not_fit_is_refused():
    field = np.zeros((2, 3))
    with pytest.raises(ShapeError, match="same shape"):
        Verification().update(field, field.T, 5)
    with pytest.raises(ShapeError, match="2 leads"):
        Verification().update(field, field, [5, 10])
    with pytest.raises(ConfigError, match="do not add up"):
        Verification((1,)) + Verification((2,))
    with pytest.raises(ConfigError, match="families are pools, scales"):
        Verification((1,), sizes=(3,))
    with pytest.raises(ConfigError, match="scales="):
        Verification((1,), scales=(0,))
    with pytest.raises(ConfigError, match="pools="):
        Verification((1,), pools=(2, 2))
    with pytest.raises(ConfigError, match="not the state"):
        Verification.from_state({"settings": {}})


def test_nothing_counted_has_no_scores():
    assert np.isnan(Verification().csi_mean())
    assert Verification().to_dataset().sizes["lead_time"] == 0

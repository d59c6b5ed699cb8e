"""CRPS, spread and ranks, by hand and merged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ShapeError
from geoscope.metrics import ensemble
from geoscope.metrics.accumulate import Verification

NAN = float("nan")
members = hnp.arrays(np.float64, (3, 2, 5), elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.5, NAN]))
truths = hnp.arrays(np.float64, (2, 5), elements=st.sampled_from([0.0, 0.5, 1.0, 4.0, NAN]))


def test_crps_by_hand():
    sums = ensemble.sum_ensemble(np.array([[1.0], [3.0]]), np.array([2.5]))
    # |1 - 2.5| and |3 - 2.5| have the mean 1; the pairs differ by 2
    assert ensemble.crps(sums) == pytest.approx(1 - 2 * 2 / (2 * 4))
    assert ensemble.crps_fair(sums) == pytest.approx(1 - 2 * 2 / (2 * 2))
    assert ensemble.spread(sums) == pytest.approx(2**0.5)
    assert ensemble.mean_rmse(sums) == pytest.approx(0.5)
    assert ensemble.spread_skill_ratio(sums) == pytest.approx((2 * 1.5 / 0.25) ** 0.5)


def test_one_member_has_the_absolute_error_and_no_spread():
    sums = ensemble.sum_ensemble(np.array([[1.0, 4]]), np.array([2.0, 4]))
    assert ensemble.crps(sums) == 0.5
    for score in (ensemble.crps_fair, ensemble.spread, ensemble.spread_skill_ratio):
        assert np.isnan(score(sums))


def test_ranks_by_hand():
    of = np.array([[1.0, 1, 0, 5, 0], [2, 2, 0, 6, 0], [3, 2, 0, 7, 0]])
    seen = np.array([2.5, 2, 9, NAN, 0])
    ranks = ensemble.count_ranks(of, seen).ranks
    # above two; tied with two of three, so at 1, 2 or 3; above all; unknown; tied with all
    np.testing.assert_allclose(ranks, [1 / 4, 1 / 3 + 1 / 4, 1 + 1 / 3 + 1 / 4, 1 + 1 / 3 + 1 / 4])
    wet = ensemble.count_ranks(of, seen, smallest=1.0)
    np.testing.assert_allclose(wet.ranks, [0, 1 / 3, 1 + 1 / 3, 1 + 1 / 3])
    np.testing.assert_allclose(ensemble.rank_histogram(wet), np.array([0, 1, 4, 4]) / 9)


@settings(max_examples=40)
@given(of=members, seen=truths, cut=st.integers(0, 2))
def test_merged_halves_are_the_whole(of, seen, cut):
    halves = [slice(cut), slice(cut, None)]
    for count in (ensemble.sum_ensemble, ensemble.count_ranks):
        merged = sum(count(of[:, half], seen[half]) for half in halves)
        whole = count(of, seen)
        for name, part in whole.parts().items():
            np.testing.assert_allclose(merged.parts()[name], part, atol=1e-12, err_msg=name)


@settings(max_examples=40)
@given(of=members, seen=truths)
def test_crps_is_the_area_between_the_steps(of, seen):
    known = ~np.isnan(of).any(0) & ~np.isnan(seen)
    grid = np.arange(0, 5, 0.5)  # all values lie on these edges
    area = 0.0
    for values, truth in zip(of[:, known].T, seen[known], strict=True):
        area += sum(0.5 * ((values <= at).mean() - (truth <= at)) ** 2 for at in grid)
    sums = ensemble.sum_ensemble(of, seen)
    assert sums.crps == pytest.approx(area, abs=1e-12)
    assert ensemble.count_ranks(of, seen).ranks.sum() == pytest.approx(known.sum())


def test_a_calibrated_ensemble_is_flat_and_as_wide_as_its_error():
    values = np.random.default_rng(0).normal(size=(9, 40000))
    sums = ensemble.sum_ensemble(values[1:], values[0])
    assert ensemble.spread_skill_ratio(sums) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(
        ensemble.rank_histogram(ensemble.count_ranks(values[1:], values[0])), 1 / 9, atol=0.01
    )
    small = ensemble.sum_ensemble(values[1:4], values[0])
    assert ensemble.crps_fair(small) == pytest.approx(ensemble.crps_fair(sums), abs=0.01)
    assert ensemble.crps(small) > ensemble.crps(sums) + 0.03


def test_the_accumulator_counts_members_by_lead():
    of, seen = np.zeros((4, 2, 3, 3)), np.ones((2, 3, 3))
    table = Verification((1,)).update_ensemble(of, seen, [5, 10]).to_dataset()
    assert table.crps.values.tolist() == [1, 1]
    assert table.rank_histogram[0].values.tolist() == [0, 0, 0, 0, 1]
    assert table.brier.values.tolist() == [[1], [1]]


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ShapeError, match="members"):
        ensemble.sum_ensemble(np.zeros((2, 3)), np.zeros(4))
    with pytest.raises(ShapeError, match="members"):
        ensemble.count_ranks(np.zeros((0, 3)), np.zeros(3))
    with pytest.raises(ShapeError, match="members"):
        Verification().update_ensemble(np.zeros((2, 3, 3)), np.zeros((3, 4)), 5)
    with pytest.raises(ShapeError, match="do not add up"):
        ensemble.count_ranks(np.zeros((2, 3)), np.zeros(3)) + ensemble.count_ranks(
            np.zeros((3, 3)), np.zeros(3)
        )
    with pytest.raises(ShapeError, match="for 2 thresholds"):
        Verification((1, 2)).update_probabilities(np.zeros((3, 3, 3)), np.zeros((3, 3)), 5)

"""Intervals over events: what they must contain, and that they are drawn as they say."""

import numpy as np
import pytest

from geoscope.errors import ConfigError
from geoscope.metrics.accumulate import Verification
from geoscope.metrics.bootstrap import interval, interval_of_mean, intervals, paired_interval


def event(error, lead=5, pixels=4):
    return Verification((1,)).update(np.full((1, pixels), 2.0 + error), np.full((1, pixels), 2.0), lead)


def test_two_events_give_their_own_scores_as_the_ends():
    low, high = interval([event(1), event(3)], "mae", draws=400)
    assert (low, high) == (1, 3)  # a quarter of the draws each takes one event twice


def test_counts_are_added_and_not_scores():
    drawn = {
        round(interval([event(1, pixels=9), event(3, pixels=3)], "mae", draws=1, seed=s)[0], 9)
        for s in range(30)
    }
    assert drawn == {1.0, 1.5, 3.0}  # both together: (9 * 1 + 3 * 3) / 12


def test_the_same_seed_gives_the_same_interval():
    each = [event(error, lead) for error, lead in ((1, 5), (2, 10), (5, 5), (0, 10))]
    assert interval(each, "mae") == interval(each, "mae")
    assert interval(each, lambda v: v.overall("mae"), draws=50) == pytest.approx(
        interval(each, "mae", draws=50)
    )
    assert intervals(each, {"a": "mae", "b": "rmse"})["a"] == interval(each, "mae")


def test_equal_events_leave_no_doubt_and_one_event_no_interval():
    assert interval([event(2)] * 5, "mae", draws=20) == (2, 2)
    assert np.isnan(interval([event(2)], "mae", draws=20)).all()
    dry = [Verification().update(np.zeros((2, 2)), np.zeros((2, 2)), 5) for _ in range(3)]
    assert np.isnan(interval(dry, "csi_mean", draws=20)).all()


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    held = 0
    for trial in range(40):
        each = [event(error) for error in generator.exponential(1.0, 25)]
        low, high = interval(each, "mae", draws=60, level=0.8, seed=trial)
        held += low <= 1.0 <= high
    assert 25 <= held <= 38


def test_scores_by_threshold_have_an_interval_each():
    each = [Verification((1, 5)).update([[a, a, 9.0]], [[2.0, 0, 9]], 5) for a in (0.0, 2, 0, 2)]
    low, high = interval(each, "csi", draws=200)
    assert low.tolist() == [0.5, 1]
    assert high[0] == pytest.approx(2 / 3)


def test_events_are_drawn_together_for_a_comparison():
    hard = [0.0, 1, 5, 9]
    better, worse = [event(e) for e in hard], [event(e + 0.5) for e in hard]
    assert paired_interval(worse, better, "mae", draws=50) == pytest.approx((0.5, 0.5))


def test_a_mean_of_numbers_weighs_every_event_the_same():
    assert interval_of_mean([1, 3], draws=400) == (1, 3)  # as two events of "mae" 1 and 3
    assert interval_of_mean([2.5] * 3, draws=20) == (2.5, 2.5)
    assert np.isnan(interval_of_mean([2.0], draws=20)).all()
    assert interval_of_mean([1, 1, np.nan], draws=400) == (1, 1)
    with pytest.raises(ConfigError, match="nothing to draw"):
        interval_of_mean([])


def test_a_threshold_that_nobody_reached_is_left_out_of_one_mean_and_0_in_the_other():
    both = [Verification((1, 5)).update([[2.0, 2]], [[2.0, wet]], 5) for wet in (0, 2)]
    assert interval(both, "csi_mean", draws=400) == (0.5, 1)
    assert interval(both, "csi_mean_all", draws=400) == (0.25, 0.5)
    assert (both[0].overall("csi_mean"), both[0].overall("csi_mean_all")) == (0.5, 0.25)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match="nothing to draw"):
        interval([], "mae")
    with pytest.raises(ConfigError, match="draws=0"):
        interval([event(1)], "mae", draws=0)
    with pytest.raises(ConfigError, match="level=1"):
        interval([event(1)], "mae", level=1.0)
    with pytest.raises(ConfigError, match="different settings"):
        interval([event(1), Verification((2,))], "mae")
    with pytest.raises(ConfigError, match="'nothing' is no score"):
        interval([event(1)], "nothing")
    with pytest.raises(ConfigError, match="'fss' was not counted"):
        interval([event(1)], "fss")
    with pytest.raises(ConfigError, match="same events"):
        paired_interval([event(1)], [], "mae")

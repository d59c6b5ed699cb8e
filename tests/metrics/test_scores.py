"""Counts and sums: values worked by hand, merging, and NaN."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics import contingency as c
from geoscope.metrics import continuous as e

NAN = float("nan")
rain = hnp.arrays(np.float32, (4, 6), elements=st.floats(0, 60, width=32) | st.just(np.float32(NAN)))
FIELDS = ("hits", "misses", "false_alarms", "correct_negatives")


def values(counts):
    return [getattr(counts, name).tolist() for name in FIELDS]


def test_counts_by_hand():
    forecast = np.array([3.0, 2.0, 0.0, 0.0, NAN, 9.0])
    observed = np.array([0.0, 2.0, 5.0, 1.0, 9.0, NAN])
    counts = c.count_events(forecast, observed, (2.0,))
    assert values(counts) == [[1], [1], [1], [1]]
    assert c.critical_success_index(counts) == pytest.approx([1 / 3])
    assert c.probability_of_detection(counts) == pytest.approx([1 / 2])
    assert c.false_alarm_ratio(counts) == pytest.approx([1 / 2])
    assert c.success_ratio(counts) == pytest.approx([1 / 2])
    assert c.frequency_bias(counts) == pytest.approx([1])
    assert counts.hits.dtype == np.int64


def test_an_event_begins_at_its_threshold():
    assert values(c.count_events(np.array([1.0, 0.99]), np.array([1.0, 1.0]), (1.0,))) == [[1], [1], [0], [0]]


@given(forecast=rain, observed=rain)
def test_counts_are_those_of_a_plain_comparison(forecast, observed):
    counts = c.count_events(forecast, observed, (10, 0.7, 2))
    known = ~np.isnan(forecast) & ~np.isnan(observed)
    for k, threshold in enumerate((0.7, 2, 10)):
        f, o = forecast[known] >= threshold, observed[known] >= threshold
        assert counts.hits[k] == (f & o).sum()
        assert counts.misses[k] == (~f & o).sum()
        assert counts.false_alarms[k] == (f & ~o).sum()
        assert counts.correct_negatives[k] == (~f & ~o).sum()
    assert (counts.pixels == known.sum()).all()


@given(forecast=rain, observed=rain, cut=st.integers(0, 4))
def test_merged_halves_are_the_whole(forecast, observed, cut):
    whole = c.count_events(forecast, observed, (0.5, 5))
    halves = [c.count_events(forecast[s], observed[s], (0.5, 5)) for s in (slice(cut), slice(cut, None))]
    assert values(halves[0] + halves[1]) == values(whole) == values(c.stack(halves).pooled())
    sums = [e.sum_errors(forecast[s], observed[s]) for s in (slice(cut), slice(cut, None))]
    merged, total = sums[0] + sums[1], e.sum_errors(forecast, observed)
    assert merged.pixels == total.pixels
    for name in ("error", "absolute", "squared"):
        assert getattr(merged, name) == pytest.approx(getattr(total, name), rel=1e-12, abs=1e-9)


@given(forecast=rain, observed=rain)
def test_scores_lie_where_they_may(forecast, observed):
    counts = c.count_events(forecast, observed, (1, 5))
    csi, pod, sr = (
        c.critical_success_index(counts),
        c.probability_of_detection(counts),
        c.success_ratio(counts),
    )
    for score in (csi, pod, sr, c.false_alarm_ratio(counts)):
        assert (np.isnan(score) | ((score >= 0) & (score <= 1))).all()
    both = ~np.isnan(pod) & ~np.isnan(sr) & (pod > 0) & (sr > 0)
    np.testing.assert_allclose(csi[both], 1 / (1 / pod[both] + 1 / sr[both] - 1))
    np.testing.assert_allclose(c.frequency_bias(counts)[both], pod[both] / sr[both])


def test_nothing_to_divide_by_is_nan_without_a_warning():
    counts = c.count_events(np.zeros(3), np.zeros(3), (1.0,))
    for score in (
        c.critical_success_index,
        c.probability_of_detection,
        c.false_alarm_ratio,
        c.frequency_bias,
    ):
        assert np.isnan(score(counts)).all()
    nothing = e.sum_errors(np.array([NAN]), np.array([1.0]))
    for score in (e.mean_error, e.mean_absolute_error, e.root_mean_square_error):
        assert np.isnan(score(nothing))


def test_errors_by_hand():
    sums = e.sum_errors(np.array([1.0, 5.0, NAN, 0.0]), np.array([2.0, 1.0, 3.0, NAN]))
    assert sums.parts() == {
        "pixels": 2,
        "error": 3.0,
        "absolute": 5.0,
        "squared": 17.0,
        "forecast": 6.0,
        "observed": 3.0,
        "forecast_squared": 26.0,
        "observed_squared": 5.0,
        "product": 7.0,
    }
    assert e.mean_error(sums) == 1.5
    assert e.mean_absolute_error(sums) == 2.5
    assert e.root_mean_square_error(sums) == pytest.approx(8.5**0.5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        c.count_events(np.zeros(2), np.zeros(3), (1.0,))
    with pytest.raises(ShapeError, match="same shape"):
        e.sum_errors(np.zeros(2), np.zeros(3))
    with pytest.raises(ShapeError, match="do not add up"):
        c.count_events(np.zeros(2), np.zeros(2), (1,)) + c.count_events(np.zeros(2), np.zeros(2), (1, 2))
    for wrong in ((), (1, 1), (NAN,)):
        with pytest.raises(ConfigError, match="thresholds="):
            c.count_events(np.zeros(2), np.zeros(2), wrong)


def test_correlation_and_log_error_by_hand():
    forecast, observed = np.array([0.0, 1, 2, NAN, 3]), np.array([0.0, 3, 3, 9, 0])
    sums = e.sum_errors(forecast, observed)
    expected = np.corrcoef([0, 1, 2, 3], [0, 3, 3, 0])[0, 1]
    assert e.correlation(sums) == pytest.approx(expected, abs=1e-12)
    assert (e.mean_forecast(sums), e.mean_observed(sums)) == (1.5, 1.5)
    logs = e.sum_log_errors(np.array([1.0, 0, -1, NAN]), np.array([3.0, 0, 5, 1]))
    assert logs.pixels == 2
    assert e.mean_log_error(logs) == pytest.approx(-np.log(2) / 2)
    assert e.root_mean_square_log_error(logs) == pytest.approx(np.log(2) / 2**0.5)


def test_a_field_that_does_not_vary_correlates_with_nothing():
    sums = e.sum_errors(np.full(1000, 0.1), np.random.default_rng(0).normal(size=1000))
    assert np.isnan(e.correlation(sums))
    assert e.correlation(e.sum_errors(np.arange(5), 3 * np.arange(5) + 300)) == pytest.approx(1)


def test_a_score_that_does_not_exist_is_named():
    import geoscope.metrics

    with pytest.raises(AttributeError, match="'csi'"):
        geoscope.metrics.csi  # noqa: B018
    assert np.isnan(geoscope.metrics.Verification().overall("mae"))


def test_scores_need_no_torch():
    code = "import sys, geoscope.metrics.verification, geoscope.metrics.points, geoscope.metrics.sevir; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

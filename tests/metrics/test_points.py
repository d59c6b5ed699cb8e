"""Peak, time to peak and depth at points, by hand and merged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.metrics import points
from tests.metrics.test_verification import field

NAN = float("nan")
MINUTES = [10, 20, 30]
series = hnp.arrays(np.float64, (4, 5), elements=st.sampled_from([0.0, 0.0, 1.0, 2.5, 6.0, NAN]))


def test_one_point_by_hand():
    forecast, observed = np.array([[1.0], [6], [0]]), np.array([[12.0], [0], [0]])
    sums = points.sum_points(forecast, observed, MINUTES, interval_minutes=10)
    scores = points.point_scores(sums)
    assert scores["peak_error"] == 6 - 12
    assert scores["time_to_peak_error"] == 10
    assert scores["depth_error"] == pytest.approx((7 - 12) / 6)
    assert scores["depth_ratio"] == pytest.approx(7 / 12)


def test_gaps_are_the_same_in_both_series():
    forecast, observed = np.array([[9.0, NAN], [3, 2], [1, NAN]]), np.array([[NAN, 1.0], [2, NAN], [1, NAN]])
    sums = points.sum_points(forecast, observed, MINUTES, interval_minutes=60)
    assert (sums.points, sums.timed) == (1, 1)
    assert (sums.peak_error, sums.depth_error, sums.observed_depth) == (1, 1, 3)


def test_a_dry_series_has_no_time_of_peak():
    sums = points.sum_points(np.zeros((3, 1)), np.ones((3, 1)), MINUTES, interval_minutes=10)
    assert (sums.points, sums.timed) == (1, 0)
    assert np.isnan(points.point_scores(sums)["time_to_peak_mae"])


@settings(max_examples=40)
@given(forecast=series, observed=series, cut=st.integers(0, 5))
def test_merged_halves_are_the_whole(forecast, observed, cut):
    def of(part):
        return points.sum_points(forecast[:, part], observed[:, part], [1, 2, 3, 4], interval_minutes=1)

    merged, whole = of(slice(cut)) + of(slice(cut, None)), of(slice(None))
    assert merged.parts() == pytest.approx(whole.parts())


FORECAST = field([[[1, 5]], [[6, 5]], [[0, NAN]]], start=1, issued=0)
OBSERVED = field([[[99, 99]], [[12, 5]], [[0, 5]], [[0, 5]]])


def test_points_on_the_map_by_hand():
    scores = points.verify_points(FORECAST, OBSERVED, [(-300, 100), (1000, 0)])
    assert scores.x.values.tolist() == [0, 1000]
    assert scores.peak_forecast.values.tolist() == [6, 5]
    assert scores.time_to_peak_forecast.values.tolist() == [20, 10]
    assert scores.time_to_peak_observed.values.tolist() == [10, 10]
    np.testing.assert_allclose(scores.depth_observed, [2, 10 / 6])
    np.testing.assert_allclose(scores.depth_forecast, [7 / 6, 10 / 6])
    assert scores.attrs["peak_error"] == -3
    assert scores.attrs["points"] == 2


def test_points_that_cannot_be_scored_are_refused():
    with pytest.raises(DataError, match="lies outside the grid: x from 0 to 1000"):
        points.verify_points(FORECAST, OBSERVED, [(9000, 0)])
    with pytest.raises(ConfigError, match="pairs"):
        points.verify_points(FORECAST, OBSERVED, [])
    with pytest.raises(DataError, match="at least two frames"):
        points.verify_points(FORECAST[:1], OBSERVED, [(0, 0)])
    with pytest.raises(ShapeError, match="first axis"):
        points.sum_points(np.zeros((3, 1)), np.zeros((3, 1)), [1, 2], interval_minutes=1)

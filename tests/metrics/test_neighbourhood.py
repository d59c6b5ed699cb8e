"""Fractions skill, tolerant CSI and pooled CSI on fields small enough to count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics import contingency, neighbourhood, pooling

NAN = float("nan")
rain = hnp.arrays(np.float32, (6, 7), elements=st.sampled_from([0.0, 0.0, 1.0, 3.0, 8.0, NAN]))


def test_fractions_by_hand():
    forecast, observed = np.zeros((1, 5)), np.zeros((1, 5))
    forecast[0, 1] = observed[0, 2] = 9  # one pixel apart
    sums = neighbourhood.sum_fractions(forecast, observed, (1,), (1, 3))
    # windows of 3: forecast counts 1 1 1 0 0, observed 0 1 1 1 0
    assert sums.forecast_squared.tolist() == [[1], [3]]
    assert sums.observed_squared.tolist() == [[1], [3]]
    assert sums.product.tolist() == [[0], [2]]
    np.testing.assert_allclose(neighbourhood.fractions_skill_score(sums), [[0], [2 / 3]])
    assert sums.product.dtype == np.int64


def test_tolerance_by_hand():
    forecast, observed = np.zeros((1, 6)), np.zeros((1, 6))
    forecast[0, [1, 5]] = observed[0, 2] = 9
    counts = neighbourhood.count_tolerant(forecast, observed, (1,), (0, 1, 3))
    assert counts.observed_hits.tolist() == [[0], [1], [1]]
    assert counts.misses.tolist() == [[1], [0], [0]]
    assert counts.forecast_hits.tolist() == [[0], [1], [2]]
    assert counts.false_alarms.tolist() == [[2], [1], [0]]
    np.testing.assert_allclose(neighbourhood.tolerant_critical_success_index(counts), [[0], [1 / 2], [1]])
    np.testing.assert_allclose(neighbourhood.tolerant_probability_of_detection(counts), [[0], [1], [1]])
    np.testing.assert_allclose(neighbourhood.tolerant_success_ratio(counts), [[0], [1 / 2], [1]])


def test_blocks_by_hand():
    forecast = np.array([[5, 0, 0, 0, 7], [0, 0, 0, NAN, 7.0]])
    observed = np.array([[0, 0, 0, 9, 7], [0, 5, 0, 9, 7.0]])
    counts = pooling.count_pooled(forecast, observed, (1,), (2,))  # the fifth column fills no block
    assert [part.tolist() for part in counts.parts().values()] == [[[1]], [[1]], [[0]], [[0]]]
    forecast[:, 2:4] = NAN
    assert pooling.count_pooled(forecast, observed, (1,), (2,)).pixels.tolist() == [[1]]


def test_a_pixel_missing_in_one_field_is_missing_in_both():
    forecast, observed = np.array([[9.0, 9.0]]), np.array([[9.0, NAN]])
    sums = neighbourhood.sum_fractions(forecast, observed, (1,), (1,))
    assert neighbourhood.fractions_skill_score(sums) == 1


@settings(max_examples=40)
@given(forecast=rain, observed=rain, size=st.integers(1, 8), threshold=st.sampled_from([1.0, 3.0]))
def test_windows_are_those_of_plain_slicing(forecast, observed, size, threshold):
    known = ~np.isnan(forecast) & ~np.isnan(observed)
    yes = [(values >= threshold) & known for values in (forecast, observed)]
    counts = np.zeros((2, *forecast.shape))
    for k, row, column in np.ndindex(counts.shape):
        top, left = row - size // 2, column - size // 2
        window = yes[k][max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)]
        counts[k, row, column] = window.sum()
    sums = neighbourhood.sum_fractions(forecast, observed, (threshold,), (size,))
    assert sums.forecast_squared == (counts[0] ** 2).sum()
    assert sums.observed_squared == (counts[1] ** 2).sum()
    assert sums.product == (counts[0] * counts[1]).sum()


@settings(max_examples=40)
@given(forecast=rain, observed=rain)
def test_without_room_to_move_the_plain_counts_come_back(forecast, observed):
    plain = contingency.count_events(forecast, observed, (1, 3))
    tolerant = neighbourhood.count_tolerant(forecast, observed, (1, 3), (0,))
    assert tolerant.observed_hits[0].tolist() == tolerant.forecast_hits[0].tolist() == plain.hits.tolist()
    assert tolerant.misses[0].tolist() == plain.misses.tolist()
    assert tolerant.false_alarms[0].tolist() == plain.false_alarms.tolist()
    blocks = pooling.count_pooled(forecast, observed, (1, 3), (1,))
    assert [p[0].tolist() for p in blocks.parts().values()] == [p.tolist() for p in plain.parts().values()]
    sums = neighbourhood.sum_fractions(forecast, observed, (1, 3), (1,))
    np.testing.assert_allclose(neighbourhood.fractions_skill_score(sums)[0], contingency.f1_score(plain))


@settings(max_examples=40)
@given(forecast=rain, observed=rain)
def test_more_room_never_costs_a_hit(forecast, observed):
    counts = neighbourhood.count_tolerant(forecast, observed, (1,), (0, 1, 2, 9))
    assert (np.diff(counts.observed_hits[:, 0]) >= 0).all()
    assert (np.diff(counts.false_alarms[:, 0]) <= 0).all()


def test_chance_is_taken_off_as_by_hand():
    counts = contingency.count_events(np.array([3.0, 2, 0, 0, 0]), np.array([0.0, 2, 5, 1, 1]), (2.0,))
    # 1 hit, 1 miss, 1 false alarm, 2 correct; by chance 2 * 2 / 5 hits
    assert contingency.equitable_threat_score(counts) == pytest.approx([(1 - 0.8) / (3 - 0.8)])
    assert contingency.heidke_skill_score(counts) == pytest.approx([2 * (1 * 2 - 1) / (2 * 3 + 2 * 3)])
    assert contingency.f1_score(counts) == pytest.approx([1 / 2])
    assert contingency.false_alarm_rate(counts) == pytest.approx([1 / 3])


def test_large_counts_do_not_overflow():
    many = np.array([3 * 10**9], np.int64)
    counts = contingency.Contingency(many, many, many, many)
    assert contingency.heidke_skill_score(counts) == 0
    assert contingency.equitable_threat_score(counts) == 0


def test_a_window_beyond_the_field_is_the_whole_field_and_takes_no_more_room():
    random = np.random.default_rng(0)
    forecast, observed = random.gamma(0.5, 2.0, (2, 5, 7))
    sums = neighbourhood.sum_fractions(
        forecast, observed, [1.0], [15, 10**9]
    )  # 15 = 2 x 7 + 1 covers all from any pixel
    assert sums.product[0] == sums.product[1] == 35 * (forecast >= 1).sum() * (observed >= 1).sum()
    assert neighbourhood.fractions_skill_score(sums)[0] == neighbourhood.fractions_skill_score(sums)[1]
    counts = neighbourhood.count_tolerant(forecast, observed, [1.0], [7, 10**9])
    assert counts.misses.sum() == counts.false_alarms.sum() == 0
    assert counts.observed_hits[0] == counts.observed_hits[1] == (observed >= 1).sum()


def test_sizes_that_make_no_sense_are_refused():
    field = np.zeros((3, 3))
    with pytest.raises(ConfigError, match="scales="):
        neighbourhood.sum_fractions(field, field, (1,), (1.5,))
    with pytest.raises(ConfigError, match="tolerances="):
        neighbourhood.count_tolerant(field, field, (1,), (-1,))
    with pytest.raises(ShapeError, match="no block of 4 x 4"):
        pooling.count_pooled(field, field, (1,), (4,))

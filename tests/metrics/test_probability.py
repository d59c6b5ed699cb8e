"""Brier score and its parts, reliability, ROC and economic value, by hand and merged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.metrics import probability as p

NAN = float("nan")
chances = hnp.arrays(
    np.float64, 12, elements=st.sampled_from([0.0, 0.1, 0.3, 0.30000001, 0.5, 0.95, 1.0, NAN])
)
outcomes = hnp.arrays(np.float64, 12, elements=st.sampled_from([0.0, 4.0, NAN]))

# six pixels, two of them with probability 1/2: the event comes twice
CHANCE = np.array([0.0, 0, 0.5, 0.5, 1, 0.75, NAN])
SEEN = np.array([0.0, 0, 5, 0, 5, NAN, 5])
TABLE = p.count_probability(CHANCE, SEEN, 1.0, bins=4)


def test_the_table_by_hand():
    assert TABLE.pixels.tolist() == [2, 0, 2, 1]
    assert TABLE.events.tolist() == [0, 0, 1, 1]
    assert TABLE.probability.tolist() == [0, 0, 1, 1]
    mean, often = p.reliability_curve(TABLE)
    np.testing.assert_allclose(mean, [0, NAN, 0.5, 1])
    np.testing.assert_allclose(often, [0, NAN, 0.5, 1])


def test_brier_and_its_parts_by_hand():
    assert p.brier_score(TABLE) == pytest.approx((0.25 + 0.25) / 5)
    assert p.base_rate(TABLE) == pytest.approx(2 / 5)
    assert p.brier_uncertainty(TABLE) == pytest.approx(0.24)
    assert p.brier_reliability(TABLE) == 0
    assert p.brier_resolution(TABLE) == pytest.approx((2 * 0.4**2 + 2 * 0.1**2 + 0.6**2) / 5)
    assert p.brier_skill_score(TABLE) == pytest.approx(1 - 0.1 / 0.24)
    parts = p.brier_reliability(TABLE) - p.brier_resolution(TABLE) + p.brier_uncertainty(TABLE)
    assert parts == pytest.approx(p.brier_score(TABLE))


def test_roc_by_hand():
    false_alarms, detection = p.roc_curve(TABLE)
    # never, from 3/4 on, from 1/2 on, from 1/4 on, always
    np.testing.assert_allclose(detection, [0, 1 / 2, 1, 1, 1])
    np.testing.assert_allclose(false_alarms, [0, 0, 1 / 3, 1 / 3, 1])
    assert p.roc_area(TABLE) == pytest.approx(1 / 3 * 0.75 + 2 / 3)


def test_value_by_hand():
    # a user with cost/loss 0.4, the base rate: climate costs 0.4; from 1/2 on: 3 of 5 warned * 0.4
    (value,) = p.economic_value(TABLE, [0.4])
    assert value == pytest.approx((0.4 - 3 / 5 * 0.4) / (0.4 - 0.4 * 0.4))
    perfect = p.count_probability(np.array([0, 1.0]), np.array([0, 5.0]), 1.0)
    np.testing.assert_allclose(p.economic_value(perfect, [0.1, 0.9]), 1)
    never = p.count_probability(np.zeros(2), np.array([0, 5.0]), 1.0)
    np.testing.assert_allclose(p.economic_value(never, [0.1, 0.9]), 0)
    for ratios in ([], [0], [1.0]):
        with pytest.raises(ConfigError, match="cost_loss="):
            p.economic_value(TABLE, ratios)


def test_without_events_nothing_is_said():
    nothing = p.count_probability(np.array([0.5, 0.5]), np.zeros(2), 1.0)
    for score in (p.roc_area(nothing), p.brier_skill_score(nothing), *p.economic_value(nothing, [0.5])):
        assert np.isnan(score)
    assert p.brier_score(nothing) == 0.25


def test_shares_of_members_by_hand():
    members = np.array([[0.0, 2, NAN], [3, 4, 1], [6, 1, 1]])
    np.testing.assert_allclose(p.member_share(members, (1, 3)), [[2 / 3, 1, NAN], [2 / 3, 1 / 3, NAN]])


def test_three_of_ten_members_are_in_the_bin_from_three_tenths():
    for dtype in (np.float32, np.float64):
        shares = np.arange(11, dtype=dtype) / 10
        counts = p.count_probability(shares, np.zeros(11), 1.0).pixels
        assert counts.tolist() == [1] * 9 + [2]


@settings(max_examples=60)
@given(chance=chances, seen=outcomes, cut=st.integers(0, 12))
def test_merged_halves_are_the_whole(chance, seen, cut):
    merged = sum(p.count_probability(chance[s], seen[s], 1.0) for s in (slice(cut), slice(cut, None)))
    whole = p.count_probability(chance, seen, 1.0)
    for name, part in whole.parts().items():
        np.testing.assert_allclose(merged.parts()[name], part, atol=1e-12)
    known = ~np.isnan(chance) & ~np.isnan(seen)
    assert whole.pixels.sum() == known.sum()
    if known.any():
        assert p.brier_score(whole) == pytest.approx(np.mean((chance - (seen >= 1))[known] ** 2))


def test_tables_by_threshold_stand_side_by_side():
    seen = np.array([[0.0, 2, 5]])
    table = p.count_probabilities(np.stack([seen >= 1, seen >= 4]).astype(float), seen, (1, 4))
    assert p.brier_score(table).tolist() == [0, 0]
    assert p.roc_area(table).tolist() == [1, 1]
    assert table.events.sum(-1).tolist() == [2, 1]
    assert p.economic_value(table, [0.2, 0.5]).shape == (2, 2)


def test_what_is_no_probability_is_refused():
    with pytest.raises(DataError, match="divide percentages by 100"):
        p.count_probability(np.array([50.0]), np.zeros(1), 1.0)
    with pytest.raises(ShapeError, match="same shape"):
        p.count_probability(np.zeros(2), np.zeros(3), 1.0)
    with pytest.raises(ShapeError, match="for 2 thresholds"):
        p.count_probabilities(np.zeros((1, 2)), np.zeros(2), (1, 2))
    with pytest.raises(ConfigError, match="bins=0"):
        p.count_probability(np.zeros(2), np.zeros(2), 1.0, bins=0)

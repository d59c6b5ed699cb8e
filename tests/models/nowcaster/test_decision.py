"""The decision rule turns exceedance probabilities into rain as worked by hand."""

import math

import pytest
import torch

from geoscope.models.nowcaster.decision import (
    BINS,
    LEVELS_MM_H,
    QUANTILE,
    ExpectedCsi,
    calibrated,
    decide,
    monotone,
    probability,
    quantile,
)

THRESHOLDS = torch.tensor([1.0, 2.0, 8.0])


def field(*logits: float) -> torch.Tensor:
    return torch.tensor(logits)[:, None, None]


def test_below_the_first_threshold_it_is_dry():
    assert quantile(field(-1.0, -2.0, -3.0), THRESHOLDS, 0.5).item() == 0.0


def test_between_two_thresholds_the_crossing_is_interpolated_in_log_rain():
    # margins 1 and -1: halfway between log 2 and log 8, so 4 mm/h
    assert quantile(field(2.0, 1.0, -1.0), THRESHOLDS, 0.5).item() == pytest.approx(4.0)


def test_above_the_last_threshold_it_stays_there():
    assert quantile(field(5.0, 4.0, 3.0), THRESHOLDS, 0.5).item() == pytest.approx(8.0)


def test_what_is_exceeded_less_often_is_more():
    logits = field(1.0, -0.5, -2.0)
    assert quantile(logits, THRESHOLDS, 0.3).item() > quantile(logits, THRESHOLDS, 0.5).item() > 1.0


def test_exceeding_more_is_never_likelier():
    assert monotone(field(0.0, 1.0, -1.0)).flatten().tolist() == [0.0, 0.0, -1.0]


def test_probability_between_thresholds():
    # 4 mm/h lies halfway from 2 to 8 in log rain: logit halfway from 1 to -1
    assert probability(field(2.0, 1.0, -1.0), THRESHOLDS, 4.0).item() == pytest.approx(0.5)
    assert probability(field(2.0, 1.0, -1.0), THRESHOLDS, 2.0).item() == pytest.approx(1 / (1 + math.exp(-1)))


def test_calibration_is_interpolated_between_steps():
    table = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]]])  # two steps, one threshold: scale and shift
    assert calibrated(field(1.0), table, 0.5).item() == pytest.approx(1.0)
    assert calibrated(field(1.0), table, 1.5).item() == pytest.approx(2.0)  # 1.5 x 1 + 0.5
    assert calibrated(field(1.0), table, 9.0).item() == pytest.approx(3.0)


def test_the_expected_csi_by_hand():
    """Ten pixels at 0.9, ten at 0.5, eighty at 0.1: 9 + 5 + 8 = 22 events are expected."""
    counts = ExpectedCsi(1)
    counts.add(torch.tensor([[0.9] * 10 + [0.5] * 10 + [0.1] * 80]))
    expected = counts.expected()[0]
    assert expected[int(0.9 * BINS)] == pytest.approx(9 / (22 + 10 - 9), abs=1e-6)
    assert expected[int(0.5 * BINS)] == pytest.approx(14 / (22 + 20 - 14), abs=1e-6)
    assert expected[0] == pytest.approx(22 / 100, abs=1e-6)
    assert counts.cuts().item() == pytest.approx(0.5, abs=1 / BINS)


def test_the_best_cut_obeys_its_law():
    """Called are the pixels whose probability is above best CSI / (1 + best CSI), as theory has it."""
    counts = ExpectedCsi(1)
    counts.add(torch.rand(1, 200_000, generator=torch.Generator().manual_seed(0)) ** 3)
    best = counts.expected().max().item()
    assert counts.cuts().item() == pytest.approx(best / (1 + best), abs=2 / BINS)


def test_where_rain_is_impossible_nothing_is_called():
    counts = ExpectedCsi(1)
    counts.add(torch.zeros(1, 100))
    assert counts.cuts().item() > 0.99


def test_the_field_lies_in_the_band_of_the_cuts():
    thresholds = torch.tensor(LEVELS_MM_H)
    cuts = torch.tensor([0.3, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1])
    chances = torch.tensor([0.9, 0.8, 0.35, 0.25, 0.1, 0.05, 0.01])  # passes 0.1, 0.5, 1 and 2 mm/h
    logits = torch.logit(chances)[:, None, None]
    rain = decide(logits, thresholds, cuts).item()
    assert quantile(logits, thresholds, QUANTILE).item() < 2.0  # its median says less
    assert rain == pytest.approx(2.0)


def test_levels_are_nested_and_a_band_is_open_above():
    thresholds = torch.tensor(LEVELS_MM_H)
    cuts = torch.tensor([0.3, 0.95, 0.3, 0.3, 0.3, 0.3, 0.3])  # 0.5 mm/h is not passed, so nothing above is
    logits = torch.logit(torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4]))[:, None, None]
    rain = decide(logits, thresholds, cuts).item()
    assert 0.1 <= rain < 0.5
    assert rain == pytest.approx(0.5, rel=1e-3)


def test_heavy_rain_is_not_capped_at_the_last_level():
    thresholds = torch.tensor([*LEVELS_MM_H, 50.0])
    logits = torch.full((8, 1, 1), 3.0)
    assert decide(logits, thresholds, torch.full((7,), 0.3)).item() == pytest.approx(50.0)

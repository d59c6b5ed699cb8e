"""The decision rule turns exceedance probabilities into rain as worked by hand."""

import math

import pytest
import torch

from geoscope.models.nowcaster.decision import decide, monotone, probability
from geoscope.models.nowcaster.forecast import choose_history, limits_at, model_stride

THRESHOLDS = torch.tensor([1.0, 2.0, 8.0])


def field(*logits: float) -> torch.Tensor:
    return torch.tensor(logits)[:, None, None]


def test_below_the_first_threshold_it_is_dry():
    assert decide(field(-1.0, -2.0, -3.0), THRESHOLDS, torch.full((3,), 0.5)).item() == 0.0


def test_between_two_thresholds_the_crossing_is_interpolated_in_log_rain():
    # margins 1 and -1: halfway between log 2 and log 8, so 4 mm/h
    assert decide(field(2.0, 1.0, -1.0), THRESHOLDS, torch.full((3,), 0.5)).item() == pytest.approx(4.0)


def test_above_the_last_threshold_it_stays_there():
    assert decide(field(5.0, 4.0, 3.0), THRESHOLDS, torch.full((3,), 0.5)).item() == pytest.approx(8.0)


def test_a_lower_limit_gives_more_rain():
    logits = field(1.0, -0.5, -2.0)
    median = decide(logits, THRESHOLDS, torch.full((3,), 0.5)).item()
    bold = decide(logits, THRESHOLDS, torch.full((3,), 0.3)).item()
    assert bold > median > 1.0


def test_exceeding_more_is_never_likelier():
    assert monotone(field(0.0, 1.0, -1.0)).flatten().tolist() == [0.0, 0.0, -1.0]


def test_probability_between_thresholds():
    # 4 mm/h lies halfway from 2 to 8 in log rain: logit halfway from 1 to -1
    assert probability(field(2.0, 1.0, -1.0), THRESHOLDS, 4.0).item() == pytest.approx(0.5)
    assert probability(field(2.0, 1.0, -1.0), THRESHOLDS, 2.0).item() == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize(("interval", "stride"), [(2, 5), (5, 2), (6, 2), (10, 1), (15, 1), (60, 1)])
def test_a_model_step_is_about_ten_minutes(interval, stride):
    assert model_stride(interval) == stride


def test_history_ends_at_the_issue_time_and_says_what_is_missing():
    past = torch.arange(6.0)[:, None, None].expand(6, 2, 2).numpy()
    history = choose_history(past, stride=2, count=4)
    assert history[1:, 0, 0].tolist() == [1.0, 3.0, 5.0]
    assert torch.isnan(torch.tensor(history[0])).all()


def test_limits_between_slots_are_interpolated():
    table = torch.tensor([[0.2], [0.4]])
    assert [round(limits_at(table, lead).item(), 3) for lead in (0.5, 1.5, 9.0)] == [0.2, 0.3, 0.4]

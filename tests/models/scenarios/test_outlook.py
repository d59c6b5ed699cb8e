"""The expected mean rain of a region: transform, sigmas and probabilities, features of a field that can be counted."""

import math

import pytest
import torch

from geoscope.models.scenarios.outlook import (
    FEATURES,
    Expectation,
    ExpectedMaps,
    Outlook,
    back_transformed,
    drawn_sigmas,
    negative_log_likelihood,
    region_features,
    student_tail,
    transformed,
)


def test_the_transform_goes_back_and_never_below_zero():
    rain = torch.tensor([0.0, 0.1, 1.0, 50.0])
    assert transformed(rain)[1].item() == pytest.approx(math.log(2))
    torch.testing.assert_close(back_transformed(transformed(rain)), rain)
    assert back_transformed(torch.tensor(-3.0)) == 0


def test_the_tail_of_a_student_t_is_that_of_the_tables():
    # t with 5 degrees of freedom: P(T > 2.015) = 0.05; its standard deviation is sqrt(5 / 3)
    assert student_tail(2.0150 / math.sqrt(5 / 3), 5.0) == pytest.approx(0.05, abs=1e-4)
    assert student_tail(0.0, 5.0) == pytest.approx(0.5, abs=1e-4)
    assert student_tail(2.0, 1e6) == pytest.approx(0.02275, abs=1e-4)


def test_sigmas_and_means_answer_each_other():
    expectation = Expectation(location=1.5, scale=0.3, freedom=5.0)
    for sigmas in (-4.0, -1.0, 0.0, 2.5):
        assert expectation.sigmas_of(expectation.mean_at(sigmas)) == pytest.approx(sigmas)
    assert expectation.mean_at(0.0) == pytest.approx(0.1 * math.expm1(1.5))
    assert expectation.probability_beyond(-2.0) == expectation.probability_beyond(2.0) > 0.0228


def test_a_region_is_read_by_its_weights():
    flat = torch.zeros(2, 4, 4)
    flat[:, :, 2:] = 1.0
    maps = ExpectedMaps(rain=3.0 * flat, wet=flat, moderate=0.5 * flat, heavy=0.0 * flat)
    past = torch.stack([torch.full((4, 4), 1.0), torch.full((4, 4), 2.0)])
    past[1, 0, 3] = torch.nan
    region = torch.zeros(4, 4)
    region[:, 2:] = 1.0
    features = dict(zip(FEATURES, region_features(maps, past, region, 10.0, 2.0).tolist(), strict=True))
    assert features["expected"] == pytest.approx(math.log1p(30))
    assert features["newest"] == pytest.approx(math.log1p(20))
    assert features["change"] == pytest.approx(math.log1p(20) - math.log1p(10))
    assert features["change_before"] == 0
    assert (features["wet"], features["moderate"], features["heavy"]) == (1.0, 0.5, 0.0)
    assert features["doubt"] == pytest.approx(0.25)
    assert features["area"] == pytest.approx(math.log(8 * 4) / 4)
    assert (features["step"], features["pixel"]) == (0.0, 1.0)
    assert features["steps"] == pytest.approx(2 / 6)


def test_untrained_it_says_what_the_nowcaster_says():
    features = torch.zeros(1, len(FEATURES))
    features[0, 0] = 1.2
    location, scale = Outlook()(features)
    assert location.item() == pytest.approx(1.2)
    assert scale.item() == pytest.approx(math.exp(-1.2))


def test_the_likelihood_is_that_of_a_student_t_of_unit_spread():
    truth = torch.linspace(-60, 60, 400_001, dtype=torch.float64)
    zero, one = torch.zeros_like(truth), torch.ones_like(truth)
    each = torch.stack(
        [negative_log_likelihood(zero[:1], one[:1], 5.0, truth[i : i + 1]) for i in (200_000, 205_000)]
    )
    assert torch.exp(-each[0]).item() == pytest.approx(0.3796 * math.sqrt(5 / 3), abs=2e-4)
    assert each[1] > each[0]


def test_members_draw_their_sigmas_from_the_tail_that_was_fitted():
    drawn = torch.tensor([drawn_sigmas(3, member, 5.0) for member in range(4000)])
    assert drawn.mean().item() == pytest.approx(0.0, abs=0.05)
    assert drawn.std().item() == pytest.approx(1.0, abs=0.05)
    assert (drawn.abs() > 2).float().mean().item() == pytest.approx(2 * student_tail(2.0, 5.0), abs=0.01)
    assert drawn.abs().max() <= 4
    assert drawn_sigmas(3, 17, 5.0) == pytest.approx(drawn[17].item())
    assert drawn_sigmas(4, 17, 5.0) != drawn_sigmas(3, 17, 5.0)

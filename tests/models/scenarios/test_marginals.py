"""Rain and normal scores: there and back, what is dry, how far the tail goes, means by another way."""

import math

import pytest
import torch

from geoscope.models.scenarios.marginals import LARGEST_RAIN_MM_H, Marginals, scores_of_logits

THRESHOLDS = torch.tensor([0.1, 0.5, 1.0, 5.0, 10.0, 50.0])


def some_marginals(seed: int, rows: int = 5, columns: int = 4) -> Marginals:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(3, len(THRESHOLDS), rows, columns, generator=generator) * 2
    return Marginals.of(torch.sort(drawn, dim=-3, descending=True).values, THRESHOLDS)


def test_an_even_chance_has_score_zero_and_a_sixth_has_score_one():
    share_above_one = 0.5 * math.erfc(1 / math.sqrt(2))
    logits = torch.logit(torch.tensor([0.5, share_above_one, 1 - share_above_one]))
    assert scores_of_logits(logits).tolist() == pytest.approx([0.0, 1.0, -1.0], abs=1e-5)


def test_rain_comes_back_from_its_score():
    marginals = some_marginals(0)
    rain = torch.exp(torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1)) * 1.5 + 0.3)
    scores = marginals.scores(rain)
    back = marginals.rain(scores)
    inside = (rain >= 0.1) & (scores.abs() < 3.99)
    assert inside.float().mean() > 0.7
    torch.testing.assert_close(back[inside], rain[inside], rtol=1e-3, atol=0)
    assert (back[rain < 0.1] == 0).all()


def test_more_score_is_never_less_rain():
    marginals = some_marginals(2)
    scores = torch.linspace(-4, 4, 33)[:, None, None, None].expand(33, 3, 5, 4)
    rain = marginals.rain(scores)
    assert (rain.diff(dim=0) >= 0).all()
    assert rain.min() == 0
    assert rain.max() <= LARGEST_RAIN_MM_H


def test_at_a_threshold_the_score_is_its_level():
    marginals = some_marginals(4)
    rain = torch.full((3, 5, 4), 5.0)
    torch.testing.assert_close(marginals.scores(rain), marginals.levels[:, 3], rtol=0, atol=1e-5)


def test_no_data_has_no_score():
    assert some_marginals(3).scores(torch.full((3, 5, 4), torch.nan)).isnan().all()


def half_dry() -> Marginals:
    logits = torch.full((len(THRESHOLDS), 1, 1), -5.0)
    logits[0] = 0.0  # P(rain >= 0.1) = 1/2: a half normal is dry
    return Marginals.of(logits, THRESHOLDS)


def test_a_dry_pixel_has_the_mean_of_the_scores_that_are_dry():
    expected = pytest.approx(-math.sqrt(2 / math.pi), abs=1e-6)
    assert half_dry().dry_scores.item() == expected
    assert half_dry().scores(torch.zeros(1, 1)).item() == expected


def test_where_low_rain_is_not_known_more_of_it_is_dry():
    rain = torch.full((1, 1), 0.7)
    assert half_dry().scores(rain).item() > 0
    blind = half_dry().above(1.0)
    assert blind.thresholds.tolist() == [1.0, 5.0, 10.0, 50.0]
    assert blind.scores(rain).item() == blind.dry_scores.item() < 0


def test_the_expected_rain_is_the_mean_of_what_the_scores_give():
    logits = torch.tensor([2.0, 1.0, 0.0, -2.0, -3.5, -7.0])[:, None, None]
    marginals = Marginals.of(logits, THRESHOLDS)
    scores = -torch.special.ndtri((torch.arange(200_000) + 0.5) / 200_000)
    drawn = marginals.rain(scores[:, None, None])
    # trapezoids between six thresholds, and rain below 0.1 mm/h that no draw gives
    assert marginals.expected.item() == pytest.approx(drawn.mean().item(), rel=0.1)


def test_the_chance_of_a_threshold_is_that_of_its_logit():
    assert half_dry().chance(0.1).item() == pytest.approx(0.5)
    assert half_dry().chance(10.0).item() == pytest.approx(1 / (1 + math.exp(5.0)), rel=1e-4)

"""The exact part of the control: a mean is met, rises with what is asked, stays inside its region, ends at a bound."""

import pytest
import torch

from geoscope.models.scenarios.control import LARGEST_SHIFT, region_mean, shift_to_mean, solve_rising
from geoscope.models.scenarios.marginals import Marginals

THRESHOLDS = torch.tensor([0.1, 1.0, 5.0, 20.0, 50.0])


@pytest.fixture
def case() -> tuple[Marginals, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    middle = torch.randn(2, 1, 60, 80, generator=generator)
    logits = middle - 1.5 * torch.log(THRESHOLDS)[:, None, None]
    return Marginals.of(logits, THRESHOLDS), torch.randn(2, 60, 80, generator=generator)


def test_a_root_of_a_rising_function_is_found():
    assert solve_rising(lambda x: x**3, 8.0, -5.0, 5.0) == pytest.approx(2.0, rel=1e-2)
    assert solve_rising(lambda x: x, 9.0, -1.0, 1.0) == 1.0
    assert solve_rising(lambda x: x, -9.0, -1.0, 1.0) == -1.0


def test_the_mean_is_counted_over_frames_and_weights():
    rain = torch.zeros(2, 2, 2)
    rain[0, 0, 0], rain[1, 0, 1] = 4.0, 8.0
    region = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    assert float(region_mean(rain, region)) == pytest.approx((4.0 + 0.5 * 8.0) / (1.5 * 2))


def test_what_is_asked_is_met_and_more_is_more(case):
    marginals, scores = case
    everywhere = torch.ones(60, 80)
    free = float(region_mean(marginals.rain(scores), everywhere))
    shifts = []
    for factor in (0.3, 0.8, 1.0, 1.7, 4.0):
        shifted = shift_to_mean(marginals, scores, everywhere, everywhere, factor * free)
        assert shifted.mean == pytest.approx(factor * free, rel=1e-2)
        assert float(region_mean(shifted.rain, everywhere)) == pytest.approx(shifted.mean)
        assert shifted.rain.min() >= 0
        shifts.append(shifted.shift)
    assert shifts == sorted(shifts)
    assert abs(shifts[2]) < 0.02


def test_more_rain_is_more_area_as_well_as_more_in_it(case):
    marginals, scores = case
    everywhere = torch.ones(60, 80)
    little, much = (
        shift_to_mean(marginals, scores, everywhere, everywhere, mean).rain for mean in (0.5, 5.0)
    )
    assert (much > 0).sum() > (little > 0).sum()
    both = (much > 0) & (little > 0)
    assert (much[both] > little[both]).float().mean() > 0.99


def test_outside_its_weight_a_shift_changes_nothing(case):
    marginals, scores = case
    region = torch.zeros(60, 80)
    region[20:40, 20:40] = 1.0
    free = marginals.rain(scores)
    shifted = shift_to_mean(marginals, scores, region, region, 3 * float(region_mean(free, region)))
    assert shifted.mean == pytest.approx(3 * float(region_mean(free, region)), rel=1e-2)
    assert torch.equal(shifted.rain[:, region == 0], free[:, region == 0])


def test_what_cannot_be_reached_is_approached_to_the_bound(case):
    marginals, scores = case
    everywhere = torch.ones(60, 80)
    shifted = shift_to_mean(marginals, scores, everywhere, everywhere, 1e4)
    assert shifted.shift == LARGEST_SHIFT
    assert shifted.mean < 1e4

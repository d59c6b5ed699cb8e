"""From drawn scores to an asked mean: the last, exact part of the control.

Guidance while a member is drawn brings its rain near what is asked, in the way in which weather of that kind differs.
What is left is done here: one number is added to the member's scores, over the region and fading beyond its edge, so
that the mean rain is the asked one. As rain rises with the score in each pixel, the number exists, is the only one,
and the same larger mean always takes a larger number. Rain cannot get negative by it; areas grow as well as amounts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from geoscope.models.scenarios.marginals import Marginals

LARGEST_SHIFT = 6.0
EDGE_PX = 12.0  # over which the shift fades outside a region
PRECISION = 2e-3  # of the mean, relative
COARSE_POINTS = 20_000  # pixels of the search before the last steps
ROUNDS = 40


@dataclass(frozen=True)
class Shifted:
    """What came of a shift: the ``rain`` (L, H, W), its mean over the region, and the ``shift``."""

    rain: Tensor
    mean: float
    shift: float


def region_mean(rain: Tensor, region: Tensor) -> Tensor:
    """The mean of ``rain`` (..., L, H, W) over frames and the weights ``region`` (H, W), (...)."""
    return (rain * region).sum(dim=(-3, -2, -1)) / (region.sum() * rain.shape[-3]).clamp(min=1e-6)


def solve_rising(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a rising ``function`` takes the value ``wanted``, or the end that comes nearest: Illinois' regula falsi."""
    at_low, at_high = function(low) - wanted, function(high) - wanted
    if at_low >= 0 or at_high <= 0:
        return low if at_low >= 0 else high
    kept = 0
    for _ in range(ROUNDS):
        place = high - at_high * (high - low) / (at_high - at_low)
        value = function(place) - wanted
        if abs(value) <= PRECISION * wanted:
            return place
        if value < 0:
            low, at_low = place, value
            at_high *= 0.5 if kept < 0 else 1.0
            kept = -1
        else:
            high, at_high = place, value
            at_low *= 0.5 if kept > 0 else 1.0
            kept = 1
    return 0.5 * (low + high)


def shift_to_mean(
    marginals: Marginals, scores: Tensor, region: Tensor, weight: Tensor, mean_mm_h: float
) -> Shifted:
    """The rain of ``scores`` (L, H, W), shifted so that its mean over ``region`` is ``mean_mm_h``.

    ``marginals`` are (L, K, H, W); ``region`` and ``weight`` (H, W) say over what the mean is and where the shift acts.
    A mean that no shift within `LARGEST_SHIFT` reaches is approached as far as that.
    """
    stride = max(1, round((scores.shape[0] * float((region > 0).sum()) / COARSE_POINTS) ** 0.5))
    coarse = _Thinned.of(marginals, scores, region, weight, stride)
    fine = _Thinned(marginals, scores, region, weight)
    wanted = mean_mm_h
    shift = solve_rising(coarse.mean_at, wanted, -LARGEST_SHIFT, LARGEST_SHIFT)
    rain = fine.rain_at(shift)
    for _ in range(3):  # the thinned field has a mean of its own: aim off by the difference
        reached = float(region_mean(rain, region))
        if abs(reached - mean_mm_h) <= 2 * PRECISION * mean_mm_h or abs(shift) >= LARGEST_SHIFT:
            break
        wanted *= mean_mm_h / max(reached, 1e-6)
        shift = solve_rising(coarse.mean_at, wanted, -LARGEST_SHIFT, LARGEST_SHIFT)
        rain = fine.rain_at(shift)
    return Shifted(rain, float(region_mean(rain, region)), shift)


@dataclass(frozen=True)
class _Thinned:
    marginals: Marginals
    scores: Tensor
    region: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, marginals: Marginals, scores: Tensor, region: Tensor, weight: Tensor, stride: int
    ) -> "_Thinned":
        """Every ``stride``-th row and column, where some of the region is left by that."""
        if stride == 1 or not (region[::stride, ::stride] > 0).any():
            return cls(marginals, scores, region, weight)
        levels = marginals.levels[..., ::stride, ::stride]
        thin = (field[..., ::stride, ::stride] for field in (scores, region, weight))
        return cls(Marginals(levels, marginals.thresholds), *thin)

    def rain_at(self, shift: float) -> Tensor:
        return self.marginals.rain(self.scores + shift * self.weight)

    def mean_at(self, shift: float) -> float:
        return float(region_mean(self.rain_at(shift), self.region))

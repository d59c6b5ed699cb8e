"""How much rain is to be expected over a region, and how surely: mu and sigma of the scenarios, from the past alone.

The mean rain of the coming steps over a region is forecast as a distribution: in a transformed space, log(1 + R / 0.1
mm/h), a location and a scale, with the tails of a Student t. Both come from what the nowcaster expects there (the mean
of its distribution, shares above thresholds) and from the region's rain of the last frames, never from the future.
"n sigma" is a place in that space; back in mm/h equal steps of n are about equal factors of heavy rain, and no n asks
for negative rain. What n means in probability is read from the fitted tail, which is heavier than a Gaussian's.

This stands where PreDiff (Gao et al., NeurIPS 2023, section 3.3) has a Gaussian over the mean intensity; that model was
not published.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geoscope.diffusion.noise import member_noise
from geoscope.models.scenarios.marginals import Marginals

SCALE_MM_H = 0.1  # below about this much the transform is linear
LEAST_EXPECTED_MM_H = 0.05  # below it a region is dry for the nowcaster, and mu and sigma mean nothing
REACH = 1.5  # standard deviations of a feature within which the lines were fitted and are used
MOST_DRAWN = 4.0  # sigmas from mu that a freely drawn member may lie
OTHERS = 100  # the most degrees of freedom that members are drawn with
SIGMA_DRAW = 1_000_001  # the step number under which a member's sigmas are drawn: no sampler comes so far
LOG_SCALES = (-3.0, 1.0)  # of sigma in the transformed space
FEATURES = (
    "expected",  # transformed mean rain of the nowcaster's distribution over region and steps
    "newest",  # transformed mean rain of the newest frame
    "change",  # of it over the last step
    "change_before",  # over the step before
    "first_step",  # what the nowcaster expects at the first step, less the newest frame
    "later",  # what it expects at the last step, less the first
    "wet",  # mean P(rain >= 0.1), 1 and 5 mm/h
    "moderate",
    "heavy",
    "doubt",  # mean p (1 - p) at 1 mm/h: 0 when the nowcaster is sure everywhere
    "area",  # log of the region's km2, over 4
    "step",  # log2 of the step over 10 minutes
    "pixel",  # log2 of the pixel in km
    "steps",  # number of steps, over 6
)


def transformed(rain_mm_h: Tensor) -> Tensor:
    """log(1 + R / 0.1 mm/h), the space in which mu and sigma are."""
    return torch.log1p(rain_mm_h / SCALE_MM_H)


def back_transformed(values: Tensor) -> Tensor:
    """The inverse of `transformed`, mm/h, never negative."""
    return SCALE_MM_H * torch.expm1(values).clamp(min=0.0)


@dataclass(frozen=True)
class ExpectedMaps:
    """What the nowcaster expects at each pixel and step, (S, H, W): mean rain in mm/h and P(rain >= 0.1, 1, 5 mm/h)."""

    rain: Tensor
    wet: Tensor
    moderate: Tensor
    heavy: Tensor


def expected_maps(marginals: Marginals) -> ExpectedMaps:
    """The maps that the outlook reads, of marginals (S, K, H, W)."""
    return ExpectedMaps(marginals.expected, *(marginals.chance(level) for level in (0.1, 1.0, 5.0)))


def region_features(
    maps: ExpectedMaps, past: Tensor, region: Tensor, step_minutes: float, pixel_km: float
) -> Tensor:
    """The `FEATURES` of a region, (F,).

    ``past`` (T, H, W) holds the newest frames in mm/h, one step apart, NaN = no data; ``region`` (H, W) weighs the
    pixels from 0 to 1.
    """

    def mean_over(field: Tensor) -> Tensor:
        """(..., H, W) -> (...), without pixels that have no data."""
        known = torch.isfinite(field) * region
        return (torch.nan_to_num(field) * region).sum(dim=(-2, -1)) / known.sum(dim=(-2, -1)).clamp(min=1e-6)

    newest = transformed(mean_over(past[-1]))
    before = transformed(mean_over(past[-2])) if len(past) > 1 else newest
    long_before = transformed(mean_over(past[-3])) if len(past) > 2 else before
    rain = mean_over(maps.rain)
    first, last = transformed(rain[0]), transformed(rain[-1])
    doubt = mean_over(maps.moderate * (1.0 - maps.moderate)).mean()
    area = float(region.sum()) * pixel_km**2
    numbers = (math.log(max(area, 1.0)) / 4.0, math.log2(step_minutes / 10.0), math.log2(pixel_km))
    return torch.stack(
        (
            transformed(rain.mean()),
            newest,
            newest - before,
            before - long_before,
            first - newest,
            last - first,
            mean_over(maps.wet).mean(),
            mean_over(maps.moderate).mean(),
            mean_over(maps.heavy).mean(),
            doubt,
            *rain.new_tensor([*numbers, len(rain) / 6.0]),
        )
    )


@dataclass(frozen=True)
class Expectation:
    """The outlook for one region: location and scale in the transformed space, and the tail's degrees of freedom."""

    location: float
    scale: float
    freedom: float

    def mean_at(self, sigmas: float) -> float:
        """The mean rain in mm/h that lies ``sigmas`` scales from the location."""
        return float(back_transformed(torch.tensor(self.location + sigmas * self.scale, dtype=torch.float64)))

    def sigmas_of(self, mean_mm_h: float) -> float:
        """How many scales a mean rain lies from the location: the inverse of `mean_at` for rain above 0."""
        value = float(transformed(torch.tensor(mean_mm_h, dtype=torch.float64)))
        return (value - self.location) / self.scale

    def probability_beyond(self, sigmas: float) -> float:
        """The probability of more rain than at ``sigmas`` (of less, where that is negative), from the fitted tail."""
        return student_tail(abs(sigmas), self.freedom)


def student_tail(sigmas: float, freedom: float) -> float:
    """P(X > ``sigmas``) for a Student t that is scaled to standard deviation 1; ``freedom`` above 2."""
    value = sigmas * math.sqrt(freedom / (freedom - 2.0))
    grid = torch.linspace(0.0, 1.0, 20_001, dtype=torch.float64)[1:-1]
    # x = value + u / (1 - u): the tail integral over a finite interval
    x = value + grid / (1.0 - grid)
    log_norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = torch.exp(log_norm - (freedom + 1) / 2 * torch.log1p(x * x / freedom)) / (1.0 - grid) ** 2
    return float(density.sum() * (grid[1] - grid[0]))


def drawn_sigmas(seed: int, member: int, freedom: float) -> float:
    """How many sigmas a freely drawn member lies from mu: a Student t of standard deviation 1, cut at `MOST_DRAWN`.

    A function of ``seed`` and the member's number alone.
    """
    normal, others = member_noise(seed, [member], (1 + OTHERS,))(SIGMA_DRAW)[0].double().tensor_split([1])
    # the square root of a chi-square over its degrees of freedom, from so many normal numbers
    chi = others[: round(freedom)].square().sum()
    value = float(normal) / math.sqrt(float(chi) / round(freedom)) * math.sqrt((freedom - 2.0) / freedom)
    return min(max(value, -MOST_DRAWN), MOST_DRAWN)


class Outlook(nn.Module):
    """Location and scale of the mean rain of a region from its features: two lines around the nowcaster's mean.

    location = expected + a correction, log scale = a second output, both linear in the standardised features, which
    are kept within `REACH` so that an unusual region is not extrapolated. A network with a hidden layer was no better
    on sources that were left out.
    """

    centre: Tensor
    spread: Tensor
    freedom: Tensor
    widening: Tensor

    def __init__(self) -> None:
        super().__init__()
        count = len(FEATURES)
        self.lines = nn.Linear(count, 2)
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("freedom", torch.tensor(5.0))
        self.register_buffer("widening", torch.tensor(1.0))  # of the scale, found on left-out events
        with torch.no_grad():
            self.lines.weight.zero_()
            self.lines.bias.copy_(torch.tensor([0.0, -1.2]))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale (standard deviation), each (B,), from features (B, F)."""
        standard = ((features - self.centre) / self.spread).clamp(-REACH, REACH)
        correction, log_scale = self.lines(standard).unbind(-1)
        return features[:, 0] + correction, torch.exp(log_scale.clamp(*LOG_SCALES)) * self.widening

    @torch.inference_mode()
    def expectation(self, features: Tensor) -> Expectation:
        """For the features (F,) of one region."""
        location, scale = self(features[None])
        return Expectation(float(location), float(scale), float(self.freedom))


def negative_log_likelihood(location: Tensor, scale: Tensor, freedom: float, truth: Tensor) -> Tensor:
    """Of the transformed truth (B,) under a Student t of standard deviation ``scale`` (B,): the mean, a scalar."""
    width = scale * math.sqrt((freedom - 2.0) / freedom)
    z = (truth - location) / width
    log_norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return (torch.log(width) - log_norm + (freedom + 1) / 2 * torch.log1p(z * z / freedom)).mean()

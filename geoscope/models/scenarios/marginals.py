"""Rain as a normal score under the nowcaster's own distribution, and back.

At each pixel and lead the nowcaster gives the probability of exceeding each of K thresholds: a distribution. Where the
truth (or a member of an ensemble) stands in that distribution, as a standard normal number, is its score: 0 is the
median, +1 the 84th percentile. The transform is monotone in each pixel, so a field of scores and a field of rain say
the same; what a score leaves out is what the nowcaster knows already. The diffusion model draws fields of scores.

Between thresholds scores are linear in log rain; above the last one they rise on at the slope of the last two, to a
bound. Below the first threshold the rain is 0 and its score is known only to lie below that of the threshold: it is
set to the mean of a standard normal number that does.

Shapes: rain and scores (..., H, W), rain in mm/h with NaN = no data; logits and levels (..., K, H, W).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LARGEST_SCORE = 4.0  # further out the nowcaster's probabilities carry no information
LARGEST_RAIN_MM_H = 150.0  # about the most that radars show over a square kilometre in some minutes
LEAST_SLOPE = 1.5  # of scores in log rain above the last threshold: a tail never gets heavier than that
TAIL_MEAN_EXCESS = (
    0.3  # mean excess over the last threshold, of that threshold: what radars show above 50 mm/h
)
SMALLEST_GAP = 1e-4  # between the scores of two thresholds, so that nothing is divided by 0


def scores_of_logits(logits: Tensor) -> Tensor:
    """The normal score at which exceedance has the probability of ``logits``: Phi^-1(1 - p), any shape."""
    # ndtri of a probability loses its digits near 1, so the smaller tail is taken
    tail = torch.special.ndtri(torch.sigmoid(-logits.double().abs()))
    return torch.where(logits > 0, tail, -tail).clamp(-LARGEST_SCORE, LARGEST_SCORE).to(logits.dtype)


@dataclass(frozen=True)
class Marginals:
    """The distribution of rain in each pixel: ``levels`` (..., K, H, W), the scores of ``thresholds`` (K,) in mm/h."""

    levels: Tensor
    thresholds: Tensor

    @classmethod
    def of(cls, logits: Tensor, thresholds: Tensor) -> "Marginals":
        """From the logits (..., K, H, W) of exceeding each of the rising ``thresholds``, falling along K."""
        return cls(scores_of_logits(logits), thresholds.to(logits.dtype))

    def above(self, lowest_mm_h: float) -> "Marginals":
        """The same without thresholds below ``lowest_mm_h``: all rain below is as good as dry."""
        kept = int((self.thresholds < lowest_mm_h - 1e-6).sum())
        return Marginals(self.levels[..., kept:, :, :], self.thresholds[kept:])

    @cached_property
    def log_thresholds(self) -> Tensor:
        """(K,)."""
        return torch.log(self.thresholds)

    @cached_property
    def slope_of_tail(self) -> Tensor:
        """How fast scores rise with log rain above the last threshold, (..., H, W), above 0."""
        rise = self.levels[..., -1, :, :] - self.levels[..., -2, :, :]
        return (rise / (self.log_thresholds[-1] - self.log_thresholds[-2])).clamp(min=LEAST_SLOPE)

    @cached_property
    def dry_scores(self) -> Tensor:
        """The mean of a standard normal number below the first level z: -phi(z) / Phi(z), (..., H, W)."""
        z = self.levels[..., 0, :, :].double()
        density = torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        mean = (-density / torch.special.ndtr(z)).clamp(min=-LARGEST_SCORE)
        return mean.to(self.levels.dtype)

    def scores(self, rain: Tensor) -> Tensor:
        """The scores of ``rain`` (..., H, W); NaN where it is."""
        log_rain = torch.log(rain.clamp(min=1e-6)).unsqueeze(-3)
        passed = (log_rain >= self.log_thresholds[:, None, None]).sum(dim=-3, keepdim=True)
        low = (passed - 1).clamp(0, len(self.thresholds) - 2)
        span = self.log_thresholds[low + 1] - self.log_thresholds[low]
        share = ((log_rain - self.log_thresholds[low]) / span).clamp(0.0, 1.0)
        inside = torch.lerp(self.levels.gather(-3, low), self.levels.gather(-3, low + 1), share).squeeze(-3)
        beyond = (log_rain.squeeze(-3) - self.log_thresholds[-1]).clamp(min=0.0)
        wet = (inside + self.slope_of_tail * beyond).clamp(max=LARGEST_SCORE)
        result = torch.where(rain < self.thresholds[0], self.dry_scores, wet)
        return result.masked_fill(torch.isnan(rain), torch.nan)

    def rain(self, scores: Tensor) -> Tensor:
        """The rain in mm/h of ``scores`` (..., H, W): 0 below the first level, never above `LARGEST_RAIN_MM_H`.

        Leading dimensions of ``scores`` may be more than those of the marginals.
        """
        levels = self.levels.expand(*scores.shape[:-2], *self.levels.shape[-3:])
        passed = (levels <= scores.unsqueeze(-3)).sum(dim=-3, keepdim=True)
        low = (passed - 1).clamp(0, len(self.thresholds) - 2)
        below, above = (levels.gather(-3, index).squeeze(-3) for index in (low, low + 1))
        share = ((scores - below) / (above - below).clamp(min=SMALLEST_GAP)).clamp(0.0, 1.0)
        low = low.squeeze(-3)
        log_rain = torch.lerp(self.log_thresholds[low], self.log_thresholds[low + 1], share)
        beyond = (scores - self.levels[..., -1, :, :]).clamp(min=0.0) / self.slope_of_tail
        rain = torch.exp(log_rain + beyond).clamp(max=LARGEST_RAIN_MM_H)
        return torch.where(passed.squeeze(-3) > 0, rain, torch.zeros_like(rain))

    @cached_property
    def expected(self) -> Tensor:
        """The mean in mm/h of each distribution, the integral of exceedance over rain, (..., H, W).

        Trapezoids between thresholds and their geometric middles; above the last the tail is a power law.
        """
        exceedance = torch.special.ndtr(-self.levels)
        middle = torch.special.ndtr(-0.5 * (self.levels[..., :-1, :, :] + self.levels[..., 1:, :, :]))
        centre = torch.sqrt(self.thresholds[:-1] * self.thresholds[1:])
        left = (centre - self.thresholds[:-1])[:, None, None] * (exceedance[..., :-1, :, :] + middle)
        right = (self.thresholds[1:] - centre)[:, None, None] * (middle + exceedance[..., 1:, :, :])
        tail = exceedance[..., -1, :, :] * self.thresholds[-1] * TAIL_MEAN_EXCESS
        between = 0.5 * (left.sum(dim=-3) + right.sum(dim=-3))
        return self.thresholds[0] * exceedance[..., 0, :, :] + between + tail

    def chance(self, threshold_mm_h: float) -> Tensor:
        """P(rain >= the threshold nearest to ``threshold_mm_h``), (..., H, W)."""
        index = int(torch.argmin((self.thresholds - threshold_mm_h).abs()))
        return torch.special.ndtr(-self.levels[..., index, :, :])

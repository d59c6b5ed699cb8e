"""From exceedance probabilities to one field of rain: the decision rule of the nowcaster.

For a threshold R the model gives p = P(rain >= R) at each pixel and lead. The critical success index that a cut c can
expect, under the model's own probabilities, is the sum of p above the cut over (sum of all p + count above the cut -
that sum). For each level the cut with the highest expected index is taken, one for all leads of an hour, and pixels
above it are said to have at least that rain; levels are nested. Between two levels the field takes the median,
clipped into the band. So heavy rain that is likely somewhere is not forecast nowhere, as the median would
have it, and amounts stay moderate.
"""

import torch
from torch import Tensor

BINS = 256  # of probability, equal in width
LEVELS_MM_H = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # at which the field is decided
QUANTILE = 0.5  # probability of exceeding the value that the field takes within a band: the median


def monotone(logits: Tensor) -> Tensor:
    """``logits`` (..., K, H, W) of exceeding rising thresholds, made to fall along K."""
    result = logits.clone()
    for k in range(1, logits.shape[-3]):  # five times as fast as torch.cummin
        torch.minimum(result[..., k - 1, :, :], logits[..., k, :, :], out=result[..., k, :, :])
    return result


def calibrated(logits: Tensor, calibration: Tensor, lead: float) -> Tensor:
    """``logits`` (..., K, H, W) at ``lead`` steps, scaled and shifted by the table (S, K, 2) at steps 1, ..., S."""
    place = min(max(lead - 1.0, 0.0), len(calibration) - 1.0)
    low = int(place)
    scale, shift = torch.lerp(
        calibration[low], calibration[min(low + 1, len(calibration) - 1)], place - low
    ).unbind(-1)
    return monotone(logits * scale[:, None, None] + shift[:, None, None])


def probability(logits: Tensor, thresholds: Tensor, threshold_mm_h: float) -> Tensor:
    """P(rain >= ``threshold_mm_h``), (..., H, W), from ``logits`` (..., K, H, W) that fall along K.

    Logits are linear in log rain between the model's thresholds (K,) and level outside them.
    """
    position = torch.searchsorted(thresholds, torch.as_tensor(threshold_mm_h, dtype=thresholds.dtype))
    high = int(position.clamp(1, len(thresholds) - 1))
    span = torch.log(thresholds[high] / thresholds[high - 1])
    share = (torch.log(threshold_mm_h / thresholds[high - 1]) / span).clamp(0.0, 1.0)
    return torch.sigmoid(torch.lerp(logits[..., high - 1, :, :], logits[..., high, :, :], float(share)))


def quantile(logits: Tensor, thresholds: Tensor, exceedance: float) -> Tensor:
    """The rain in mm/h, (..., H, W), that is exceeded with probability ``exceedance``; ``logits`` fall along K.

    Between the model's thresholds (K,) logits are linear in log rain; below the first the rain is 0, and it never
    exceeds the last.
    """
    margin = logits - torch.logit(torch.tensor(exceedance))
    passed = (margin > 0).sum(dim=-3, keepdim=True)  # (..., 1, H, W), how many thresholds are passed
    low = (passed - 1).clamp(min=0)
    high = passed.clamp(max=len(thresholds) - 1)
    above, below = margin.gather(-3, low), margin.gather(-3, high)
    share = (above / (above - below).clamp(min=1e-6)).clamp(0.0, 1.0)
    log_thresholds = torch.log(thresholds)
    rain = torch.exp(torch.lerp(log_thresholds[low], log_thresholds[high], share))
    return torch.where(passed > 0, rain, torch.zeros_like(rain)).squeeze(-3)


class ExpectedCsi:
    """Histograms of probability by level, from which the cut of the highest expected CSI is read."""

    def __init__(self, levels: int) -> None:
        self.pixels = torch.zeros(levels, BINS, dtype=torch.float64)
        self.mass = torch.zeros(levels, BINS, dtype=torch.float64)

    def add(self, probabilities: Tensor) -> None:
        """Count ``probabilities`` (levels, N)."""
        for level, values in enumerate(probabilities.float().cpu()):
            place = (values * BINS).long().clamp_(0, BINS - 1)
            self.pixels[level] += torch.bincount(place, minlength=BINS)
            self.mass[level] += torch.bincount(place, weights=values.double(), minlength=BINS)

    def expected(self) -> Tensor:
        """The CSI to be expected when pixels from each bin on are called events: (levels, BINS)."""
        called = self.pixels.flip(-1).cumsum(-1).flip(-1)
        hits = self.mass.flip(-1).cumsum(-1).flip(-1)
        return hits / (self.mass.sum(-1, keepdim=True) + called - hits).clamp(min=1e-12)

    def cuts(self) -> Tensor:
        """The probabilities to pass, (levels,) in (0, 1): the lower edge of the best bin, the highest of equals."""
        best = BINS - 1 - self.expected().flip(-1).argmax(dim=-1)
        return (best / BINS).clamp(min=0.5 / BINS).float()


def decide(logits: Tensor, thresholds: Tensor, cuts: Tensor) -> Tensor:
    """The rain field in mm/h, (H, W), from ``logits`` (K, H, W) that fall along K and the ``cuts`` of `LEVELS_MM_H`."""
    rain = quantile(logits, thresholds, QUANTILE)
    low = torch.zeros_like(rain)
    high = torch.full_like(rain, LEVELS_MM_H[0])
    tops = (*LEVELS_MM_H[1:], float("inf"))
    is_above = torch.ones_like(rain, dtype=torch.bool)
    for level, top, cut in zip(LEVELS_MM_H, tops, cuts.tolist(), strict=True):
        is_above = is_above & (probability(logits, thresholds, level) >= cut)
        low = low.masked_fill(is_above, level)
        high = high.masked_fill(is_above, top)
    # just below the next level, so that "at or above" of that level stays false
    return torch.maximum(torch.minimum(rain, high * (1 - 1e-4)), low)

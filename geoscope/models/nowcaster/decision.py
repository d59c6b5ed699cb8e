"""From exceedance probabilities to one field of rain: the decision rule of the nowcaster.

For each threshold R_k the model gives P(R > R_k). The field is at least R_k where that probability passes a limit p_k,
and between two thresholds the crossing is interpolated in log rain. With every p_k = 0.5 the field is the median;
lower limits favour detection (a higher CSI and POD, more false alarms). The limits are stored with the weights and
stated on the card.
"""

import torch
from torch import Tensor


def monotone(logits: Tensor) -> Tensor:
    """``logits`` (..., K, H, W) of exceeding rising thresholds, made to fall along K."""
    return torch.cummin(logits, dim=-3).values


def decide(logits: Tensor, thresholds: Tensor, limits: Tensor) -> Tensor:
    """The rain field in mm/h, (..., H, W), from ``logits`` (..., K, H, W).

    ``thresholds`` (K,) rise, in mm/h; ``limits`` (K,) are the probabilities to pass. Below the first threshold the
    field is 0, and it never exceeds the last.
    """
    margin = monotone(monotone(logits) - torch.logit(limits)[:, None, None])
    passed = (margin > 0).sum(dim=-3, keepdim=True)  # (..., 1, H, W), how many thresholds are passed
    low = (passed - 1).clamp(min=0)
    high = passed.clamp(max=len(thresholds) - 1)
    above = margin.gather(-3, low)
    below = margin.gather(-3, high)
    share = (above / (above - below).clamp(min=1e-6)).clamp(0.0, 1.0)
    log_thresholds = torch.log(thresholds)
    rain = torch.exp(torch.lerp(log_thresholds[low], log_thresholds[high], share))
    return torch.where(passed > 0, rain, torch.zeros_like(rain)).squeeze(-3)


def probability(logits: Tensor, thresholds: Tensor, threshold_mm_h: float) -> Tensor:
    """P(R > ``threshold_mm_h``) of (..., H, W), interpolated in log rain between the model's thresholds."""
    logits = monotone(logits)
    position = torch.searchsorted(thresholds, torch.as_tensor(threshold_mm_h, dtype=thresholds.dtype))
    high = int(position.clamp(1, len(thresholds) - 1))
    span = torch.log(thresholds[high] / thresholds[high - 1])
    share = (torch.log(threshold_mm_h / thresholds[high - 1]) / span).clamp(0.0, 1.0)
    return torch.sigmoid(torch.lerp(logits[..., high - 1, :, :], logits[..., high, :, :], share))

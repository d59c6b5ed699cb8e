"""Choosing the nowcaster's decision limits: which probability must be passed before a threshold counts as exceeded.

For each lead step and threshold the limit that gives the highest critical success index (CSI) is found from a
histogram of probabilities. A limit that low favours detection at the price of a wet bias, so it is drawn towards one
half, which gives the median and the lowest absolute error, by a stated share.
"""

import numpy as np
import torch
from torch import Tensor

from geoscope.models.nowcaster.decision import monotone
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.training.storms import WindowSampler

BINS = 64  # of probability, equal in width


class ReliabilityCounts:
    """Histograms of probability, with and without the event, by lead step and threshold: (S, K, BINS) int64."""

    def __init__(self, slots: int, thresholds: int) -> None:
        self.events = torch.zeros(slots, thresholds, BINS, dtype=torch.int64)
        self.pixels = torch.zeros_like(self.events)

    def update(self, slot: int, probabilities: Tensor, exceeded: Tensor, known: Tensor) -> None:
        """Count ``probabilities`` and ``exceeded`` (B, K, H, W) where ``known`` (B, K, H, W)."""
        bins = (probabilities * BINS).long().clamp(0, BINS - 1)
        for k in range(probabilities.shape[1]):
            chosen = bins[:, k][known[:, k]]
            hit = exceeded[:, k][known[:, k]]
            self.pixels[slot, k] += torch.bincount(chosen, minlength=BINS)
            self.events[slot, k] += torch.bincount(chosen[hit], minlength=BINS)

    def csi_by_limit(self) -> Tensor:
        """CSI when an event is forecast from each bin on: (S, K, BINS) float64, 0 where nothing happened."""
        hits = self.events.flip(-1).cumsum(-1).flip(-1).double()
        forecast = self.pixels.flip(-1).cumsum(-1).flip(-1).double()
        seen = self.events.sum(-1, keepdim=True).double()
        return hits / (forecast + seen - hits).clamp(min=1.0)


def best_limits(counts: ReliabilityCounts, median_share: float) -> Tensor:
    """Limits (S, K) in (0, 1): those of the best CSI, smoothed over leads and thresholds, then drawn to one half.

    ``median_share`` 0 keeps the best CSI, 1 gives the median. Where fewer than 200 events were seen, the limit of the
    next lower threshold is taken.
    """
    csi = counts.csi_by_limit().numpy()
    seen = counts.events.sum(-1).numpy()
    limits = (csi.argmax(axis=-1) + 0.5) / BINS
    for k in range(limits.shape[1]):
        rare = seen[:, k] < 200
        limits[rare, k] = limits[rare, k - 1] if k else 0.4
    padded = np.pad(limits, 1, mode="edge")
    smooth = sum(
        padded[i : i + limits.shape[0], j : j + limits.shape[1]] * (1 + (i == 1)) * (1 + (j == 1))
        for i in range(3)
        for j in range(3)
    )
    limits = np.asarray(smooth) / 16.0
    return torch.from_numpy((1 - median_share) * limits + median_share * 0.5).float().clamp(0.05, 0.95)


@torch.inference_mode()
def calibrate(
    model: LagrangianEarthformer, sampler: WindowSampler, windows: int, median_share: float
) -> ReliabilityCounts:
    """Set ``model.limits`` from ``windows`` windows of ``sampler``; returns the counts behind them."""
    from geoscope.training.nowcast import as_batch

    slots, thresholds = model.limits.shape
    counts = ReliabilityCounts(slots, thresholds)
    leads = [float(lead) for lead in range(1, slots + 1)]
    for _ in range(windows):
        batch = as_batch([sampler.draw(leads)], leads)
        inputs = (batch["frames"], batch["valid"], batch["motion"], batch["step_minutes"], batch["pixel_km"])
        believed = (model.thresholds >= batch["range"][:, :1]) & (model.thresholds <= batch["range"][:, 1:])
        for slot, logits in enumerate(model.logits_by_lead(*inputs, leads)):
            target = batch["target"][:, slot : slot + 1]
            exceeded = target >= model.thresholds[:, None, None]
            known = torch.isfinite(target) & believed[:, :, None, None]
            counts.update(slot, torch.sigmoid(monotone(logits)), exceeded, known)
    model.limits.copy_(best_limits(counts, median_share))
    return counts

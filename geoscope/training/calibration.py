"""Calibrating the nowcaster's probabilities on storms that its weights did not see.

For each lead step and threshold a logistic regression of one variable (Platt 1999) scales and shifts the logits. It is
fitted to histograms of the logits with and without the event, which add up over windows, events and runs.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from geoscope.errors import ShapeError
from geoscope.metrics.probability import ProbabilityTable
from geoscope.models.nowcaster.config import NowcasterConfig

BINS = 160  # of the logit, equal in width
LOWEST, HIGHEST = -12.0, 8.0
RIDGE = 50.0  # strength, in pixels, of the belief that nothing need be changed
SHRINK = 0.05  # share of the pixels that count as independent: neighbours tell the same story


@dataclass
class LogitCounts:
    """Pixels by logit, with and without the event, by lead step and threshold: (S, K, BINS) int64."""

    steps: int
    thresholds: int
    events: Tensor = field(init=False)
    pixels: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.events = torch.zeros(self.steps, self.thresholds, BINS, dtype=torch.int64)
        self.pixels = torch.zeros_like(self.events)

    @classmethod
    def of(cls, config: NowcasterConfig) -> "LogitCounts":
        """Empty counts for every model step and threshold of ``config``."""
        return cls(config.reach, len(config.thresholds_mm_h))

    def add(self, step: int, logits: Tensor, exceeded: Tensor, known: Tensor) -> None:
        """Count ``logits`` and ``exceeded`` (K, ...) of lead ``step`` (from 1) where ``known`` (K, ...)."""
        bins = ((logits.float() - LOWEST) * (BINS / (HIGHEST - LOWEST))).long().clamp(0, BINS - 1)
        for k in range(self.thresholds):
            chosen, hit = bins[k][known[k]], exceeded[k][known[k]]
            self.pixels[step - 1, k] += torch.bincount(chosen, minlength=BINS)
            self.events[step - 1, k] += torch.bincount(chosen[hit], minlength=BINS)

    def __add__(self, other: "LogitCounts") -> "LogitCounts":
        if self.events.shape != other.events.shape:
            raise ShapeError(
                f"counts of shape {tuple(self.events.shape)} and {tuple(other.events.shape)} do not add up: "
                "count both for the same nowcaster"
            )
        total = LogitCounts(self.steps, self.thresholds)
        total.events, total.pixels = self.events + other.events, self.pixels + other.pixels
        return total


MIDDLES = np.linspace(LOWEST, HIGHEST, BINS, endpoint=False) + (HIGHEST - LOWEST) / BINS / 2


def fit(counts: LogitCounts) -> Tensor:
    """Scale and shift of the logits, (S, K, 2) float32, smoothed over lead steps; (1, 0) where nothing was seen."""
    table = np.empty((counts.steps, counts.thresholds, 2), dtype=np.float64)
    events, pixels = counts.events.numpy() * SHRINK, counts.pixels.numpy() * SHRINK
    for step in range(counts.steps):
        near = range(max(0, step - 1), min(counts.steps, step + 2))  # neighbours of a step count half
        weights = np.array([1.0 if other == step else 0.5 for other in near])[:, None, None]
        seen = [(np.stack([part[other] for other in near]) * weights).sum(0) for part in (events, pixels)]
        for k in range(counts.thresholds):
            table[step, k] = _logistic(MIDDLES, seen[0][k], seen[1][k])
    return torch.from_numpy(table).float()


def probability_table(counts: LogitCounts, calibration: Tensor) -> ProbabilityTable:
    """What was said and seen, all leads together, (threshold, 10), had ``calibration`` (S, K, 2) been used.

    The logits of a bin of the counts are taken to lie in its middle.
    """
    scale, shift = calibration.double().numpy()[..., None].transpose(2, 0, 1, 3)
    said = 1.0 / (1.0 + np.exp(-(scale * MIDDLES + shift)))  # (S, K, BINS)
    pixels, events = counts.pixels.numpy(), counts.events.numpy()
    place = np.minimum((said * 10).astype(np.int64), 9)
    in_bin = place[..., None] == np.arange(10)

    def by_bin(values: np.ndarray) -> np.ndarray:
        return (values[..., None] * in_bin).sum(axis=(0, 2))

    return ProbabilityTable(
        pixels=by_bin(pixels),
        events=by_bin(events),
        probability=by_bin(pixels * said),
        squared_error=(events * (1.0 - said) ** 2 + (pixels - events) * said**2).sum(axis=(0, 2)),
    )


def _logistic(x: np.ndarray, events: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(scale, shift) of the penalised maximum likelihood, by Newton's method."""
    design = np.stack((x, np.ones_like(x)), axis=1)
    start = np.array([1.0, 0.0])
    found = start.copy()
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (events - pixels * chance) - RIDGE * (found - start)
        curve = (design * (pixels * chance * (1 - chance))[:, None]).T @ design + RIDGE * np.eye(2)
        step = np.linalg.solve(curve, slope)
        found = found + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-8:
            break
    return np.array([np.clip(found[0], 0.3, 2.0), found[1]])

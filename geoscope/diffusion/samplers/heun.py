"""Heun's method along the probability-flow ODE, with the optional churn of Karras et al. 2022 (EDM, algorithm 2)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geoscope.diffusion.levels import Denoise, Levels, Progress, StepNoise
from geoscope.diffusion.samplers.steps import clean_estimate, counted, step_with_fixed_clean
from geoscope.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Churn:
    """How much fresh noise each step of EDM adds before it denoises.

    amount: S_churn of the paper, spread over the steps (at most 0.41 of sigma a step). lowest and highest: the sigmas
    between which it acts. scale: S_noise, what the added noise is multiplied by.
    """

    amount: float
    lowest: float = 0.0
    highest: float = math.inf
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.amount >= 0 or not self.scale > 0:
            raise ConfigError(f"churn amount={self.amount} must be 0 or more and scale={self.scale} above 0")

    def share(self, sigma: float, steps: int) -> float:
        """gamma: by which part of itself sigma is raised."""
        if not self.lowest <= sigma <= self.highest:
            return 0.0
        return min(self.amount / steps, math.sqrt(2.0) - 1.0)


@torch.no_grad()
def sample_heun(
    denoise: Denoise,
    start: Tensor,
    levels: Levels,
    step_noise: StepNoise | None = None,
    *,
    churn: Churn | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """The end of the ODE through ``levels`` from the state ``start`` by Heun's method: second order, two evaluations.

    With alpha = 1 this is EDM's: x against sigma, where the slope is the noise. On other levels sigma / alpha may be
    thousands, and the method unstable; there it takes the angle with tan(angle) = sigma / alpha instead, against which
    x (at unit length of (alpha, sigma)) has the slope v, finite also where no signal is left. A step to a level
    without noise has one evaluation and is of first order. ``churn`` supposes levels with alpha = 1 whose times are
    the sigmas, and draws ``step_noise``.

    Raises:
        ConfigError: churn without noise to draw, or on levels where alpha is not 1.
        Cancelled: ``progress`` asked to stop.
    """
    if churn is not None:
        _check_churn(levels, step_noise)
    x = start
    for i in counted(levels, progress):
        here, there = i, i + 1
        way = levels
        if churn is not None and step_noise is not None:
            raised = levels.sigmas[i] * (1 + churn.share(levels.sigmas[i], levels.steps))
            way = Levels((raised, levels.times[there]), (1.0, 1.0), (raised, levels.sigmas[there]))
            added = churn.scale * math.sqrt(raised**2 - levels.sigmas[i] ** 2)
            x = x + added * step_noise(i) if added > 0 else x
            here, there = 0, 1
        x = _heun_step(denoise, x, way, here, there)
    return x


def _heun_step(denoise: Denoise, x: Tensor, levels: Levels, here: int, there: int) -> Tensor:
    clean = clean_estimate(denoise, x, levels, here)
    predicted = step_with_fixed_clean(x, clean, levels, here, there)
    if levels.sigmas[there] == 0.0:
        return predicted
    clean_there = clean_estimate(denoise, predicted, levels, there)
    if levels.alphas[here] == levels.alphas[there] == 1.0:
        noise, noise_there = (
            (x - clean) / levels.sigmas[here],
            (predicted - clean_there) / levels.sigmas[there],
        )
        return x + ((levels.sigmas[there] - levels.sigmas[here]) / 2) * (noise + noise_there)
    angle, size = _polar(levels, here)
    angle_there, size_there = _polar(levels, there)
    slope = _angular_slope(x, clean, levels, here)
    slope_there = _angular_slope(predicted, clean_there, levels, there)
    return size_there * (x / size + ((angle_there - angle) / 2) * (slope + slope_there))


def _polar(levels: Levels, level: int) -> tuple[float, float]:
    alpha, sigma = levels.alphas[level], levels.sigmas[level]
    return math.atan2(sigma, alpha), math.hypot(sigma, alpha)


def _angular_slope(x: Tensor, clean: Tensor, levels: Levels, level: int) -> Tensor:
    """d (x / size) / d angle = cos(angle) eps - sin(angle) x_0, which is v."""
    alpha, sigma = levels.alphas[level], levels.sigmas[level]
    noise = (x - alpha * clean) / sigma
    return (alpha * noise - sigma * clean) / math.hypot(sigma, alpha)


def _check_churn(levels: Levels, step_noise: StepNoise | None) -> None:
    if step_noise is None:
        raise ConfigError("churn draws noise at each step: hand in step_noise, or leave churn out")
    if set(levels.alphas) != {1.0} or levels.times[:-1] != levels.sigmas[:-1]:
        raise ConfigError(
            "churn raises sigma between levels and needs those of exploding_levels, alpha 1 and told sigma; "
            "on other levels leave it out"
        )

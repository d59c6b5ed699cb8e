"""Samplers that walk the reverse Markov chain: DDPM and its generalisation DDIM."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from geoscope.diffusion.levels import Denoise, Levels, Progress, StepNoise
from geoscope.diffusion.samplers.steps import clean_estimate, counted, step_with_fixed_clean
from geoscope.errors import ConfigError

MeanShift = Callable[[Tensor, Tensor], Tensor]
"""``shift(x, t)`` (B, ...): how many standard deviations of the step its mean is moved, against the sign."""


@torch.no_grad()
def sample_ddpm(
    denoise: Denoise,
    start: Tensor,
    levels: Levels,
    step_noise: StepNoise,
    *,
    temperature: float = 1.0,
    variance_mix: float = 0.0,
    shift: MeanShift | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """A sample of the reverse chain through ``levels`` from the state ``start`` (B, ...).

    Each step draws from q(x_s | x_t, x_0) with the estimate of x_0. With levels at every step of the schedule this is
    the published sampler; with fewer, the chain of the schedule thinned to them; from `Levels.begun_at`, the rest
    of a chain. A step to a level without noise adds none. ``temperature`` multiplies the noise, ``variance_mix`` is
    `Schedule.variance_mix`, and ``shift`` moves each mean by -sqrt(variance) * shift(x, t), as the published guidance
    does. Source: Ho et al. 2020, algorithm 2.

    Raises:
        Cancelled: ``progress`` asked to stop.
    """
    x = start
    for i in counted(levels, progress):
        ratio = levels.alphas[i] / levels.alphas[i + 1]
        sigma, following = levels.sigmas[i], levels.sigmas[i + 1]
        added = sigma**2 - (ratio * following) ** 2  # variance of q(x_t | x_s)
        posterior = added * (following / sigma) ** 2
        deviation = math.sqrt((1 - variance_mix) * posterior + variance_mix * added)
        clean = clean_estimate(denoise, x, levels, i)
        mean = (levels.alphas[i + 1] * added / sigma**2) * clean + (ratio * following**2 / sigma**2) * x
        if shift is not None:
            mean = mean - deviation * shift(x, levels.time(i, x))
        is_noisy = following > 0 and temperature > 0
        x = mean + (deviation * temperature) * step_noise(i) if is_noisy else mean
    return x


@torch.no_grad()
def sample_ddim(
    denoise: Denoise,
    start: Tensor,
    levels: Levels,
    step_noise: StepNoise | None = None,
    *,
    eta: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """The end of a DDIM chain through ``levels`` from the state ``start`` (Song et al. 2021a, equation 12).

    ``eta`` 0 follows the probability-flow ODE with steps of first order and draws nothing; 1 is `sample_ddpm` through
    the same levels; between them part of the noise is drawn again.

    Raises:
        ConfigError: ``eta`` is not from 0 to 1, or above 0 without ``step_noise``.
        Cancelled: ``progress`` asked to stop.
    """
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta={eta} must be from 0 (no noise) to 1 (the noise of DDPM)")
    if eta > 0 and step_noise is None:
        raise ConfigError(f"eta={eta} draws noise at each step: hand in step_noise, or take eta=0")
    x = start
    for i in counted(levels, progress):
        clean = clean_estimate(denoise, x, levels, i)
        if step_noise is None or eta == 0:
            x = step_with_fixed_clean(x, clean, levels, i, i + 1)
            continue
        ratio = levels.alphas[i] / levels.alphas[i + 1]
        sigma, following = levels.sigmas[i], levels.sigmas[i + 1]
        drawn = eta * (following / sigma) * math.sqrt(sigma**2 - (ratio * following) ** 2)
        kept = math.sqrt(max(following**2 - drawn**2, 0.0))
        noise = (x - levels.alphas[i] * clean) / sigma
        x = levels.alphas[i + 1] * clean + kept * noise
        if following > 0:
            x = x + drawn * step_noise(i)
    return x

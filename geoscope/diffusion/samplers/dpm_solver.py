"""DPM-Solver++ (Lu et al. 2023): the probability-flow ODE in lambda = log(alpha / sigma), by its exact linear part.

Between two levels the ODE's solution is x' = (sigma'/sigma) x + sigma' * integral of e^lambda x_0(lambda) d lambda.
With x_0 fixed this is the first-order step; both methods here take x_0 as linear in lambda, from the step before
(2M, one evaluation a step) or from a level within the step (2S).
"""

import math

import torch
from torch import Tensor

from geoscope.diffusion.levels import Denoise, Levels, Progress
from geoscope.diffusion.samplers.steps import clean_estimate, counted, step_with_fixed_clean


@torch.no_grad()
def sample_dpm_solver_2m(
    denoise: Denoise, start: Tensor, levels: Levels, *, progress: Progress | None = None
) -> Tensor:
    """The end of the ODE through ``levels`` from the state ``start`` by DPM-Solver++(2M), second order.

    One evaluation a step. The first step, the step after a level without signal and the step to a level without noise
    are of first order, because lambda is infinite there. Source: Lu et al. 2023, algorithm 2.

    Raises:
        Cancelled: ``progress`` asked to stop.
    """
    x = start
    half_log_snr = levels.half_log_snr
    earlier: Tensor | None = None
    for i in counted(levels, progress):
        clean = clean_estimate(denoise, x, levels, i)
        extended = clean
        if earlier is not None and math.isfinite(half_log_snr[i + 1]):
            step = half_log_snr[i + 1] - half_log_snr[i]
            before = half_log_snr[i] - half_log_snr[i - 1]  # inf after a level without signal: the share is 0
            extended = clean + (step / (2 * before)) * (clean - earlier)
        x = step_with_fixed_clean(x, extended, levels, i, i + 1)
        earlier = clean
    return x


@torch.no_grad()
def sample_dpm_solver_2s(
    denoise: Denoise, start: Tensor, levels: Levels, *, progress: Progress | None = None
) -> Tensor:
    """The end of the ODE through ``levels`` from the state ``start`` by DPM-Solver++(2S), second order.

    A step spans two levels' distances and uses the level in its middle, so evaluations are as many as levels. It
    forgets what was before, which suits guidance that changes quickly. Steps from a level without signal, to one
    without noise, and the first where the levels are odd in number, are of first order.
    Source: Lu et al. 2023, algorithm 1, with the levels' own middle for its r.

    Raises:
        Cancelled: ``progress`` asked to stop.
    """
    x = start
    half_log_snr = levels.half_log_snr
    singles = _single_steps(half_log_snr)
    begun: tuple[int, Tensor, Tensor] | None = None
    for i in counted(levels, progress):
        estimate = clean_estimate(denoise, x, levels, i)
        if i in singles:
            x = step_with_fixed_clean(x, estimate, levels, i, i + 1)
        elif begun is None:
            begun = (i, x, estimate)
            x = step_with_fixed_clean(x, estimate, levels, i, i + 1)
        else:
            first, state, clean = begun
            share = (half_log_snr[i + 1] - half_log_snr[first]) / (half_log_snr[i] - half_log_snr[first])
            x = step_with_fixed_clean(state, clean + (share / 2) * (estimate - clean), levels, first, i + 1)
            begun = None
    return x


def _single_steps(half_log_snr: tuple[float, ...]) -> set[int]:
    """The steps that are taken alone: at infinite lambda, and one at the noisy end where the rest is odd."""
    steps = len(half_log_snr) - 1
    singles = {i for i in range(steps) if math.isinf(half_log_snr[i]) or math.isinf(half_log_snr[i + 1])}
    paired = [i for i in range(steps) if i not in singles]
    return singles | set(paired[:1] if len(paired) % 2 else [])

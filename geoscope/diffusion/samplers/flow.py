"""Samplers for flow matching: the ODE dx/dt = velocity(x, t) from t = 1 (noise) to t = 0 (data).

On the straight path x_t = (1 - t) x_0 + t eps the velocity is eps - x_0 (Lipman et al. 2023; Liu et al. 2023).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from geoscope.diffusion.levels import Progress, flow_levels
from geoscope.diffusion.samplers.steps import counted

Velocity = Callable[[Tensor, Tensor], Tensor]
"""``velocity(x, t)`` (B, ...) at the state x (B, ...) and the times t (B,)."""


@torch.no_grad()
def sample_flow_euler(
    velocity: Velocity, noise: Tensor, times: Tensor, *, progress: Progress | None = None
) -> Tensor:
    """The end of the flow from ``noise`` (B, ...) through ``times`` (S + 1,) falling, by Euler steps: first order.

    Raises:
        ConfigError: the times do not fall.
        Cancelled: ``progress`` asked to stop.
    """
    levels = flow_levels(times)
    x = noise
    for i in counted(levels, progress):
        x = x + (levels.times[i + 1] - levels.times[i]) * velocity(x, levels.time(i, x))
    return x


@torch.no_grad()
def sample_flow_heun(
    velocity: Velocity, noise: Tensor, times: Tensor, *, progress: Progress | None = None
) -> Tensor:
    """The end of the flow from ``noise`` through ``times`` by Heun's method: second order, two evaluations a step.

    The velocity of a straight path is finite at both ends, so every step is of second order, the last one too.

    Raises:
        ConfigError: the times do not fall.
        Cancelled: ``progress`` asked to stop.
    """
    levels = flow_levels(times)
    x = noise
    for i in counted(levels, progress):
        length = levels.times[i + 1] - levels.times[i]
        slope = velocity(x, levels.time(i, x))
        slope_there = velocity(x + length * slope, levels.time(i + 1, x))
        x = x + (length / 2) * (slope + slope_there)
    return x

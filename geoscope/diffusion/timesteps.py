"""Which steps of a long schedule a short sampler visits."""

from typing import Literal

import torch
from torch import Tensor

from geoscope.diffusion.schedules import Schedule
from geoscope.errors import ConfigError


def even_timesteps(steps: int, count: int) -> Tensor:
    """Exactly ``count`` whole steps (count,) int64, falling evenly from the last, T - 1; T = ``steps``.

    The last step of the schedule is always among them: a sampler starts from pure noise, and there alone the network
    was trained on it. This is the "trailing" spacing of Lin et al. 2023, table 2.

    Raises:
        ConfigError: ``count`` is not between 1 and ``steps``.
    """
    _check_count(count, steps)
    edges = torch.linspace(float(steps), 0.0, count + 1, dtype=torch.float64)[:-1]
    return edges.round().long() - 1


def even_lambda_timesteps(schedule: Schedule, count: int) -> Tensor:
    """Exactly ``count`` steps (count,) float64, falling evenly in lambda = log(alpha / sigma) from T - 1 to 0.

    The spacing under which solvers of high order keep their order (Lu et al. 2022, section 3.4). Steps lie between
    whole ones, which a network with a continuous embedding of time can answer. At 20 steps and fewer
    `even_timesteps` was the better choice on the schedules here: this one spends too many steps where hardly any
    noise is left. A last step without any signal is visited first, then the rest from the step before it.

    Raises:
        ConfigError: ``count`` is below 2, or more than the schedule has steps.
    """
    _check_count(count, schedule.steps, least=2)
    half_log_snr = schedule.half_log_snr
    is_silent = bool(torch.isinf(half_log_snr[-1]))
    rising = half_log_snr.flip(0)[1:] if is_silent else half_log_snr.flip(0)
    last = len(rising) - 1
    wanted = torch.linspace(float(rising[0]), float(rising[-1]), count - is_silent, dtype=torch.float64)
    right = torch.searchsorted(rising, wanted).clamp(1, last)
    low, high = rising[right - 1], rising[right]
    times = last - (right - 1 + (wanted - low) / (high - low))
    times[-1] = 0.0
    if is_silent:
        return torch.cat([times.new_tensor([schedule.steps - 1.0]), times.clamp(max=last)])
    times[0] = float(last)
    return times


def published_ddim_timesteps(steps: int, count: int, kind: Literal["uniform", "quad"] = "uniform") -> Tensor:
    """The steps (N,) int64, rising, that PreDiff's helper gives; N is not always ``count``.

    Quirks that are kept: "uniform" steps by T // count, so 300 of 1000 gives 334 steps and 7 gives 8; both kinds add 1
    to every step, so with "uniform" and count = T the last lies outside the schedule (`levels_of` refuses it); the
    last step is not T - 1; "quad" repeats its first steps when count is large. Use `even_timesteps` unless a
    published number is to be matched.

    Raises:
        ConfigError: ``count`` is not between 1 and ``steps``, or the kind is not known.
    """
    _check_count(count, steps)
    if kind == "uniform":
        return torch.arange(0, steps, steps // count) + 1
    if kind == "quad":
        return (torch.linspace(0.0, (0.8 * steps) ** 0.5, count, dtype=torch.float64) ** 2).long() + 1
    raise ConfigError(f"kind {kind!r} is not known: choose 'uniform' or 'quad'")


def _check_count(count: int, steps: int, least: int = 1) -> None:
    if not least <= count <= steps:
        raise ConfigError(f"count={count} must be from {least} to {steps}, the steps of the schedule")

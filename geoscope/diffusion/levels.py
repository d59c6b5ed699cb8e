"""The noise levels that a sampler passes through, from noise to a clean sample, for every kind of diffusion alike.

A level is a pair (alpha, sigma): the state there is alpha x_0 + sigma eps. Variance-preserving schedules, the
variance-exploding levels of Karras et al. (alpha = 1) and the straight paths of flow matching (alpha = 1 - t,
sigma = t) differ in nothing else, so each sampler is written once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from geoscope.diffusion.schedules import Schedule, expanded
from geoscope.errors import ConfigError

Denoise = Callable[[Tensor, Tensor], Tensor]
"""``denoise(x, t)`` estimates x_0 from the state x (B, ...) at the times t (B,) that the network knows."""
StepNoise = Callable[[int], Tensor]
"""``step_noise(i)`` is the unit noise (B, ...) that step i of a chain adds, i counted from the noisiest level."""
Progress = Callable[[str, float], None]
"""``progress(stage, share)`` hears of each step and may raise `geoscope.errors.Cancelled` to stop the sampler."""
Path = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``path(t, x)`` gives alpha and sigma at the times t (B,), shaped to multiply x; `Schedule.at` is one."""


@dataclass(frozen=True)
class Levels:
    """S + 1 levels, noisiest first: what the network is told (``times``), and (``alphas``, ``sigmas``) there.

    A sampler takes S steps, each from one level to the next. ``scale`` turns unit noise into a state at the first
    level: 1 where alpha^2 + sigma^2 = 1. ``is_discrete``: the times are steps of a schedule, and the network hears
    whole numbers. Where the last sigma is 0, nobody asks for the last time.
    """

    times: tuple[float, ...]
    alphas: tuple[float, ...]
    sigmas: tuple[float, ...]
    scale: float = 1.0
    is_discrete: bool = False

    def __post_init__(self) -> None:
        count = len(self.times)
        if count < 2 or {len(self.alphas), len(self.sigmas)} != {count}:
            raise ConfigError(
                f"{count} times, {len(self.alphas)} alphas and {len(self.sigmas)} sigmas do not make levels: "
                "give two or more of each, as many of one as of the others"
            )
        ratios = [_noise_to_signal(a, s) for a, s in zip(self.alphas, self.sigmas, strict=True)]
        for i, (ratio, following) in enumerate(pairwise(ratios)):
            if not (0 <= following < ratio):
                raise ConfigError(
                    f"levels {i} and {i + 1} have sigma/alpha {ratio:g} and {following:g}: noise must fall from "
                    "level to level"
                )

    @property
    def steps(self) -> int:
        """How many steps lead through the levels, S."""
        return len(self.times) - 1

    @property
    def half_log_snr(self) -> tuple[float, ...]:
        """lambda = log(alpha / sigma) of each level; -inf without signal, inf without noise."""
        return tuple(
            -math.log(r) if 0 < r < math.inf else math.copysign(math.inf, 0.5 - r)
            for r in map(_noise_to_signal, self.alphas, self.sigmas)
        )

    def first_state(self, noise: Tensor) -> Tensor:
        """The state at the first level that unit ``noise`` stands for."""
        return noise if self.scale == 1.0 else noise * self.scale

    def time(self, level: int, x: Tensor) -> Tensor:
        """The time of a level as the network hears it, (B,): int64 steps of a schedule, else float32 or better."""
        dtype = torch.long if self.is_discrete else torch.promote_types(x.dtype, torch.float32)
        return torch.full((len(x),), self.times[level], dtype=dtype, device=x.device)

    def begun_at(self, level: int) -> "Levels":
        """The rest of the way from ``level`` on, to be begun from a state there (no longer from unit noise).

        Raises:
            ConfigError: no step is left after ``level``.
        """
        if not 0 <= level < self.steps:
            raise ConfigError(f"level {level} is not among the {self.steps} from which a step leads on")
        return replace(
            self, times=self.times[level:], alphas=self.alphas[level:], sigmas=self.sigmas[level:], scale=1.0
        )


def _noise_to_signal(alpha: float, sigma: float) -> float:
    if not (alpha >= 0 and sigma >= 0 and alpha + sigma > 0):
        raise ConfigError(f"a level of alpha={alpha} and sigma={sigma} is none: both from 0 on, one above 0")
    return sigma / alpha if alpha else math.inf


def levels_of(schedule: Schedule, timesteps: Tensor, *, ends_at_first: bool = False) -> Levels:
    """The levels of a discrete schedule at ``timesteps`` (S,), in either order, and the end of the way.

    The end is a clean sample (alpha 1, sigma 0), or with ``ends_at_first`` the schedule's first level, where the
    published DDIM chain stops and a hundredth of the noise is left.

    Raises:
        ConfigError: a step lies outside the schedule, or comes twice.
    """
    times = torch.sort(timesteps.to(torch.float64), descending=True).values
    alpha, sigma = schedule.at(times)
    end = (float(schedule.alpha[0]), float(schedule.sigma[0])) if ends_at_first else (1.0, 0.0)
    return Levels(
        times=(*times.tolist(), 0.0),
        alphas=(*alpha.tolist(), end[0]),
        sigmas=(*sigma.tolist(), end[1]),
        is_discrete=not timesteps.is_floating_point(),
    )


def karras_sigmas(count: int, lowest: float = 0.002, highest: float = 80.0, curve: float = 7.0) -> Tensor:
    """Noise levels (count + 1,) float64, from ``highest`` down to ``lowest`` and 0.

    sigma_i^(1/curve) falls evenly. Source: Karras et al. 2022, equation 5; the defaults are theirs.

    Raises:
        ConfigError: fewer than two steps, or limits that are not 0 < lowest < highest.
    """
    if count < 2:
        raise ConfigError(f"count={count} must be 2 or more: the first level and the last are given")
    if not 0 < lowest < highest:
        raise ConfigError(f"lowest={lowest} and highest={highest} must be above 0 and in this order")
    evenly = torch.linspace(highest ** (1 / curve), lowest ** (1 / curve), count, dtype=torch.float64)
    return torch.cat([evenly**curve, evenly.new_zeros(1)])


def exploding_levels(sigmas: Tensor) -> Levels:
    """Levels with alpha = 1, ``sigmas`` (S + 1,) falling; the network is told sigma. Karras et al. 2022 (EDM)."""
    values = tuple(float(value) for value in sigmas)
    return Levels(values, (1.0,) * len(values), values, scale=values[0])


def flow_times(count: int, shift: float = 1.0) -> Tensor:
    """Times (count + 1,) float64 from 1 (noise) to 0 (data) for flow matching.

    Evenly spaced for ``shift`` 1; above 1 more of them lie near the noise, as large images need
    (t' = shift t / (1 + (shift - 1) t); Esser et al. 2024, equation 23).

    Raises:
        ConfigError: ``count`` is below 1 or ``shift`` is not above 0.
    """
    if count < 1 or not shift > 0:
        raise ConfigError(f"count={count} must be 1 or more, and shift={shift} above 0")
    t = torch.linspace(1.0, 0.0, count + 1, dtype=torch.float64)
    return shift * t / (1 + (shift - 1) * t)


def flow_levels(times: Tensor) -> Levels:
    """Levels of the straight path x_t = (1 - t) x_0 + t eps at ``times`` (S + 1,) falling; the network is told t."""
    values = tuple(float(value) for value in times)
    return Levels(values, tuple(1 - value for value in values), values)


def exploding_path(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """alpha = 1 and sigma = t, shaped to multiply ``x``."""
    sigma = expanded(t, x)
    return torch.ones_like(sigma), sigma


def flow_path(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """alpha = 1 - t and sigma = t, shaped to multiply ``x``."""
    sigma = expanded(t, x)
    return 1 - sigma, sigma

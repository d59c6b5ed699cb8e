"""How much noise at which step: the schedules of discrete diffusion and everything that follows from them.

At step t of T the state is x_t = alpha_t x_0 + sigma_t eps with alpha_t^2 + sigma_t^2 = 1 (variance preserving) and
alpha_t^2 = abar_t, the product of 1 - beta over the steps up to t (Ho et al. 2020). All of it is computed in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from geoscope.errors import ConfigError

Prediction = Literal["eps", "x0", "v"]

SMALLEST_VARIANCE = 1e-20
PUBLISHED_NAMES = {"linear": "scaled_linear", "sqrt_linear": "linear", "sqrt": "sqrt", "cosine": "cosine"}


def scaled_linear_betas(steps: int, start: float = 1e-4, end: float = 2e-2) -> Tensor:
    """Betas (steps,) whose square roots rise evenly; Stable Diffusion and PreDiff publish this as "linear"."""
    return torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float64) ** 2


def linear_betas(steps: int, start: float = 1e-4, end: float = 2e-2) -> Tensor:
    """Betas (steps,) that rise evenly (Ho et al. 2020); published beside the other as "sqrt_linear"."""
    return torch.linspace(start, end, steps, dtype=torch.float64)


def sqrt_betas(steps: int, start: float = 1e-4, end: float = 2e-2) -> Tensor:
    """Betas (steps,): the square roots of evenly rising numbers. Published as "sqrt"; noisy from the first step."""
    return torch.linspace(start, end, steps, dtype=torch.float64).sqrt()


def cosine_betas(steps: int, offset: float = 8e-3, largest: float = 0.999) -> Tensor:
    """Betas (steps,) of abar(t) = cos^2(pi/2 (t/T + offset) / (1 + offset)), cut at ``largest``.

    Source: Nichol and Dhariwal 2021, equation 17.
    """
    part = torch.arange(steps + 1, dtype=torch.float64) / steps + offset
    alpha_bar = torch.cos(part / (1 + offset) * (math.pi / 2)) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(0.0, largest)


BETAS: dict[str, Callable[..., Tensor]] = {
    "scaled_linear": scaled_linear_betas,
    "linear": linear_betas,
    "sqrt": sqrt_betas,
    "cosine": cosine_betas,
}


@dataclass(frozen=True, eq=False)
class Schedule:
    """A discrete schedule: ``betas`` (T,) float64, and by name what is computed from them, all (T,) float64.

    ``variance_mix`` moves the variance of a reverse step from the posterior's (0) to beta (1); the published option
    is v_posterior.
    """

    betas: Tensor
    variance_mix: float = 0.0

    def __post_init__(self) -> None:
        if self.betas.ndim != 1 or not len(self.betas) or not ((self.betas > 0) & (self.betas <= 1)).all():
            raise ConfigError(
                f"betas of shape {tuple(self.betas.shape)} must be a list of numbers above 0 and at most 1: "
                "take one of geoscope.diffusion.schedules.BETAS"
            )
        if not 0 <= self.variance_mix <= 1:
            raise ConfigError(f"variance_mix={self.variance_mix} must be from 0 (posterior) to 1 (beta)")

    @property
    def steps(self) -> int:
        """How many steps there are, T."""
        return len(self.betas)

    @cached_property
    def alpha_bar(self) -> Tensor:
        """abar_t, the share of the signal in the variance of x_t."""
        return torch.cumprod(1 - self.betas, 0)

    @cached_property
    def alpha_bar_previous(self) -> Tensor:
        """abar of the step before; 1 in front of the first."""
        return torch.cat([self.betas.new_ones(1), self.alpha_bar[:-1]])

    @cached_property
    def alpha(self) -> Tensor:
        """What x_0 is multiplied by, the square root of abar."""
        return self.alpha_bar.sqrt()

    @cached_property
    def sigma(self) -> Tensor:
        """What the noise is multiplied by, the square root of 1 - abar."""
        return (1 - self.alpha_bar).sqrt()

    @cached_property
    def half_log_snr(self) -> Tensor:
        """lambda = log(alpha / sigma), which falls from step to step; -inf where no signal is left."""
        return torch.log(self.alpha) - torch.log(self.sigma)

    @cached_property
    def posterior_variance(self) -> Tensor:
        """Variance of q(x_{t-1} | x_t, x_0), mixed with beta by ``variance_mix``; 0 at t = 0 without mixing."""
        posterior = self.betas * (1 - self.alpha_bar_previous) / (1 - self.alpha_bar)
        return (1 - self.variance_mix) * posterior + self.variance_mix * self.betas

    @cached_property
    def posterior_log_variance(self) -> Tensor:
        """Logarithm of `posterior_variance`, cut at log(1e-20) because the first step has none."""
        return self.posterior_variance.clamp(min=SMALLEST_VARIANCE).log()

    @cached_property
    def posterior_weight_clean(self) -> Tensor:
        """What x_0 is multiplied by in the mean of q(x_{t-1} | x_t, x_0)."""
        return self.betas * self.alpha_bar_previous.sqrt() / (1 - self.alpha_bar)

    @cached_property
    def posterior_weight_noisy(self) -> Tensor:
        """What x_t is multiplied by in that mean."""
        return (1 - self.alpha_bar_previous) * (1 - self.betas).sqrt() / (1 - self.alpha_bar)

    def elbo_weights(self, prediction: Prediction = "eps") -> Tensor:
        """Weights (T,) that turn the squared error of a prediction into a term of the variational bound.

        As published: with "eps" beta^2 / (2 v_t (1 - beta) (1 - abar)) where v_t is the variance of the reverse step,
        the first step taking the second's; with "x0" the published sqrt(abar) / (2 (2 - abar)), which is not the
        bound's own (its denominator reads 2 * 1 - abar) and is kept because checkpoints were trained with it.

        Raises:
            ConfigError: the prediction is "v", for which nothing was published.
        """
        if prediction == "eps":
            # The first posterior variance is 0; its weight is replaced below.
            variance = self.posterior_variance.clamp(min=SMALLEST_VARIANCE)
            weights = self.betas**2 / (2 * variance * (1 - self.betas) * (1 - self.alpha_bar))
        elif prediction == "x0":
            weights = self.alpha / (2 * (2 - self.alpha_bar))
        else:
            raise ConfigError(f"weights of the bound are published for 'eps' and 'x0', not {prediction!r}")
        return torch.cat([weights[1:2], weights[1:]]) if self.steps > 1 else weights

    def at(self, t: Tensor, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """alpha and sigma at the steps ``t`` (B,), whole or between two, as (B, 1, 1, ...) to multiply ``like``.

        Between two steps lambda is interpolated, so that alpha^2 + sigma^2 stays 1. The result has dtype and device
        of ``like``, and shape (B,) in float64 without it.

        Raises:
            ConfigError: a step is below 0 or above T - 1.
        """
        where = t.detach().to("cpu", torch.float64)
        if where.numel() and not ((where >= 0) & (where <= self.steps - 1)).all():
            raise ConfigError(
                f"steps from {float(where.min()):g} to {float(where.max()):g} are not all within 0 and "
                f"{self.steps - 1}, the last of this schedule"
            )
        below = where.floor().long()
        above = where.ceil().long()
        share = where - below
        between = torch.lerp(self.half_log_snr[below], self.half_log_snr[above], share)
        is_whole = share == 0
        alpha = torch.where(is_whole, self.alpha[below], torch.sigmoid(2 * between).sqrt())
        sigma = torch.where(is_whole, self.sigma[below], torch.sigmoid(-2 * between).sqrt())
        return (alpha, sigma) if like is None else (expanded(alpha, like), expanded(sigma, like))


def expanded(values: Tensor, like: Tensor) -> Tensor:
    """(B,) numbers as (B, 1, 1, ...) with the dtype and device of ``like`` (B, ...)."""
    return values.to(like.device, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def make_schedule(
    name: str = "scaled_linear", steps: int = 1000, *, variance_mix: float = 0.0, **options: float
) -> Schedule:
    """A schedule by our name: "scaled_linear", "linear", "sqrt" (options start, end) or "cosine" (offset, largest).

    Raises:
        ConfigError: the name is not known, ``steps`` is below 1 or an option does not belong to it.
    """
    if name not in BETAS:
        raise ConfigError(f"schedule {name!r} is not known: choose one of {', '.join(BETAS)}")
    if steps < 1:
        raise ConfigError(f"steps={steps} must be 1 or more: a schedule has at least one step")
    known = {"offset", "largest"} if name == "cosine" else {"start", "end"}
    if unknown := sorted(set(options) - known):
        raise ConfigError(
            f"schedule {name!r} has no option {unknown[0]!r}: it takes {', '.join(sorted(known))}"
        )
    return Schedule(BETAS[name](steps, **options), variance_mix)


def published_schedule(
    name: str = "linear",
    steps: int = 1000,
    *,
    start: float = 1e-4,
    end: float = 2e-2,
    cosine_offset: float = 8e-3,
    variance_mix: float = 0.0,
) -> Schedule:
    """A schedule by the name that PreDiff's settings give it: there "linear" is the scaled one.

    Raises:
        ConfigError: the name is not one of the published four.
    """
    if name not in PUBLISHED_NAMES:
        raise ConfigError(
            f"beta_schedule {name!r} is not published: choose one of {', '.join(PUBLISHED_NAMES)}"
        )
    ours = PUBLISHED_NAMES[name]
    options = {"offset": cosine_offset} if ours == "cosine" else {"start": start, "end": end}
    return make_schedule(ours, steps, variance_mix=variance_mix, **options)


def with_zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule stretched so that its last step holds no signal at all; its first step stays as it was.

    Without it a sampler starts from pure noise where training never saw it, and large-scale means come out wrong.
    The last state says nothing about x_0, so a network must predict v or x0 there, not eps.
    Source: Lin et al. 2023 (Common diffusion noise schedules and sample steps are flawed), algorithm 1.

    Raises:
        ConfigError: the schedule has a single step.
    """
    if schedule.steps < 2:
        raise ConfigError("a schedule of 1 step cannot be stretched: its first and last step are the same")
    alpha = schedule.alpha
    stretched = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
    alpha_bar = stretched**2
    previous = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return Schedule(1 - alpha_bar / previous, schedule.variance_mix)

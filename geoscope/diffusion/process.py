"""Forward noising, its reverse step, and the four things a network may be asked to predict.

x_t = alpha_t x_0 + sigma_t eps. A network predicts x_0 itself, the noise eps, v = alpha eps - sigma x_0 (Salimans and
Ho 2022), or on a straight path the velocity eps - x_0 (Lipman et al. 2023; Liu et al. 2023). Samplers want x_0: it
is the one of them that is determined at every level.
"""

from typing import Literal

import torch
from torch import Tensor

from geoscope.diffusion.levels import Denoise, Path
from geoscope.diffusion.schedules import Schedule, expanded
from geoscope.errors import ConfigError

Target = Literal["eps", "x0", "v", "velocity"]


def noised(clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """alpha x_0 + sigma eps."""
    return alpha * clean + sigma * noise


def q_sample(schedule: Schedule, clean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """A sample of q(x_t | x_0): ``clean`` (B, ...) with the ``noise`` of the steps ``t`` (B,)."""
    return noised(clean, noise, *schedule.at(t, clean))


def posterior(schedule: Schedule, clean: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (B, ...), variance and clipped log variance (B, 1, ...) of q(x_{t-1} | x_t, x_0) at whole steps ``t``.

    Source: Ho et al. 2020, equations 6 and 7.
    """
    where = t.to("cpu", torch.long)
    mean = expanded(schedule.posterior_weight_clean[where], x) * clean
    mean = mean + expanded(schedule.posterior_weight_noisy[where], x) * x
    variance = expanded(schedule.posterior_variance[where], x)
    return mean, variance, expanded(schedule.posterior_log_variance[where], x)


def clean_from(kind: Target, predicted: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The x_0 that a prediction of ``kind`` at the state ``x`` stands for.

    "eps" needs alpha above 0. "v" supposes alpha^2 + sigma^2 = 1, "velocity" alpha + sigma = 1.

    Raises:
        ConfigError: the kind is not known.
    """
    if kind == "x0":
        return predicted
    if kind == "eps":
        return x / alpha - (sigma / alpha) * predicted
    if kind == "v":
        return alpha * x - sigma * predicted
    if kind == "velocity":
        return x - sigma * predicted
    raise ConfigError(f"prediction {kind!r} is not known: choose 'eps', 'x0', 'v' or 'velocity'")


def noise_from(kind: Target, predicted: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise eps that a prediction of ``kind`` at the state ``x`` stands for; "x0" needs sigma above 0.

    Raises:
        ConfigError: the kind is not known.
    """
    if kind == "eps":
        return predicted
    if kind == "v":
        return sigma * x + alpha * predicted
    if kind == "velocity":
        return x + alpha * predicted
    return (x - alpha * clean_from(kind, predicted, x, alpha, sigma)) / sigma


def target_of(kind: Target, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What a network that predicts ``kind`` should have said for this x_0 and eps.

    Raises:
        ConfigError: the kind is not known.
    """
    if kind == "x0":
        return clean
    if kind == "eps":
        return noise
    if kind == "v":
        return alpha * noise - sigma * clean
    if kind == "velocity":
        return noise - clean
    raise ConfigError(f"prediction {kind!r} is not known: choose 'eps', 'x0', 'v' or 'velocity'")


def as_denoise(network: Denoise, path: Path, kind: Target) -> Denoise:
    """The estimate of x_0 behind ``network(x, t)``, which predicts ``kind``; ``path`` is `Schedule.at` or the like."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return clean_from(kind, network(x, t), x, *path(t, x))

    return denoise


def preconditioned(network: Denoise, data_deviation: float = 0.5) -> Denoise:
    """The estimate of x_0 behind a network as Karras et al. train it, for levels with alpha = 1 and t = sigma.

    x_0 = c_skip x + c_out network(c_in x, log(sigma) / 4), with the three factors that keep what goes in and what is
    asked for at unit variance when the data have ``data_deviation``. Source: Karras et al. 2022, table 1.
    """

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        sigma = expanded(t, x)
        total = sigma**2 + data_deviation**2
        answer = network(x / total.sqrt(), t.log() / 4)
        return (data_deviation**2 / total) * x + (sigma * data_deviation / total.sqrt()) * answer

    return denoise


def clamped(denoise: Denoise, lowest: float, highest: float) -> Denoise:
    """``denoise`` with its estimate of x_0 kept within limits; the published clip_denoised is -1 and 1."""
    return lambda x, t: denoise(x, t).clamp(lowest, highest)

"""What a denoiser is trained on: the published loss with its two weightings, and the weights of min-SNR."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geoscope.diffusion.process import Target, noised, target_of
from geoscope.diffusion.schedules import Prediction, Schedule
from geoscope.errors import ConfigError

Kind = Literal["l1", "l2"]


@dataclass(frozen=True, eq=False)
class PublishedLoss:
    """The published loss and its parts, scalars: what to minimise, the plain error, its weighted form, the bound."""

    total: Tensor
    simple: Tensor
    weighted: Tensor
    bound: Tensor


def error_of_each(predicted: Tensor, target: Tensor, kind: Kind = "l2") -> Tensor:
    """Mean square ("l2") or absolute ("l1") error of each sample, (B,), from two (B, ...).

    Raises:
        ConfigError: the kind is not known.
    """
    if kind == "l2":
        error = (predicted - target) ** 2
    elif kind == "l1":
        error = (predicted - target).abs()
    else:
        raise ConfigError(f"loss {kind!r} is not known: choose 'l1' or 'l2'")
    return error.flatten(1).mean(1)


def published_loss(
    predicted: Tensor,
    target: Tensor,
    t: Tensor,
    schedule: Schedule,
    *,
    log_variance: Tensor | None = None,
    weights: Tensor | None = None,
    kind: Kind = "l2",
    prediction: Prediction = "eps",
    simple_weight: float = 1.0,
    elbo_weight: float = 0.0,
) -> PublishedLoss:
    """PreDiff's training loss for a prediction and its target, both (B, ...), at the steps ``t`` (B,).

    Per sample e / exp(s_t) + s_t with e the mean error and s_t = ``log_variance``[t], a parameter (T,) that is learned
    with the network (absent: 0); plus ``elbo_weight`` times the mean of e weighted by `Schedule.elbo_weights`. Not
    published: ``weights`` (B,), such as those of `min_snr_weights`, multiply e in the first term.

    Raises:
        ConfigError: the kind is not known, or a bound is asked for a prediction without published weights.
    """
    error = error_of_each(predicted, target, kind)
    spread = torch.zeros_like(error) if log_variance is None else log_variance[t]
    shares = torch.ones_like(error) if weights is None else weights.to(error.device, error.dtype)
    weighted = (shares * error / spread.exp() + spread).mean()
    bound = error.new_zeros(())
    if prediction != "v":
        of_the_bound = schedule.elbo_weights(prediction)[t.to("cpu", torch.long)]
        bound = (of_the_bound.to(error.device, error.dtype) * error).mean()
    elif elbo_weight:
        raise ConfigError("elbo_weight is published for 'eps' and 'x0', not 'v': leave it 0")
    total = simple_weight * weighted + elbo_weight * bound
    return PublishedLoss(total, error.mean(), weighted, bound)


def min_snr_weights(schedule: Schedule, t: Tensor, kind: Prediction = "eps", limit: float = 5.0) -> Tensor:
    """Weights (B,) in float64 on the error of each sample at ``t`` (B,), by the min-SNR-gamma strategy.

    min(SNR, limit) on the error in x_0, written for the error in what is predicted: divided by SNR for "eps", by
    SNR + 1 for "v". Steps with little noise no longer outweigh the rest. Source: Hang et al. 2023, section 3.4.

    Raises:
        ConfigError: the kind is not known or ``limit`` is not above 0.
    """
    if not limit > 0:
        raise ConfigError(f"limit={limit} must be above 0 (the paper takes 5)")
    alpha, sigma = schedule.at(t)
    signal, noise = alpha**2, sigma**2
    kept = torch.minimum(signal, limit * noise)  # min(SNR, limit) * sigma^2, finite where SNR is not
    if kind == "x0":
        return kept / noise
    if kind == "eps":  # without signal the ratio tends to 1
        return torch.where(signal > 0, kept / signal.clamp(min=1e-300), 1.0)
    if kind == "v":
        return kept / (signal + noise)
    raise ConfigError(f"prediction {kind!r} is not known: choose 'eps', 'x0' or 'v'")


def denoising_batch(
    schedule: Schedule, clean: Tensor, t: Tensor, noise: Tensor, kind: Target = "eps"
) -> tuple[Tensor, Tensor]:
    """The noisy state and the target of a network that predicts ``kind``: two tensors like ``clean`` (B, ...)."""
    alpha, sigma = schedule.at(t, clean)
    return noised(clean, noise, alpha, sigma), target_of(kind, clean, noise, alpha, sigma)

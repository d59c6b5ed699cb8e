"""Data whose diffusion is known in closed form: Gaussian data in any number of values, and a mixture in one."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geoscope.diffusion.levels import Levels
from geoscope.diffusion.schedules import expanded


def lambda_path(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A path whose time is lambda = log(alpha / sigma) itself, with alpha^2 + sigma^2 = 1."""
    half_log_snr = expanded(t, x)
    return torch.sigmoid(2 * half_log_snr).sqrt(), torch.sigmoid(-2 * half_log_snr).sqrt()


def lambda_levels(count: int, start: float = -3.0, end: float = 3.0) -> Levels:
    times = torch.linspace(start, end, count + 1, dtype=torch.float64)
    alphas, sigmas = lambda_path(times, times)
    return Levels(tuple(times.tolist()), tuple(alphas.tolist()), tuple(sigmas.tolist()))


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Data N(mean, covariance) of D values: the exact denoiser, and the exact end of the probability-flow ODE."""

    mean: Tensor
    covariance: Tensor

    def denoise(self, path):
        def exact(x, t):
            alpha, sigma = path(t, x)
            spread = (alpha**2)[..., None] * self.covariance + (sigma**2)[..., None] * torch.eye(
                len(self.mean)
            )
            pull = torch.linalg.solve(spread.to(x.dtype), (x - alpha * self.mean)[..., None])[..., 0]
            return self.mean + alpha * (pull @ self.covariance)

        return exact

    def end(self, start: Tensor, levels: Levels) -> Tensor:
        """Where the ODE leads ``start`` (B, D): each principal axis keeps its distance in standard deviations."""
        values, axes = torch.linalg.eigh(self.covariance)

        def spread(level):
            return (levels.alphas[level] ** 2 * values + levels.sigmas[level] ** 2).sqrt()

        along = (start - levels.alphas[0] * self.mean) @ axes
        return levels.alphas[-1] * self.mean + (along / spread(0) * spread(-1)) @ axes.mT


@dataclass(frozen=True, eq=False)
class Mixture:
    """One value drawn from Gaussians: the exact denoiser, and the ODE's end from the distribution function it keeps."""

    weights: Tensor
    means: Tensor
    deviations: Tensor

    def denoise(self, path):
        def exact(x, t):
            alpha, sigma = path(t, x)
            spread = alpha**2 * self.deviations**2 + sigma**2
            each = self.means + alpha * self.deviations**2 / spread * (x - alpha * self.means)
            share = self.weights.log() - spread.log() / 2 - (x - alpha * self.means) ** 2 / (2 * spread)
            return (torch.softmax(share, -1) * each).sum(-1, keepdim=True)

        return exact

    def below(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        spread = (alpha**2 * self.deviations**2 + sigma**2).sqrt()
        return (self.weights * torch.special.ndtr((x - alpha * self.means) / spread)).sum(-1, keepdim=True)

    def end(self, start: Tensor, levels: Levels) -> Tensor:
        wanted = self.below(start, levels.alphas[0], levels.sigmas[0])
        low, high = torch.full_like(start, -20.0), torch.full_like(start, 20.0)
        for _ in range(80):
            middle = (low + high) / 2
            is_low = self.below(middle, levels.alphas[-1], levels.sigmas[-1]) < wanted
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        return (low + high) / 2


GAUSSIAN = Gaussian(
    torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64),
    torch.tensor([[1.0, 0.5, 0.1], [0.5, 0.6, 0.0], [0.1, 0.0, 0.2]], dtype=torch.float64),
)
MIXTURE = Mixture(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([-1.0, 0.8], dtype=torch.float64),
    torch.tensor([0.4, 0.6], dtype=torch.float64),
)


def exact_moments(draw, steps: int, width: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what a sampler draws, without drawing, where its result is affine in all its noise.

    ``draw(first, step_noise)`` is run once on a batch in which the first sample has no noise at all and each other
    one a single unit of noise: in one value, at the start or in one step.
    """
    count = 1 + (steps + 1) * width
    units = torch.eye(count, dtype=torch.float64)[:, 1:].reshape(count, steps + 1, width)
    ends = draw(units[:, 0], lambda step: units[:, step + 1])
    along = ends[1:] - ends[0]
    return ends[0], along.T @ along


def observed_order(errors: list[float]) -> float:
    """The order of convergence between the last two of errors at numbers of steps that double."""
    return math.log2(errors[-2] / errors[-1])

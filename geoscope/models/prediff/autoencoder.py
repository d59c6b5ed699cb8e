"""The autoencoder of single frames whose latents PreDiff diffuses.

Source: Gao et al. 2023 (PreDiff), section 3.1; Rombach et al. 2022. Shape letters: N frames, C channels, H rows,
W columns; f is the config's ``factor``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError, ShapeError
from geoscope.models.prediff.autoencoder_layers import FrameDecoder, FrameEncoder
from geoscope.models.prediff.config import AutoencoderConfig

LOG_VARIANCE_BOUNDS = (-30.0, 20.0)


@dataclass(frozen=True)
class GaussianPosterior:
    """Independent Gaussians over a latent: ``mean`` and ``logvar`` are (N, C, H, W).

    Sums over a latent, `kl` and `nll`, are (N,) in nats.
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def of(cls, moments: Tensor) -> "GaussianPosterior":
        """From means and log variances, one after the other along the channels; the latter are clamped."""
        mean, logvar = moments.chunk(2, dim=1)
        return cls(mean, logvar.clamp(*LOG_VARIANCE_BOUNDS))

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation."""
        return torch.exp(0.5 * self.logvar)

    @cached_property
    def var(self) -> Tensor:
        """Variance."""
        return torch.exp(self.logvar)

    def mode(self) -> Tensor:
        """The likeliest latent, which is the mean."""
        return self.mean

    def sample(self, noise: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        """mean + std * noise, with standard normal ``noise`` given or drawn from ``generator``."""
        if noise is None:
            noise = torch.randn(
                self.mean.shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device
            )
        elif noise.shape != self.mean.shape:
            raise ShapeError(
                f"noise has shape {tuple(noise.shape)} and the posterior {tuple(self.mean.shape)}: must agree"
            )
        return self.mean + self.std * noise

    def kl(self) -> Tensor:
        """Divergence from the standard normal, (N,)."""
        return 0.5 * (self.mean**2 + self.var - 1.0 - self.logvar).sum((1, 2, 3))

    def nll(self, z: Tensor) -> Tensor:
        """Negative log likelihood of a latent ``z`` (N, C, H, W), (N,)."""
        return 0.5 * (math.log(2 * math.pi) + self.logvar + (z - self.mean) ** 2 / self.var).sum((1, 2, 3))


class FrameAutoencoder(nn.Module):
    """Frames (N, C, H, W) -> latents (N, L, H/f, W/f) and back; forward gives what comes back from the mode.

    Rows and columns that are no multiple of f lose the rest: the latent has H // f rows.
    """

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        config = config or AutoencoderConfig()
        self.config = config
        latent = config.latent_channels
        shared = (config.widths, config.blocks, config.groups)
        self.encoder = FrameEncoder(config.channels, 2 * latent, *shared)
        self.to_moments = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.from_latent = nn.Conv2d(latent, latent, 1)
        self.decoder = FrameDecoder(latent, config.out_channels, *shared)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mode())

    def encode(self, x: Tensor, *, frames_at_once: int | None = None) -> GaussianPosterior:
        """The posterior of the latents of ``x`` (N, C, H, W).

        frames_at_once: bounds memory; by default all frames go through together.
        """
        self._check(x, self.config.channels, self.config.factor, "frames")
        return GaussianPosterior.of(_in_parts(self._moments, x, frames_at_once))

    def decode(self, z: Tensor, *, frames_at_once: int | None = None) -> Tensor:
        """The frames (N, C, f*h, f*w) of latents ``z`` (N, L, h, w); nothing is clamped.

        frames_at_once: bounds memory; by default all frames go through together.
        """
        self._check(z, self.config.latent_channels, 1, "latents")
        return _in_parts(self._frames, z, frames_at_once)

    def _moments(self, x: Tensor) -> Tensor:
        return self.to_moments(self.encoder(x))

    def _frames(self, z: Tensor) -> Tensor:
        return self.decoder(self.from_latent(z))

    @staticmethod
    def _check(x: Tensor, channels: int, least: int, what: str) -> None:
        if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < least:
            raise ShapeError(
                f"{what} have shape {tuple(x.shape)}: expected (N, {channels}, H, W) with H and W of at least {least}"
            )


def _in_parts(step: Callable[[Tensor], Tensor], x: Tensor, count: int | None) -> Tensor:
    """``step`` over all of ``x``, ``count`` entries at a time."""
    if count is not None and count < 1:
        raise ConfigError(f"frames_at_once={count}: give at least 1, or None for all")
    x = x.contiguous()  # a group norm's backward on a CPU needs its input in this order
    if count is None or count >= len(x):
        return step(x)
    return torch.cat([step(part) for part in x.split(count)])

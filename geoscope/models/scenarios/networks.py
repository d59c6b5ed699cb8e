"""The networks of the scenario model: scores to latents and back, the denoiser, and what a region's rain will be.

Shape letters: B members, S steps, H rows and W columns of pixels, h and w of cells, C channels of a latent. Conditions
(B, 1 + S, h, w, F) come from `geoscope.models.scenarios.conditions`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.diffusion.schedules import Schedule, make_schedule
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.config import DenoiserConfig
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.models.scenarios.config import ScenarioConfig
from geoscope.models.scenarios.outlook import Outlook, transformed
from geoscope.models.scenarios.texture import SCALES_PX

LOG_SPREADS = (-3.0, 1.0)  # of what the autoencoder leaves out
QUANTILES = 11  # at which drawn scores are compared with the truth's
LARGEST_FACTOR = 4.0  # of the alignment's logarithm of true over expected rain


class ScoreAutoencoder(nn.Module):
    """Score fields (N, H, W) -> latents (N, h, w, C) of about unit variance -> mean and spread of the scores.

    The spread is that of what has no room in a latent, pixel by pixel.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, config: ScenarioConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.frames = FrameAutoencoder(config.autoencoder)
        self.register_buffer("centre", torch.zeros(config.latent_channels))
        self.register_buffer("scale", torch.ones(config.latent_channels))

    def encode(self, scores: Tensor) -> Tensor:
        """The posterior's mean; ``scores`` without NaN, H and W multiples of the cell."""
        mean = self.frames.encode(F.pixel_unshuffle(scores[:, None], self.patch)).mean
        return (mean.movedim(1, -1).float() - self.centre) / self.scale

    def decode(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of the scores, each (N, H, W)."""
        z = (latents * self.scale + self.centre).movedim(-1, 1)
        return self.spread_out(self.frames.decode(z))

    def spread_out(self, answer: Tensor) -> tuple[Tensor, Tensor]:
        """The autoencoder's answer (N, 2 patch^2, H / patch, W / patch) as mean and spread, each (N, H, W)."""
        mean, log_spread = F.pixel_shuffle(answer.float(), self.patch).unbind(1)
        return mean, torch.exp(log_spread.clamp(*LOG_SPREADS))


class ConditionedNetwork(nn.Module):
    """A `LatentDenoiser` that reads features beside the latents; of its answer the first ``channels`` are kept."""

    def __init__(self, config: DenoiserConfig, latent_channels: int, channels: int) -> None:
        super().__init__()
        self.latent_channels, self.channels = latent_channels, channels
        self.inner = LatentDenoiser(config)

    def forward(self, x: Tensor, t: Tensor, conditions: Tensor) -> Tensor:
        """``x`` (B, S, h, w, C) at the diffusion times ``t`` (B,) -> (B, S, h, w, channels)."""
        conditions = conditions.to(x.dtype).expand(len(x), -1, -1, -1, -1)
        now, ahead = conditions[:, :1], conditions[:, 1:]
        blank = now.new_zeros(*now.shape[:-1], self.latent_channels)
        answer = self.inner(torch.cat((x, ahead), dim=-1), t, torch.cat((blank, now), dim=-1))
        return answer[..., : self.channels]


class ScenarioModel(nn.Module):
    """All of it: autoencoder, denoiser (predicts v), alignment, outlook, and the variances of the texture."""

    texture: Tensor
    seen_sigmas: Tensor
    drawn_quantiles: Tensor
    seen_quantiles: Tensor

    def __init__(self, config: ScenarioConfig) -> None:
        super().__init__()
        self.config = config
        latent = config.latent_channels
        self.autoencoder = ScoreAutoencoder(config)
        self.denoiser = ConditionedNetwork(config.denoiser, latent, latent)
        self.alignment = ConditionedNetwork(config.alignment, latent, 1)
        self.outlook = Outlook()
        # between which all but a thousandth of the standardised truths of left-out sources lay
        self.register_buffer("seen_sigmas", torch.tensor([-4.0, 4.0]))
        # of the scores that members draw, and of those of the truth, where rain is likely: see `rescored`
        self.register_buffer("drawn_quantiles", torch.linspace(-3.0, 3.0, QUANTILES))
        self.register_buffer("seen_quantiles", torch.linspace(-3.0, 3.0, QUANTILES))
        self.register_buffer("texture", torch.full((len(SCALES_PX),), 1.0 / len(SCALES_PX)))

    @property
    def schedule(self) -> Schedule:
        """The schedule of the diffusion."""
        return make_schedule(self.config.schedule, self.config.schedule_steps)

    def rescored(self, scores: Tensor) -> Tensor:
        """Drawn ``scores`` with the distribution of the truth's: piecewise linear between quantiles, rising.

        A network that is trained for little time draws tails that are too heavy, and a score far out is a downpour.
        """
        places = torch.searchsorted(self.drawn_quantiles, scores.contiguous()).clamp(1, QUANTILES - 1)
        low, high = self.drawn_quantiles[places - 1], self.drawn_quantiles[places]
        share = (scores - low) / (high - low).clamp(min=1e-6)
        return torch.lerp(self.seen_quantiles[places - 1], self.seen_quantiles[places], share)

    def aligned_mean(
        self, x: Tensor, t: Tensor, conditions: Tensor, expected: Tensor, weights: Tensor
    ) -> Tensor:
        """What the alignment network makes of noisy latents: the transformed mean rain of a region, (B,).

        ``expected`` (S, h, w) is the nowcaster's mean rain in mm/h, ``weights`` (B or 1, S, h, w) those of the
        region's cells.
        """
        log_factor = self.alignment(x, t, conditions)[..., 0].float()
        rain = expected * torch.exp(log_factor.clamp(-LARGEST_FACTOR, LARGEST_FACTOR))
        weights = weights.expand_as(rain)
        return transformed((rain * weights).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3)).clamp(min=1e-6))

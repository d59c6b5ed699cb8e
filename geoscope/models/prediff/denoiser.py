"""The denoiser of latent sequences, Earthformer-UNet: cuboid attention on a way down and a way up.

Source: Gao et al. 2023 (PreDiff), section 3.2 and figure 2, and the facts about its published code. Shape letters:
B batch, T steps of the context, T' of the targets, H rows, W columns, C channels of a latent.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geoscope.errors import ShapeError
from geoscope.models.prediff.config import DenoiserConfig
from geoscope.models.prediff.layers import LatentBody, Levels, check_latents, check_times
from geoscope.nn.initialisation import init_linear
from geoscope.nn.resampling import Upsample


class TimeFeatures(NamedTuple):
    """What one diffusion time says to each level, on the way down and on the way up; (B, ...) or (1, ...) each."""

    down: list[Tensor]
    up: list[Tensor]


class LatentDenoiser(nn.Module):
    """Noisy targets (B, T', H, W, C) at diffusion time t (B,), beside the context (B, T, H, W, C) -> (B, T', H, W, C).

    What comes out is what the model was trained for: the noise, the clean latents or the velocity. Untrained it is
    zero. H and W are those of the config, unless its positions are "t".
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        levels, vectors = config.levels, config.vectors
        self.body = LatentBody(config, config.channels + 1)
        self.levels = Levels(config, "up")
        pairs = list(pairwise(levels))
        self.upsamples = nn.ModuleList(
            Upsample(coarse.width, fine.width, kernel=config.upsample_kernel) for fine, coarse in pairs
        )
        self.global_upsamples = nn.ModuleList(
            init_linear(
                nn.Linear(vectors.ratio * coarse.width, vectors.ratio * fine.width), config.resampling_init
            )
            for fine, coarse in pairs
            if vectors is not None
        )
        self.output = nn.Linear(config.base_width, config.channels)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, *, features: TimeFeatures | None = None) -> Tensor:
        """``features``: those of ``t``, where they were worked out before (`time_features`); ``t`` is not read then."""
        self._check(x, t, cond)
        down, up = features or self.time_features(t)
        ends, g = self.body(self._volume(x, cond), down)
        y = ends.pop()
        for i in reversed(range(len(up))):
            if i < len(up) - 1 and self.config.skips:
                y = y + ends[i]
            y, g = self.levels.run(i, y, g, up[i], last_use=i == 0)
            if i:
                rows, columns = ends[i - 1].shape[2:4]
                y = self.upsamples[i - 1](y, (rows, columns))
                g = None if g is None else self.global_upsamples[i - 1](g)
        return self.output(y[:, cond.shape[1] :])

    def time_features(self, t: Tensor) -> TimeFeatures:
        """What diffusion time ``t`` (B,) or (1,) says to each level; it does not depend on the latents."""
        embedding = self.body.time(t)
        return TimeFeatures(self.body.levels.told(embedding), self.levels.told(embedding))

    @staticmethod
    def _volume(x: Tensor, cond: Tensor) -> Tensor:
        """Context and targets one after the other in time, and a channel that is 1 on the context."""
        frames = torch.cat([cond, x], dim=1)
        is_context = torch.cat([torch.ones_like(cond[..., :1]), torch.zeros_like(x[..., :1])], dim=1)
        return torch.cat([frames, is_context], dim=-1)

    def _check(self, x: Tensor, t: Tensor, cond: Tensor) -> None:
        free = self.config.positions == "t"
        check_latents(x, self.config.target_shape, "the noisy targets", any_grid=free)
        check_latents(cond, self.config.input_shape, "the context", any_grid=free)
        if (x.shape[0], *x.shape[2:4]) != (cond.shape[0], *cond.shape[2:4]):
            raise ShapeError(
                f"the targets {tuple(x.shape)} and the context {tuple(cond.shape)} differ in batch, rows or columns"
            )
        check_times(t, x.shape[0])

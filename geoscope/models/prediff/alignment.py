"""The alignment network: what a clean future will have, said of its noisy latents.

Its gradient steers sampling towards futures with a wanted mean or energy. Source: Gao et al. 2023 (PreDiff), section
3.3, and the facts about its published code. Shape letters: B batch, T time, H rows, W columns, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.models.prediff.config import AlignmentConfig
from geoscope.models.prediff.layers import LatentBody, check_latents, check_times, latent_norm
from geoscope.nn.cuboid_self_attention import split_heads
from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention


class AttentionPool(nn.Module):
    """(B, C, L) -> (B, out): the mean of L tokens looks at them and at itself, with learned positions."""

    def __init__(self, width: int, tokens: int, out: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(torch.randn(width, tokens + 1) / width**0.5)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.projection = nn.Conv1d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([x.mean(-1, keepdim=True), x], dim=-1) + self.positions
        volume = self.qkv(tokens).mT[:, None, None]  # (B, 1, 1, 1 + L, 3C)
        query, key, value = (split_heads(y, self.heads) for y in volume.chunk(3, dim=-1))
        out = cuboid_attention(
            query[:, :, :, :1],
            key,
            value,
            Cuboids(size=(1, 1, 1)),
            key_cuboids=Cuboids(size=(1, 1, key.shape[3])),
            label="pool",
        )
        return self.projection(out[:, 0, 0].flatten(-2).mT)[..., 0]


class AlignmentNetwork(nn.Module):
    """Noisy latents (B, T, H, W, C) at diffusion time t (B,) -> (B, T', out), or (B, out) over the whole volume.

    T' is T, or the config's ``last_frames``. Global vectors are pooled beside the tokens.
    """

    def __init__(self, config: AlignmentConfig) -> None:
        super().__init__()
        self.config = config
        deepest = config.levels[-1]
        steps, rows, columns = deepest.shape
        tokens = rows * columns * (1 if config.readout == "frames" else steps) + config.global_vectors
        self.body = LatentBody(config, config.channels)
        self.norm = latent_norm(deepest.width, config.norm_groups)
        self.pool = AttentionPool(deepest.width, tokens, config.out_channels, config.heads)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        check_latents(z, self.config.shape, "the noisy latents")
        check_times(t, z.shape[0])
        ends, g = self.body(z, self.body.levels.told(self.body.time(t)), last_use=False)
        deepest = ends[-1]
        if self.config.readout == "volume":
            return self._read(deepest.flatten(1, 3), g)
        deepest = deepest[:, -(self.config.last_frames or deepest.shape[1]) :]
        batch, steps = deepest.shape[:2]
        if g is not None:
            # The published code pairs frames with the vectors of other samples where there are several.
            g = g.repeat(steps, 1, 1) if self.config.match_published else g.repeat_interleave(steps, 0)
        return self._read(deepest.flatten(0, 1).flatten(1, 2), g).unflatten(0, (batch, steps))

    def _read(self, tokens: Tensor, g: Tensor | None) -> Tensor:
        """(N, L, C) and global vectors (N, K, C) -> (N, out)."""
        tokens = tokens if g is None else torch.cat([tokens, g], dim=1)
        return self.pool(F.silu(self.norm(tokens.mT.contiguous())))

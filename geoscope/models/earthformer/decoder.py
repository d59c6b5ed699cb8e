"""The decoder: from the coarsest level down, self-attention, a look at the level's memory, upsampling."""

from itertools import pairwise

from torch import Tensor, nn

from geoscope.models.earthformer.config import EarthformerConfig
from geoscope.nn.cuboid_blocks import CrossAttentionBlock, SelfAttentionBlock
from geoscope.nn.resampling import Upsample


class Decoder(nn.Module):
    """The initial state (B, T', h, w, C_top) and the memories -> (B, T', H, W, C) of the first level.

    On the coarsest level the first self-attention is left out unless the config asks for it: there is
    nothing yet to attend to.
    """

    def __init__(self, config: EarthformerConfig) -> None:
        super().__init__()
        levels, top = config.levels, len(config.levels) - 1
        shared = config.global_vectors
        self_vectors = shared.layer if shared.count and shared.decoder_self else None
        cross_vectors = shared.layer if shared.count and shared.decoder_cross else None
        feed_forward = config.feed_forward(after_each=config.decoder_feed_forward_after_each)
        longest = config.body_shape[0] + config.target_shape[0]
        self.skips_first = not config.first_self_attention
        self.updates_vectors = shared.decoder_update
        self.cross_start = config.cross_start
        self.self_levels = nn.ModuleList(
            nn.ModuleList(
                SelfAttentionBlock(
                    level.width,
                    level.decoder,
                    config.attention,
                    feed_forward,
                    self_vectors,
                    label=f"decoder.self_levels.{i}.{j}",
                )
                for j in range(config.decoder_depth[i] - (i == top and self.skips_first))
            )
            for i, level in enumerate(levels)
        )
        self.cross_levels = nn.ModuleList(
            nn.ModuleList(
                CrossAttentionBlock(
                    level.width,
                    level.cross,
                    longest,
                    config.attention,
                    feed_forward,
                    global_vectors=cross_vectors,
                    last_frames=config.cross_last_frames,
                    label=f"decoder.cross_levels.{i}.{j}",
                )
                for j in range(config.decoder_depth[i] if i >= config.cross_start else 0)
            )
            for i, level in enumerate(levels)
        )
        self.upsamples = nn.ModuleList(
            Upsample(coarse.width, fine.width, kernel=config.upsample_kernel)
            for fine, coarse in pairwise(levels)
        )

    def forward(self, x: Tensor, memories: list[Tensor], vectors: list[Tensor | None]) -> Tensor:
        for i in reversed(range(len(self.self_levels))):
            x = self._level(i, x, memories[i], vectors[i])
            if i:
                x = self.upsamples[i - 1](x, (memories[i - 1].shape[2], memories[i - 1].shape[3]))
        return x

    def _level(self, i: int, x: Tensor, memory: Tensor, g: Tensor | None) -> Tensor:
        selves, crosses = list(self.self_levels[i].children()), list(self.cross_levels[i].children())
        if i == len(self.self_levels) - 1 and self.skips_first:
            selves = [None, *selves]
        for j, attend in enumerate(selves):
            if attend is not None:
                x, new_g = attend(x, g)
                g = new_g if self.updates_vectors else g
            if crosses:
                x = crosses[j](x, memory, g)
        return x

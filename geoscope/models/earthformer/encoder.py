"""The encoder: levels of self-attention blocks with patch merging between them; every level is a memory."""

from itertools import pairwise

from torch import Tensor, nn

from geoscope.models.earthformer.config import EarthformerConfig
from geoscope.nn.cuboid_blocks import SelfAttentionBlock
from geoscope.nn.resampling import PatchMerging


class Encoder(nn.Module):
    """x (B, T, H, W, C) [and global vectors (B, K, rC)] -> the memories of all levels and their vectors.

    The last update of the coarsest level's vectors is left out where the decoder does not ask for them.
    """

    def __init__(self, config: EarthformerConfig) -> None:
        super().__init__()
        levels, shared = config.levels, config.global_vectors
        self.hands_on = shared.decoder_self or shared.decoder_cross
        vectors = config.global_vectors.layer if config.global_vectors.count else None
        feed_forward = config.feed_forward(after_each=config.encoder_feed_forward_after_each)
        self.levels = nn.ModuleList(
            nn.ModuleList(
                SelfAttentionBlock(
                    level.width,
                    level.encoder,
                    config.attention,
                    feed_forward,
                    vectors,
                    label=f"encoder.levels.{i}.{j}",
                )
                for j in range(config.encoder_depth[i])
            )
            for i, level in enumerate(levels)
        )
        pairs = list(pairwise(levels))
        self.merges = nn.ModuleList(
            PatchMerging(fine.width, coarse.width, config.downsample, init=config.resampling_init)
            for fine, coarse in pairs
        )
        self.global_merges = nn.ModuleList(
            nn.Linear(vectors.ratio * fine.width, vectors.ratio * coarse.width)
            for fine, coarse in pairs
            if vectors is not None
        )

    def forward(self, x: Tensor, g: Tensor | None = None) -> tuple[list[Tensor], list[Tensor | None]]:
        memories, vectors = [], []
        for i, blocks in enumerate(self.levels):
            if i:
                x = self.merges[i - 1](x)
                g = None if g is None else self.global_merges[i - 1](g)
            inner = list(blocks.children())
            for block in inner:
                is_last = i == len(self.levels) - 1 and block is inner[-1]
                x, g = block(x, g, is_last and not self.hands_on)
            memories.append(x)
            vectors.append(g)
        return memories, vectors

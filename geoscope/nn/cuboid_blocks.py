"""Blocks of cuboid attention and feed-forward layers, with their residuals."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from geoscope.nn.cuboid_cross_attention import CrossCuboids, CuboidCrossAttention
from geoscope.nn.cuboid_self_attention import AttentionOptions, CuboidSelfAttention, GlobalVectors
from geoscope.nn.feed_forward import FeedForward
from geoscope.nn.initialisation import LinearInit
from geoscope.ops.cuboid_attention import Cuboids


@dataclass(frozen=True, kw_only=True)
class FeedForwardOptions:
    """The feed-forward layers of a block.

    after_each: one after every attention, or a single one at the end of the block.
    for_globals: global vectors have feed-forward layers too.
    """

    activation: str = "leaky"
    gated: bool = False
    dropout: float = 0.0
    after_each: bool = True
    for_globals: bool = False
    init: LinearInit = "0"

    def layer(self, width: int) -> FeedForward:
        """A feed-forward layer of four times the width."""
        return FeedForward(
            width,
            4 * width,
            activation_name=self.activation,
            gated=self.gated,
            dropout=self.dropout,
            init=self.init,
        )


class SelfAttentionBlock(nn.Module):
    """x (B, T, H, W, C) [and g (B, K, rC)] through one attention per entry of ``cuboids``, and feed-forwards.

    The result is (x, g); g is None where none came in.
    """

    def __init__(
        self,
        width: int,
        cuboids: Sequence[Cuboids],
        attention: AttentionOptions,
        feed_forward: FeedForwardOptions,
        global_vectors: GlobalVectors | None = None,
        label: str = "",
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            CuboidSelfAttention(width, each, attention, global_vectors, f"{label}.attentions.{i}")
            for i, each in enumerate(cuboids)
        )
        count = len(cuboids) if feed_forward.after_each else 1
        self.feed_forwards = nn.ModuleList(feed_forward.layer(width) for _ in range(count))
        wide = width * global_vectors.ratio if global_vectors is not None and feed_forward.for_globals else 0
        self.global_feed_forwards = nn.ModuleList(
            feed_forward.layer(wide) for _ in range(count if wide else 0)
        )
        self.after_each = feed_forward.after_each

    def forward(
        self, x: Tensor, g: Tensor | None = None, last_use: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """``last_use`` says that nobody asks for the vectors after this block: their last update is left out."""
        for i, attention in enumerate(self.attentions):
            dx, dg = attention(x, g, not (last_use and i == len(self.attentions) - 1))
            x = x + dx
            if g is not None and dg is not None:
                g = g + dg
            if self.after_each:
                x, g = self._feed(x, g, i)
        return (x, g) if self.after_each else self._feed(x, g, 0)

    def _feed(self, x: Tensor, g: Tensor | None, i: int) -> tuple[Tensor, Tensor | None]:
        if g is not None and len(self.global_feed_forwards):
            g = self.global_feed_forwards[i](g)
        return self.feed_forwards[i](x), g


class CrossAttentionBlock(nn.Module):
    """x (B, T, H, W, C) looks at a memory (B, T', H, W, C) once per entry of ``cuboids``; feed-forwards."""

    def __init__(
        self,
        width: int,
        cuboids: Sequence[CrossCuboids],
        longest: int,
        attention: AttentionOptions,
        feed_forward: FeedForwardOptions,
        *,
        global_vectors: GlobalVectors | None = None,
        last_frames: int | None = None,
        label: str = "",
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            CuboidCrossAttention(
                width,
                each,
                longest,
                attention,
                global_vectors=global_vectors,
                last_frames=last_frames,
                label=f"{label}.attentions.{i}",
            )
            for i, each in enumerate(cuboids)
        )
        count = len(cuboids) if feed_forward.after_each else 1
        self.feed_forwards = nn.ModuleList(feed_forward.layer(width) for _ in range(count))
        self.after_each = feed_forward.after_each

    def forward(self, x: Tensor, memory: Tensor, g: Tensor | None = None) -> Tensor:
        for i, attention in enumerate(self.attentions):
            x = x + attention(x, memory, g)
            if self.after_each:
                x = self.feed_forwards[i](x)
        return x if self.after_each else self.feed_forwards[0](x)

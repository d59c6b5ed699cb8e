"""Rainformer: at each resolution, windows of attention see far, convolutions see near, and a gate weighs the two.

Source: Bai et al. 2022, "Rainformer: Features Extraction Balanced Network for Radar-Based Precipitation Nowcasting".
Departures: group norm instead of batch norm, and none in the attention by place; heads have bias tables of their own;
a convolution after the last block makes T_out frames of its features (the published one gives as many frames as it
reads).

Shape letters: B batch, T frames, H rows, W columns, C channels; features are (B, width, h, w).
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.networks.frames import FrameNetwork, Frames, check_widths, from_channels, to_channels
from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention
from geoscope.ops.cuboid_attention.positions import relative_bias, relative_position_index, table_rows


@dataclass(frozen=True, kw_only=True)
class RainformerConfig:
    """A Rainformer.

    widths: channels of each level, finest first. factors: by how much each level is coarser than the one before, the
    first than the frames. heads: of each level. head_width: channels of each head. window: pixels a side.
    reduction: how much narrower the middle of the channel attention is.
    """

    frames: Frames
    widths: tuple[int, ...] = (16, 32, 64)
    factors: tuple[int, ...] = (4, 2, 2)
    heads: tuple[int, ...] = (2, 4, 4)
    head_width: int = 16
    window: int = 8
    reduction: int = 4

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)
        for name in ("factors", "heads"):
            given = getattr(self, name)
            if len(given) != len(self.widths) or min(given) < 1:
                raise ConfigError(
                    f"{name}={given}: give one number of at least 1 for each of widths={self.widths}"
                )
        if min(self.head_width, self.reduction) < 1 or self.window < 2:
            raise ConfigError(
                f"head_width={self.head_width}, reduction={self.reduction}, window={self.window}: give at least "
                "1, 1 and 2"
            )
        if min(self.expanded_widths) < 1:
            raise ConfigError(
                f"widths={self.widths} are too narrow to be spread over factors={self.factors}: give each level at "
                "least factor x factor channels"
            )
        self.frames.require_multiple(prod(self.factors), "Rainformer")

    @property
    def expanded_widths(self) -> tuple[int, ...]:
        """Channels left a pixel after each patch is spread over factor x factor, finest level first."""
        deeper = (*(2 * width for width in self.widths[:-1]), self.widths[-1])
        return tuple(wide // factor**2 for wide, factor in zip(deeper, self.factors, strict=True))

    @property
    def last_width(self) -> int:
        """Channels of the last block, at full resolution: as many as the frames that come in."""
        return self.frames.in_frames * self.frames.channels

    def grid(self, level: int) -> tuple[int, int]:
        """(h, w) of a level; level -1 is the frames' own grid."""
        factor = prod(self.factors[: level + 1])
        return self.frames.height // factor, self.frames.width // factor


def rainformer_small(frames: Frames) -> RainformerConfig:
    """Three levels of 16, 32 and 64 channels in windows of 8, about 1 M parameters."""
    return RainformerConfig(frames=frames)


def rainformer_published(frames: Frames) -> RainformerConfig:
    """Four levels of 96 to 768 channels in windows of 12, as published for 384x384 pixels: 150.7 M parameters.

    The Earthformer paper's table gives 184.0 M. The published code's gates also build two
    convolutions each that no forecast goes through (27 width^2 weights: 42 M in all), and ours do not.
    """
    return RainformerConfig(
        frames=frames,
        widths=(96, 192, 384, 768),
        factors=(4, 2, 2, 2),
        heads=(3, 6, 12, 24),
        head_width=32,
        window=12,
        reduction=16,
    )


class ChannelAttention(nn.Module):
    """Features (B, width, h, w), each channel scaled by what the whole field's mean and maximum say of it.

    Source: Woo et al. 2018, "CBAM: Convolutional Block Attention Module".
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        middle = max(width // reduction, 1)
        self.weigh = nn.Sequential(nn.Linear(width, middle), nn.ReLU(), nn.Linear(middle, width))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weigh(x.mean((2, 3))) + self.weigh(x.amax((2, 3)))
        return x * scale.sigmoid()[:, :, None, None]


class NearFeatures(nn.Module):
    """Two convolutions, then attention by channel and by place: what is near, (B, width, h, w) -> the same shape."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(1, width), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.channels = ChannelAttention(width, reduction)
        self.places = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channels(self.convolutions(x))
        summary = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), dim=1)
        return x * self.places(summary).sigmoid()


class WindowBlock(nn.Module):
    """Attention in windows, attention by channel, feed-forward, each with its residual: (B, h, w, width) kept.

    Source: Liu et al. 2021 (Swin), by the library's cuboid attention with T = 1; a shifted block's windows overlap
    those of the block before.
    """

    def __init__(
        self, width: int, heads: int, head_width: int, window: int, reduction: int, *, is_shifted: bool
    ) -> None:
        super().__init__()
        inner, shift = heads * head_width, window // 2 if is_shifted else 0
        self.heads = heads
        self.cuboids = Cuboids(size=(1, window, window), shift=(0, shift, shift), padding="ignore")
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.bias_table = nn.Parameter(torch.zeros(table_rows(self.cuboids.size), heads))
        self.projection = nn.Linear(inner, width)
        self.channels = ChannelAttention(width, reduction)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        cuboids = self.cuboids.fit((1, x.shape[1], x.shape[2]))
        index = relative_position_index(self.cuboids.size, cuboids.size, device=x.device)
        query, key, value = rearrange(
            self.qkv(self.norm(x)), "b h w (part heads d) -> part b 1 h w heads d", part=3, heads=self.heads
        )
        seen = cuboid_attention(
            query, key, value, cuboids, bias=relative_bias(self.bias_table, index), label="rainformer"
        )
        seen = seen[:, 0, : x.shape[1], : x.shape[2]].flatten(-2)  # without what filled the last windows
        seen = rearrange(self.projection(seen), "b h w c -> b c h w")
        x = x + rearrange(self.channels(seen), "b c h w -> b h w c")
        return x + self.feed_forward(x)


class BalancedBlock(nn.Module):
    """Far features from windows, near ones from convolutions, weighed place by place: (B, width, h, w) kept."""

    def __init__(self, config: RainformerConfig, width: int, heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        reduction = min(config.reduction, width)
        self.near = NearFeatures(width, reduction)
        self.far = nn.Sequential(
            *(
                WindowBlock(width, heads, config.head_width, config.window, reduction, is_shifted=is_shifted)
                for is_shifted in (False, True)
            )
        )
        self.gates = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.LayerNorm([2 * width, *grid])
        )

    def forward(self, x: Tensor) -> Tensor:
        near = self.near(x)
        far = rearrange(self.far(rearrange(x, "b c h w -> b h w c")), "b h w c -> b c h w").contiguous()
        keep_far, keep_near = self.gates(torch.cat((far, near), dim=1)).sigmoid().chunk(2, dim=1)
        return keep_far * far + keep_near * near


class _Expand(nn.Module):
    """Features (B, inputs, h, w) -> (B, width, factor*h, factor*w): channels become places, then a projection."""

    def __init__(self, inputs: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.spread = inputs // factor**2 * factor**2
        self.project = nn.Conv2d(self.spread // factor**2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(F.pixel_shuffle(x[:, : self.spread], self.factor))


class Rainformer(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C), all at once."""

    def __init__(self, config: RainformerConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        widths, factors, heads = config.widths, config.factors, config.heads
        self.merge = nn.ModuleList(  # a convolution as long as its stride projects patches
            nn.Conv2d(inputs, width, factor, stride=factor)
            for (inputs, width), factor in zip(pairwise((config.last_width, *widths)), factors, strict=True)
        )
        self.encoder = nn.ModuleList(
            BalancedBlock(config, width, heads[level], config.grid(level))
            for level, width in enumerate(widths)
        )
        levels = range(len(widths) - 1)
        self.expand = nn.ModuleList(
            _Expand(
                widths[-1] if level == levels[-1] else 2 * widths[level + 1],
                widths[level],
                factors[level + 1],
            )
            for level in levels
        )
        self.decoder = nn.ModuleList(
            BalancedBlock(config, 2 * widths[level], heads[level + 1], config.grid(level)) for level in levels
        )
        top = 2 * widths[0] if levels else widths[0]
        self.last_expand = _Expand(top, config.last_width, factors[0])
        self.last = BalancedBlock(config, config.last_width, heads[0], config.grid(-1))
        self.head = nn.Conv2d(config.last_width, config.frames.out_frames * config.frames.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        state, bridges = to_channels(x), []
        for merge, block in zip(self.merge, self.encoder, strict=True):
            state = block(merge(state))
            bridges.append(state)
        for level in reversed(range(len(self.decoder))):
            state = torch.cat((self.expand[level](state), bridges[level]), dim=1)
            state = self.decoder[level](state)
        return from_channels(self.head(self.last(self.last_expand(state))), self.frames.channels)

"""The stem that brings frames to the resolution of the first level, and the head that brings them back."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from geoscope.models.earthformer.config import StemStage
from geoscope.nn.feed_forward import activation
from geoscope.nn.initialisation import LinearInit
from geoscope.nn.resampling import PatchMerging, Upsample, merged_shape


class ConvStack(nn.Module):
    """(B, T, H, W, C) -> (B, T, H, W, width): 3x3 convolutions, group norm and activation, frame by frame."""

    def __init__(self, inputs: int, width: int, count: int, groups: int, activation_name: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs if i == 0 else width, width, 3, padding=1) for i in range(count)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(count))
        self.activation = activation(activation_name)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.convs):
            return x
        frames = rearrange(x, "b t h w c -> (b t) c h w")  # channels last in memory: faster on a CPU
        if torch.is_grad_enabled():
            frames = frames.contiguous()  # GroupNorm's gradient crashes on such memory (torch 2.13)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            frames = self.activation(norm(conv(frames)))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=x.shape[0])


class Stem(nn.Module):
    """Frames (B, T, H, W, C) -> tokens of the first level; per stage convolutions, then patch merging."""

    def __init__(
        self, channels: int, stages: Sequence[StemStage], activation_name: str, init: LinearInit = "0"
    ) -> None:
        super().__init__()
        convs, merges = [], []
        for stage in stages:
            convs.append(ConvStack(channels, stage.width, stage.convs, stage.groups, activation_name))
            merges.append(
                PatchMerging(stage.width if stage.convs else channels, stage.width, stage.factor, init=init)
            )
            channels = stage.width
        self.convs, self.merges = nn.ModuleList(convs), nn.ModuleList(merges)

    def forward(self, x: Tensor) -> Tensor:
        for convs, merge in zip(self.convs, self.merges, strict=True):
            x = merge(convs(x))
        return x


class Head(nn.Module):
    """Tokens of the first level -> (B, T, H, W, width of the first stage): the stem's stages in reverse."""

    def __init__(self, stages: Sequence[StemStage], activation_name: str) -> None:
        super().__init__()
        self.factors = [stage.factor for stage in stages]
        upsamples, convs = [], []
        width = stages[-1].width
        for stage in reversed(stages):
            count = stage.convs if stage.final_convs is None else stage.final_convs
            upsamples.append(Upsample(width, width))
            convs.append(ConvStack(width, stage.width, count, stage.groups, activation_name))
            width = stage.width if count else width
        self.width = width
        self.upsamples, self.convs = nn.ModuleList(upsamples), nn.ModuleList(convs)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``size`` is the (H, W) that went into the stem."""
        shapes = [(1, *size)]
        for factor in self.factors[:-1]:
            shapes.append(merged_shape(shapes[-1], (1, *factor[1:])))
        for upsample, convs, shape in zip(self.upsamples, self.convs, reversed(shapes), strict=True):
            x = convs(upsample(x, shape[1:]))
        return x

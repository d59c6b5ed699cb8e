"""The stem that brings frames to the resolution of the first level, and the head that brings them back."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from geoscope.models.earthformer.config import StemStage
from geoscope.nn.feed_forward import activation
from geoscope.nn.initialisation import LinearInit
from geoscope.nn.resampling import FrameStep, PatchMerging, Upsample, merged_shape

VALUES_AT_ONCE = 2**21  # of the widest layer: about what a processor's cache holds


class ConvStack(nn.Module):
    """(B, T, H, W, C) -> (B, T, H, W, width): 3x3 convolutions, group norm and activation, frame by frame.

    Frames are channels-last in memory: faster on a CPU.
    """

    def __init__(self, inputs: int, width: int, count: int, groups: int, activation_name: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs if i == 0 else width, width, 3, padding=1) for i in range(count)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(count))
        act = activation(activation_name)
        if isinstance(act, nn.LeakyReLU):
            act.inplace = True  # nobody else sees what the norm made, and its gradient needs what came in
        self.activation = act

    def forward(
        self, x: Tensor, before: Upsample | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """``before`` brings the frames to ``size`` (H, W) on the way into the first convolution."""
        run = self.ready((x.shape[2], x.shape[3]), before, size)
        frames = run(rearrange(x, "b t h w c -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=x.shape[0])

    def ready(
        self,
        shape: tuple[int, int],
        before: Upsample | None = None,
        size: tuple[int, int] | None = None,
    ) -> FrameStep:
        """`forward` for frames (N, C, h, w) of ``shape`` (h, w)."""
        convs: list[FrameStep] = list(self.layers())
        if before is not None and size is not None:
            convs[:1] = [before.ready(shape, size, next(self.layers(), None))]
        return lambda frames: self._run(frames, convs)

    def layers(self) -> Iterator[nn.Conv2d]:
        """The convolutions in their order."""
        return cast(Iterator[nn.Conv2d], iter(self.convs))

    def _run(self, frames: Tensor, convs: Sequence[FrameStep]) -> Tensor:
        if not len(self.convs):
            return convs[0](frames) if convs else frames
        for conv, norm in zip(convs, self.norms, strict=True):
            frames = conv(frames)
            if torch.is_grad_enabled() and not frames.requires_grad:
                frames = frames.contiguous()  # here GroupNorm's gradient crashes on other memory (torch 2.13)
            frames = self.activation(norm(frames))
        return frames


class Stem(nn.Module):
    """Frames (B, T, H, W, C) -> tokens of the first level; per stage convolutions, then patch merging.

    Without gradients a few frames go through at a time, which bounds the memory.
    """

    def __init__(
        self, channels: int, stages: Sequence[StemStage], activation_name: str, init: LinearInit = "0"
    ) -> None:
        super().__init__()
        self.stages = tuple(stages)
        convs, merges = [], []
        for stage in stages:
            convs.append(ConvStack(channels, stage.width, stage.convs, stage.groups, activation_name))
            merges.append(
                PatchMerging(stage.width if stage.convs else channels, stage.width, stage.factor, init=init)
            )
            channels = stage.width
        self.convs, self.merges = nn.ModuleList(convs), nn.ModuleList(merges)

    def forward(self, x: Tensor) -> Tensor:
        at_once = frames_at_once((x.shape[2], x.shape[3]), self.stages)
        merges_time = any(stage.factor[0] > 1 for stage in self.stages)
        if torch.is_grad_enabled() or merges_time or at_once >= x.shape[0] * x.shape[1]:
            return self._run(x)
        frames = rearrange(x, "b t h w c -> (b t) 1 h w c")
        tokens = torch.cat([self._run(few) for few in frames.split(at_once)])
        return rearrange(tokens, "(b t) 1 h w c -> b t h w c", b=x.shape[0])

    def _run(self, x: Tensor) -> Tensor:
        for convs, merge in zip(self.convs, self.merges, strict=True):
            x = merge(convs(x))
        return x


class Head(nn.Module):
    """Tokens of the first level -> (B, T, H, W, width of the first stage): the stem's stages in reverse.

    Without gradients a few frames go through at a time, which bounds the memory.
    """

    def __init__(self, stages: Sequence[StemStage], activation_name: str) -> None:
        super().__init__()
        self.stages = tuple(stages)
        upsamples, convs = [], []
        width = stages[-1].width
        for stage in reversed(stages):
            count = stage.convs if stage.final_convs is None else stage.final_convs
            upsamples.append(Upsample(width, width))
            convs.append(ConvStack(width, stage.width, count, stage.groups, activation_name))
            width = stage.width if count else width
        self.width = width
        self.upsamples, self.convs = nn.ModuleList(upsamples), nn.ModuleList(convs)

    def forward(self, x: Tensor, size: tuple[int, int], last: FrameStep | None = None) -> Tensor:
        """``size`` is the (H, W) that went into the stem; ``last`` is applied to what comes out, (..., width)."""
        sizes = self.sizes(size)
        if torch.is_grad_enabled():
            for upsample, convs, reached in zip(self.upsamples, self.convs, sizes, strict=True):
                x = convs(x, upsample, reached)
            return x if last is None else last(x)
        steps, shape = [], (x.shape[2], x.shape[3])
        for upsample, convs, reached in zip(self.upsamples, self.convs, sizes, strict=True):
            assert isinstance(upsample, Upsample)
            assert isinstance(convs, ConvStack)
            steps.append(convs.ready(shape, upsample, reached))
            shape = reached
        frames = rearrange(x, "b t h w c -> (b t) c h w")
        pieces = [_through(few, steps, last) for few in frames.split(frames_at_once(size, self.stages))]
        return rearrange(torch.cat(pieces), "(b t) h w c -> b t h w c", b=x.shape[0])

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The (H, W) that each stage of the head reaches, the last being ``size``."""
        shapes = [(1, *size)]
        for stage in self.stages[:-1]:
            shapes.append(merged_shape(shapes[-1], (1, *stage.factor[1:])))
        return [(rows, columns) for _, rows, columns in reversed(shapes)]


def _through(frames: Tensor, steps: Sequence[FrameStep], last: FrameStep | None) -> Tensor:
    for step in steps:
        frames = step(frames)
    frames = frames.permute(0, 2, 3, 1)
    return frames if last is None else last(frames)


def frames_at_once(size: tuple[int, int], stages: Sequence[StemStage]) -> int:
    """Frames whose widest layer, on the way from (H, W) = ``size`` through ``stages``, holds `VALUES_AT_ONCE`."""
    widest, shape = 1, (1, *size)
    for stage in stages:
        widest = max(widest, shape[1] * shape[2] * stage.width)
        shape = merged_shape(shape, (1, *stage.factor[1:]))
    return max(1, VALUES_AT_ONCE // widest)

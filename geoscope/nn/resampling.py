"""Going down and up in resolution: patch merging and nearest-neighbour upsampling with a convolution."""

import copy
from collections.abc import Callable, Sequence
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ShapeError
from geoscope.nn.initialisation import LinearInit, init_conv, init_linear
from geoscope.nn.padding import pad_to_multiple
from geoscope.nn.phase_convolution import Factor, UpsampledConvolution, is_composed_cheaper, whole_factor

FrameStep = Callable[[Tensor], Tensor]  # frames (N, C, H, W) to frames


def merged_shape(shape: Sequence[int], factor: Sequence[int]) -> tuple[int, int, int]:
    """(T, H, W) after merging patches of ``factor``; a started patch counts as one."""
    t, h, w = (-(-length // step) for length, step in zip(shape, factor, strict=True))
    return t, h, w


class PatchMerging(nn.Module):
    """(B, T, H, W, C) -> (B, T/t, H/h, W/w, out): each patch of ``factor`` (t, h, w) becomes one token.

    The last patches are filled up with zeros. Tokens are normed and projected without bias.
    """

    def __init__(self, width: int, out: int, factor: tuple[int, int, int], *, init: LinearInit = "0") -> None:
        super().__init__()
        self.factor = factor
        self.norm = nn.LayerNorm(prod(factor) * width)
        self.reduce = init_linear(nn.Linear(prod(factor) * width, out, bias=False), init)

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = self.factor
        x = pad_to_multiple(x, self.factor)
        tokens = rearrange(x, "b (nt t) (nh h) (nw w) c -> b nt nh nw (t h w c)", t=t, h=h, w=w)
        return self.reduce(self.norm(tokens))


class Upsample(nn.Module):
    """(B, T, h, w, C) -> (B, T, H, W, out): nearest neighbour in space, then a convolution, by frame.

    impl: "phases" sums the taps that meet the same source pixel, where (H, W) is a whole multiple of (h, w), and is
    equal to rounding (`geoscope.nn.phase_convolution`); "reference" is the meaning, and what other sizes take.
    """

    def __init__(self, width: int, out: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.conv = init_conv(nn.Conv2d(width, out, kernel, padding=kernel // 2))
        self.impl: Literal["phases", "reference"] = "phases"
        self._kept: dict[tuple[Factor, bool], UpsampledConvolution] = {}

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``size`` is the (H, W) to reach."""
        step = self.ready((x.shape[2], x.shape[3]), size)
        frames = step(rearrange(x, "b t h w c -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=x.shape[0])

    def ready(
        self, shape: tuple[int, int], size: tuple[int, int], after: nn.Conv2d | None = None
    ) -> FrameStep:
        """What brings frames (N, C, h, w) from ``shape`` to ``size``, and through the convolution ``after`` too.

        Taps are summed here, once for all the frames that go through the step.
        """
        if min(size) < 1:
            raise ShapeError(f"cannot upsample to {size}: both lengths must be at least 1")
        factor = whole_factor(shape, size)
        if self.impl == "reference" or factor is None or factor == (1, 1):
            return _chain(lambda x: self.conv(F.interpolate(x, size=size, mode="nearest")), after)
        made = self._kept.get((factor, after is not None)) or self._made(factor, self.conv, after)
        return made if after is None or made.outer is not None else _chain(made, after)

    def keep(
        self, factor: Factor, after: nn.Conv2d | None, dtype: torch.dtype, result: torch.dtype | None = None
    ) -> None:
        """Sum the taps for ``factor`` now, in float64, and keep them in ``dtype``: for inference with fixed weights.

        result: the dtype of what comes out, by default ``dtype``.
        """
        with torch.no_grad():
            own, later = copy.deepcopy(self.conv).double(), copy.deepcopy(after)
            made = self._made(factor, own, None if later is None else later.double())
        self._kept[factor, after is not None] = made.kept(dtype, result or dtype)

    def _made(self, factor: Factor, conv: nn.Conv2d, after: nn.Conv2d | None) -> UpsampledConvolution:
        if after is not None and is_composed_cheaper(conv.weight, after.weight, factor):
            return UpsampledConvolution.of(factor, conv, after)
        return UpsampledConvolution.of(factor, conv)


def _chain(first: FrameStep, second: FrameStep | None) -> FrameStep:
    return first if second is None else lambda x: second(first(x))

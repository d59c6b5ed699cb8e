"""Going down and up in resolution: patch merging and nearest-neighbour upsampling with a convolution."""

from collections.abc import Sequence
from math import prod

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ShapeError
from geoscope.nn.initialisation import LinearInit, init_conv, init_linear
from geoscope.nn.padding import pad_to_multiple


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
    """(B, T, h, w, C) -> (B, T, H, W, out): nearest neighbour in space, then a convolution, by frame."""

    def __init__(self, width: int, out: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.conv = init_conv(nn.Conv2d(width, out, kernel, padding=kernel // 2))

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """``size`` is the (H, W) to reach."""
        if min(size) < 1:
            raise ShapeError(f"cannot upsample to {size}: both lengths must be at least 1")
        frames = rearrange(x, "b t h w c -> (b t) c h w")
        frames = self.conv(F.interpolate(frames, size=size, mode="nearest"))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=x.shape[0])

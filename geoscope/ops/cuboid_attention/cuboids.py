"""How a space-time volume is cut into cuboids, and how it is put together again.

Shape letters: B batch, T time, H rows, W columns, N cuboids, L tokens in a cuboid. Whatever follows the
three axes of the volume (channels, or heads and channels) is carried along untouched.

A volume goes through three steps, each with its inverse: padding to whole cuboids, rolling by the shift,
cutting. Source: Gao et al. 2022 (Earthformer), section 3.1.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from geoscope.errors import ConfigError, ShapeError

Axes = tuple[int, int, int]
Strategy = Literal["local", "dilated"]
Padding = Literal["zeros", "ignore"]
AXIS_NAMES = "THW"
LOCAL: tuple[Strategy, Strategy, Strategy] = ("local", "local", "local")
DILATED: tuple[Strategy, Strategy, Strategy] = ("dilated", "dilated", "dilated")


@dataclass(frozen=True, kw_only=True)
class Cuboids:
    """How a (T, H, W) volume is cut. All lengths are in tokens.

    size: length of a cuboid along T, H, W.
    strategy: per axis, "local" takes neighbours, "dilated" takes every n-th token, n being the number of
        cuboids along that axis.
    shift: the volume is rolled back by this much before it is cut; tokens that only meet because the roll
        wraps around do not attend to each other.
    padding: what the tokens are that fill the last cuboids: "zeros" are attended to like any other token,
        "ignore" are never attended to.
    pad_time_first: whether missing time steps are added before the first one instead of after the last one.
    least_groups: cuboids along time, at least; steps are added until there are as many.
    """

    size: Axes
    strategy: tuple[Strategy, Strategy, Strategy] = LOCAL
    shift: Axes = (0, 0, 0)
    padding: Padding = "zeros"
    pad_time_first: bool = False
    least_groups: int = 1

    def __post_init__(self) -> None:
        if len(self.size) != 3 or any(length < 1 for length in self.size):
            raise ConfigError(f"cuboid size={self.size}: give three lengths of at least 1, for T, H and W")
        if len(self.strategy) != 3 or any(name not in ("local", "dilated") for name in self.strategy):
            raise ConfigError(
                f"cuboid strategy={self.strategy}: give 'local' or 'dilated' for each of T, H and W"
            )
        if len(self.shift) != 3 or any(step < 0 for step in self.shift):
            raise ConfigError(f"cuboid shift={self.shift}: give three steps of at least 0, for T, H and W")
        if self.padding not in ("zeros", "ignore"):
            raise ConfigError(f"cuboid padding={self.padding!r}: choose 'zeros' or 'ignore'")

    @property
    def volume(self) -> int:
        """Tokens in one cuboid, L."""
        return prod(self.size)

    def fit(self, shape: Axes) -> "Cuboids":
        """The same cuboids clipped to a volume of ``shape``, as self-attention uses them.

        A cuboid is never longer than the volume; an axis that one cuboid spans, or that is dilated, is not
        shifted.
        """
        t, h, w = (min(length, step) for length, step in zip(shape, self.size, strict=True))
        dt, dh, dw = (
            0 if way == "dilated" or length <= step else roll
            for length, step, way, roll in zip(shape, self.size, self.strategy, self.shift, strict=True)
        )
        return replace(self, size=(t, h, w), shift=(dt, dh, dw))

    def padded(self, shape: Axes) -> Axes:
        """The shape of the volume after padding to whole cuboids."""
        t, h, w = (-(-length // step) * step for length, step in zip(shape, self.size, strict=True))
        return max(t, self.least_groups * self.size[0]), h, w

    def count(self, shape: Axes) -> int:
        """How many cuboids a volume of ``shape`` is cut into, N."""
        return prod(self.padded(shape)) // self.volume


def volume_shape(x: Tensor) -> Axes:
    """(T, H, W) of a tensor (B, T, H, W, ...)."""
    return x.shape[1], x.shape[2], x.shape[3]


def pad_volume(x: Tensor, cuboids: Cuboids) -> Tensor:
    """``x`` (B, T, H, W, ...) with zeros added so that every axis holds whole cuboids.

    Rows and columns are added at the end; time steps at the end, or at the start where the cuboids say so.
    """
    shape = volume_shape(x)
    dt, dh, dw = (whole - length for whole, length in zip(cuboids.padded(shape), shape, strict=True))
    if not (dt or dh or dw):
        return x
    time = (dt, 0) if cuboids.pad_time_first else (0, dt)
    return F.pad(x, (0, 0) * (x.ndim - 4) + (0, dw, 0, dh, *time))


def crop_volume(x: Tensor, shape: Axes, cuboids: Cuboids) -> Tensor:
    """Take the padding of `pad_volume` off again, back to ``shape``."""
    if volume_shape(x) == tuple(shape):
        return x
    first = x.shape[1] - shape[0] if cuboids.pad_time_first else 0
    return x[:, first : first + shape[0], : shape[1], : shape[2]]


def shift_volume(x: Tensor, shift: Axes) -> Tensor:
    """``x`` (B, T, H, W, ...) rolled back by ``shift``; `unshift_volume` undoes it."""
    return torch.roll(x, shifts=[-step for step in shift], dims=(1, 2, 3)) if any(shift) else x


def unshift_volume(x: Tensor, shift: Axes) -> Tensor:
    """Undo `shift_volume`."""
    return torch.roll(x, shifts=list(shift), dims=(1, 2, 3)) if any(shift) else x


def _volume_pattern(strategy: tuple[Strategy, Strategy, Strategy]) -> str:
    # Local: the cuboid's number runs slowly and the place in it fast. Dilated: the other way round.
    return " ".join(
        f"(n{axis} {axis})" if way == "local" else f"({axis} n{axis})"
        for axis, way in zip("thw", strategy, strict=True)
    )


def partition_cuboids(x: Tensor, size: Axes, strategy: tuple[Strategy, Strategy, Strategy] = LOCAL) -> Tensor:
    """Cut a space-time volume into non-overlapping cuboids.

    Shapes: ``x`` is (B, T, H, W, ...); the result is (B, N, L, ...) with N = (T/t)(H/h)(W/w) cuboids of L =
    t*h*w tokens each, for ``size`` = (t, h, w). Cuboids and the tokens in them keep row-major order. Along a
    "dilated" axis of n cuboids, token j of cuboid i is element i + j*n.

    Raises:
        ShapeError: an axis of ``x`` is not a multiple of its cuboid length.
    """
    return _partition(x, size, strategy, "... -> b (nt nh nw) (t h w) ...")


def _partition(x: Tensor, size: Axes, strategy: tuple[Strategy, Strategy, Strategy], rest: str) -> Tensor:
    """``rest`` is what follows the volume in the pattern, and the pattern of the result."""
    for axis, length, step in zip(AXIS_NAMES, volume_shape(x), size, strict=True):
        if length % step:
            raise ShapeError(
                f"axis {axis} has length {length}, not a multiple of cuboid {step}; "
                "pad it first with pad_volume"
            )
    t, h, w = size
    return rearrange(x, f"b {_volume_pattern(strategy)} {rest}", t=t, h=h, w=w)


def merge_cuboids(
    x: Tensor, shape: Axes, size: Axes, strategy: tuple[Strategy, Strategy, Strategy] = LOCAL
) -> Tensor:
    """Put the cuboids (B, N, L, ...) of `partition_cuboids` together again, (B, T, H, W, ...)."""
    t, h, w = size
    nt, nh, nw = (length // step for length, step in zip(shape, size, strict=True))
    if (x.shape[1], x.shape[2]) != (nt * nh * nw, t * h * w):
        raise ShapeError(
            f"{x.shape[1]} cuboids of {x.shape[2]} tokens do not make a volume {tuple(shape)} cut by "
            f"{tuple(size)}: expected {nt * nh * nw} of {t * h * w}"
        )
    pattern = f"b (nt nh nw) (t h w) ... -> b {_volume_pattern(strategy)} ..."
    return rearrange(x, pattern, t=t, h=h, w=w, nt=nt, nh=nh, nw=nw)


def cut(x: Tensor, cuboids: Cuboids) -> Tensor:
    """Pad, shift and partition ``x`` (B, T, H, W, ...) into (B, N, L, ...)."""
    return partition_cuboids(_padded_and_shifted(x, cuboids), cuboids.size, cuboids.strategy)


def cut_by_head(x: Tensor, cuboids: Cuboids) -> Tensor:
    """`cut` of ``x`` (B, T, H, W, heads, D) with the heads first, (B, heads, N, L, D), in one copy."""
    rest = "heads d -> b heads (nt nh nw) (t h w) d"
    return _partition(_padded_and_shifted(x, cuboids), cuboids.size, cuboids.strategy, rest).contiguous()


def _padded_and_shifted(x: Tensor, cuboids: Cuboids) -> Tensor:
    return shift_volume(pad_volume(x, cuboids), cuboids.shift)


def join(x: Tensor, shape: Axes, cuboids: Cuboids) -> Tensor:
    """Undo `cut`: (B, N, L, ...) back to (B, T, H, W, ...) of ``shape``."""
    merged = merge_cuboids(x, cuboids.padded(shape), cuboids.size, cuboids.strategy)
    return crop_volume(unshift_volume(merged, cuboids.shift), shape, cuboids)

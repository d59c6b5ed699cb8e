"""The named ways of cutting a volume: which cuboid attentions a block is made of.

Each pattern is a function from the (T, H, W) of a level to the cuboids of the attentions of one block, in
order. Source: Gao et al. 2022, section 3.1 and table 2; the names are those of the published configurations.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from geoscope.errors import ConfigError
from geoscope.nn.cuboid_cross_attention import CrossCuboids
from geoscope.ops.cuboid_attention import Cuboids
from geoscope.ops.cuboid_attention.cuboids import DILATED, Axes, Padding

_SWIN_STEPS, _SWIN_PIXELS = (1, 2, 4, 8, 10), (1, 2, 4, 8, 16, 32)
_DILATIONS, _CROSS = (2, 4, 8), (1, 2, 4, 8)


def full(shape: Axes) -> tuple[Cuboids, ...]:
    """Everything sees everything."""
    return (Cuboids(size=shape),)


def axial(shape: Axes) -> tuple[Cuboids, ...]:
    """Along time, then along columns, then along rows."""
    t, h, w = shape
    return Cuboids(size=(t, 1, 1)), Cuboids(size=(1, h, 1)), Cuboids(size=(1, 1, w))


def divided_st(shape: Axes) -> tuple[Cuboids, ...]:
    """Along time, then over each whole frame."""
    t, h, w = shape
    return Cuboids(size=(t, 1, 1)), Cuboids(size=(1, h, w))


def video_swin(shape: Axes, steps: int = 2, pixels: int = 4) -> tuple[Cuboids, ...]:
    """Windows of ``steps`` frames and ``pixels`` squared, then the same shifted by half."""
    t, h, w = shape
    p, m = min(steps, t), min(pixels, h, w)
    return Cuboids(size=(p, m, m)), Cuboids(size=(p, m, m), shift=(p // 2, m // 2, m // 2))


def spatial_lg(shape: Axes, pixels: int = 4) -> tuple[Cuboids, ...]:
    """Along time, then local windows, then dilated ones; over the whole frame where one window covers it."""
    t, h, w = shape
    if h <= pixels and w <= pixels:
        return divided_st(shape)
    window = (1, pixels, pixels)
    return Cuboids(size=(t, 1, 1)), Cuboids(size=window), Cuboids(size=window, strategy=DILATED)


def axial_space_dilate(shape: Axes, parts: int) -> tuple[Cuboids, ...]:
    """Along time, then along columns and rows cut into ``parts``, each dilated and then local."""
    t, h, w = shape
    k = min(parts, h, w)
    column, row = (1, h // k, 1), (1, 1, w // k)
    return (
        Cuboids(size=(t, 1, 1)),
        Cuboids(size=column, strategy=DILATED),
        Cuboids(size=column),
        Cuboids(size=row, strategy=DILATED),
        Cuboids(size=row),
    )


def _self_patterns() -> dict[str, Callable[[Axes], tuple[Cuboids, ...]]]:
    found: dict[str, Callable[[Axes], tuple[Cuboids, ...]]] = {
        "full": full,
        "axial": axial,
        "divided_st": divided_st,
        "video_swin": video_swin,
        "spatial_lg_v1": spatial_lg,
    }
    for p in _SWIN_STEPS:
        for m in _SWIN_PIXELS:
            found[f"video_swin_{p}x{m}"] = lambda shape, p=p, m=m: video_swin(shape, p, m)
    for m in _SWIN_PIXELS:
        found[f"spatial_lg_{m}"] = lambda shape, m=m: spatial_lg(shape, m)
    for k in _DILATIONS:
        found[f"axial_space_dilate_{k}"] = lambda shape, k=k: axial_space_dilate(shape, k)
    return found


SELF_PATTERNS = _self_patterns()
CROSS_PATTERNS = tuple(f"cross_{k}x{k}{kind}" for k in _CROSS for kind in ("", "_lg", "_heter"))


def self_cuboids(name: str, shape: Axes, padding: Padding = "zeros") -> tuple[Cuboids, ...]:
    """The cuboids of the self-attention pattern ``name`` for a level of ``shape`` (T, H, W).

    Raises:
        ConfigError: no such pattern.
    """
    if name not in SELF_PATTERNS:
        raise ConfigError(
            f"self-attention pattern {name!r} is not known: choose one of {', '.join(SELF_PATTERNS)}"
        )
    return tuple(replace(each, padding=padding) for each in SELF_PATTERNS[name](shape))


def cross_cuboids(name: str, shape: Axes, padding: Padding = "zeros") -> tuple[CrossCuboids, ...]:
    """The cuboids of the cross-attention pattern ``name`` for a level of ``shape`` (T, H, W).

    Raises:
        ConfigError: no such pattern.
    """
    match = re.fullmatch(r"cross_(\d+)x\1(_lg|_heter)?", name)
    if name not in CROSS_PATTERNS or match is None:
        raise ConfigError(
            f"cross-attention pattern {name!r} is not known: choose one of {', '.join(CROSS_PATTERNS)}"
        )
    k = min(int(match[1]), *shape[1:])
    local = CrossCuboids(size=(k, k), padding=padding)
    layers = [local]
    if match[2]:
        layers.append(replace(local, strategy=DILATED))
    if match[2] == "_heter":
        layers.append(replace(local, shift=(k // 2, k // 2)))
    return tuple(layers)

"""Earthformers of any size for `cost`: the presets by name, what sizes they take, and the parts of their cost."""

import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from math import prod

from geoscope.errors import ConfigError
from geoscope.models.earthformer import presets
from geoscope.models.earthformer.config import EarthformerConfig
from geoscope.models.earthformer.model import Earthformer
from geoscope.nn.resampling import Upsample

PRESETS: dict[str, Callable[[], EarthformerConfig]] = {
    each.__name__: each
    for each in (
        presets.earthformer_sevir,
        presets.earthformer_sevir_lr,
        presets.earthformer_enso,
        presets.earthformer_nbody,
    )
}
LONGEST_SIDE = 65536
_LEVEL = re.compile(r"(encoder|decoder)\.(?:self_|cross_)?levels\.(\d+)(.*)")


def preset_config(name: str) -> EarthformerConfig:
    """The configuration called ``name``; dashes count as underscores.

    Raises:
        ConfigError: no such preset; names the nearest one.
    """
    wanted = name.replace("-", "_")
    if wanted not in PRESETS:
        near = get_close_matches(wanted, PRESETS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"preset {name!r} is not known: choose one of {', '.join(PRESETS)}; the nearest is {near!r}"
        )
    return PRESETS[wanted]()


def side_multiples(config: EarthformerConfig) -> tuple[int, int]:
    """What rows and columns must be multiples of, so that no patch is filled up."""
    factors = [stage.factor for stage in config.stages]
    factors += [config.downsample] * (len(config.encoder_depth) - 1)
    return prod(factor[1] for factor in factors), prod(factor[2] for factor in factors)


def resized(
    config: EarthformerConfig,
    *,
    frames: int | None = None,
    leads: int | None = None,
    size: tuple[int, int] | None = None,
) -> EarthformerConfig:
    """The same network for other past ``frames``, ``leads`` to forecast and ``size`` (rows, columns).

    Raises:
        ConfigError: a count below 1, or a size that the stages of the network do not divide.
    """
    for option, count in (("frames", frames), ("leads", leads)):
        if count is not None and count < 1:
            raise ConfigError(f"{option}={count}: give at least 1")
    steps, *grid, channels = config.input_shape
    out_steps, _, _, out_channels = config.target_shape
    rows, columns = size or (grid[0], grid[1])
    for axis, side, multiple in zip(
        ("rows", "columns"), (rows, columns), side_multiples(config), strict=True
    ):
        if not 1 <= side <= LONGEST_SIDE:
            raise ConfigError(f"size={side} {axis}: give from 1 to {LONGEST_SIDE} pixels")
        if side % multiple:
            below = side // multiple * multiple
            nearest = f"{below} or {below + multiple}" if below else f"{multiple}"
            raise ConfigError(
                f"size={side} {axis} is not a multiple of {multiple}, which the network merges: {nearest} is"
            )
    return replace(
        config,
        input_shape=(steps if frames is None else frames, rows, columns, channels),
        target_shape=(out_steps if leads is None else leads, rows, columns, out_channels),
    )


def part_of(name: str) -> str:
    """The part of an Earthformer's cost that its module ``name`` belongs to."""
    level = _LEVEL.match(name)
    if level is not None:
        kind = "feed-forward" if "feed_forwards" in level[3] else "attention"
        return f"{level[1]} level {int(level[2]) + 1}: {kind}"
    for prefix, part in (
        ("stem", "stem"),
        ("head", "head"),
        ("encoder.merges", "encoder: merging"),
        ("encoder.global_merges", "encoder: merging"),
        ("decoder.upsamples", "decoder: upsampling"),
    ):
        if name.startswith(prefix):
            return part
    return "positions, state, output"


def build(config: EarthformerConfig, *, as_published: bool = False) -> Earthformer:
    """The network as the library runs it, or with each upsampling and convolution after it as published.

    The published order convolves over the repeated pixels; both give the same result.
    """
    model = Earthformer(config)
    for module in model.modules():
        if as_published and isinstance(module, Upsample):
            module.impl = "reference"
    return model

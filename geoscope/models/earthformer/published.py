"""The constructor arguments of the published Earthformer, read into an `EarthformerConfig`.

What the published code offers and this library does not carry is refused by name.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geoscope.errors import ConfigError
from geoscope.models.earthformer.config import Dropout, EarthformerConfig, GlobalOptions, StemStage
from geoscope.nn.cuboid_cross_attention import CrossCuboids
from geoscope.nn.cuboid_self_attention import GlobalVectors
from geoscope.ops.cuboid_attention import Cuboids

DEFAULTS: dict[str, Any] = {
    "base_units": 128,
    "block_units": None,
    "scale_alpha": 1.0,
    "num_heads": 4,
    "attn_drop": 0.0,
    "proj_drop": 0.0,
    "ffn_drop": 0.0,
    "downsample": 2,
    "downsample_type": "patch_merge",
    "upsample_type": "upsample",
    "upsample_kernel_size": 3,
    "enc_depth": [4, 4, 4],
    "enc_attn_patterns": None,
    "enc_cuboid_size": [[4, 4, 4], [4, 4, 4]],
    "enc_cuboid_strategy": [["l", "l", "l"], ["d", "d", "d"]],
    "enc_shift_size": [[0, 0, 0], [0, 0, 0]],
    "enc_use_inter_ffn": True,
    "dec_depth": [2, 2],
    "dec_cross_start": 0,
    "dec_self_attn_patterns": None,
    "dec_self_cuboid_size": [[4, 4, 4], [4, 4, 4]],
    "dec_self_cuboid_strategy": [["l", "l", "l"], ["d", "d", "d"]],
    "dec_self_shift_size": [[1, 1, 1], [0, 0, 0]],
    "dec_cross_attn_patterns": None,
    "dec_cross_cuboid_hw": [[4, 4], [4, 4]],
    "dec_cross_cuboid_strategy": [["l", "l", "l"], ["d", "l", "l"]],
    "dec_cross_shift_hw": [[0, 0], [0, 0]],
    "dec_cross_n_temporal": [1, 2],
    "dec_cross_last_n_frames": None,
    "dec_use_inter_ffn": True,
    "dec_hierarchical_pos_embed": False,
    "num_global_vectors": 4,
    "use_dec_self_global": True,
    "dec_self_update_global": True,
    "use_dec_cross_global": True,
    "use_global_vector_ffn": True,
    "use_global_self_attn": False,
    "separate_global_qkv": False,
    "global_dim_ratio": 1,
    "initial_downsample_type": "conv",
    "initial_downsample_activation": "leaky",
    "initial_downsample_scale": 1,
    "initial_downsample_conv_layers": 2,
    "final_upsample_conv_layers": 2,
    "initial_downsample_stack_conv_num_layers": 1,
    "initial_downsample_stack_conv_dim_list": None,
    "initial_downsample_stack_conv_downscale_list": [1],
    "initial_downsample_stack_conv_num_conv_list": [2],
    "ffn_activation": "leaky",
    "gated_ffn": False,
    "norm_layer": "layer_norm",
    "padding_type": "ignore",
    "pos_embed_type": "t+hw",
    "checkpoint_level": True,
    "use_relative_pos": True,
    "self_attn_use_final_proj": True,
    "dec_use_first_self_attn": False,
    "z_init_method": "nearest_interp",
    "attn_linear_init_mode": "0",
    "ffn_linear_init_mode": "0",
    "conv_init_mode": "0",
    "down_up_linear_init_mode": "0",
    "norm_init_mode": "0",
}
REQUIRED = ("input_shape", "target_shape")

# The values that are carried, for arguments of which the published code knows more.
CARRIED: dict[str, tuple[Any, ...]] = {
    "scale_alpha": (1, None),
    "downsample_type": ("patch_merge",),
    "upsample_type": ("upsample",),
    "dec_hierarchical_pos_embed": (False,),
    "initial_downsample_type": ("conv", "stack_conv"),
    "norm_layer": ("layer_norm",),
    "padding_type": ("zeros", "ignore"),
    "pos_embed_type": ("t+h+w", "t+hw"),
    "checkpoint_level": (0, 1, 2),
    "z_init_method": ("zeros", "nearest_interp", "last", "mean"),
    "attn_linear_init_mode": ("0", "1"),
    "ffn_linear_init_mode": ("0", "1"),
    "conv_init_mode": ("0",),
    "down_up_linear_init_mode": ("0", "1"),
    "norm_init_mode": ("0",),
}
_STRATEGY = {"l": "local", "d": "dilated"}


def config_from_published(kwargs: Mapping[str, Any] | str) -> tuple[EarthformerConfig, bool]:
    """Our config for the published arguments, and whether the stem is of the published kind "stack_conv".

    Raises:
        ConfigError: an unknown or missing argument, a value that cannot work or is not carried.
    """
    options = _with_defaults(kwargs)
    levels = len(_sequence(options, "enc_depth"))
    is_stacked = options["initial_downsample_type"] == "stack_conv"
    config = EarthformerConfig(
        input_shape=_integers(options, "input_shape", 4),
        target_shape=_integers(options, "target_shape", 4),
        base_width=_integer(options, "base_units"),
        widths=None if options["block_units"] is None else _integers(options, "block_units", levels),
        heads=_integer(options, "num_heads"),
        encoder_depth=_integers(options, "enc_depth"),
        decoder_depth=_integers(options, "dec_depth"),
        encoder_attention=_patterns(options, "enc_attn_patterns", levels, _encoder_cuboids),
        decoder_attention=_patterns(options, "dec_self_attn_patterns", levels, _decoder_cuboids),
        cross_attention=_patterns(options, "dec_cross_attn_patterns", levels, _cross_cuboids),
        cross_start=_integer(options, "dec_cross_start"),
        cross_last_frames=options["dec_cross_last_n_frames"],
        first_self_attention=bool(options["dec_use_first_self_attn"]),
        downsample=_factor(options["downsample"], "downsample"),
        upsample_kernel=_integer(options, "upsample_kernel_size"),
        stem=_stacked_stem(options) if is_stacked else _plain_stem(options),
        stem_activation=options["initial_downsample_activation"],
        global_vectors=_global_vectors(options),
        activation=options["ffn_activation"],
        gated=bool(options["gated_ffn"]),
        encoder_feed_forward_after_each=bool(options["enc_use_inter_ffn"]),
        decoder_feed_forward_after_each=bool(options["dec_use_inter_ffn"]),
        dropout=Dropout(
            attention=options["attn_drop"], projection=options["proj_drop"], feed_forward=options["ffn_drop"]
        ),
        padding=options["padding_type"],
        positions=options["pos_embed_type"],
        relative_positions=bool(options["use_relative_pos"]),
        final_projection=bool(options["self_attn_use_final_proj"]),
        initial_state=options["z_init_method"],
        attention_init=options["attn_linear_init_mode"],
        feed_forward_init=options["ffn_linear_init_mode"],
        resampling_init=options["down_up_linear_init_mode"],
        match_published=True,
    )
    return config, is_stacked


def _with_defaults(kwargs: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(kwargs, str):
        kwargs = json.loads(kwargs)
    if not isinstance(kwargs, Mapping):
        raise ConfigError(f"the published arguments are a {type(kwargs).__name__}: expected names and values")
    unknown = [name for name in kwargs if name not in DEFAULTS and name not in REQUIRED]
    if unknown:
        raise ConfigError(f"unknown argument {', '.join(unknown)}: the published Earthformer has no such one")
    absent = [name for name in REQUIRED if name not in kwargs]
    if absent:
        raise ConfigError(
            f"argument {', '.join(absent)} is missing: the published Earthformer has no default"
        )
    options = DEFAULTS | dict(kwargs)
    for name, carried in CARRIED.items():
        if options[name] not in carried:
            known = ", ".join(repr(value) for value in carried)
            raise ConfigError(f"{name}={options[name]!r} is not carried by geoscope: only {known}")
    return options


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _sequence(options: Mapping[str, Any], name: str) -> list:
    value = options[name]
    if not _is_list(value):
        raise ConfigError(f"{name}={value!r}: expected a list")
    return list(value)


def _integer(options: Mapping[str, Any], name: str) -> int:
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name}={value!r}: expected a whole number")
    return value


def _integers(options: Mapping[str, Any], name: str, count: int | None = None) -> Any:
    values = _sequence(options, name)
    if (count is not None and len(values) != count) or not all(isinstance(v, int) for v in values):
        wanted = "whole numbers" if count is None else f"{count} whole numbers"
        raise ConfigError(f"{name}={values}: expected {wanted}")
    return tuple(values)


def _factor(value: Any, name: str) -> tuple[int, int, int]:
    """(t, h, w); one number counts for rows and columns."""
    factor = (1, value, value) if isinstance(value, int) else value
    if not _is_list(factor) or len(factor) != 3 or not all(isinstance(v, int) and v >= 1 for v in factor):
        raise ConfigError(f"{name}={value!r}: expected one whole number, or three for T, H and W")
    t, h, w = factor
    return t, h, w


def _patterns(
    options: Mapping[str, Any], name: str, levels: int, listed: Callable[[Mapping[str, Any], int], list]
) -> Any:
    """A pattern name for all levels, one per level, or the cuboids of the explicit lists for each level."""
    value = options[name]
    if value is None:
        return listed(options, levels)
    if isinstance(value, str):
        value = [value] * levels
    if "last_frame_dst" in value:
        raise ConfigError(f"{name}: pattern 'last_frame_dst' is not carried by geoscope (it has no cuboids)")
    if len(value) != levels or not all(isinstance(pattern, str) for pattern in value):
        raise ConfigError(f"{name}={value!r}: expected one pattern name for each of {levels} levels")
    return list(value)


def _by_level(options: Mapping[str, Any], name: str, levels: int, depth: int) -> list[list]:
    """The explicit list ``name`` for each level: given once for all, or nested one deeper, once for each."""
    values = _sequence(options, name)
    inner, nesting = values, 0
    while _is_list(inner) and len(inner):
        inner, nesting = inner[0], nesting + 1
    if nesting == depth:
        return [values] * levels
    if nesting != depth + 1 or len(values) != levels:
        raise ConfigError(
            f"{name}={values}: expected a list of attentions, or one for each of {levels} levels"
        )
    return values


def _strategy(names: Any, argument: str) -> Any:
    if len(names) != 3 or any(name not in _STRATEGY for name in names):
        raise ConfigError(f"{argument} has {names!r}: expected 'l' or 'd' for each of T, H and W")
    return tuple(_STRATEGY[name] for name in names)


def _aligned(name: str, *lists: list) -> list[tuple]:
    if len({len(values) for values in lists}) != 1:
        raise ConfigError(
            f"{name}, its strategies and shifts list {[len(v) for v in lists]} attentions: must agree"
        )
    return list(zip(*lists, strict=True))


def _self_cuboids(options: Mapping[str, Any], levels: int, size: str, strategy: str, shift: str) -> list:
    per_level = zip(*(_by_level(options, name, levels, 2) for name in (size, strategy, shift)), strict=True)
    return [
        tuple(
            Cuboids(size=tuple(s), strategy=_strategy(way, strategy), shift=tuple(roll))
            for s, way, roll in _aligned(size, *lists)
        )
        for lists in per_level
    ]


def _encoder_cuboids(options: Mapping[str, Any], levels: int) -> list:
    return _self_cuboids(options, levels, "enc_cuboid_size", "enc_cuboid_strategy", "enc_shift_size")


def _decoder_cuboids(options: Mapping[str, Any], levels: int) -> list:
    names = ("dec_self_cuboid_size", "dec_self_cuboid_strategy", "dec_self_shift_size")
    return _self_cuboids(options, levels, *names)


def _cross_cuboids(options: Mapping[str, Any], levels: int) -> list:
    names = ("dec_cross_cuboid_hw", "dec_cross_cuboid_strategy", "dec_cross_shift_hw", "dec_cross_n_temporal")
    depths = (2, 2, 2, 1)
    lists = [_by_level(options, name, levels, depth) for name, depth in zip(names, depths, strict=True)]
    return [
        tuple(
            CrossCuboids(size=tuple(s), strategy=_strategy(way, names[1]), shift=tuple(roll), groups=groups)
            for s, way, roll, groups in _aligned(names[0], *level)
        )
        for level in zip(*lists, strict=True)
    ]


def _plain_stem(options: Mapping[str, Any]) -> tuple[StemStage, ...]:
    width, convs = _integer(options, "base_units"), _integer(options, "initial_downsample_conv_layers")
    channels = _integers(options, "input_shape", 4)[3]
    if convs == 0 and channels != width:
        raise ConfigError(
            f"initial_downsample_conv_layers=0 needs base_units={width} input channels, not {channels}"
        )
    factor = _factor(options["initial_downsample_scale"], "initial_downsample_scale")
    final = _integer(options, "final_upsample_conv_layers")
    return (StemStage(width=width, factor=factor, convs=convs, final_convs=final, groups=16),)


def _stacked_stem(options: Mapping[str, Any]) -> tuple[StemStage, ...]:
    prefix = "initial_downsample_stack_conv_"
    count = _integer(options, f"{prefix}num_layers")
    widths = options[f"{prefix}dim_list"]
    widths = [_integer(options, "base_units")] * count if widths is None else widths
    scales, convs = (_sequence(options, f"{prefix}{name}") for name in ("downscale_list", "num_conv_list"))
    if count < 1 or not len(widths) == len(scales) == len(convs) == count:
        raise ConfigError(
            f"{prefix}num_layers={count}: dim_list={widths}, downscale_list={scales} and "
            f"num_conv_list={convs} must list as many stages"
        )
    return tuple(
        StemStage(width=w, factor=_factor(s, f"{prefix}downscale_list"), convs=n, groups=max(1, w // 4))
        for w, s, n in zip(widths, scales, convs, strict=True)
    )


def _global_vectors(options: Mapping[str, Any]) -> GlobalOptions:
    return GlobalOptions(
        count=_integer(options, "num_global_vectors"),
        layer=GlobalVectors(
            separate=bool(options["separate_global_qkv"]),
            self_attention=bool(options["use_global_self_attn"]),
            ratio=_integer(options, "global_dim_ratio"),
        ),
        decoder_self=bool(options["use_dec_self_global"]),
        decoder_update=bool(options["dec_self_update_global"]),
        decoder_cross=bool(options["use_dec_cross_global"]),
        feed_forward=bool(options["use_global_vector_ffn"]),
    )

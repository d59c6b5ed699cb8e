"""The constructor arguments of the published Earthformer, read into an `EarthformerConfig`.

What the published code offers and this library does not carry is refused by name.
"""

from collections.abc import Mapping
from typing import Any

from geoscope.errors import ConfigError
from geoscope.models.earthformer.config import Dropout, EarthformerConfig, GlobalOptions, StemStage
from geoscope.nn.cuboid_cross_attention import CrossCuboids
from geoscope.nn.cuboid_self_attention import GlobalVectors
from geoscope.nn.published_arguments import (
    aligned,
    by_level,
    factor_argument,
    integer,
    integers,
    patterns,
    self_cuboids_by_level,
    sequence,
    strategy_argument,
    with_defaults,
)

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


def config_from_published(kwargs: Mapping[str, Any] | str) -> tuple[EarthformerConfig, bool]:
    """Our config for the published arguments, and whether the stem is of the published kind "stack_conv".

    Raises:
        ConfigError: an unknown or missing argument, a value that cannot work or is not carried.
    """
    options = with_defaults(kwargs, DEFAULTS, REQUIRED, CARRIED, "Earthformer")
    levels = len(sequence(options, "enc_depth"))
    is_stacked = options["initial_downsample_type"] == "stack_conv"
    config = EarthformerConfig(
        input_shape=integers(options, "input_shape", 4),
        target_shape=integers(options, "target_shape", 4),
        base_width=integer(options, "base_units"),
        widths=None if options["block_units"] is None else integers(options, "block_units", levels),
        heads=integer(options, "num_heads"),
        encoder_depth=integers(options, "enc_depth"),
        decoder_depth=integers(options, "dec_depth"),
        encoder_attention=patterns(options, "enc_attn_patterns", levels, _encoder_cuboids),
        decoder_attention=patterns(options, "dec_self_attn_patterns", levels, _decoder_cuboids),
        cross_attention=patterns(options, "dec_cross_attn_patterns", levels, _cross_cuboids),
        cross_start=integer(options, "dec_cross_start"),
        cross_last_frames=options["dec_cross_last_n_frames"],
        first_self_attention=bool(options["dec_use_first_self_attn"]),
        downsample=factor_argument(options["downsample"], "downsample"),
        upsample_kernel=integer(options, "upsample_kernel_size"),
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


def _encoder_cuboids(options: Mapping[str, Any], levels: int) -> list:
    return self_cuboids_by_level(options, levels, "enc_cuboid_size", "enc_cuboid_strategy", "enc_shift_size")


def _decoder_cuboids(options: Mapping[str, Any], levels: int) -> list:
    names = ("dec_self_cuboid_size", "dec_self_cuboid_strategy", "dec_self_shift_size")
    return self_cuboids_by_level(options, levels, *names)


def _cross_cuboids(options: Mapping[str, Any], levels: int) -> list:
    names = ("dec_cross_cuboid_hw", "dec_cross_cuboid_strategy", "dec_cross_shift_hw", "dec_cross_n_temporal")
    depths = (2, 2, 2, 1)
    lists = [by_level(options, name, levels, depth) for name, depth in zip(names, depths, strict=True)]
    return [
        tuple(
            CrossCuboids(
                size=tuple(s), strategy=strategy_argument(way, names[1]), shift=tuple(roll), groups=groups
            )
            for s, way, roll, groups in aligned(names[0], *level)
        )
        for level in zip(*lists, strict=True)
    ]


def _plain_stem(options: Mapping[str, Any]) -> tuple[StemStage, ...]:
    width, convs = integer(options, "base_units"), integer(options, "initial_downsample_conv_layers")
    channels = integers(options, "input_shape", 4)[3]
    if convs == 0 and channels != width:
        raise ConfigError(
            f"initial_downsample_conv_layers=0 needs base_units={width} input channels, not {channels}"
        )
    factor = factor_argument(options["initial_downsample_scale"], "initial_downsample_scale")
    final = integer(options, "final_upsample_conv_layers")
    return (StemStage(width=width, factor=factor, convs=convs, final_convs=final, groups=16),)


def _stacked_stem(options: Mapping[str, Any]) -> tuple[StemStage, ...]:
    prefix = "initial_downsample_stack_conv_"
    count = integer(options, f"{prefix}num_layers")
    widths = options[f"{prefix}dim_list"]
    widths = [integer(options, "base_units")] * count if widths is None else widths
    scales, convs = (sequence(options, f"{prefix}{name}") for name in ("downscale_list", "num_conv_list"))
    if count < 1 or not len(widths) == len(scales) == len(convs) == count:
        raise ConfigError(
            f"{prefix}num_layers={count}: dim_list={widths}, downscale_list={scales} and "
            f"num_conv_list={convs} must list as many stages"
        )
    return tuple(
        StemStage(
            width=w, factor=factor_argument(s, f"{prefix}downscale_list"), convs=n, groups=max(1, w // 4)
        )
        for w, s, n in zip(widths, scales, convs, strict=True)
    )


def _global_vectors(options: Mapping[str, Any]) -> GlobalOptions:
    return GlobalOptions(
        count=integer(options, "num_global_vectors"),
        layer=GlobalVectors(
            separate=bool(options["separate_global_qkv"]),
            self_attention=bool(options["use_global_self_attn"]),
            ratio=integer(options, "global_dim_ratio"),
        ),
        decoder_self=bool(options["use_dec_self_global"]),
        decoder_update=bool(options["dec_self_update_global"]),
        decoder_cross=bool(options["use_dec_cross_global"]),
        feed_forward=bool(options["use_global_vector_ffn"]),
    )

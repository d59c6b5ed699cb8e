"""The constructor arguments of PreDiff's published networks, read into this library's configs.

What the published code offers and this library does not carry is refused by name. Source: facts about
gaozhihan/PreDiff at 0703a61 (Apache-2.0); no code of it is used.
"""

from collections.abc import Mapping
from typing import Any

from geoscope.errors import ConfigError
from geoscope.models.prediff.config import AlignmentConfig, AutoencoderConfig, DenoiserConfig
from geoscope.nn.cuboid_self_attention import GlobalVectors
from geoscope.nn.published_arguments import (
    factor_argument,
    integer,
    integers,
    patterns,
    self_cuboids_by_level,
    sequence,
    with_defaults,
)

AUTOENCODER_DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,
    "scaling_factor": 0.18215,
}
_BODY_DEFAULTS: dict[str, Any] = {
    "base_units": 128,
    "block_units": None,
    "scale_alpha": 1.0,
    "depth": [4, 4, 4],
    "downsample": 2,
    "downsample_type": "patch_merge",
    "block_attn_patterns": None,
    "block_cuboid_size": [[4, 4, 4], [4, 4, 4]],
    "block_cuboid_strategy": [["l", "l", "l"], ["d", "d", "d"]],
    "block_cuboid_shift_size": [[0, 0, 0], [0, 0, 0]],
    "num_heads": 4,
    "attn_drop": 0.0,
    "proj_drop": 0.0,
    "ffn_drop": 0.0,
    "gated_ffn": False,
    "norm_layer": "layer_norm",
    "use_inter_ffn": True,
    "hierarchical_pos_embed": False,
    "pos_embed_type": "t+h+w",
    "checkpoint_level": True,
    "use_relative_pos": True,
    "self_attn_use_final_proj": True,
    "use_global_vector_ffn": True,
    "use_global_self_attn": False,
    "separate_global_qkv": False,
    "global_dim_ratio": 1,
    "attn_linear_init_mode": "0",
    "ffn_linear_init_mode": "0",
    "ffn2_linear_init_mode": "2",
    "attn_proj_linear_init_mode": "2",
    "conv_init_mode": "0",
    "down_linear_init_mode": "0",
    "global_proj_linear_init_mode": "2",
    "norm_init_mode": "0",
    "time_embed_channels_mult": 4,
    "time_embed_use_scale_shift_norm": False,
    "time_embed_dropout": 0.0,
}
DENOISER_DEFAULTS: dict[str, Any] = _BODY_DEFAULTS | {
    "upsample_type": "upsample",
    "upsample_kernel_size": 3,
    "ffn_activation": "leaky",
    "padding_type": "ignore",
    "num_global_vectors": 0,
    "up_linear_init_mode": "0",
    "unet_res_connect": True,
}
ALIGNMENT_DEFAULTS: dict[str, Any] = _BODY_DEFAULTS | {
    "out_channels": 1,
    "ffn_activation": "gelu",
    "padding_type": "zeros",
    "num_global_vectors": 0,
    "pool": "attention",
    "readout_seq": True,
    "out_len": None,
}

# The values that are carried, for arguments of which the published code knows more.
_BODY_CARRIED: dict[str, tuple[Any, ...]] = {
    "downsample_type": ("patch_merge",),
    "norm_layer": ("layer_norm",),
    "hierarchical_pos_embed": (False,),
    "pos_embed_type": ("t+h+w", "t+hw"),
    "padding_type": ("zeros", "ignore"),
    "checkpoint_level": (0, 1, 2),
    "attn_linear_init_mode": ("0", "1"),
    "ffn_linear_init_mode": ("0", "1"),
    "ffn2_linear_init_mode": ("2",),
    "attn_proj_linear_init_mode": ("2",),
    "conv_init_mode": ("0",),
    "down_linear_init_mode": ("0", "1"),
    "global_proj_linear_init_mode": ("2",),
    "norm_init_mode": ("0",),
}
AUTOENCODER_CARRIED: dict[str, tuple[Any, ...]] = {"act_fn": ("silu", "swish")}
DENOISER_CARRIED = _BODY_CARRIED | {"upsample_type": ("upsample",), "up_linear_init_mode": ("0",)}
ALIGNMENT_CARRIED = _BODY_CARRIED | {"pool": ("attention",)}


def autoencoder_config(kwargs: Mapping[str, Any] | str) -> AutoencoderConfig:
    """Our config for the arguments of the published `AutoencoderKL`; ``sample_size`` and ``scaling_factor`` do nothing.

    Raises:
        ConfigError: an unknown argument, a value that cannot work or is not carried.
    """
    options = with_defaults(kwargs, AUTOENCODER_DEFAULTS, (), AUTOENCODER_CARRIED, "AutoencoderKL")
    widths = integers(options, "block_out_channels")
    for name, kind in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        kinds = sequence(options, name)
        if len(kinds) != len(widths) or any(each != kind for each in kinds):
            raise ConfigError(
                f"{name}={kinds} is not carried by geoscope: only {kind!r} for each of {len(widths)} levels"
            )
    return AutoencoderConfig(
        channels=integer(options, "in_channels"),
        out_channels=integer(options, "out_channels"),
        widths=widths,
        blocks=integer(options, "layers_per_block"),
        latent_channels=integer(options, "latent_channels"),
        groups=integer(options, "norm_num_groups"),
    )


def denoiser_config(kwargs: Mapping[str, Any] | str) -> DenoiserConfig:
    """Our config for the arguments of the published `CuboidTransformerUNet`.

    Raises:
        ConfigError: an unknown or missing argument, a value that cannot work or is not carried.
    """
    required = ("input_shape", "target_shape")
    network = "CuboidTransformerUNet"
    options = with_defaults(kwargs, DENOISER_DEFAULTS, required, DENOISER_CARRIED, network)
    return DenoiserConfig(
        input_shape=integers(options, "input_shape", 4),
        target_shape=integers(options, "target_shape", 4),
        upsample_kernel=integer(options, "upsample_kernel_size"),
        skips=bool(options["unet_res_connect"]),
        **_body(options),
    )


def alignment_config(kwargs: Mapping[str, Any] | str) -> AlignmentConfig:
    """Our config for the arguments of the published `NoisyCuboidTransformerEncoder`.

    Raises:
        ConfigError: an unknown or missing argument, a value that cannot work or is not carried.
    """
    network = "NoisyCuboidTransformerEncoder"
    options = with_defaults(kwargs, ALIGNMENT_DEFAULTS, ("input_shape",), ALIGNMENT_CARRIED, network)
    by_frame = bool(options["readout_seq"])
    return AlignmentConfig(
        shape=integers(options, "input_shape", 4),
        out_channels=integer(options, "out_channels"),
        readout="frames" if by_frame else "volume",
        last_frames=integer(options, "out_len") if by_frame and options["out_len"] is not None else None,
        **_body(options),
    )


def _body(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the configs of both networks share."""
    levels = len(sequence(options, "depth"))
    # False is the published default for none.
    vectors = 0 if options["num_global_vectors"] is False else integer(options, "num_global_vectors")
    return {
        "base_width": integer(options, "base_units"),
        "widths": None if options["block_units"] is None else integers(options, "block_units", levels),
        "width_power": _power(options["scale_alpha"]),
        "heads": integer(options, "num_heads"),
        "depth": integers(options, "depth"),
        "attention": patterns(options, "block_attn_patterns", levels, _cuboids),
        "downsample": factor_argument(options["downsample"], "downsample"),
        "global_vectors": vectors,
        "global_layer": _global_layer(options) if vectors else None,
        "global_feed_forward": bool(options["use_global_vector_ffn"]),
        "activation": options["ffn_activation"],
        "gated": bool(options["gated_ffn"]),
        "feed_forward_after_each": bool(options["use_inter_ffn"]),
        "attention_dropout": options["attn_drop"],
        "projection_dropout": options["proj_drop"],
        "feed_forward_dropout": options["ffn_drop"],
        "residual_dropout": options["time_embed_dropout"],
        "padding": options["padding_type"],
        "positions": options["pos_embed_type"],
        "relative_positions": bool(options["use_relative_pos"]),
        "final_projection": bool(options["self_attn_use_final_proj"]),
        "time_width": integer(options, "time_embed_channels_mult"),
        "scale_and_shift": bool(options["time_embed_use_scale_shift_norm"]),
        "attention_init": options["attn_linear_init_mode"],
        "feed_forward_init": options["ffn_linear_init_mode"],
        "resampling_init": options["down_linear_init_mode"],
        "match_published": True,
    }


def _power(value: Any) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"scale_alpha={value!r}: expected a number")
    return float(value)


def _cuboids(options: Mapping[str, Any], levels: int) -> list:
    names = ("block_cuboid_size", "block_cuboid_strategy", "block_cuboid_shift_size")
    return self_cuboids_by_level(options, levels, *names)


def _global_layer(options: Mapping[str, Any]) -> GlobalVectors:
    return GlobalVectors(
        separate=bool(options["separate_global_qkv"]),
        self_attention=bool(options["use_global_self_attn"]),
        ratio=integer(options, "global_dim_ratio"),
    )

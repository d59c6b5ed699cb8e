"""Published Earthformer checkpoints, brought into this library's model.

Published constructor arguments become an `EarthformerConfig`, published state-dict keys this library's
names. Loading is strict (`geoscope.nn.published_layers`).

Source: facts about amazon-science/earth-forecasting-transformer at 7732b03 (Apache-2.0); no code of it is
used.
"""

import re
from collections.abc import Mapping
from typing import Any

from geoscope.models.earthformer.config import EarthformerConfig
from geoscope.models.earthformer.model import Earthformer
from geoscope.models.earthformer.published import config_from_published
from geoscope.nn.published_layers import (
    INDEX_NAME,
    index_maps,
    load_strictly,
    published_layer_name,
    without_prefix,
)

_MODEL_RULES = (
    (r"^global_vectors$", "init_global_vectors"),
    (r"^output\.", "dec_final_proj."),
    (r"^state_projection\.", "z_proj."),
    (r"^encoder_positions\.", "enc_pos_embed."),
    (r"^decoder_positions\.", "dec_pos_embed."),
    (r"pos_embed\.time\.", "pos_embed.T_embed."),
    (r"pos_embed\.rows\.", "pos_embed.H_embed."),
    (r"pos_embed\.columns\.", "pos_embed.W_embed."),
    (r"pos_embed\.pixels\.", "pos_embed.HW_embed."),
    (r"^encoder\.levels\.", "encoder.blocks."),
    (r"^encoder\.merges\.", "encoder.down_layers."),
    (r"^encoder\.global_merges\.", "encoder.down_layer_global_proj."),
    (r"^decoder\.self_levels\.", "decoder.self_blocks."),
    (r"^decoder\.upsamples\.", "decoder.upsample_layers."),
    (r"\.reduce\.weight$", ".reduction.weight"),
)


def _published_resampling_name(name: str, *, is_stacked: bool) -> str | None:
    """The published name of a parameter of the stem or the head, or None when it is of neither."""
    match = re.fullmatch(r"(stem|head)\.(convs|merges|upsamples)\.(\d+)\.(.*)", name)
    if match is None:
        return None
    room = {"stem": "initial_encoder", "head": "final_decoder"}[match[1]]
    part = {"convs": "conv_block", "merges": "patch_merge", "upsamples": "upsample"}[match[2]]
    prefix = f"{room}.{part}_list.{match[3]}" if is_stacked else f"{room}.{part}"
    inner = re.fullmatch(r"(convs|norms)\.(\d+)\.(.*)", match[4])
    if inner is None:
        return f"{prefix}.{match[4].replace('reduce.', 'reduction.')}"
    place = 3 * int(inner[2]) + (inner[1] == "norms")  # conv, norm, activation, conv, ...
    return f"{prefix}.{place}.{inner[3]}"


def published_name(name: str, config: EarthformerConfig, *, is_stacked: bool) -> str:
    """The published state-dict key of our parameter ``name``; ``is_stacked`` is the kind of its stem."""
    resampling = _published_resampling_name(name, is_stacked=is_stacked)
    if resampling is not None:
        return resampling
    cross = re.match(r"decoder\.cross_levels\.(\d+)\.", name)
    if cross is not None:
        name = f"decoder.cross_blocks.{int(cross[1]) - config.cross_start}.{name[cross.end() :]}"
    for ours, theirs in _MODEL_RULES:
        name = re.sub(ours, theirs, name)
    return published_layer_name(name)


def from_published(kwargs: Mapping[str, Any] | str, state_dict: Mapping[str, Any]) -> Earthformer:
    """The published `CuboidTransformerModel(**kwargs)` with its weights, as our model in eval mode.

    ``kwargs`` may be JSON text, its tuples lists, and may leave out arguments (the published defaults apply).
    ``state_dict`` may be flat, with the prefix of Lightning checkpoints, or such a checkpoint itself.
    The model maps (B, T, H, W, C) to (B, T', H, W, C').

    Raises:
        ConfigError: an unknown argument, or an option of the published code that is not carried here.
        WeightsError: the state dict does not fit, see `load_strictly`.
    """
    config, is_stacked = config_from_published(kwargs)
    model = Earthformer(config)

    def theirs(name: str) -> str:
        return published_name(name, config, is_stacked=is_stacked)

    names = {name: theirs(name) for name, _ in model.named_parameters()}
    maps = {theirs(f"{name}.") + INDEX_NAME: index for name, index in index_maps(model).items()}
    load_strictly(model, without_prefix(state_dict), names, maps)
    return model.eval()

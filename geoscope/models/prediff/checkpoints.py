"""PreDiff's published checkpoints, brought into this library's networks.

Published constructor arguments become configs (`published`), published state-dict keys this library's names. Loading
is strict (`geoscope.nn.published_layers`). A state dict may be flat, or stand in a Lightning checkpoint: the network
under ``torch_nn_module.``, its running mean under ``model_ema.`` with the dots of the names removed, the autoencoder
under ``first_stage_model.`` and again under ``cond_stage_model.``, the alignment network under ``alignment_model.``.

Source: facts about gaozhihan/PreDiff at 0703a61 (Apache-2.0); no code of it is used.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from geoscope.errors import WeightsError
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.models.prediff.published import alignment_config, autoencoder_config, denoiser_config
from geoscope.nn.published_layers import (
    INDEX_NAME,
    LIGHTNING_PREFIX,
    index_maps,
    load_strictly,
    published_layer_name,
)

EMA_PREFIX = "model_ema."
FIRST_STAGE_PREFIX = "first_stage_model."
ALIGNMENT_PREFIX = "alignment_model."
# What else a Lightning checkpoint of PreDiff holds; none of it belongs to a network.
_BESIDE = ("logvar", "betas", "lvlb_weights", "scale_factor", "cond_ids")
_BESIDE_PREFIXES = (
    *(EMA_PREFIX, FIRST_STAGE_PREFIX, "cond_stage_model.", ALIGNMENT_PREFIX, "loss."),
    *("alphas_", "sqrt_", "log_one_minus_", "posterior_"),
)

# Ours on the left, the published name on the right; every rule is tried, in this order.
_AUTOENCODER_RULES = (
    (r"^to_moments\.", "quant_conv."),
    (r"^from_latent\.", "post_quant_conv."),
    (r"^(encoder|decoder)\.first\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.norm\.", r"\1.conv_norm_out."),
    (r"^(encoder|decoder)\.last\.", r"\1.conv_out."),
    (r"\.middle\.before\.", ".mid_block.resnets.0."),
    (r"\.middle\.after\.", ".mid_block.resnets.1."),
    (r"\.middle\.attention\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.middle\.attention\.projection\.", ".mid_block.attentions.0.proj_attn."),
    (r"\.middle\.attention\.", ".mid_block.attentions.0."),
    (r"^encoder\.levels\.", "encoder.down_blocks."),
    (r"^decoder\.levels\.", "decoder.up_blocks."),
    (r"\.blocks\.", ".resnets."),
    (r"\.change\.conv\.", ".downsamplers.0.conv."),
    (r"\.change\.upsample\.", ".upsamplers.0."),
    (r"\.shortcut\.", ".conv_shortcut."),
)
_BODY_RULES = (
    (r"^body\.global_vectors$", "init_global_vectors"),
    (r"^body\.stem\.", "first_proj."),
    (r"^body\.positions\.time\.", "pos_embed.T_embed."),
    (r"^body\.positions\.rows\.", "pos_embed.H_embed."),
    (r"^body\.positions\.columns\.", "pos_embed.W_embed."),
    (r"^body\.positions\.pixels\.", "pos_embed.HW_embed."),
    (r"^body\.time\.expand\.", "time_embed.layer.0."),
    (r"^body\.time\.mix\.", "time_embed.layer.2."),
    (r"^body\.merges\.(\d+)\.reduce\.", r"downsample_layers.\1.reduction."),
    (r"^body\.merges\.", "downsample_layers."),
    (r"^body\.global_merges\.", "down_layer_global_proj."),
    (r"^body\.levels\.times\.", "down_time_embed_blocks."),
    (r"^body\.levels\.blocks\.", "down_self_blocks."),
    (r"^levels\.times\.", "up_time_embed_blocks."),
    (r"^levels\.blocks\.", "up_self_blocks."),
    (r"^upsamples\.", "upsample_layers."),
    (r"^global_upsamples\.", "up_layer_global_proj."),
    (r"^output\.", "final_proj."),
    (r"^norm\.", "out.0."),
    (r"^pool\.positions$", "out.2.positional_embedding"),
    (r"^pool\.qkv\.", "out.2.qkv_proj."),
    (r"^pool\.projection\.", "out.2.c_proj."),
)
_RESIDUAL_RULES = (
    (r"^(first_proj|\w+_time_embed_blocks\.\d+)\.norm1\.", r"\1.in_layers.0."),
    (r"^(first_proj|\w+_time_embed_blocks\.\d+)\.conv1\.", r"\1.in_layers.2."),
    (r"^(first_proj|\w+_time_embed_blocks\.\d+)\.time\.", r"\1.emb_layers.1."),
    (r"^(first_proj|\w+_time_embed_blocks\.\d+)\.norm2\.", r"\1.out_layers.0."),
    (r"^(first_proj|\w+_time_embed_blocks\.\d+)\.conv2\.", r"\1.out_layers.3."),
    (r"^(first_proj|\w+_time_embed_blocks\.\d+)\.shortcut\.", r"\1.skip_connection."),
)


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for ours, theirs in rules:
        name = re.sub(ours, theirs, name)
    return name


def published_autoencoder_name(name: str) -> str:
    """The published state-dict key of a parameter of `FrameAutoencoder`."""
    return _renamed(name, _AUTOENCODER_RULES)


def published_name(name: str) -> str:
    """The published state-dict key of a parameter of `LatentDenoiser` or `AlignmentNetwork`."""
    return published_layer_name(_renamed(_renamed(name, _BODY_RULES), _RESIDUAL_RULES))


def autoencoder_from_published(
    kwargs: Mapping[str, Any] | str, state_dict: Mapping[str, Any]
) -> FrameAutoencoder:
    """The published `AutoencoderKL(**kwargs)` with its weights, as our network in eval mode.

    ``kwargs`` may be JSON text and may leave out arguments (the published defaults apply). ``state_dict`` may be
    flat, or a Lightning checkpoint of the autoencoder or of the whole latent diffusion.

    Raises:
        ConfigError: an unknown argument, or an option of the published code that is not carried here.
        WeightsError: the state dict does not fit, see `load_strictly`.
    """
    model = FrameAutoencoder(autoencoder_config(kwargs))
    names = {name: published_autoencoder_name(name) for name, _ in model.named_parameters()}
    load_strictly(model, _network_state(state_dict, FIRST_STAGE_PREFIX), names, {})
    return model.eval()


def denoiser_from_published(
    kwargs: Mapping[str, Any] | str, state_dict: Mapping[str, Any], *, ema: bool = False
) -> LatentDenoiser:
    """The published `CuboidTransformerUNet(**kwargs)` with its weights, as our network in eval mode.

    ``kwargs`` and ``state_dict`` as for `autoencoder_from_published`. ``ema`` takes the running mean of the weights
    out of a Lightning checkpoint; the published sampling and exports never used it.

    Raises:
        ConfigError: an unknown argument, or an option of the published code that is not carried here.
        WeightsError: the state dict does not fit, or has no running mean where one is asked for.
    """
    model = LatentDenoiser(denoiser_config(kwargs))
    _load_body(model, state_dict, None, ema=ema)
    return model.eval()


def alignment_from_published(
    kwargs: Mapping[str, Any] | str, state_dict: Mapping[str, Any], *, ema: bool = False
) -> AlignmentNetwork:
    """The published `NoisyCuboidTransformerEncoder(**kwargs)` with its weights, as our network in eval mode.

    ``kwargs``, ``state_dict`` and ``ema`` as for `denoiser_from_published`.

    Raises:
        ConfigError: an unknown argument, or an option of the published code that is not carried here.
        WeightsError: the state dict does not fit, or has no running mean where one is asked for.
    """
    model = AlignmentNetwork(alignment_config(kwargs))
    _load_body(model, state_dict, ALIGNMENT_PREFIX, ema=ema)
    return model.eval()


def _load_body(model: nn.Module, state_dict: Mapping[str, Any], prefix: str | None, *, ema: bool) -> None:
    names = {name: published_name(name) for name, _ in model.named_parameters()}
    maps = {published_name(f"{name}.") + INDEX_NAME: index for name, index in index_maps(model).items()}
    state = _ema_state(state_dict, names.values()) if ema else _network_state(state_dict, prefix)
    load_strictly(model, state, names, maps)


def _flat(state: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = state.get("state_dict")
    return inner if isinstance(inner, Mapping) else state


def _network_state(state: Mapping[str, Any], prefix: str | None) -> dict[str, Any]:
    """The state dict of one network: what stands under ``prefix``, else under Lightning's, else all.

    Beside a prefix only what a checkpoint of PreDiff is known to hold is passed over.
    """
    state = _flat(state)
    if prefix is not None and any(key.startswith(prefix) for key in state):
        inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        return {key.removeprefix(LIGHTNING_PREFIX): value for key, value in inner.items()}
    if any(key.startswith(LIGHTNING_PREFIX) for key in state):
        return {
            key.removeprefix(LIGHTNING_PREFIX): value for key, value in state.items() if not _is_beside(key)
        }
    return dict(state)


def _is_beside(key: str) -> bool:
    return key in _BESIDE or key.startswith(_BESIDE_PREFIXES)


def _ema_state(state: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The running mean of the weights, under the published ``names`` of the parameters."""
    state = _flat(state)
    means = {
        key.removeprefix(EMA_PREFIX): value for key, value in state.items() if key.startswith(EMA_PREFIX)
    }
    if not means:
        raise WeightsError(
            f"ema=True and no key begins with {EMA_PREFIX!r}: only Lightning checkpoints hold a running mean, "
            "give one or ema=False"
        )
    for counter in ("decay", "num_updates"):
        means.pop(counter, None)
    full = {name.replace(".", ""): name for name in names}
    return {full.get(key, f"{EMA_PREFIX}{key}"): value for key, value in means.items()}

"""Published names of the layers that models of cuboid attention share, and strict loading of state dicts.

Loading is strict: no missing key, no unexpected one. Only the integer index maps (`relative_position_index`) may be
absent, since they follow from the configuration; where present they are checked.

Source: facts about amazon-science/earth-forecasting-transformer at 7732b03 (Apache-2.0); no code of it is
used.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from geoscope.errors import WeightsError
from geoscope.nn.cuboid_cross_attention import CuboidCrossAttention
from geoscope.nn.cuboid_self_attention import CuboidSelfAttention
from geoscope.ops.cuboid_attention.positions import relative_position_index

LIGHTNING_PREFIX = "torch_nn_module."
INDEX_NAME = "relative_position_index"

# Ours on the left, the published name on the right; every rule is tried, in this order.
_LAYER_RULES = (
    (r"\battentions\.(\d+)\.globals\.norm\.", r"attn_l.\1.global_vec_norm."),
    (r"\battentions\.(\d+)\.globals\.local_query\.", r"attn_l.\1.l2g_q_net."),
    (r"\battentions\.(\d+)\.globals\.key_value\.", r"attn_l.\1.l2g_global_kv_net."),
    (r"\battentions\.(\d+)\.globals\.query\.", r"attn_l.\1.g2l_global_q_net."),
    (r"\battentions\.(\d+)\.globals\.local_key\.", r"attn_l.\1.g2l_k_net."),
    (r"\battentions\.(\d+)\.globals\.local_value\.", r"attn_l.\1.g2l_v_net."),
    (r"\battentions\.(\d+)\.globals\.self_qkv\.", r"attn_l.\1.g2g_global_qkv_net."),
    (r"\battentions\.(\d+)\.globals\.qkv\.", r"attn_l.\1.global_qkv."),
    (r"\battentions\.(\d+)\.globals\.projection\.", r"attn_l.\1.global_proj."),
    (r"\battentions\.(\d+)\.bias_table$", r"attn_l.\1.relative_position_bias_table"),
    (r"\battentions\.(\d+)\.projection\.", r"attn_l.\1.proj."),
    (r"\battentions\.(\d+)\.query\.", r"attn_l.\1.q_proj."),
    (r"\battentions\.(\d+)\.key_value\.", r"attn_l.\1.kv_proj."),
    (r"\battentions\.(\d+)\.global_query\.", r"attn_l.\1.l2g_q_net."),
    (r"\battentions\.(\d+)\.global_key_value\.", r"attn_l.\1.l2g_global_kv_net."),
    (r"\battentions\.", "attn_l."),
    (r"\bglobal_feed_forwards\.", "global_ffn_l."),
    (r"\bfeed_forwards\.", "ffn_l."),
    (r"ffn_l\.(\d+)\.expand\.", r"ffn_l.\1.ffn_1."),
    (r"ffn_l\.(\d+)\.gate\.", r"ffn_l.\1.ffn_1_gate."),
    (r"ffn_l\.(\d+)\.contract\.", r"ffn_l.\1.ffn_2."),
    (r"ffn_l\.(\d+)\.norm\.", r"ffn_l.\1.layer_norm."),
)


def published_layer_name(name: str) -> str:
    """The published name of a parameter inside a block of attentions and feed-forwards."""
    for ours, theirs in _LAYER_RULES:
        name = re.sub(ours, theirs, name)
    return name


def index_maps(model: nn.Module) -> dict[str, Tensor]:
    """The index map of each attention with relative positions, by our name of the attention."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, CuboidSelfAttention) and layer.bias_table is not None:
            found[name] = relative_position_index(layer.cuboids.size)
        elif isinstance(layer, CuboidCrossAttention) and layer.bias_table is not None:
            found[name] = relative_position_index(layer.table_size)
    return found


def without_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
    """The flat state dict of the network, taken out of a Lightning checkpoint where it is one."""
    inner = state.get("state_dict")
    if isinstance(inner, Mapping):
        state = inner
    return {key.removeprefix(LIGHTNING_PREFIX): value for key, value in state.items()}


def load_strictly(
    model: nn.Module, state: Mapping[str, Any], names: Mapping[str, str], maps: Mapping[str, Tensor]
) -> None:
    """Fill ``model`` from a published state dict.

    ``names`` has the published key of each of our parameters, ``maps`` the index map of each key that may be
    there.

    Raises:
        WeightsError: a missing or unexpected key, a wrong shape, a value that is no tensor, another index
        map.
    """
    missing = [theirs for theirs in names.values() if theirs not in state]
    unexpected = [key for key in state if key not in set(names.values()) and key not in maps]
    if missing or unexpected:
        raise WeightsError(
            f"the state dict does not belong to this configuration: missing {_listed(missing)}; "
            f"unexpected {_listed(unexpected)}"
        )
    own = dict(model.named_parameters())
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise WeightsError(f"{key} is a {type(value).__name__}: expected a tensor")
    for ours, theirs in names.items():
        if own[ours].shape != state[theirs].shape:
            raise WeightsError(
                f"{theirs} has shape {tuple(state[theirs].shape)}: expected {tuple(own[ours].shape)}"
            )
        if not state[theirs].is_floating_point():
            raise WeightsError(f"{theirs} holds {state[theirs].dtype}: expected floating-point weights")
    for key, expected in maps.items():
        if key in state and not torch.equal(state[key].cpu().long(), expected.cpu()):
            raise WeightsError(
                f"{key} is not the index map of this configuration: other cuboid sizes were used"
            )
    if any(state[theirs].dtype == torch.float64 for theirs in names.values()):
        model.double()
    model.load_state_dict({ours: state[theirs] for ours, theirs in names.items()}, strict=True)


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:8])
    return f"{shown} and {len(keys) - 8} more" if len(keys) > 8 else shown or "none"

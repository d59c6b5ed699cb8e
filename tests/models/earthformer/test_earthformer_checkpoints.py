"""Published checkpoints: names one to one, strict loading, and every refusal."""

import ast
import json

import pytest
import torch

from geoscope.errors import ConfigError, WeightsError
from geoscope.models.earthformer import presets
from geoscope.models.earthformer.checkpoints import from_published
from geoscope.models.earthformer.model import Earthformer
from geoscope.models.earthformer.published import config_from_published
from tests.models.earthformer.oracle import GOLDEN, read_case

PUBLISHED = {
    "sevir": (presets.earthformer_sevir, 8_659_677),
    "sevirlr": (presets.earthformer_sevir_lr, 1_505_069),
    "enso": (presets.earthformer_enso, 1_394_325),
    "nbody": (presets.earthformer_nbody, 6_702_109),
}


@pytest.fixture
def small() -> dict:
    """A small published model: its arguments and its weights."""
    return read_case(GOLDEN / "model_variant_single_level.pt")


def changed(kwargs: dict, **changes) -> dict:
    return kwargs | changes


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_as_many_parameters_as_the_published_model(name):
    preset, count = PUBLISHED[name]
    assert sum(p.numel() for p in Earthformer(preset()).parameters()) == count


def read_keys(path):
    """(name, shape, kind) of each line of a key file."""
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, shape, _, kind = line.split("\t")
            yield name, ast.literal_eval(shape), kind


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_keys_load_one_to_one(shared, name):
    kwargs = json.loads((shared / "facts" / f"earthformer_{name}_kwargs.json").read_text())
    generator = torch.Generator().manual_seed(0)
    keys = list(read_keys(shared / "facts" / f"earthformer_{name}_keys.txt"))
    state = {key: torch.randn(shape, generator=generator) for key, shape, kind in keys if kind == "param"}
    model = from_published(kwargs, state)
    assert not model.training
    theirs = sorted(value.double().sum().item() for value in state.values())
    ours = sorted(value.double().sum().item() for value in model.state_dict().values())
    assert ours == theirs
    maps = {key: torch.zeros(shape, dtype=torch.int64) for key, shape, kind in keys if kind == "buffer"}
    with pytest.raises(WeightsError, match="is not the index map of this configuration"):
        from_published(kwargs, state | maps)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_is_the_published_configuration(shared, name):
    kwargs = json.loads((shared / "facts" / f"earthformer_{name}_kwargs.json").read_text())
    published, _ = config_from_published(kwargs)
    preset = PUBLISHED[name][0]()
    assert published.levels == preset.levels
    for field in ("input_shape", "target_shape", "stages", "global_vectors", "dropout", "positions", "heads"):
        assert getattr(published, field) == getattr(preset, field), field


def test_weights_load_from_json_text_and_from_a_lightning_checkpoint(small):
    plain = from_published(small["kwargs"], small["params"]).state_dict()
    prefixed = {f"torch_nn_module.{key}": value for key, value in small["params"].items()}
    for state in (prefixed, {"state_dict": prefixed, "epoch": 3}):
        again = from_published(json.dumps(small["kwargs"]), state).state_dict()
        assert all(torch.equal(again[key], plain[key]) for key in plain)


def test_weights_in_double_precision_stay_in_double_precision(small):
    state = {key: value.double() + 1e-12 for key, value in small["params"].items()}
    model = from_published(small["kwargs"], state)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert torch.equal(model.state_dict()["output.bias"], state["dec_final_proj.bias"])


def test_index_maps_are_welcome_when_they_are_right(small):
    index = torch.tensor([[2, 1, 0], [3, 2, 1], [4, 3, 2]])
    key = "encoder.blocks.0.0.attn_l.0.relative_position_index"
    assert from_published(small["kwargs"], small["params"] | {key: index}) is not None
    with pytest.raises(WeightsError, match=r"attn_l\.0\.relative_position_index is not the index map"):
        from_published(small["kwargs"], small["params"] | {key: index.flip(0)})


def test_missing_and_unexpected_keys_are_named(small):
    state = dict(small["params"])
    state["surplus.weight"] = state.pop("z_proj.bias")
    with pytest.raises(WeightsError, match=r"missing z_proj\.bias; unexpected surplus\.weight"):
        from_published(small["kwargs"], state)


def test_many_missing_keys_are_counted(small):
    with pytest.raises(WeightsError, match=r"and \d+ more; unexpected none"):
        from_published(small["kwargs"], {})


def test_a_wrong_shape_is_named_with_both_shapes(small):
    state = small["params"] | {"z_proj.bias": torch.zeros(3)}
    with pytest.raises(WeightsError, match=r"z_proj\.bias has shape \(3,\): expected \(16,\)"):
        from_published(small["kwargs"], state)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([0.0] * 16, "z_proj.bias is a list"),
        (torch.zeros(16, dtype=torch.int64), "z_proj.bias holds torch.int64"),
    ],
)
def test_a_value_that_is_no_weight_is_named(small, value, message):
    with pytest.raises(WeightsError, match=message):
        from_published(small["kwargs"], small["params"] | {"z_proj.bias": value})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("padding_type", "nearest"),
        ("norm_layer", "rms_norm"),
        ("scale_alpha", 0.5),
        ("dec_hierarchical_pos_embed", True),
        ("downsample_type", "conv"),
        ("upsample_type", "conv_transpose"),
        ("initial_downsample_type", "none"),
        ("pos_embed_type", "t"),
        ("checkpoint_level", 3),
        ("z_init_method", "noise"),
        ("attn_linear_init_mode", "2"),
        ("conv_init_mode", "1"),
        ("ffn_activation", "swish"),
        ("initial_downsample_activation", "swish"),
        ("enc_attn_patterns", ["spiral"]),
        ("enc_attn_patterns", ["axial", "axial"]),
        ("dec_self_attn_patterns", ["last_frame_dst"]),
        ("dec_cross_attn_patterns", ["last_frame_dst"]),
        ("dec_cross_attn_patterns", ["cross_3x3"]),
        ("enc_depth", 2),
        ("input_shape", [3, 8, 8]),
        ("num_heads", "2"),
        ("num_heads", True),
        ("downsample", [2, 2]),
        ("block_units", [16, 32]),
        ("initial_downsample_conv_layers", 0),
        ("global_dim_ratio", 2),
        ("attn_drop", 1.5),
    ],
)
def test_what_is_not_carried_is_refused_by_name(small, argument, value):
    ours = {"ffn_activation": "activation", "initial_downsample_activation": "activation"}
    ours |= {"block_units": "block_units", "global_dim_ratio": "ratio", "attn_drop": "dropout"}
    ours |= {"enc_attn_patterns": "pattern", "dec_cross_attn_patterns": "pattern"}
    with pytest.raises(ConfigError, match=ours.get(argument, argument)):
        from_published(changed(small["kwargs"], **{argument: value}), small["params"])


def test_an_unknown_argument_is_refused_by_name(small):
    with pytest.raises(ConfigError, match="unknown argument windows"):
        from_published(changed(small["kwargs"], windows=3), small["params"])


def test_a_missing_shape_is_refused_by_name(small):
    kwargs = {key: value for key, value in small["kwargs"].items() if key != "target_shape"}
    with pytest.raises(ConfigError, match="argument target_shape is missing"):
        from_published(kwargs, small["params"])


def test_arguments_that_are_no_mapping_are_refused(small):
    with pytest.raises(ConfigError, match="are a list"):
        from_published("[1, 2]", small["params"])


def test_the_published_defaults_do_not_fit_together():
    # Three depths in the encoder and two in the decoder: the published constructor fails on them too.
    with pytest.raises(ConfigError, match="encoder_depth=\\(4, 4, 4\\) and decoder_depth=\\(2, 2\\)"):
        config_from_published({"input_shape": [4, 8, 8, 1], "target_shape": [4, 8, 8, 1]})


EXPLICIT = {
    "input_shape": [4, 8, 8, 1],
    "target_shape": [3, 8, 8, 1],
    "base_units": 16,
    "enc_depth": [1, 1],
    "dec_depth": [1, 1],
}


def test_explicit_lists_apply_to_every_level_or_to_each():
    config, _ = config_from_published(EXPLICIT)
    first, second = config.levels
    assert [c.size for c in first.encoder] == [(4, 4, 4), (4, 4, 4)]
    assert [c.strategy[0] for c in first.encoder] == ["local", "dilated"]
    assert [c.shift for c in second.decoder] == [(1, 1, 1), (0, 0, 0)]
    assert [(c.size, c.groups, c.strategy[0]) for c in second.cross] == [
        ((4, 4), 1, "local"),
        ((4, 4), 2, "dilated"),
    ]
    assert {c.padding for c in (*first.encoder, *first.cross)} == {"ignore"}
    nested = EXPLICIT | {
        "enc_cuboid_size": [[[4, 1, 1]], [[1, 2, 2]]],
        "enc_cuboid_strategy": [[["l", "l", "l"]], [["l", "d", "d"]]],
        "enc_shift_size": [[[0, 0, 0]], [[0, 1, 1]]],
    }
    levels = config_from_published(nested)[0].levels
    assert [level.encoder[0].size for level in levels] == [(4, 1, 1), (1, 2, 2)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"enc_cuboid_size": [[[4, 1, 1]]]}, "enc_cuboid_size"),
        ({"enc_cuboid_size": [[4, 1, 1]]}, r"enc_cuboid_size, its strategies and shifts list \[1, 2, 2\]"),
        ({"enc_cuboid_strategy": [["l", "l", "x"], ["l", "l", "l"]]}, "enc_cuboid_strategy has"),
        ({"enc_cuboid_strategy": [["l", "l"], ["l", "l"]]}, "enc_cuboid_strategy has"),
        ({"dec_cross_n_temporal": [1, 0]}, "groups=0"),
        ({"dec_cross_last_n_frames": 0}, "last_frames=0"),
        (
            {"initial_downsample_type": "stack_conv", "initial_downsample_stack_conv_num_layers": 2},
            "initial_downsample_stack_conv_num_layers=2",
        ),
    ],
)
def test_explicit_lists_that_do_not_fit_are_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        from_published(EXPLICIT | changes, {})

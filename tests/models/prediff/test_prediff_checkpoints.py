"""PreDiff's published checkpoints: as many parameters, names one to one, strict loading, and every refusal."""

import json

import pytest
import torch

from geoscope.errors import ConfigError, WeightsError
from geoscope.models.prediff import presets
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.checkpoints import (
    alignment_from_published,
    autoencoder_from_published,
    denoiser_from_published,
    published_autoencoder_name,
    published_name,
)
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.models.prediff.published import denoiser_config
from geoscope.nn.published_layers import INDEX_NAME, index_maps
from tests.models.prediff.oracle import read_golden, read_keys, read_oracle

PUBLISHED = {
    "vae": (FrameAutoencoder, presets.autoencoder_sevir_lr, published_autoencoder_name, 84_499_393),
    "unet": (LatentDenoiser, presets.denoiser_sevir_lr, published_name, 136_817_538),
    "align": (AlignmentNetwork, presets.alignment_sevir_lr, published_name, 8_937_033),
}


def on_meta(name: str) -> torch.nn.Module:
    """A published network without values."""
    network, preset, _, _ = PUBLISHED[name]
    with torch.device("meta"):
        return network(preset())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_as_many_parameters_as_the_published_network(name):
    assert sum(p.numel() for p in on_meta(name).parameters()) == PUBLISHED[name][3]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_keys_are_ours_one_to_one(shared, name):
    model, theirs = on_meta(name), PUBLISHED[name][2]
    keys = list(read_keys(shared / "facts" / f"prediff_{name}_keys.txt"))
    own = {theirs(key): tuple(parameter.shape) for key, parameter in model.named_parameters()}
    assert own == {key: shape for key, shape, kind in keys if kind == "torch.float32"}
    maps = {theirs(f"{key}.") + INDEX_NAME: tuple(index.shape) for key, index in index_maps(model).items()}
    assert maps == {key: shape for key, shape, kind in keys if kind == "torch.int64"}


@pytest.fixture
def denoiser() -> tuple[dict, dict]:
    """The arguments and the weights of a small published denoiser."""
    case = read_golden("denoiser_axial")
    return case["kwargs"], case["state_dict"]


def states_equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    other_state = other.state_dict()
    return all(torch.equal(value, other_state[key]) for key, value in one.state_dict().items())


def lightning(kwargs: dict, state: dict) -> dict:
    """What a checkpoint of the latent diffusion holds beside the denoiser, in the published names."""
    one, table = torch.ones(()), torch.ones(3)
    beside = (
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "logvar",
        "lvlb_weights",
        "posterior_mean_coef1",
    )
    kept = dict.fromkeys((*beside, "sqrt_recip_alphas_cumprod", "log_one_minus_alphas_cumprod"), table)
    kept |= {f"torch_nn_module.{key}": value for key, value in state.items()}
    kept |= {f"model_ema.{key.replace('.', '')}": value + 1 for key, value in state.items()}
    kept |= {"model_ema.decay": one, "model_ema.num_updates": one, "scale_factor": one}
    for prefix in ("first_stage_model", "cond_stage_model"):
        kept[f"{prefix}.quant_conv.bias"] = table
    return {"state_dict": kept, "epoch": 3}


def test_a_lightning_checkpoint_holds_the_weights_and_their_running_mean(denoiser):
    plain = denoiser_from_published(*denoiser)
    assert not plain.training
    checkpoint = lightning(*denoiser)
    assert states_equal(denoiser_from_published(json.dumps(denoiser[0]), checkpoint), plain)
    means = denoiser_from_published(denoiser[0], checkpoint, ema=True)
    assert all(torch.equal(a, b + 1) for a, b in zip(means.parameters(), plain.parameters(), strict=True))


def test_the_running_means_of_the_oracle_are_found_by_their_names(shared):
    case = read_oracle(shared, "train_steps")
    state = {f"model_ema.{key}": value for key, value in case["ema_buffers"].items()}
    model = denoiser_from_published(case["unet_kwargs"], state, ema=True)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, case["ema_buffers"][case["ema_name_map"][published_name(name)]])


def test_a_lightning_checkpoint_of_the_oracle_is_read_whole(shared):
    case = read_oracle(shared, "train_steps")
    state = {key: torch.zeros(shape) for key, shape in case["full_lightning_keys"]}
    state = {key: value for key, value in state.items() if not key.endswith(INDEX_NAME)}
    assert denoiser_from_published(case["unet_kwargs"], state) is not None
    chain = read_oracle(shared, "ddpm_chain")
    assert autoencoder_from_published(chain["vae_kwargs"], state) is not None


def test_an_autoencoder_and_an_alignment_network_are_taken_out_of_the_whole():
    for name, load, prefix in (
        ("autoencoder", autoencoder_from_published, "first_stage_model."),
        ("alignment", alignment_from_published, "alignment_model."),
    ):
        case = read_golden(name)
        plain = load(case["kwargs"], case["state_dict"])
        whole = {f"{prefix}{key}": value for key, value in case["state_dict"].items()}
        nested = {f"{prefix}torch_nn_module.{key}": value for key, value in case["state_dict"].items()}
        own = {f"torch_nn_module.{key}": value for key, value in case["state_dict"].items()}
        own["loss.logvar"] = torch.zeros(())
        for state in (whole | {"torch_nn_module.output.bias": torch.zeros(1)}, nested, {"state_dict": own}):
            assert states_equal(load(case["kwargs"], state), plain)


def test_a_running_mean_that_is_not_there_is_refused(denoiser):
    with pytest.raises(WeightsError, match="no key begins with 'model_ema"):
        denoiser_from_published(*denoiser, ema=True)


def test_a_running_mean_of_another_network_is_refused(denoiser):
    checkpoint = lightning(*denoiser)
    checkpoint["state_dict"]["model_ema.surplusweight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"unexpected model_ema\.surplusweight"):
        denoiser_from_published(denoiser[0], checkpoint, ema=True)


def test_missing_unexpected_and_misshapen_weights_are_named(denoiser):
    kwargs, state = denoiser
    with pytest.raises(WeightsError, match=r"missing final_proj\.bias; unexpected none"):
        denoiser_from_published(kwargs, {k: v for k, v in state.items() if k != "final_proj.bias"})
    with pytest.raises(WeightsError, match=r"missing none; unexpected surplus"):
        denoiser_from_published(kwargs, state | {"surplus": torch.zeros(1)})
    prefixed = {f"torch_nn_module.{key}": value for key, value in state.items()}
    with pytest.raises(WeightsError, match=r"missing none; unexpected surplus"):
        denoiser_from_published(kwargs, prefixed | {"surplus": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"final_proj\.bias has shape \(3,\): expected \(2,\)"):
        denoiser_from_published(kwargs, state | {"final_proj.bias": torch.zeros(3)})


def test_index_maps_are_checked_where_they_are_present(denoiser):
    kwargs, state = denoiser
    key = "down_self_blocks.0.0.attn_l.0.relative_position_index"
    right = torch.arange(5)[:, None] - torch.arange(5) + 4
    assert denoiser_from_published(kwargs, state | {key: right}) is not None
    with pytest.raises(WeightsError, match="relative_position_index is not the index map"):
        denoiser_from_published(kwargs, state | {key: right.flip(0)})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("padding_type", "nearest"),
        ("norm_layer", "rms_norm"),
        ("hierarchical_pos_embed", True),
        ("downsample_type", "conv"),
        ("upsample_type", "conv_transpose"),
        ("pos_embed_type", "t"),
        ("checkpoint_level", 3),
        ("ffn2_linear_init_mode", "0"),
        ("block_attn_patterns", ["spiral", "axial"]),
        ("block_attn_patterns", ["axial"]),
        ("scale_alpha", "1"),
        ("input_shape", [3, 8, 8]),
        ("num_heads", True),
        ("num_global_vectors", 1.5),
        ("downsample", [2, 2]),
        ("downsample", [2, 2, 2]),
        ("upsample_kernel_size", 2),
        ("qkv_bias", True),
    ],
)
def test_what_a_denoiser_does_not_carry_is_refused_by_name(denoiser, argument, value):
    ours = {"block_attn_patterns": "pattern", "upsample_kernel_size": "upsample_kernel"}
    with pytest.raises(ConfigError, match=ours.get(argument, argument)):
        denoiser_from_published(denoiser[0] | {argument: value}, denoiser[1])


@pytest.mark.parametrize(
    ("argument", "value"),
    [("pool", "adaptive"), ("pool", "spatial"), ("pool", "spatial_v2"), ("out_len", 9), ("out_len", 0.5)],
)
def test_what_an_alignment_network_does_not_carry_is_refused_by_name(argument, value):
    ours = {"out_len": "out_len|last_frames"}
    with pytest.raises(ConfigError, match=ours.get(argument, argument)):
        alignment_from_published(read_golden("alignment")["kwargs"] | {argument: value}, {})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("act_fn", "mish"),
        ("down_block_types", ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]),
        ("up_block_types", ["UpDecoderBlock2D"]),
        ("block_out_channels", 8),
        ("mid_block", None),
    ],
)
def test_what_an_autoencoder_does_not_carry_is_refused_by_name(argument, value):
    with pytest.raises(ConfigError, match=argument):
        autoencoder_from_published(read_golden("autoencoder")["kwargs"] | {argument: value}, {})


def test_what_published_constructors_ignore_is_taken_and_ignored():
    case = read_golden("autoencoder")
    kwargs = case["kwargs"] | {"sample_size": 64, "scaling_factor": 1.0}
    assert autoencoder_from_published(kwargs, case["state_dict"]) is not None


def test_the_published_defaults_make_a_network_where_they_can():
    config = denoiser_config({"input_shape": [4, 8, 8, 2], "target_shape": [4, 8, 8, 2]})
    assert config.level_widths == (128, 256, 512)
    assert [each.size for each in config.levels[0].cuboids] == [(4, 4, 4), (4, 4, 4)]
    assert {each.padding for each in config.levels[0].cuboids} == {"ignore"}
    assert denoiser_config({"input_shape": [4, 8, 8, 2], "target_shape": [4, 8, 8, 2], "scale_alpha": None})

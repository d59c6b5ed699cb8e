"""Every case of PreDiff's published networks that lies beside the repository, in both precisions, with gradients."""

import pytest
import torch

from geoscope.models.prediff.checkpoints import (
    alignment_from_published,
    autoencoder_from_published,
    denoiser_from_published,
    published_autoencoder_name,
    published_name,
)
from geoscope.models.prediff.layers import sinusoidal_embedding
from tests.models.prediff.oracle import (
    activations_of,
    assert_agrees,
    assert_gradient_norms_agree,
    case_names,
    read_golden,
    read_oracle,
)

PRECISIONS = (torch.float32, torch.float64)
AUTOENCODER_MODULES = {
    "encoder.conv_in": "encoder.first",
    "encoder.down_blocks.0": "encoder.levels.0",
    "encoder.down_blocks.1": "encoder.levels.1",
    "encoder.mid_block.attentions.0": "encoder.middle.attention",
    "encoder.mid_block": "encoder.middle",
    "encoder": "encoder",
    "quant_conv": "to_moments",
    "post_quant_conv": "from_latent",
    "decoder.mid_block": "decoder.middle",
    "decoder.up_blocks.0": "decoder.levels.0",
    "decoder": "decoder",
}
DENOISER_MODULES = {
    "first_proj": "body.stem",
    "pos_embed": "body.positions",
    "time_embed": "body.time",
    "down_time_embed_blocks.0": "body.levels.times.0",
    "down_self_blocks.0.0.attn_l.0": "body.levels.blocks.0.0.attentions.0",
    "down_self_blocks.0.0.ffn_l.0": "body.levels.blocks.0.0.feed_forwards.0",
    "down_self_blocks.0.0": "body.levels.blocks.0.0",
    "downsample_layers.0": "body.merges.0",
    "upsample_layers.0": "upsamples.0",
    "up_self_blocks.0.1": "levels.blocks.0.1",
}
CHANNELS_FIRST = ("first_proj", "down_time_embed_blocks.0")  # theirs, in what they return


def _check_autoencoder(case: dict, dtype: torch.dtype) -> None:
    model = autoencoder_from_published(case["kwargs"], case["state_dict"]).to(dtype)
    x, noise = case["x"].to(dtype).requires_grad_(), case["sample_noise"].to(dtype)
    posterior = model.encode(x)
    decoded = model.decode(posterior.mode())
    ((decoded * case["grad_w"].to(dtype)).sum() + 0.01 * posterior.kl().sum()).backward()
    found = {key: getattr(posterior, key) for key in ("mean", "logvar", "std", "var")}
    found |= {"kl": posterior.kl(), "sample": posterior.sample(noise), "dec_mode": decoded}
    found |= {"nll_of_sample": posterior.nll(posterior.sample(noise)), "forward_mode": model(x)}
    found |= {"forward_sample": model.decode(posterior.sample(noise)), "grad_x": x.grad}
    found |= {"dec_mode_sliced": model.decode(posterior.mode(), frames_at_once=1)}
    for key in found.keys() & case.keys():
        assert_agrees(found[key], case[key], what=key)
    expected = case.get("acts", {})
    modules = {key: AUTOENCODER_MODULES[key] for key in expected}
    activations = activations_of(model, modules, lambda model: model(x))
    for key, activation in expected.items():
        assert_agrees(activations[key], activation, what=key)
    if "param_grad_norm" in case:
        assert_gradient_norms_agree(model, published_autoencoder_name, case["param_grad_norm"])


def _check_denoiser(case: dict, dtype: torch.dtype) -> None:
    model = denoiser_from_published(case["kwargs"], case["state_dict"]).to(dtype)
    x, cond = (case[key].to(dtype).requires_grad_() for key in ("x", "cond"))
    out = model(x, case["t"], cond)
    (out * case["grad_w"].to(dtype)).sum().backward()
    for key, actual in {"out": out, "grad_x": x.grad, "grad_cond": cond.grad}.items():
        assert_agrees(actual, case[key], what=key)
    expected = case.get("acts_first_call", {})
    modules = {key: DENOISER_MODULES[key] for key in expected}
    activations = activations_of(model, modules, lambda model: model(x, case["t"], cond))
    for key, activation in expected.items():
        ours = activations[key].movedim(-1, 1) if key in CHANNELS_FIRST else activations[key]
        assert_agrees(ours, activation, what=key)
    assert_gradient_norms_agree(model, published_name, case["param_grad_norm"])
    if "mem_shapes" in case:
        shapes = [(*level.shape, level.width) for level in model.config.levels]
        assert shapes == [tuple(shape) for shape in case["mem_shapes"]]


def _check_alignment_rows(case: dict, dtype: torch.dtype, kwargs: dict, state: dict) -> None:
    model = alignment_from_published(kwargs, state).to(dtype)
    for row in case["rows"]:
        with torch.no_grad():
            assert_agrees(model(case["zt"][: row["batch"]].to(dtype), row["t"]), row["pred"])


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", case_names("vae_*.pt"))
def test_an_autoencoder_gives_what_the_published_one_gave(shared, name, dtype):
    _check_autoencoder(read_oracle(shared, name), dtype)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", case_names("unet_*.pt"))
def test_a_denoiser_gives_what_the_published_one_gave(shared, name, dtype):
    _check_denoiser(read_oracle(shared, name), dtype)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", case_names("align_*.pt"))
def test_an_alignment_network_gives_what_the_published_one_gave(shared, name, dtype):
    case = read_oracle(shared, name)
    model = alignment_from_published(case["kwargs"], case["state_dict"]).to(dtype)
    z = case["z"].to(dtype).requires_grad_()
    out = model(z, case["t"])
    (out * case["grad_w"].to(dtype)).sum().backward()
    assert_agrees(out, case["out"])
    assert_agrees(z.grad, case["grad_z"], what="grad_z")
    assert_gradient_norms_agree(model, published_name, case["param_grad_norm"])


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_what_an_alignment_network_says_of_noisy_latents_agrees(shared, dtype):
    case = read_oracle(shared, "alignment_grad")
    _check_alignment_rows(case, dtype, case["align_kwargs"], case["align_state_dict"])


def test_embeddings_of_diffusion_time_agree(shared):
    for case in read_oracle(shared, "timestep_embedding"):
        if "max_period" in case:
            actual = sinusoidal_embedding(case["t"], case["dim"], longest=case["max_period"])
            assert_agrees(actual, case["out"], 1e-6)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_clone_agrees_with_the_published_autoencoder(dtype):
    _check_autoencoder(read_golden("autoencoder"), dtype)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", ["denoiser_axial", "denoiser_odd_shifted_globals"])
def test_a_clone_agrees_with_the_published_denoiser(name, dtype):
    _check_denoiser(read_golden(name), dtype)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_clone_agrees_with_the_published_alignment_network(dtype):
    case = read_golden("alignment")
    _check_alignment_rows(case, dtype, case["kwargs"], case["state_dict"])

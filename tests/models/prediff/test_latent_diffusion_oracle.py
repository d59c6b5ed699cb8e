"""The whole of PreDiff equals the published code: chains, guidance, losses and four steps of training."""

import pytest
import torch

from geoscope.diffusion.averaging import update_average, warmed_up_keep
from geoscope.diffusion.levels import levels_of
from geoscope.diffusion.published_guidance import batch_coupled_gradient
from geoscope.diffusion.samplers.ancestral import sample_ddim
from geoscope.diffusion.schedules import make_schedule, published_schedule
from geoscope.models.prediff.checkpoints import (
    alignment_from_published,
    autoencoder_from_published,
    denoiser_from_published,
    published_name,
)
from geoscope.models.prediff.latent_diffusion import LatentDiffusion
from tests.models.prediff.oracle import assert_agrees, read_oracle


def pipeline(case, schedule=None):
    alignment = None
    if "align_kwargs" in case:
        alignment = alignment_from_published(case["align_kwargs"], case["align_state_dict"])
    return LatentDiffusion(
        autoencoder_from_published(case["vae_kwargs"], case["vae_state_dict"]),
        denoiser_from_published(case["unet_kwargs"], case["unet_state_dict"]),
        schedule,
        alignment=alignment,
        latent_scale=case["scale_factor"],
    )


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def ddpm(shared):
    return read_oracle(shared, "ddpm_chain")


@pytest.mark.parametrize("run", ["plain", "aligned", "start_T5"])
def test_the_published_chain_with_and_without_alignment_or_begun_late_is_ours(ddpm, run):
    ours = pipeline(ddpm, published_schedule("linear", ddpm["timesteps"]))
    published = ddpm["runs"][run]
    more = {}
    if run == "aligned":
        target = published["sample_kwargs"]["alignment_kwargs"]["avg_x_gt"]
        more = {"target": target, "strength": ddpm["guide_scale"]}
    elif run == "start_T5":
        more = {"first_step": 5}
    frames = ours.sample_as_published(
        ddpm["context"], ddpm["x_T"], lambda step: drawn(ddpm["x_T"].shape, 1000 + step), **more
    )
    # Measured: 6.0e-7 of the largest value.
    with torch.no_grad():
        assert_agrees(frames, published.get("decoded", ours.decode(published["latent"])), 3e-6)


def test_every_state_of_the_published_chain_is_ours(ddpm):
    ours = pipeline(ddpm, published_schedule("linear", ddpm["timesteps"]))
    states = []
    noises = ddpm["runs"]["plain"]["noises"]
    denoise = ours.denoise

    def watched(context):
        inner = denoise(context)

        def call(x, t):
            states.append(x)
            return inner(x, t)

        return call

    ours.denoise = watched
    ours.sample_as_published(ddpm["context"], ddpm["x_T"], noises.__getitem__)
    for (_, published), state in zip(ddpm["runs"]["plain"]["traj"][:-1], states[1:], strict=True):
        assert_agrees(state, published, 3e-6)
    with torch.no_grad():
        assert_agrees(ours.encode_context(ddpm["context"]), ddpm["zcond"], 3e-6)


def test_the_ddim_chains_through_the_published_networks_are_ours(shared):
    case = read_oracle(shared, "ddim_chain")
    ours = pipeline(case)
    with torch.no_grad():
        denoise = ours.denoise(ours.encode_context(case["context"]))
    for row in case["rows"]:
        latent = sample_ddim(
            denoise,
            case["x_T"],
            levels_of(ours.schedule, row["timesteps"], ends_at_first=True),
            lambda step: drawn(case["x_T"].shape, 2000 + step),
            eta=row["eta"],
        )
        assert_agrees(latent, row["final"], 3e-6)  # measured: 6.2e-7
        with torch.no_grad():
            assert_agrees(ours.decode(latent), row["decoded"], 3e-6)  # measured: 6.9e-7


def test_the_mean_moved_by_the_published_alignment_is_ours(shared):
    case = read_oracle(shared, "one_step")
    alignment = alignment_from_published(case["align_kwargs"], case["align_state_dict"])
    for row in case["rows"]:
        gradient = batch_coupled_gradient(
            alignment, case["zt"], row["t"], case["avg_x_gt"], case["guide_scale"]
        )
        deviation = (0.5 * row["logvar"]).exp()
        moved = row["mean"] - deviation * gradient
        assert_agrees(moved, row["aligned_mean"], 1e-6)  # measured: 1.4e-7
        noise = 0.7 * deviation * row["noise"] * (row["t"] > 0).float().reshape(deviation.shape)
        assert_agrees(moved + noise, row["p_sample_aligned_temp0p7"], 1e-6)


def test_the_published_gradient_is_ours(shared):
    case = read_oracle(shared, "alignment_grad")
    alignment = alignment_from_published(case["align_kwargs"], case["align_state_dict"])
    for row in case["rows"]:
        x = case["zt"][: row["batch"]]
        gradient = batch_coupled_gradient(alignment, x, row["t"], row["target"], row["guide_scale"])
        assert_agrees(gradient, row["grad"])  # measured: 2.0e-6


@pytest.fixture
def learner(shared):
    case = read_oracle(shared, "train_steps")
    networks = read_oracle(shared, "ddim_chain")
    ours = LatentDiffusion(
        autoencoder_from_published(networks["vae_kwargs"], networks["vae_state_dict"]),
        denoiser_from_published(case["unet_kwargs"], case["init_state_dict"]),
        make_schedule(),
        learned_log_variance=True,
    )
    with torch.no_grad():
        ours.log_variance[case["t"]] = torch.tensor(case["logvar_at_t"])
    return ours, case


def test_the_published_losses_are_ours(learner):
    ours, case = learner
    assert len(case["p_losses"]) == 8
    for name, published in case["p_losses"].items():
        kind, _, elbo_weight = name.split("_")
        with torch.no_grad():
            loss = ours.training_loss(
                case["z0"], case["zcond"], case["t"], case["noise"], kind=kind, elbo_weight=float(elbo_weight)
            )
        assert_agrees(loss.total, published["loss"], 1e-6)  # measured: the same bits
        assert_agrees(loss.simple, published["d"]["val/loss_simple"], 1e-6)
        # Measured 1.5e-5: the published weights are rounded from 1 - abar in float32.
        assert_agrees(loss.bound, published["d"]["val/loss_vlb"], 5e-5)
        if "val/loss_gamma" in published["d"]:
            assert_agrees(loss.weighted, published["d"]["val/loss_gamma"], 1e-6)


def test_four_steps_of_training_end_in_the_published_weights_and_averages(learner):
    ours, case = learner
    weights = {published_name(name): weight for name, weight in ours.denoiser.named_parameters()}
    average = {name: weight.detach().clone() for name, weight in weights.items()}
    parameters = [*weights.values(), ours.log_variance]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-2)
    felt = {name: torch.full_like(weight, torch.inf) for name, weight in weights.items()}
    for step, (published_loss, published_norm) in enumerate(case["history"]):
        loss = ours.training_loss(case["z0"], case["zcond"], case["t"], drawn(case["z0"].shape, 50 + step))
        optimizer.zero_grad()
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for name, weight in weights.items():
            felt[name] = torch.minimum(felt[name], weight.grad.abs())
        optimizer.step()
        update_average(
            average, {name: weight.detach() for name, weight in weights.items()}, warmed_up_keep(step + 1)
        )
        assert loss.total.item() == pytest.approx(published_loss, rel=3e-6)  # measured: 7.1e-7
        assert norm.item() == pytest.approx(published_norm, rel=3e-6)  # measured: 1.1e-6
    learned = ours.log_variance[case["t"]].detach()
    torch.testing.assert_close(learned, case["final_logvar_t"], rtol=0, atol=1e-6)
    compared = 0
    for name, weight in weights.items():
        # A bias before a norm has no gradient but rounding, which AdamW scales up to its rate: those are left out.
        is_felt = felt[name] > 1e-7
        compared += int(is_felt.sum())
        ours_there, theirs = weight.detach()[is_felt], case["final_state_dict"][name][is_felt]
        torch.testing.assert_close(ours_there, theirs, rtol=0, atol=1e-6)  # measured: 2.7e-7
        published_average = case["ema_buffers"][case["ema_name_map"][name]][is_felt]
        torch.testing.assert_close(average[name][is_felt], published_average, rtol=0, atol=1e-6)
    assert compared > 0.95 * sum(weight.numel() for weight in weights.values())
    final = denoiser_from_published(case["unet_kwargs"], case["final_state_dict"])
    with torch.no_grad():
        said = ours.denoiser(case["z0"], case["t"], case["zcond"])
        assert_agrees(said, final(case["z0"], case["t"], case["zcond"]), 1e-5)  # measured: 1.6e-6

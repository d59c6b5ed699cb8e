"""PreDiff's networks by themselves: what comes out of which shapes, what does not couple, and every refusal."""

from dataclasses import replace

import pytest
import torch

from geoscope.errors import ConfigError, ShapeError
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.autoencoder import FrameAutoencoder, GaussianPosterior
from geoscope.models.prediff.config import AlignmentConfig, AutoencoderConfig, DenoiserConfig
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.nn.cuboid_self_attention import GlobalVectors
from geoscope.ops.cuboid_attention import Cuboids

AUTOENCODER = AutoencoderConfig(widths=(4, 8, 8), blocks=1, latent_channels=2, groups=2)
DENOISER = DenoiserConfig(
    input_shape=(3, 6, 4, 2), target_shape=(2, 6, 4, 2), base_width=8, heads=2, depth=(1, 1)
)
ALIGNMENT = AlignmentConfig(shape=(3, 6, 4, 2), base_width=8, heads=2, depth=(1, 1))
VECTORS = GlobalVectors(separate=True, self_attention=True)


def seeded(kind: type[torch.nn.Module], config: object) -> torch.nn.Module:
    """A network in float64 and evaluation mode, with noise on its first weights: an untrained denoiser gives zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = kind(config).double().eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def autoencoder() -> torch.nn.Module:
    return seeded(FrameAutoencoder, AUTOENCODER)


@pytest.fixture(scope="module")
def denoiser() -> torch.nn.Module:
    return seeded(LatentDenoiser, DENOISER)


def test_frames_become_latents_a_factor_smaller_and_come_back(autoencoder):
    assert AUTOENCODER.factor == 4
    latents = autoencoder.encode(randn(3, 1, 16, 12)).mode()
    assert latents.shape == (3, 2, 4, 3)
    assert autoencoder.decode(latents).shape == (3, 1, 16, 12)
    assert autoencoder.encode(randn(1, 1, 19, 13)).mean.shape == (1, 2, 4, 3)  # what is over is lost


@pytest.mark.parametrize("count", [1, 2, 5])
def test_frames_in_parts_are_the_same_frames(autoencoder, count):
    x = randn(3, 1, 8, 8)
    whole, parts = autoencoder.encode(x), autoencoder.encode(x, frames_at_once=count)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(
        autoencoder.decode(whole.mean, frames_at_once=count), autoencoder.decode(whole.mean)
    )


def test_a_posterior_by_hand():
    moments = torch.tensor([1.0, 0.0, 0.0, 100.0]).view(1, 4, 1, 1)
    posterior = GaussianPosterior.of(moments)
    assert posterior.mode().flatten().tolist() == [1.0, 0.0]
    assert posterior.logvar.flatten().tolist() == [0.0, 20.0]  # clamped
    unit = GaussianPosterior(torch.tensor([2.0]).view(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    assert unit.kl().item() == 2.0  # half the square of the mean
    assert unit.nll(torch.full((1, 1, 1, 1), 2.0)).item() == pytest.approx(0.9189385)  # half of log 2 pi
    assert unit.sample(torch.full((1, 1, 1, 1), -3.0)).item() == -1.0


def test_a_posterior_draws_the_same_from_the_same_generator():
    posterior = GaussianPosterior.of(randn(2, 4, 3, 3))
    first, second = (posterior.sample(generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(ShapeError, match=r"noise has shape \(1,\)"):
        posterior.sample(torch.zeros(1))


def test_gradients_of_frames_in_another_memory_order_are_right(autoencoder):
    def gradients(x: torch.Tensor) -> list[torch.Tensor]:
        autoencoder.zero_grad()
        autoencoder(x).sum().backward()
        return [parameter.grad.clone() for parameter in autoencoder.parameters()]

    frames = randn(2, 8, 8, 1).permute(0, 3, 1, 2)
    for one, other in zip(gradients(frames), gradients(frames.contiguous()), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 1, 8), (1, 1, 3, 8)])
def test_frames_that_do_not_fit_are_refused(autoencoder, shape):
    with pytest.raises(ShapeError, match=r"expected \(N, 1, H, W\) with H and W of at least 4"):
        autoencoder.encode(randn(*shape))


def test_latents_and_parts_that_do_not_fit_are_refused(autoencoder):
    with pytest.raises(ShapeError, match=r"latents have shape \(1, 3, 2, 2\): expected \(N, 2, H, W\)"):
        autoencoder.decode(randn(1, 3, 2, 2))
    with pytest.raises(ConfigError, match="frames_at_once=0"):
        autoencoder.decode(randn(1, 2, 2, 2), frames_at_once=0)


def test_an_untrained_denoiser_gives_zero():
    out = LatentDenoiser(DENOISER)(torch.randn(1, 2, 6, 4, 2), torch.tensor([5]), torch.randn(1, 3, 6, 4, 2))
    assert torch.equal(out, torch.zeros(1, 2, 6, 4, 2))


def test_samples_of_a_batch_do_not_couple(denoiser):
    x, cond, t = randn(3, 2, 6, 4, 2), randn(3, 3, 6, 4, 2, seed=1), torch.tensor([1, 50, 900])
    together = denoiser(x, t, cond)
    for i in range(3):
        alone = denoiser(x[i : i + 1], t[i : i + 1], cond[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)


def test_what_time_says_can_be_worked_out_before():
    denoiser = seeded(LatentDenoiser, replace(DENOISER, scale_and_shift=True))
    x, cond = randn(2, 2, 6, 4, 2), randn(2, 3, 6, 4, 2, seed=1)
    expected = denoiser(x, torch.tensor([40, 40]), cond)
    features = denoiser.time_features(torch.tensor([40]))
    torch.testing.assert_close(denoiser(x, torch.tensor([40]), cond), expected)
    torch.testing.assert_close(denoiser(x, torch.tensor([0]), cond, features=features), expected)


@pytest.mark.parametrize("changes", [{"scale_and_shift": True}, {"norm_groups": 4}])
def test_the_context_matters_and_so_does_time(changes):
    model = seeded(LatentDenoiser, replace(DENOISER, **changes))
    x, cond, t = randn(1, 2, 6, 4, 2), randn(1, 3, 6, 4, 2, seed=1), torch.tensor([40])
    out = model(x, t, cond)
    assert not torch.allclose(model(x, t, cond.flip(1)), out)
    assert not torch.allclose(model(x, torch.tensor([400]), cond), out)


def test_norms_of_single_channels_hide_time_that_is_added(denoiser):
    # A width of 8 has 8 groups in the published way, and a norm takes away what is the same all over its group.
    x, cond = randn(1, 2, 6, 4, 2), randn(1, 3, 6, 4, 2, seed=1)
    torch.testing.assert_close(denoiser(x, torch.tensor([400]), cond), denoiser(x, torch.tensor([4]), cond))


@pytest.mark.parametrize("scale_and_shift", [False, True])
def test_all_parameters_of_a_denoiser_are_trained(scale_and_shift):
    options = {"norm_groups": 4, "gated": True, "depth": (2, 1), "positions": "t+hw"}
    config = replace(DENOISER, scale_and_shift=scale_and_shift, **options)
    model = seeded(LatentDenoiser, config).train()
    model(
        randn(2, 2, 6, 4, 2), torch.tensor([3, 700]), randn(2, 3, 6, 4, 2, seed=1)
    ).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_denoiser_with_time_positions_takes_any_grid():
    model = seeded(LatentDenoiser, replace(DENOISER, positions="t"))
    out = model(randn(1, 2, 9, 7, 2), torch.tensor([3]), randn(1, 3, 9, 7, 2, seed=1))
    assert out.shape == (1, 2, 9, 7, 2)


def test_one_time_serves_a_batch_and_other_shapes_are_refused(denoiser):
    x, cond = randn(2, 2, 6, 4, 2), randn(2, 3, 6, 4, 2)
    with pytest.raises(ShapeError, match=r"t has shape \(3,\): expected \(2,\), or \(1,\)"):
        denoiser(x, torch.zeros(3), cond)
    with pytest.raises(ShapeError, match=r"the context has shape \(2, 2, 6, 4, 2\)"):
        denoiser(x, torch.zeros(2), x)
    with pytest.raises(ShapeError, match=r"the noisy targets has shape|the noisy targets have shape"):
        denoiser(cond, torch.zeros(2), cond)
    with pytest.raises(ShapeError, match="differ in batch, rows or columns"):
        denoiser(x, torch.zeros(2), cond[:1])


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (2, 3, 1)),
        ({"readout": "volume", "out_channels": 2}, (2, 2)),
        ({"last_frames": 2}, (2, 2, 1)),
        ({"global_vectors": 2, "global_layer": VECTORS}, (2, 3, 1)),
        ({"readout": "volume", "downsample": (2, 2, 2)}, (2, 1)),
    ],
)
def test_an_alignment_network_reads_out_frames_or_the_volume(changes, shape):
    model = seeded(AlignmentNetwork, replace(ALIGNMENT, **changes))
    z, t = randn(2, 3, 6, 4, 2), torch.tensor([5, 500])
    out = model(z, t)
    assert out.shape == shape
    torch.testing.assert_close(out[1:], model(z[1:], t[1:]))  # samples do not couple
    if "last_frames" in changes:
        full = seeded(AlignmentNetwork, ALIGNMENT)
        torch.testing.assert_close(out, full(z, t)[:, -2:])


def test_the_published_pairing_of_vectors_and_frames_couples_a_batch():
    config = replace(ALIGNMENT, global_vectors=2, match_published=True)
    model = seeded(AlignmentNetwork, config)
    z, t = randn(2, 3, 6, 4, 2), torch.tensor([5, 500])
    ours = seeded(AlignmentNetwork, replace(config, match_published=False))
    torch.testing.assert_close(model(z[:1], t[:1]), ours(z[:1], t[:1]))
    assert not torch.allclose(model(z, t), ours(z, t))


def test_noisy_latents_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(B, T, H, W, C\) with \(T, H, W, C\) = \(3, 6, 4, 2\)"):
        AlignmentNetwork(ALIGNMENT)(torch.zeros(1, 2, 6, 4, 2), torch.zeros(1))


@pytest.mark.parametrize("field", ["channels", "out_channels", "blocks", "latent_channels", "groups"])
def test_an_autoencoder_without_any_of_something_is_refused(field):
    with pytest.raises(ConfigError, match=f"autoencoder {field}=0: give at least 1"):
        replace(AUTOENCODER, **{field: 0})


@pytest.mark.parametrize("widths", [(), (4, 7)])
def test_widths_that_do_not_split_into_groups_are_refused(widths):
    with pytest.raises(ConfigError, match="do not all split into groups=2"):
        replace(AUTOENCODER, widths=widths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": ()}, "depth="),
        ({"depth": (1, 0)}, "depth="),
        ({"downsample": (1, 2)}, "downsample="),
        ({"downsample": (1, 2, 0)}, "downsample="),
        ({"downsample": (2, 2, 2)}, "the denoiser keeps its steps"),
        ({"base_width": 0}, "base_width=0"),
        ({"time_width": 0}, "time_width=0"),
        ({"norm_groups": 0}, "norm_groups=0"),
        ({"widths": (8,)}, "widths="),
        ({"widths": (4, 8)}, "base_width=8"),
        ({"heads": 3}, "heads=3"),
        ({"global_vectors": -1}, "global_vectors=-1"),
        ({"residual_dropout": 1.0}, "residual_dropout=1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout=-0.1"),
        ({"attention": ["axial"]}, "attention lists 1 levels"),
        ({"attention": "spiral"}, "pattern 'spiral' is not known"),
        ({"input_shape": (3, 6, 4)}, "input_shape="),
        ({"target_shape": (0, 6, 4, 2)}, "target_shape="),
        ({"target_shape": (2, 6, 4, 3)}, "differ in more than their steps"),
        ({"upsample_kernel": 2}, "upsample_kernel=2"),
    ],
)
def test_a_denoiser_that_cannot_work_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(DENOISER, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (3, 6, 4)}, "shape="),
        ({"out_channels": 0}, "out_channels=0"),
        ({"readout": "pixels"}, "readout='pixels'"),
        ({"last_frames": 0}, "last_frames=0"),
        ({"last_frames": 4}, "last_frames=4"),
        ({"last_frames": 1, "readout": "volume"}, "last_frames=1"),
        ({"downsample": (2, 2, 2)}, "to read out frames"),
        (
            {"global_vectors": 1, "global_layer": GlobalVectors(separate=True, ratio=2)},
            "global_layer.ratio=2",
        ),
        ({"positions": "t"}, "positions='t'"),
    ],
)
def test_an_alignment_network_that_cannot_work_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(ALIGNMENT, **changes)


def test_cuboids_can_be_given_one_by_one_for_each_level():
    local, whole = (Cuboids(size=(5, 2, 2)),), (Cuboids(size=(5, 3, 2)),)
    config = replace(DENOISER, attention=[local, whole], padding="ignore")
    assert [level.cuboids[0].size for level in config.levels] == [(5, 2, 2), (5, 3, 2)]
    assert {level.cuboids[0].padding for level in config.levels} == {"ignore"}

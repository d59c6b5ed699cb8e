"""Training the denoiser and the alignment network on the latents of a trained autoencoder."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from geoscope.data.rain_scale import encode_rain
from geoscope.errors import ConfigError, DataError, WeightsError
from geoscope.models.prediff import presets
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.config import AutoencoderConfig
from geoscope.models.prediff.latent_diffusion import LatentDiffusion
from geoscope.models.prediff.weights import fingerprint, read_latent_diffusion, read_part, save_part
from geoscope.training import frame_data, tasks
from geoscope.training.alignment import QUANTITIES, AlignmentTask, TargetTable
from geoscope.training.denoiser import DenoiserTask, LossTable
from geoscope.training.engine import Settings
from geoscope.training.frame_splits import FrameData
from geoscope.training.latents import DiffusionTable, Latents
from tests.training.latent_recipes import BODY, losses_on_one_batch, stopped_and_whole, train
from tests.training.test_autoencoder_training import Frames

CONFIG = AutoencoderConfig(widths=(8, 8, 8), blocks=1, groups=4, latent_channels=2)
HEAD = 'autoencoder = "autoencoder.safetensors"\n'
DIFFUSION = "[diffusion]\nsteps = 20\n"
MODEL = {"base_width": 8, "heads": 2, "depth": [1], "time_width": 2}


@pytest.fixture
def autoencoder():
    torch.manual_seed(5)
    return FrameAutoencoder(CONFIG)


@pytest.fixture
def folder(tmp_path, autoencoder):
    save_part(
        autoencoder, tmp_path / "autoencoder.safetensors", {"encoding": "unit", "height": 32, "width": 32}
    )
    return tmp_path


def denoiser_task(autoencoder, encoding="unit", model=MODEL, **loss):
    data = FrameData(Frames(6), Frames(3), encoding, "ramps", "by hand")
    settings = Settings(steps=4, batch=2, workers=0)
    table = DiffusionTable(steps=20)
    return DenoiserTask(model, Latents(autoencoder), table, LossTable(**loss), data, settings)


class Zero(nn.Module):
    """Says nothing; as the published network before training."""

    def forward(self, x, t, context):
        return torch.zeros_like(x)


def test_the_first_loss_of_a_denoiser_is_the_variance_of_the_noise(autoencoder):
    task = denoiser_task(autoencoder)
    network, batch = task.network(), task.batch(0)
    loss = torch.stack([task.loss(network, batch) for _ in range(20)]).mean()
    assert loss.item() == pytest.approx(1.0, abs=0.1)  # 20 x 512 unit normals
    assert all(p.grad is None for p in autoencoder.parameters())


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_each_prediction_has_its_target(autoencoder, prediction):
    task = denoiser_task(autoencoder, prediction=prediction)
    network = task.network()
    network.denoiser = Zero()
    batch = task.validation_batch(0)
    sums = task.validate(network, batch)
    clean = task.latents.mode(batch["target"])
    alpha, sigma = task.schedule.at(batch["t"], clean)
    noise = task.fixed_noise(batch, 0, tuple(clean.shape[1:]))
    target = {"eps": noise, "x0": clean, "v": alpha * noise - sigma * clean}[prediction]
    assert float(sums["error"].sum()) == pytest.approx(float(target.square().mean() * len(clean)), rel=1e-5)


def test_the_learned_variance_moves_towards_the_error(autoencoder):
    task = denoiser_task(autoencoder)
    network = task.network()
    with torch.no_grad():
        network.log_variance.fill_(1.0)  # above the error of 1, whose logarithm is 0
    task.loss(network, task.batch(0)).backward()
    assert float(network.log_variance.grad.sum()) > 0
    fixed = denoiser_task(autoencoder, learned_variance=False)
    network = fixed.network()
    fixed.loss(network, fixed.batch(0)).backward()
    assert network.log_variance.grad is None


def test_a_validation_is_always_the_same_whatever_the_batch(autoencoder):
    task = denoiser_task(autoencoder)
    network = task.network()
    first = task.validate(network, task.validation_batch(0))
    torch.manual_seed(99)
    again = task.validate(network, task.validation_batch(0))
    assert all(torch.equal(first[name], again[name]) for name in first)
    scores = task.scores(first)
    assert list(scores) == ["loss", "loss_low", "loss_middle", "loss_high"]


def test_a_denoiser_is_trained_to_the_end_and_samples(folder, autoencoder):
    out = train("denoiser", folder, HEAD + BODY + DIFFUSION, pictures=True)
    network, about = read_part(out / "model.safetensors", "denoiser")
    assert network.config.input_shape == network.config.target_shape == (2, 8, 8, 2)
    assert (about["steps"], about["schedule"], about["prediction"]) == (20, "scaled_linear", "eps")
    assert about["autoencoder"] == fingerprint(autoencoder)
    assert json.loads((out / "run.json").read_text())["monitor"] == "loss"
    assert (out / "pictures" / "step-0000004.png").is_file()
    frames = LatentDiffusion(autoencoder, network).sample(torch.zeros(2, 32, 32, 1), 2, steps=3)
    assert frames.shape == (2, 2, 32, 32, 1)


def test_the_loss_of_a_denoiser_falls(autoencoder):
    losses = losses_on_one_batch(denoiser_task(autoencoder), 30, rate=1e-2)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("task", ["denoiser", "alignment"])
def test_a_stopped_run_ends_in_the_same_bits(folder, task, monkeypatch):
    whole, parts = stopped_and_whole(task, folder, HEAD + BODY + DIFFUSION, monkeypatch)
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_an_alignment_network_learns_the_mean(autoencoder):
    losses = losses_on_one_batch(alignment_task(autoencoder), 30, rate=1e-2)
    assert losses[-1] < 0.1 * losses[0]


def test_an_alignment_network_is_written_with_the_scale_of_its_numbers(folder):
    out = train("alignment", folder, HEAD + BODY + DIFFUSION, steps=1)
    network, about = read_part(out / "model.safetensors", "alignment")
    assert network(torch.zeros(1, 2, 8, 8, 2), torch.tensor([0])).shape == (1, 2, 1)
    assert about["quantity"] == "mean"
    assert 0 < about["spread"] < about["centre"] < 1


def test_an_alignment_network_learns_energies(folder):
    text = HEAD + '[target]\nquantity = "energy"\n' + BODY + DIFFUSION
    out = train("alignment", folder, text, steps=1, kind="nbody-mnist", more="energies = true\n")
    _, about = read_part(out / "model.safetensors", "alignment")
    assert about["quantity"] == "energy"
    assert 3 < about["centre"] < 20
    facts = json.loads((out / "run.json").read_text())["facts"]
    assert facts["title"] == "PreDiff alignment on energy"


def test_quantities_by_hand():
    rain = np.zeros((1, 2, 2, 2, 1), np.float32)
    rain[0, 0] = [[[4.0], [8.0]], [[0.0], [50.0]]]
    known = np.ones_like(rain, bool)
    known[0, 0, 1, 1] = False
    batch = {
        "target": torch.from_numpy(encode_rain(rain)),
        "known": torch.from_numpy(known),
        "energy": torch.tensor([[1.0, 2, 3, 4]]),
    }
    torch.testing.assert_close(QUANTITIES["rain"](batch), torch.tensor([[4.0, 0.0]]), rtol=1e-5, atol=1e-6)
    eight, four = (float(encode_rain(np.array(value))) for value in (8.0, 4.0))
    torch.testing.assert_close(QUANTITIES["maximum"](batch), torch.tensor([[eight, 0.0]]))
    torch.testing.assert_close(QUANTITIES["mean"](batch), torch.tensor([[(four + eight) / 3, 0.0]]))
    assert QUANTITIES["energy"](batch).tolist() == [[3.0, 4.0]]
    known[:] = False
    assert all(bool(torch.isfinite(QUANTITIES[name](batch)).all()) for name in QUANTITIES)


def alignment_task(autoencoder, quantity="mean", encoding="unit", model=MODEL):
    data = FrameData(Frames(6), Frames(3), encoding, "ramps", "by hand")
    settings = Settings(steps=4, batch=2, workers=0)
    table = DiffusionTable(steps=20)
    return AlignmentTask(model, Latents(autoencoder), table, TargetTable(quantity=quantity), data, settings)


def test_what_an_alignment_network_should_say_has_mean_0_and_spread_1(autoencoder):
    task = alignment_task(autoencoder)
    numbers = torch.cat([task.wanted(task.batch(index)).flatten() for index in range(3)])
    assert float(numbers.mean()) == pytest.approx(0, abs=1e-4)
    assert float(numbers.std()) == pytest.approx(1, abs=1e-4)
    whole = alignment_task(autoencoder, model={**MODEL, "readout": "volume"})
    batch = whole.batch(0)
    torch.testing.assert_close(whole.wanted(batch)[:, 0], task.wanted(batch).mean(1))
    assert whole.loss(whole.network(), batch).ndim == 0
    assert task.picture(task.network()) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: denoiser_task(a, model={**MODEL, "input_shape": [1, 2, 3, 4]}), "input_shape comes from the data"),
        (lambda a: denoiser_task(a, model={"bse_width": 8}), "unknown key 'bse_width'; did you mean 'base_width'"),
        (lambda a: alignment_task(a, model={**MODEL, "shape": [1, 2, 3, 4]}), "shape comes from the data"),
        (lambda a: alignment_task(a, model={**MODEL, "out_channels": 2}), "out_channels=2: expected 1"),
        (lambda a: alignment_task(a, "energy"), "quantity = 'energy': these data have none"),
        (lambda a: alignment_task(a, "rain"), "quantity = 'rain': these data are 'unit'"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(autoencoder, make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make(autoencoder)
    assert "\n" not in str(caught.value)


def test_an_autoencoder_that_does_not_fit_is_refused(folder, autoencoder):
    path = folder / "autoencoder.safetensors"
    data = FrameData(Frames(1), Frames(1), "vil", "", "")
    with pytest.raises(ConfigError, match=r"was trained on 1 channels of 'unit' numbers and .* 1 of 'vil'"):
        Latents.read(path, data)
    with pytest.raises(ConfigError, match="frames of 30 x 30 pixels do not divide by 4"):
        Latents.read(path, FrameData(Frames(1), Frames(1, 30), "unit", "", ""))
    with pytest.raises(DataError, match="no such file; train one first: geoscope train autoencoder"):
        Latents.read(folder / "none.safetensors", data)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        Latents.read(path, data)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (BODY, ConfigError, "key 'autoencoder' is missing"),
        (HEAD + "[diffusion]\nstep = 3\n" + BODY, ConfigError, r"\[diffusion\]: unknown key 'step'"),
        (
            HEAD + '[diffusion]\nschedule = "straight"\n' + BODY,
            ConfigError,
            "schedule 'straight' is not known",
        ),
        (
            HEAD + '[loss]\nprediction = "y"\n' + BODY,
            ConfigError,
            r"\[loss\]: prediction: expected one of 'eps'",
        ),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(folder, text, error, message):
    with pytest.raises(error, match=message):
        train("denoiser", folder, text)


class Windows:
    """Windows of zeros with energies."""

    def __init__(self, count, in_frames, out_frames, size):
        self.count, self.shape = count, (in_frames, out_frames, size)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        before, after, size = self.shape
        frames = np.zeros((before + after, size, size, 1), np.float32)
        energy = np.arange(before + after, dtype=np.float32)
        return {"input": frames[:before], "target": frames[before:], "energy": energy}


@pytest.mark.parametrize("size", ["sevir-lr", "small"])
def test_the_recipes_that_ship_are_right(repository, monkeypatch, size):
    shape, widths, latent = ((7, 6, 128), (8,) * 4, 64) if size == "sevir-lr" else ((5, 5, 64), (8,) * 4, 16)
    data = FrameData(Windows(35, *shape), Windows(2, *shape), "unit", "", "")
    monkeypatch.setattr(frame_data, "open_table", lambda table, beside, seed: data)
    tiny = AutoencoderConfig(widths=widths, blocks=1, groups=4, latent_channels=latent)
    monkeypatch.setattr(Latents, "read", lambda path, data: Latents(FrameAutoencoder(tiny)))
    folder = repository / "geoscope" / "training" / "recipes"
    found = {
        name: opener(folder / f"prediff-{name}-{size}.toml")
        for name, opener in tasks.OPENERS.items()
        if name != "nowcast"
    }
    configs = {name: task.config for name, (_, task) in found.items()}
    if size == "sevir-lr":
        assert configs == {
            "autoencoder": presets.autoencoder_sevir_lr(),
            "denoiser": presets.denoiser_sevir_lr(),
            "alignment": presets.alignment_sevir_lr(),
        }
        settings = found["denoiser"][0]
        assert (settings.weight_decay, settings.ema, settings.accumulate) == (1e-5, 0.9999, 32)
        groups = found["denoiser"][1].parameter_groups(nn.Linear(2, 2), settings.weight_decay)
        assert groups[0]["weight_decay"] == 1e-5
    else:
        assert configs["autoencoder"].widths == (32, 64, 64, 64)
        assert configs["denoiser"].target_shape == configs["alignment"].shape == (5, 8, 8, 16)


def test_published_energies_are_refused(tmp_path):
    table = {"kind": "nbody-mnist", "file": "a", "validation_file": "b", "folder": "c", "energies": True}
    with pytest.raises(ConfigError, match="energies: a published set has none"):
        frame_data.open_table(frame_data.read_table(table, "run.toml"), tmp_path, 0)


def test_parts_that_belong_together_make_one_model(tmp_path, autoencoder):
    about = {"autoencoder": fingerprint(autoencoder), "steps": 20, "schedule": "linear", "prediction": "v"}
    paths = [tmp_path / f"{name}.safetensors" for name in ("autoencoder", "denoiser", "alignment")]
    save_part(autoencoder, paths[0], {"encoding": "unit"})
    save_part(denoiser_task(autoencoder).network().denoiser, paths[1], about)
    save_part(alignment_task(autoencoder).network(), paths[2], {**about, "centre": 0.5})
    model, told = read_latent_diffusion(*paths)
    assert (model.prediction, model.schedule.steps, told["alignment"]["centre"]) == ("v", 20, 0.5)
    assert model.sample(torch.zeros(2, 32, 32, 1), steps=2).shape == (1, 2, 32, 32, 1)
    assert read_latent_diffusion(*paths[:2])[0].alignment is None
    save_part(alignment_task(autoencoder).network(), paths[2], {**about, "steps": 30})
    with pytest.raises(WeightsError, match="the alignment was trained with steps 30"):
        read_latent_diffusion(*paths)
    save_part(FrameAutoencoder(CONFIG), paths[0], {"encoding": "unit"})
    with pytest.raises(WeightsError, match="the denoiser was trained on another autoencoder"):
        read_latent_diffusion(*paths[:2])
    save_part(autoencoder, paths[0], {})
    save_part(denoiser_task(autoencoder).network().denoiser, paths[1], {**about, "schedule": "straight"})
    with pytest.raises(WeightsError, match="its header cannot be used"):
        read_latent_diffusion(*paths[:2])

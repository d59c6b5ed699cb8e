"""Training the autoencoder: losses by hand, a critic that stays apart, resumed to the same bits."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from geoscope.errors import ConfigError, WeightsError
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.config import AutoencoderConfig
from geoscope.models.prediff.weights import fingerprint, read_part
from geoscope.training import adversary
from geoscope.training.autoencoder import (
    AutoencoderTask,
    LossTable,
    scale_latents,
    spread_of_latents,
)
from geoscope.training.engine import Settings
from geoscope.training.frame_splits import FrameData
from tests.training.latent_recipes import AUTOENCODER, losses_on_one_batch, stopped_and_whole, train

CONFIG = AutoencoderConfig(widths=(8, 8), blocks=1, groups=4, latent_channels=2)
CRITIC = "[loss]\nadversarial_weight = 0.5\nadversarial_from = 2\n"


class Frames:
    """Frame t of sample i is all (10 i + t) / 100; one channel."""

    def __init__(self, count, size=32):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        values = (10 * index + np.arange(4, dtype=np.float32)) / 100
        frames = np.broadcast_to(values[:, None, None, None], (4, self.size, self.size, 1)).copy()
        return {"input": frames[:2], "target": frames[2:]}


def task_of(loss=None, config=CONFIG, size=32, **changes):
    own = {name: changes.pop(name) for name in ("frames_per_window", "perceptual") if name in changes}
    settings = Settings(**{"steps": 4, "batch": 2, "workers": 0, **changes})
    data = FrameData(Frames(6, size), Frames(3, size), "unit", "ramps", "by hand")
    return AutoencoderTask(config, loss or LossTable(), data, settings, **own)


def test_a_batch_is_frames_of_the_windows_and_the_number_of_its_update():
    batch = task_of(batch=4, micro_batch=2, frames_per_window=3).batch(5)
    assert batch["frames"].shape == (6, 1, 32, 32)
    assert int(batch["update"]) == 2
    codes = batch["frames"][:, 0, 0, 0].mul(100).round().int().view(2, 3)
    assert all(len(set(row.tolist())) == 3 for row in codes)
    assert (codes // 10).unique(dim=1).shape[1] == 1
    assert task_of().validation_batch(1)["frames"][:, 0, 0, 0].tolist() == pytest.approx([0.22])


def test_the_loss_by_hand(monkeypatch):
    task = task_of(LossTable(kl_weight=0.5))
    network = task.network()
    body = network.autoencoder
    for layer in (body.to_moments, body.decoder.last):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        body.to_moments.bias[:2] = 1.0  # means 1, variances 1: a divergence of 1/2 each
        body.decoder.last.bias.fill_(0.25)
    frames = torch.full((3, 1, 32, 32), 0.75)
    loss = task.loss(network, {"frames": frames, "update": torch.tensor(0)})
    assert loss.item() == pytest.approx(0.5 * 32 * 32 + 0.5 * (0.5 * 2 * 16 * 16))
    scores = task.scores(task.validate(network, {"frames": frames}))
    assert scores == pytest.approx({"mae": 0.5, "mse": 0.25, "kl": 0.5 * 2 * 16 * 16 / 32**2})


def test_a_perceptual_network_is_handed_in_and_weighs_on_every_pixel():
    def halves(x, y):
        return torch.full((len(x),), 0.5)

    plain, seen = task_of(), task_of(LossTable(perceptual_weight=2.0), perceptual=halves)
    network, batch = plain.network(), plain.batch(0)
    losses = []
    for task in (plain, seen):
        torch.manual_seed(0)
        losses.append(task.loss(network, batch).item())
    assert losses[1] - losses[0] == pytest.approx(2.0 * 0.5 * 32 * 32, rel=1e-4)


def gradients(task, update):
    torch.manual_seed(0)
    network = task.network()
    torch.manual_seed(1)
    task.loss(network, {**task.batch(0), "update": torch.tensor(update)}).backward()
    return network


def test_critic_and_autoencoder_learn_apart_in_one_backward_pass():
    task = task_of(LossTable(adversarial_weight=0.5, adversarial_from=10))
    network, batch = gradients(task, 10), task.batch(0)
    alone = task.network()
    alone.load_state_dict(network.state_dict())
    torch.manual_seed(1)
    with torch.no_grad():
        rebuilt = alone.autoencoder.decode(alone.autoencoder.encode(batch["frames"]).sample())
    adversary.critic_loss(alone.critic, batch["frames"], rebuilt).backward()
    for found, expected in zip(network.critic.parameters(), alone.critic.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-7)
    assert all(p.grad is None for p in alone.autoencoder.parameters())


def test_before_its_time_the_critic_changes_nothing():
    early = gradients(task_of(LossTable(adversarial_weight=0.5, adversarial_from=10)), 9)
    assert all(bool((p.grad == 0).all()) for p in early.critic.parameters())
    plain = gradients(task_of(), 9)
    for found, expected in zip(early.autoencoder.parameters(), plain.autoencoder.parameters(), strict=True):
        assert torch.equal(found.grad, expected.grad)


def test_the_adaptive_weight_by_hand():
    weight = torch.tensor([[3.0]], requires_grad=True)
    assert adversary.adaptive_weight((4 * weight).sum(), (0.5 * weight).sum(), weight) == pytest.approx(
        4 / 0.5, rel=1e-3
    )
    assert adversary.adaptive_weight((4 * weight).sum(), (1e-9 * weight).sum(), weight) == 1e4


def test_parts_are_clipped_apart_and_have_the_published_betas():
    task = task_of(LossTable(adversarial_weight=0.5))
    groups = task.parameter_groups(task.network(), 0.1)
    assert [(g["part"], g["betas"], g["weight_decay"]) for g in groups] == [
        ("autoencoder", (0.5, 0.9), 0.1), ("critic", (0.5, 0.9), 0.1),
    ]  # fmt: skip
    assert len(task_of().parameter_groups(task_of().network(), 0.0)) == 1


def test_latents_of_unit_variance_and_the_same_frames():
    torch.manual_seed(3)
    network, frames = FrameAutoencoder(CONFIG), torch.rand(5, 1, 16, 16)
    before, spread = network(frames), spread_of_latents(network, [frames[:2], frames[2:]])
    scale_latents(network, 1 / spread)
    assert spread_of_latents(network, [frames]) == pytest.approx(1.0, rel=1e-5)
    torch.testing.assert_close(network(frames), before, rtol=1e-4, atol=1e-5)


def test_a_run_to_its_end(tmp_path):
    out = train("autoencoder", tmp_path, CRITIC + AUTOENCODER, pictures=True)
    network, about = read_part(out / "model.safetensors", "autoencoder")
    assert network.config.widths == (8, 8, 8)
    assert about == {"part": "autoencoder", "encoding": "unit", "height": 32, "width": 32}
    record = json.loads((out / "run.json").read_text())
    assert (record["monitor"], record["task"]) == ("mae", "autoencoder")
    assert (out / "pictures" / "step-0000004.png").is_file()
    best = torch.load(out / "best.pt", weights_only=True)[
        "network"
    ]  # the average's, but for the scale of latents
    kept = network.state_dict()["encoder.first.weight"]
    assert torch.equal(kept, best["autoencoder.encoder.first.weight"])
    last = torch.load(out / "last.pt", weights_only=True)
    assert not torch.equal(kept, last["network"]["autoencoder.encoder.first.weight"])
    assert torch.equal(kept, last["average"]["autoencoder.encoder.first.weight"])


def test_the_loss_falls_on_a_few_frames():
    losses = losses_on_one_batch(task_of(LossTable(adversarial_weight=0.5, adversarial_from=1)), 40)
    assert losses[-1] < 0.3 * losses[0]


def test_a_stopped_run_ends_in_the_same_bits(tmp_path, monkeypatch):
    whole, parts = stopped_and_whole("autoencoder", tmp_path, CRITIC + AUTOENCODER, monkeypatch)
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": LossTable(perceptual_weight=1.0)}, "perceptual_weight=1 needs a perceptual network"),
        ({"loss": LossTable(adversarial_weight=1.0), "size": 16}, "needs frames of 24 x 24 pixels or more, got 16"),
        ({"config": replace(CONFIG, channels=3)}, r"channels=3: the frames of \[data\] have 1"),
        ({"size": 15}, "frames of 15 x 15 pixels do not divide by 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        task_of(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nwidth = [8]\n", r"\[model\]: unknown key 'width'; did you mean 'widths'"),
        ("[loss]\nkl_weight = -1\n" + AUTOENCODER, r"\[loss\] kl_weight=-1.0 must not be below zero"),
        ("frames_per_window = 0\n" + AUTOENCODER, "frames_per_window=0: expected 1 or more"),
        ("[los]\nkl_weight = 1\n" + AUTOENCODER, "unknown key 'los'; did you mean 'loss'"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        train("autoencoder", tmp_path, text)


def test_weights_of_another_kind_are_refused(tmp_path):
    from safetensors.torch import save_file

    from geoscope.models.prediff.weights import save_part

    path = tmp_path / "a.safetensors"
    with pytest.raises(WeightsError, match=r"a\.safetensors is not a readable safetensors file"):
        read_part(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "other"})
    with pytest.raises(WeightsError, match="does not hold a network of PreDiff"):
        read_part(path)
    save_part(FrameAutoencoder(CONFIG), path, {})
    with pytest.raises(WeightsError, match="holds an autoencoder, expected a denoiser"):
        read_part(path, "denoiser")
    other = FrameAutoencoder(CONFIG)
    assert fingerprint(other) == fingerprint(other) != fingerprint(FrameAutoencoder(CONFIG))
    other.config = replace(CONFIG, widths=(8, 8, 8))
    save_part(other, path, {})
    with pytest.raises(WeightsError, match="does not fit the config in its own header"):
        read_part(path)
    from geoscope.models.prediff.config import AlignmentConfig

    other.config = AlignmentConfig(shape=(1, 4, 4, 2), base_width=8, attention=(), depth=(1,))
    with pytest.raises(ConfigError, match="attention is a list of cuboids"):
        save_part(other, path, {})

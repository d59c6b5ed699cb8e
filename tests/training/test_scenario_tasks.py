"""The networks' tasks: windows by number, losses whose first value is known, learning, standard latents."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from geoscope.errors import ConfigError, DataError
from geoscope.models.scenarios.networks import QUANTILES, ScenarioModel, ScoreAutoencoder
from geoscope.models.scenarios.outlook import LEAST_EXPECTED_MM_H, transformed
from geoscope.training.augmentation import turn
from geoscope.training.engine import Settings
from geoscope.training.scenarios.alignment import AlignmentTable, ScenarioAlignmentTask
from geoscope.training.scenarios.autoencoder import (
    AutoencoderTable,
    ScoreAutoencoderTask,
    known_scores,
    standardise,
)
from geoscope.training.scenarios.denoiser import ScenarioDenoiserTask
from geoscope.training.scenarios.quantiles import drawn_and_seen
from geoscope.training.scenarios.texture import residuals, texture_of
from geoscope.training.scenarios.windows import CaseSampler, WindowSampler, WindowTable
from tests.training.latent_recipes import losses_on_one_batch
from tests.training.scenario_events import some_cases, tiny_scenarios

SETTINGS = Settings(steps=4, batch=4, workers=0)
WINDOWS = WindowTable(side=4, large_side=8, share_large=0.5)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return some_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def encoder(cases):
    torch.manual_seed(0)
    network = ScoreAutoencoder(tiny_scenarios())
    standardise(network, map(known_scores, cases))
    return network


def autoencoder_task(cases, **table):
    return ScoreAutoencoderTask(tiny_scenarios(), cases, AutoencoderTable(side=4, **table), SETTINGS)


def denoiser_task(cases, encoder, windows=WINDOWS):
    return ScenarioDenoiserTask(tiny_scenarios(), cases, encoder, windows, SETTINGS)


def alignment_task(cases, encoder, **table):
    table = AlignmentTable(side=4, large_side=8, share_large=0.5, **table)
    return ScenarioAlignmentTask(tiny_scenarios(), cases, encoder, table, SETTINGS)


def test_batches_are_functions_of_their_number(cases, encoder):
    for task in (autoencoder_task(cases), denoiser_task(cases, encoder), alignment_task(cases, encoder)):
        first, again, other = task.batch(3), task.batch(3), task.batch(4)
        assert all(torch.equal(first[name].nan_to_num(), again[name].nan_to_num()) for name in first)
        assert first["scores"].shape != other["scores"].shape or not torch.equal(
            first["scores"].nan_to_num(), other["scores"].nan_to_num()
        )


def test_large_windows_are_as_many_fewer_as_they_are_larger(cases, encoder):
    task = denoiser_task(cases, encoder)
    shapes = {tuple(task.batch(index)["conditions"].shape) for index in range(12)}
    assert shapes == {(4, 7, 4, 4, 8), (1, 7, 8, 8, 8)}
    small = denoiser_task(cases, encoder, WindowTable(side=4, large_side=20, share_large=1.0))
    assert small.batch(0)["scores"].shape == (4, 6, 32, 32)  # no case is that large


def test_all_of_a_window_is_turned_alike(cases):
    random = np.random.default_rng(0)
    sampler = WindowSampler(cases, 4)
    cuts = [sampler.draw(random) for _ in range(16)]
    assert len({cut.symmetry for cut in cuts}) > 4
    for cut in cuts:
        place = (slice(None), slice(cut.row, cut.row + 4), slice(cut.column, cut.column + 4))
        whole = cut.case.read("rain", "scores")
        np.testing.assert_array_equal(cut.cells("rain"), turn(whole["rain"][place], cut.symmetry))
        means = F.avg_pool2d(torch.from_numpy(whole["scores"]), 8).numpy()
        found = F.avg_pool2d(torch.from_numpy(cut.pixels("scores", 8)), 8)
        np.testing.assert_allclose(found, turn(means[place], cut.symmetry), atol=1e-5)


def test_events_are_drawn_by_the_root_of_their_cases(cases):
    few = [case for case in cases if case.event == "storm_a"] + cases[-1:]
    weights = CaseSampler(few, 4).weights
    np.testing.assert_allclose(weights[0] / weights[1], np.sqrt(3))


def test_cases_that_hold_no_window_are_refused(cases):
    with pytest.raises(DataError, match="none of the 6 cases is 10 x 10 cells: the largest has 9"):
        CaseSampler(cases, 10)


def test_the_autoencoder_learns_to_say_how_much_it_leaves_out(cases):
    losses = losses_on_one_batch(autoencoder_task(cases), 60, rate=1e-2)
    assert losses[-1] < losses[0] - 1.0


def test_pixels_without_truth_do_not_count(cases):
    task = autoencoder_task(cases, kl_weight=0.0)
    torch.manual_seed(0)
    network = task.network()
    with torch.no_grad():
        network.frames.decoder.last.weight.zero_()
        network.frames.decoder.last.bias.zero_()  # mean 0, spread 1
    batch = task.batch(0)
    batch["scores"][:, :16] = torch.nan
    known = batch["scores"][torch.isfinite(batch["scores"])]
    expected = (0.5 + 2.0) * known.square().mean()
    assert task.loss(network, batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_standard_latents_have_unit_variance_and_fields_come_back_the_same(cases):
    torch.manual_seed(0)
    network = ScoreAutoencoder(tiny_scenarios())
    fields = [known_scores(case) for case in cases]
    before = [part.detach() for part in network.decode(network.encode(fields[0]))]
    standardise(network, fields)
    with torch.no_grad():
        latents = torch.cat([network.encode(each).flatten(0, -2) for each in fields])
        after = network.decode(network.encode(fields[0]))
    np.testing.assert_allclose(latents.mean(dim=0), 0, atol=1e-4)
    np.testing.assert_allclose(latents.std(dim=0, correction=0), 1, atol=1e-4)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


class Nothing(nn.Module):
    """A network that answers 0."""

    def forward(self, x, t, conditions):
        return torch.zeros_like(x)


def test_the_first_loss_of_a_denoiser_is_the_variance_of_v(cases, encoder):
    task = denoiser_task(cases, encoder)
    batch = task.batch(1)
    batch["known"][:, 3:] = 0
    torch.manual_seed(0)
    clean = task.latents(batch["scores"])
    t = task.random_steps(clean)
    noise = torch.randn_like(clean)
    alpha, sigma = task.schedule.at(t, clean)
    expected = (alpha * noise - sigma * clean)[:, :3].square().mean()
    torch.manual_seed(0)
    assert task.loss(Nothing(), batch).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("make", [denoiser_task, alignment_task])
def test_networks_on_latents_learn(cases, encoder, make):
    losses = losses_on_one_batch(make(cases, encoder), 30, rate=1e-2)
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_an_alignment_that_says_nothing_expects_what_the_nowcaster_does(cases, encoder):
    task = alignment_task(cases, encoder, share_whole=0.0)
    torch.manual_seed(0)
    network, batch = task.network(), task.batch(0)
    network.alignment = Nothing()
    weights = batch["weights"]
    assert weights.max() == 1
    assert (weights == 0).any()
    sums = weights.sum(dim=(1, 2, 3))
    expected, true = ((batch[name] * weights).sum(dim=(1, 2, 3)) / sums for name in ("expected", "rain"))
    assert (expected >= LEAST_EXPECTED_MM_H).all()
    loss = F.smooth_l1_loss(transformed(expected), transformed(true), beta=0.3)
    assert task.loss(network, batch).item() == pytest.approx(loss.item(), rel=1e-4)


def test_regions_without_rain_are_refused_in_the_end(cases, encoder, monkeypatch):
    monkeypatch.setattr("geoscope.training.scenarios.alignment.LEAST_EXPECTED_MM_H", 1000.0)
    monkeypatch.setattr("geoscope.training.scenarios.alignment.TRIES", 3)
    with pytest.raises(DataError, match=r"3 windows with less than 1000\.0 mm/h expected"):
        alignment_task(cases, encoder).batch(0)


def test_the_texture_is_measured_on_what_is_left_out(cases, encoder):
    found = residuals(encoder, cases)
    assert found.shape == (6, 72, 72)
    scores = known_scores(cases[0])[:1]
    with torch.no_grad():
        mean, spread = encoder.decode(encoder.encode(scores))
    np.testing.assert_allclose(found[0], ((scores - mean) / spread)[0, :, :72], atol=1e-5)
    variances = texture_of(encoder, cases)
    assert variances.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (variances >= 0).all()


@pytest.fixture(scope="module")
def model(encoder):
    torch.manual_seed(0)
    whole = ScenarioModel(tiny_scenarios()).eval()
    whole.autoencoder = encoder
    return whole


def test_quantiles_of_what_is_drawn_stand_beside_those_of_the_truth(cases, model, monkeypatch):
    monkeypatch.setattr("geoscope.training.scenarios.quantiles.LEAST_PIXELS", 10)
    drawn, seen = drawn_and_seen(model, cases, seed=1)
    assert len(drawn) == len(seen) == QUANTILES == len(model.drawn_quantiles)
    assert (drawn.diff() > 0).all()
    assert (seen.diff() >= 0).all()
    again = drawn_and_seen(model, cases, seed=1)
    assert torch.equal(drawn, again[0])
    assert torch.equal(seen, again[1])
    every = np.concatenate([case.read("scores")["scores"].ravel() for case in cases])
    assert seen[-1] <= np.nanmax(every)
    believed = [replace(case, low_mm_h=5.0) for case in cases]  # rain of 5 mm/h is likely in fewer places
    assert not torch.equal(drawn_and_seen(model, believed, seed=1)[1], seen)


def test_without_likely_rain_there_are_no_quantiles(cases, model, monkeypatch):
    monkeypatch.setattr("geoscope.training.scenarios.quantiles.LIKELY", 1.0)
    assert drawn_and_seen(model, cases, seed=1) is None


@pytest.mark.parametrize(
    ("table", "values", "said"),
    [
        (WindowTable, {"side": 0}, "side=0"),
        (WindowTable, {"side": 8, "large_side": 4}, "the larger one second"),
        (WindowTable, {"share_large": 1.5}, "share_large=1.5"),
        (AlignmentTable, {"share_whole": -0.1}, "share_whole=-0.1"),
        (AutoencoderTable, {"side": 0}, "side=0"),
        (AutoencoderTable, {"kl_weight": -1.0}, "kl_weight=-1.0"),
        (AutoencoderTable, {"error_weight": -1.0}, "error_weight=-1.0"),
    ],
)
def test_tables_that_cannot_work_are_refused(table, values, said):
    with pytest.raises(ConfigError, match=said):
        table(**values)

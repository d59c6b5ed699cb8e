"""Training: the losses by hand, the recipe's checks, a short run that learns, stops and goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.metrics.probability import brier_skill_score
from geoscope.models.nowcaster.checkpoints import read_nowcaster
from geoscope.training import recipe as recipes
from geoscope.training.calibration import LogitCounts, fit, probability_table
from geoscope.training.nowcast import (
    NowcasterRecipe,
    NowcasterTask,
    exceedance_loss,
    overlap_loss,
    rarity_weights,
    read_training_events,
)
from geoscope.training.tasks import TASKS

EVERYTHING = torch.tensor([[0.0, float("inf")]])


def write_event(path, frames: int = 40, side: int = 64) -> None:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    rain = np.zeros((frames, side, side))
    for _ in range(6):
        row, column, speed = random.uniform(0, side), random.uniform(0, side), random.uniform(-1, 1, 2)
        for t in range(frames):
            distance = (rows - row - speed[0] * t) ** 2 + (columns - column - speed[1] * t) ** 2
            rain[t] += 20 * np.exp(-distance / 60)
    meta = json.dumps({"dt_minutes": 10, "pixel_km": 1})
    np.savez(path, rain=(rain * 100).astype(np.uint16), meta=meta)


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "events").mkdir()
    for name in ("storm_a", "held_b", "spare_c"):
        write_event(tmp_path / "events" / f"{name}.npz")
    path = tmp_path / "run.toml"
    path.write_text(
        'events = "events"\nheld_out = ["held_"]\nvalidate_on = ["spare_"]\nminutes = 10\nsteps = 2\nbatch = 1\n'
        'leads = 1\nthreads = 1\nprecision = "float32"\nvalidation_windows = 2\ncalibration_windows = 1\n'
        "[windows]\nsize = 64\nshare_coarse = 0.0\n"
    )
    return path


def test_the_loss_by_hand():
    """One pixel, thresholds 0.5 and 5: truth 2 mm/h exceeds the first only."""
    logits = torch.zeros(1, 1, 2, 1, 1)
    target = torch.tensor([[[[2.0]]]])
    thresholds = torch.tensor([0.5, 5.0])
    assert exceedance_loss(logits, target, thresholds, EVERYTHING).item() == pytest.approx(np.log(2))
    logits[0, 0, 0] = 2.0  # surer of what happened
    light, heavy = rarity_weights(thresholds).tolist()
    assert light == pytest.approx(1.0, abs=0.01)
    assert heavy == pytest.approx((0.5 / 0.1578) ** 0.6, rel=0.01)  # exceeded by 3.7 % of the pixels
    expected = (light * np.log1p(np.exp(-2.0)) + heavy * np.log(2)) / (light + heavy)
    assert exceedance_loss(logits, target, thresholds, EVERYTHING).item() == pytest.approx(expected, rel=1e-5)
    only_heavy = torch.tensor([[2.5, 40.0]])  # the source is not to be believed below 2.5 mm/h
    assert exceedance_loss(logits, target, thresholds, only_heavy).item() == pytest.approx(np.log(2))
    unknown = torch.full_like(target, torch.nan)
    assert exceedance_loss(logits, unknown, thresholds, EVERYTHING).item() == 0.0


def test_the_overlap_by_hand():
    """40 pixels at one half, 30 of them wet: both 15, either 20 + 30 - 15 = 35."""
    target = torch.zeros(1, 1, 4, 10)
    target[..., :3, :] = 2.0
    logits = torch.zeros(1, 1, 1, 4, 10)
    one = torch.tensor([1.0])
    assert overlap_loss(logits, target, one, EVERYTHING).item() == pytest.approx(1 - 15 / 35)
    sure = torch.where(target > 1, 20.0, -20.0)[:, :, None]
    assert overlap_loss(sure, target, one, EVERYTHING).item() == pytest.approx(0.0, abs=1e-6)
    target[..., 1:, :] = 0.0  # ten wet pixels are too few to judge
    assert overlap_loss(logits, target, one, EVERYTHING).item() == 0.0


def test_held_out_events_are_not_read(recipe):
    _, config = recipes.split(recipes.read(recipe), NowcasterRecipe, "run.toml")
    read = read_training_events(config, recipe.parent, leave_out=("held_", "spare_"))
    assert [event.name for event in read] == ["storm_a"]
    with pytest.raises(DataError, match="none of the 3 files there is left"):
        read_training_events(config, recipe.parent, leave_out=("",))
    (recipe.parent / "nothing").mkdir()
    with pytest.raises(
        DataError, match=r"expected \.npz, \.nc, \.zarr or \.h5 files in .*nothing, found none"
    ):
        read_training_events(replace(config, events="nothing"), recipe.parent, leave_out=())


def test_validation_scores_the_decided_field_on_events_kept_for_it(recipe):
    settings, own = recipes.split(recipes.read(recipe), NowcasterRecipe, "run.toml")
    task = NowcasterTask(own, settings, recipe.parent)
    assert [event.name for event in task.unseen] == ["spare_c"]
    torch.manual_seed(0)
    network = task.network().eval()
    batches = [task.validation_batch(index) for index in range(task.validation_batches)]
    assert torch.equal(batches[0]["target"], task.validation_batch(0)["target"])  # the same ones every time
    sums = [task.validate(network, batch) for batch in batches]
    together = {name: sums[0][name] + sums[1][name] for name in sums[0]}
    scores = task.scores(together)
    assert scores["csi_m"] == pytest.approx(
        np.mean([scores[f"csi_{t}"] for t in ("0.5", "1", "2", "5", "10")])
    )
    assert 0.2 < scores["csi_1"] < 1.0  # untrained it is extrapolation, and these cells only move
    picture = task.picture(network)
    assert picture is not None
    assert picture.dtype == np.uint8


def test_thresholds_at_which_a_source_is_not_believed_do_not_count(recipe):
    settings, own = recipes.split(recipes.read(recipe), NowcasterRecipe, "run.toml")
    task = NowcasterTask(own, settings, recipe.parent)
    torch.manual_seed(0)
    batch = {**task.validation_batch(0), "range": torch.tensor([[1.0, 4.0]])}
    hits = task.validate(task.network().eval(), batch)["hits"]
    assert hits[0] == hits[3] == hits[4] == 0  # 0.5, 5 and 10 mm/h
    assert hits[1] > 0


def test_a_run_writes_weights_stops_and_goes_on(recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace('validate_on = ["spare_"]', "validate_on = []"))
    TASKS["nowcast"](recipe, tmp_path / "out", lambda stage, share: None)
    first = read_nowcaster(tmp_path / "out" / "model.safetensors")
    recipe.write_text(recipe.read_text().replace("steps = 2", "steps = 3"))
    TASKS["nowcast"](recipe, tmp_path / "out", lambda stage, share: None)
    state = torch.load(tmp_path / "out" / "last.pt", weights_only=True)
    assert state["step"] == 3
    second = read_nowcaster(tmp_path / "out" / "model.safetensors")
    assert not torch.equal(first.last.weight, second.last.weight)
    assert torch.equal(second.calibration[..., 0], torch.ones_like(second.calibration[..., 0]))


def test_a_run_ends_with_calibration_on_events_kept_for_it(recipe, tmp_path):
    stages: list[str] = []
    TASKS["nowcast"](recipe, tmp_path / "out", lambda stage, share: stages.append(stage))
    network = read_nowcaster(tmp_path / "out" / "model.safetensors")
    assert "calibrating the probabilities" in stages
    scale = network.calibration[..., 0]
    assert ((scale >= 0.3) & (scale <= 2.0)).all()
    assert not torch.equal(scale, torch.ones_like(scale))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("steps = 3", ConfigError, "'events' is missing"),
        ('events = "x"\nstepz = 3', ConfigError, "unknown key 'stepz'; did you mean 'steps'"),
        ('events = "x"\n[windows]\nsise = 3', ConfigError, "unknown key 'sise'; did you mean 'size'"),
        ("events = ", ConfigError, "not a readable TOML"),
        ('steps = 3\nevents = "nowhere"', DataError, "is not a folder"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path, text, error, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        TASKS["nowcast"](path, tmp_path / "out", lambda stage, share: None)


def counts_of(chance_of, steps: int = 1) -> LogitCounts:
    """200,000 pixels a step whose logits spread over -4..4; the event happens as ``chance_of`` their logit says."""
    counts = LogitCounts(steps, 1)
    random = torch.Generator().manual_seed(0)
    for step in range(1, steps + 1):
        logits = torch.rand(1, 200_000, generator=random) * 8 - 4
        happened = torch.rand(1, 200_000, generator=random) < chance_of(logits)
        counts.add(step, logits, happened, torch.ones_like(happened))
    return counts


def test_calibration_finds_the_overconfidence_that_was_put_in():
    table = fit(counts_of(lambda logits: torch.sigmoid(0.6 * logits - 0.5)))
    assert table[0, 0].tolist() == pytest.approx([0.6, -0.5], abs=0.05)


def test_calibrated_probabilities_and_unseen_thresholds_are_left_alone():
    assert fit(counts_of(torch.sigmoid))[0, 0].tolist() == pytest.approx([1.0, 0.0], abs=0.05)
    assert fit(LogitCounts(2, 3))[1, 2].tolist() == [1.0, 0.0]


def test_counts_of_logits_add_up():
    one, other = counts_of(torch.sigmoid), counts_of(torch.sigmoid)
    assert torch.equal((one + other).pixels, 2 * one.pixels)
    with pytest.raises(ShapeError, match="do not add up"):
        one + LogitCounts(2, 1)


def test_the_table_of_what_was_said_and_seen_by_hand():
    counts = LogitCounts(1, 1)
    logits = torch.tensor([[0.0625, 0.0625, 0.0625, 2.0625]])  # middles of two bins: 0.516 and 0.887
    counts.add(1, logits, torch.tensor([[True, False, False, True]]), torch.ones(1, 4, dtype=torch.bool))
    table = probability_table(counts, torch.tensor([[[1.0, 0.0]]]))
    assert (table.pixels[0, 5], table.events[0, 5], table.pixels[0, 8], table.events[0, 8]) == (3, 1, 1, 1)
    low, high = torch.sigmoid(logits[0, [0, 3]]).tolist()
    assert table.squared_error.item() == pytest.approx((1 - low) ** 2 + 2 * low**2 + (1 - high) ** 2)
    moved = probability_table(counts, torch.tensor([[[0.0, -3.0]]]))  # always 0.047
    assert moved.pixels[0].tolist() == [4, *[0] * 9]
    assert moved.probability[0, 0] == pytest.approx(4 / (1 + np.exp(3)))


def test_calibration_on_its_own_data_never_has_less_skill():
    counts = counts_of(lambda logits: torch.sigmoid(0.6 * logits - 0.5))
    as_given = probability_table(counts, torch.tensor([[[1.0, 0.0]]]))
    assert brier_skill_score(probability_table(counts, fit(counts))) > brier_skill_score(as_given) + 0.02

"""Training: the loss by hand, the recipe's checks, a short run that learns, stops and goes on."""

import json

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError, DataError
from geoscope.models.nowcaster.checkpoints import read_nowcaster
from geoscope.training import recipe as recipes
from geoscope.training.calibration import ReliabilityCounts, best_limits
from geoscope.training.nowcast import NowcasterRecipe, exceedance_loss, read_training_events
from geoscope.training.tasks import TASKS


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
    write_event(tmp_path / "events" / "storm_a.npz")
    write_event(tmp_path / "events" / "held_b.npz")
    path = tmp_path / "run.toml"
    path.write_text(
        'events = "events"\nheld_out = ["held_"]\nminutes = 10\nsteps = 2\nbatch = 1\nleads = 1\nthreads = 1\n'
        'precision = "float32"\nmedian_share = 0.5\ncalibration_windows = 1\n[windows]\nsize = 64\nshare_coarse = 0.0\n'
    )
    return path


def test_the_loss_by_hand():
    """One pixel, thresholds 1 and 3: weights 2 and 3; truth 2 mm/h exceeds the first only."""
    logits = torch.zeros(1, 1, 2, 1, 1)
    target = torch.tensor([[[[2.0]]]])
    thresholds, everything = torch.tensor([1.0, 3.0]), torch.tensor([[0.0, float("inf")]])
    assert exceedance_loss(logits, target, thresholds, everything).item() == pytest.approx(np.log(2))
    logits[0, 0, 0] = 2.0  # surer of what happened
    expected = (2 * np.log1p(np.exp(-2.0)) + 3 * np.log(2)) / 5
    assert exceedance_loss(logits, target, thresholds, everything).item() == pytest.approx(expected, rel=1e-5)
    only_heavy = torch.tensor([[2.5, 40.0]])  # the source is not to be believed below 2.5 mm/h
    assert exceedance_loss(logits, target, thresholds, only_heavy).item() == pytest.approx(np.log(2))
    unknown = torch.full_like(target, torch.nan)
    assert exceedance_loss(logits, unknown, thresholds, everything).item() == 0.0


def test_held_out_events_are_not_read(recipe):
    _, config = recipes.split(recipes.read(recipe), NowcasterRecipe, "run.toml")
    assert [event.name for event in read_training_events(config, recipe.parent)] == ["storm_a"]


def test_a_run_writes_weights_stops_and_goes_on(recipe, tmp_path):
    stages: list[str] = []
    TASKS["nowcast"](recipe, tmp_path / "out", lambda stage, share: stages.append(stage))
    first = read_nowcaster(tmp_path / "out" / "model.safetensors")
    assert 0.05 <= float(first.limits.min()) <= float(first.limits.max()) <= 0.95
    assert stages[-1] == "choosing the decision limits"
    recipe.write_text(recipe.read_text().replace("steps = 2", "steps = 3"))
    TASKS["nowcast"](recipe, tmp_path / "out", lambda stage, share: None)
    state = torch.load(tmp_path / "out" / "last.pt", weights_only=True)
    assert state["step"] == 3
    second = read_nowcaster(tmp_path / "out" / "model.safetensors")
    assert not torch.equal(first.head.last.weight, second.head.last.weight)


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


def test_limits_of_the_best_csi_by_hand():
    """Bins below 0.5 hold 10 % events, above 90 %: taking only the upper ones is best."""
    counts = ReliabilityCounts(1, 1)
    counts.pixels[0, 0] = 1000
    counts.events[0, 0, :32], counts.events[0, 0, 32:] = 100, 900
    assert best_limits(counts, 0.0).item() == pytest.approx(0.5, abs=0.02)
    csi = counts.csi_by_limit()[0, 0]
    assert csi[0] == pytest.approx(0.5)  # 32,000 events among 64,000 forecast
    assert csi[32] == pytest.approx(28800 / 35200)
    assert best_limits(counts, 1.0).item() == 0.5


def test_rare_thresholds_take_the_limit_of_the_next_lower():
    counts = ReliabilityCounts(2, 2)
    counts.pixels[:, 0], counts.events[:, 0, 20:] = 1000, 900
    counts.pixels[:, 1] = 1000
    limits = best_limits(counts, 0.0)
    assert torch.allclose(limits[:, 1], limits[:, 0])

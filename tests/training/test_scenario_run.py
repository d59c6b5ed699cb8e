"""One command from events to the weights of a scenario model: stages, resumption, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from geoscope.errors import ConfigError, DataError, TrainingError
from geoscope.models.scenarios import config as configs
from geoscope.models.scenarios.checkpoints import read_scenarios
from geoscope.training import recipe as recipes
from geoscope.training import tasks
from geoscope.training.engine import checkpoints
from geoscope.training.scenarios import cases as cutting
from geoscope.training.scenarios import run as runs
from geoscope.training.scenarios.recipe import read_plan
from geoscope.training.scenarios.stages import listing, write_whole
from tests.training.scenario_events import SILENT, ByHand, tiny_scenarios, write_event, write_events

STAGES = ("autoencoder", "denoiser", "alignment")
NETWORK = """
steps = 3
batch = 2
precision = "float32"
workers = 0
save_every = 1
log_every = 1
estimate = false
side = 4
"""
HEAD = """
events = "events"
held_out = ["held_"]
preset = "tiny"
seed = 5
[cases]
per_event = 2
size = 96
regions = 4
[outlook]
steps = 5
batch = 8
"""


@pytest.fixture(autouse=True, scope="module")
def small():
    """A tiny preset, and a stand-in for the nowcaster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.PRESETS, "tiny", tiny_scenarios)
        patch.setattr(runs, "load_nowcaster", lambda card, device: ByHand())
        yield


@pytest.fixture(scope="module")
def original(small, tmp_path_factory):
    """A recipe, three events of which one is held out and cannot even be read, and a whole run."""
    folder = tmp_path_factory.mktemp("scenarios")
    write_events(folder / "events", "storm_a", "storm_b")
    (folder / "events" / "held_c.npz").write_bytes(b"nobody reads this")
    write_recipe(folder)
    told = []
    tasks.TASKS["scenarios"](
        folder / "run.toml", folder / "out", lambda what, share: told.append((what, share))
    )
    return folder, told


@pytest.fixture
def finished(original, tmp_path):
    """A copy of it."""
    shutil.copytree(original[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def folder(finished):
    """A copy without the run."""
    shutil.rmtree(finished / "out")
    return finished


def write_recipe(folder, head=HEAD):
    """The recipe."""
    text = head
    for stage in STAGES:
        larger = "" if stage == "autoencoder" else "large_side = 8\n"
        text += f"[{stage}]{NETWORK}{larger}"
    (folder / "run.toml").write_text(text)


def train(folder, out="out"):
    tasks.TASKS["scenarios"](folder / "run.toml", folder / out, SILENT)
    return folder / out


def test_one_command_makes_the_weights(original):
    folder, told = original
    out = folder / "out"
    model = read_scenarios(out / "model.safetensors")
    assert model.config.preset == "tiny"
    saved = load_file(out / "denoiser" / "model.safetensors")
    for name, value in saved.items():
        found = model.denoiser.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-4)  # files may be in half precision
    assert (out / "recipe.toml").read_text() == (folder / "run.toml").read_text()
    names = {path.name.split("__")[0] for path in (out / "cases").glob("*.safetensors")}
    assert names == {"storm_a", "storm_b"}
    assert model.seen_sigmas.tolist() != [-4.0, 4.0]
    assert "widening" in json.loads((out / "outlook" / "calibration.json").read_text())
    for stage in ("cases", *STAGES, "outlook", "texture", "quantiles"):
        assert any(what.startswith(f"{stage}: ") for what, _ in told), stage
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert json.loads((out / "denoiser" / "run.json").read_text())["steps"] == 3


def test_what_is_finished_is_not_done_again(finished, monkeypatch):
    def never(*_):
        raise AssertionError("a stage that was finished was begun again")

    for name in ("load_nowcaster", "fit", "fit_outlook", "texture_of", "drawn_and_seen"):
        monkeypatch.setattr(runs, name, never)
    before = load_file(finished / "out" / "model.safetensors")
    (finished / "out" / "model.safetensors").unlink()
    after = load_file(train(finished) / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("stop_at", [2, 5, 8])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(original, folder, monkeypatch, stop_at):
    """In the middle of each network: what was finished is not begun again."""
    whole = load_file(original[0] / "out" / "model.safetensors")
    save, saves = checkpoints.save, []

    def stop(place, state):
        save(place, state)
        saves.append(place)
        if len(saves) == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        train(folder, "parts")
    parts = load_file(train(folder, "parts") / "model.safetensors")
    assert len(saves) == 9  # of three stages of three steps
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_that_was_stopped_while_cases_were_cut_goes_on(folder, monkeypatch):
    write, count = cutting._write, [0]

    def stop(*arguments):
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(cutting, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        train(folder)
    monkeypatch.setattr(cutting, "_write", write)
    nowcaster = ByHand()
    monkeypatch.setattr(runs, "load_nowcaster", lambda card, device: nowcaster)
    train(folder)
    assert nowcaster.calls == 2


def test_more_steps_go_on_from_where_a_stage_was(finished):
    out = finished / "out"
    before = (out / "autoencoder" / "model.safetensors").read_bytes()
    head, tail = (finished / "run.toml").read_text().split("[alignment]")
    (finished / "run.toml").write_text(f"{head}[alignment]{tail.replace('steps = 3', 'steps = 5')}")
    train(finished)
    assert json.loads((out / "alignment" / "run.json").read_text())["steps"] == 5
    assert (out / "autoencoder" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda text: text.replace("per_event = 2", "per_event = 1"), "cases"),
        (lambda text: text.replace("[denoiser]", "kl_weight = 1.0\n[denoiser]"), "autoencoder"),
        (lambda text: text.replace("[alignment]", "share_large = 0.0\n[alignment]"), "denoiser"),
    ],
)
def test_a_run_of_another_recipe_is_not_gone_on_with(finished, change, where):
    path = finished / "run.toml"
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigError, match=rf"{where} was begun with another recipe.*another --out"):
        train(finished)


def test_other_events_are_other_cases(finished):
    write_event(finished / "events" / "storm_d.npz", 9)
    with pytest.raises(ConfigError, match=r"cases was begun with .*other events"):
        train(finished)


def test_no_events_are_refused(folder):
    write_recipe(folder, HEAD.replace('"events"', '"nowhere"'))
    with pytest.raises(DataError, match=r"events='nowhere': .* is not a folder"):
        train(folder)
    (folder / "empty").mkdir()
    write_recipe(folder, HEAD.replace('"events"', '"empty"'))
    with pytest.raises(DataError, match=r"events='empty': expected .* found none"):
        train(folder)


def test_events_that_are_all_held_out_are_refused(folder):
    write_recipe(folder, HEAD.replace('["held_"]', '["held_", "storm_"]'))
    with pytest.raises(DataError, match="none of the 3 files there is left for names that begin with"):
        train(folder)


def test_a_storm_on_both_sides_is_refused(folder):
    (folder / "groups.toml").write_text('[groups]\nheld_c = "one"\nstorm_b = "one"\n')
    write_recipe(folder, 'groups = "groups.toml"\n' + HEAD)
    with pytest.raises(
        DataError, match=r"storm_b in the split 'training' and held_c in 'held out'.*group 'one'"
    ):
        train(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "colour = 1\n" + text, r"^run.toml: unknown key 'colour'"),
        (lambda text: text.replace("size = 96", "size = 96\nside = 3"), r"^run.toml: cases: unknown key 'side'"),
        (lambda text: text.replace("size = 96", "size = 9"), r"^run.toml: \[cases\] size=9: expected 64"),
        (lambda text: text.replace("[denoiser]", "[denoiser]\ncolor = 1"), r"\[denoiser\]: unknown key 'color'"),
        (lambda text: text.replace("large_side = 8", "large_side = 1", 1), r"\[denoiser\].*side=4, large_side=1"),
        (lambda text: text.replace("seed = 5", "seed = 5\nthreads = 0"), r"^run.toml: threads=0 must be above zero"),
        (lambda text: text.replace('"tiny"', '"tidy"'), r"^run.toml: preset='tidy' is not known; did you mean 'tiny'"),
        (lambda text: text.replace("[denoiser]", "[other]"), r"^run.toml: unknown key 'other'"),
        (lambda text: text.replace("[alignment]", "[alignment]\ndevices = 2"), r"\[alignment\] devices=2"),
        (lambda text: text.split("[alignment]")[0], "^run.toml: key 'alignment' is missing"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_work_is_refused_in_a_line(folder, change, said):
    path = folder / "run.toml"
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigError, match=said) as caught:
        train(folder)
    assert str(caught.value).startswith("run.toml: ")
    assert "\n" not in str(caught.value)
    assert not (folder / "out").exists()


def test_the_recipe_that_ships_holds_out_what_the_nowcaster_does(repository, shared):
    folder = repository / "geoscope" / "training" / "recipes"
    plan = read_plan(folder / "prediff-nowcast.toml")
    nowcaster = recipes.read(folder / "earthformer-nowcast.toml")
    assert plan.recipe.held_out == tuple(nowcaster["held_out"])
    assert plan.recipe.censored == {name: tuple(bounds) for name, bounds in nowcaster["censored"].items()}
    assert len(plan.paths) > 30
    assert not [path for path in plan.paths if path.name.startswith(plan.recipe.held_out)]
    assert plan.recipe.config.preset == "small"
    assert (plan.denoiser[0].ema, plan.autoencoder[0].floor) == (0.998, 0.02)


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    def write(beside):
        beside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "model.safetensors"
    with pytest.raises(TrainingError, match=r"cannot be written \(No space left on device\); make room"):
        write_whole(path, write)
    assert not list(tmp_path.iterdir())
    assert write_whole(path, lambda beside: beside.write_bytes(b"whole")) == path
    assert path.read_bytes() == b"whole"


def test_a_listing_tells_the_size_of_folders(tmp_path):
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "store.zarr" / "chunk").write_bytes(b"12345")
    (tmp_path / "event.npz").write_bytes(b"123")
    paths = [tmp_path / "event.npz", tmp_path / "store.zarr"]
    assert listing(paths) == [("event.npz", 3), ("store.zarr", 5)]

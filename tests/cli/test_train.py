"""`geoscope train` hands the settings to the library and says how far it is."""

import logging

import pytest

from geoscope.training import tasks


def test_the_task_gets_settings_folder_and_progress(run, tmp_path, monkeypatch):
    seen = []

    def pretend(config_path, out, progress):
        progress("step 1 of 2", 0.5)
        seen.append((config_path.read_text(), str(out)))

    monkeypatch.setitem(tasks.TASKS, "nowcast", pretend)
    (tmp_path / "my.toml").write_text("seed = 1")
    result = run("train", "nowcast", "--config", "my.toml", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert seen == [("seed = 1", "mine")]
    assert "mine" in result.stdout


def test_an_unknown_task_is_refused(refused, tmp_path):
    (tmp_path / "my.toml").write_text("")
    said = refused("train", "tomorrow", "-c", "my.toml")
    assert (
        "TASK 'tomorrow' is not known; there are alignment, autoencoder, denoiser, nowcast, scenarios" in said
    )


def test_settings_that_are_not_there_are_refused(refused):
    assert "--config 'my.toml' is not a file" in refused("train", "nowcast", "--config", "my.toml")


@pytest.mark.parametrize("text", ["colour = 'red'", "not toml at all"])
def test_settings_that_make_no_sense_are_refused(refused, tmp_path, text):
    (tmp_path / "my.toml").write_text(text)
    assert "my.toml" in refused("train", "nowcast", "--config", "my.toml", "--out", "mine")


def test_a_recipe_that_ships_goes_by_its_name(run, refused, monkeypatch):
    seen = []
    monkeypatch.setitem(tasks.TASKS, "nowcast", lambda path, out, progress: seen.append(path))
    assert run("train", "nowcast", "--config", "earthformer-moving-mnist").exit_code == 0
    assert seen[0].name == "earthformer-moving-mnist.toml"
    assert "or a recipe that ships: earthformer-moving-mnist, " in refused("train", "nowcast", "-c", "moving")


def test_what_a_run_says_of_itself_is_a_line_on_stderr(run, tmp_path, monkeypatch):
    def pretend(config_path, out, progress):
        logging.getLogger("geoscope.training").info("0.47 M parameters, %s", "1 s a step")

    monkeypatch.setitem(tasks.TASKS, "nowcast", pretend)
    (tmp_path / "my.toml").write_text("")
    result = run("train", "nowcast", "--config", "my.toml")
    assert "0.47 M parameters, 1 s a step\n" in result.stderr
    assert not logging.getLogger("geoscope.training").handlers


def test_the_other_processes_of_a_run_are_silent(run, tmp_path, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "nowcast", lambda *_: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    (tmp_path / "my.toml").write_text("")
    assert run("train", "nowcast", "--config", "my.toml").stdout == ""

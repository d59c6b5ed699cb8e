"""`geoscope verify` on forecasts of what ships."""

import json
import os

import pytest

import geoscope as gs


@pytest.fixture
def forecast(run, tmp_path):
    """A persistence forecast of three hours from the middle of the shipped event."""
    options = ("--model", "persistence", "--lead-steps", "3", "--issue-time", "2018-09-14T05:00")
    assert run("nowcast", "florence-2018", *options, "--out", "forecast.nc").exit_code == 0
    return tmp_path / "forecast.nc"


def test_the_scores_are_those_of_the_library(run, tmp_path, forecast):
    result = run("verify", forecast, "florence-2018", "--thresholds", "1,5", "--json", "scores.json")
    assert result.exit_code == 0, result.output
    rain = gs.sample("florence-2018")
    scores = gs.verify(
        gs.nowcast(rain, model="persistence", issue_time="2018-09-14T05:00", lead_steps=3),
        rain,
        thresholds=(1, 5),
    )
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["lead_minutes"] == [60, 120, 180]
    assert written["threshold_mm_h"] == [1, 5]
    assert written["pooled"]["csi_mean"] == pytest.approx(scores.attrs["csi_mean"], abs=1e-3)
    assert written["scores"]["mae"] == pytest.approx(scores["mae"].values.tolist(), abs=0.05)
    assert f"CSI mean {scores.attrs['csi_mean']:.3f}" in result.stdout
    assert "CSI 5" in result.stdout


def test_scores_that_do_not_exist_are_null(run, tmp_path, forecast):
    assert run("verify", forecast, "florence-2018", "--thresholds", "900", "--json", "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text())["scores"]["csi"] == [[None], [None], [None]]


@pytest.mark.parametrize("levels", ["", "a,b", "5,1", "1,1", "0,1", "-1", "nan", "1,inf"])
def test_thresholds_that_make_no_sense_are_refused(refused, levels):
    assert "must be rising rain rates" in refused("verify", "x.nc", "florence-2018", "--thresholds", levels)


def test_a_missing_forecast_is_refused(refused):
    assert "FORECAST 'x.nc' does not exist" in refused("verify", "x.nc", "florence-2018")


def test_a_missing_observation_is_refused(refused, forecast):
    assert "EVENT 'nowhere'" in refused("verify", forecast, "nowhere")


def test_a_folder_that_is_missing_for_json_is_refused(refused, forecast):
    assert "--json 'none/s.json'" in refused("verify", forecast, "florence-2018", "--json", "none/s.json")


@pytest.mark.parametrize(("name", "words"), [("s.txt", "ends in '.txt'"), ("old.json", "exists already")])
def test_a_bad_name_for_json_is_refused(refused, forecast, tmp_path, name, words):
    (tmp_path / "old.json").touch()
    assert words in refused("verify", forecast, "florence-2018", "--json", name)


def test_an_observation_of_another_storm_is_refused(refused, forecast):
    refused("verify", forecast, "simulated-storms")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_scores_are_written_whole_or_not_at_all(run, tmp_path, forecast, monkeypatch, stop):
    def replace(*_):
        raise stop

    monkeypatch.setattr(os, "replace", replace)
    result = run("verify", forecast, "florence-2018", "--json", "s.json")
    assert result.exit_code == (130 if stop is KeyboardInterrupt else 2)
    assert list(tmp_path.iterdir()) == [forecast]

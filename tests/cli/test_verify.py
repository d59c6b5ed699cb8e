"""`geoscope verify` on forecasts of what ships."""

import csv
import json
import os

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.metrics.bootstrap import interval
from geoscope.metrics.verification import verify_each


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
    line = refused("verify", forecast, "simulated-storms")
    assert "the grids differ: forecast (118, 87) and observed (256, 256) pixels; give align=" in line


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_scores_are_written_whole_or_not_at_all(run, tmp_path, forecast, monkeypatch, stop):
    def replace(*_):
        raise stop

    monkeypatch.setattr(os, "replace", replace)
    result = run("verify", forecast, "florence-2018", "--json", "s.json")
    assert result.exit_code == (130 if stop is KeyboardInterrupt else 2)
    assert list(tmp_path.iterdir()) == [forecast]


@pytest.fixture
def several(run, tmp_path):
    """Persistence forecasts of three issue times in one folder, and the same as an archive."""
    (tmp_path / "issued").mkdir()
    fields = []
    for hour in (4, 6, 8):
        words = ("--model", "persistence", "--lead-steps", "2", "--issue-time", f"2018-09-14T0{hour}:00")
        assert run("nowcast", "florence-2018", *words, "--out", f"issued/{hour}.nc").exit_code == 0
        field = gs.nowcast(
            gs.sample("florence-2018"), model="persistence", lead_steps=2, issue_time=words[-1]
        )
        fields.append(field.swap_dims(time="lead_time").drop_vars("time"))
    together = xr.concat(fields, "issue_time", coords="minimal", compat="override", combine_attrs="override")
    times = [np.datetime64(f"2018-09-14T0{hour}:00", "ns") for hour in (4, 6, 8)]
    return together.drop_vars("forecast_reference_time").assign_coords(issue_time=times)


def test_several_issue_times_have_an_interval(run, several):
    result = run(
        "verify", "issued/*.nc", "florence-2018", "--thresholds", "1,5", "--json", "s.json", "--draws", "200"
    )
    assert result.exit_code == 0, result.output
    assert "3 issue times" in result.stdout
    with open("s.json") as file:
        pooled = json.load(file)["pooled"]
    each = verify_each(several, gs.sample("florence-2018"), (1, 5))
    low, high = interval(each, "csi_mean", draws=200)
    assert low < high
    assert (pooled["csi_mean_low"], pooled["csi_mean_high"]) == pytest.approx((low, high))
    assert f"[{low:.3f} to {high:.3f}]" in result.stdout
    folder = run("verify", "issued", "florence-2018", "--thresholds", "1,5", "--draws", "0")
    assert "3 issue times" in folder.stdout
    assert " to " not in folder.stdout


def test_an_archive_is_read_as_it_lies(run, several, tmp_path):
    several.to_dataset(name="rain_rate").to_zarr(tmp_path / "archive.zarr", zarr_format=2, consolidated=True)
    result = run("verify", "archive.zarr", "florence-2018", "--thresholds", "1,5")
    assert result.exit_code == 0, result.output
    assert "3 issue times" in result.stdout


def test_every_file_holds_the_same_scores(run, several):
    names = ("--json", "s.json", "--csv", "s.csv", "--netcdf", "s.nc")
    more = ("--scales", "1,4", "--pools", "4", "--tolerances", "2", "--structure", "--draws", "50")
    result = run("verify", "issued", "florence-2018", "--thresholds", "1,5", *names, *more)
    assert result.exit_code == 0, result.output
    with open("s.json") as file:
        plain = json.load(file)
    with open("s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with xr.open_dataset("s.nc", engine="h5netcdf", decode_timedelta=True) as data:
        scores = data.load()
    np.testing.assert_allclose(plain["scores"]["fss"], scores.fss)
    assert plain["scale"] == scores.scale.values.tolist() == [1, 4]
    found = [
        float(row["value"])
        for row in rows
        if row["score"] == "fss" and row["lead_minutes"] == "60.0" and row["scale"] == "4"
    ]
    np.testing.assert_allclose(found, scores.fss[0, 1])
    (pooled,) = [
        row
        for row in rows
        if row["score"] == "csi" and row["lead_minutes"] == "all" and row["threshold"] == "1.0"
    ]
    assert float(pooled["value"]) == pytest.approx(float(scores.csi_pooled[0]))
    assert float(pooled["low"]) == pytest.approx(float(scores.csi_pooled_low[0]))
    (mean,) = [row for row in rows if row["score"] == "csi_mean"]
    assert float(mean["value"]) == pytest.approx(plain["pooled"]["csi_mean"])
    assert {"ssim", "sal_location", "spectrum_ratio", "rms_log_error", "tolerant_csi"} <= {
        row["score"] for row in rows
    }


def test_probabilities_and_members_add_their_scores(run, tmp_path):
    rain = gs.sample("florence-2018")
    issue = {"issue_time": "2018-09-14T05:00", "lead_steps": 2}
    forecast = gs.nowcast(rain, model="persistence", **issue)
    members = xr.concat([forecast, forecast * 2], "member", combine_attrs="override")
    chances = xr.concat([(forecast >= level).astype(float) for level in (1, 5)], "threshold")
    both = xr.Dataset(
        {"rain_rate": forecast, "exceedance_probability": chances.assign_coords(threshold=[1.0, 5.0])}
    )
    for name, data in (("members.nc", members.to_dataset(name="rain_rate")), ("chances.nc", both)):
        for variable in data.variables.values():
            variable.attrs.pop("run_card", None)
        data.to_netcdf(tmp_path / name, engine="h5netcdf")
        result = run(
            "verify", name, "florence-2018", "--thresholds", "1,5", "--json", "s.json", "--overwrite"
        )
        assert result.exit_code == 0, result.output
        assert "brier" in json.loads((tmp_path / "s.json").read_text())["scores"]
    assert "CRPS" in run("verify", "members.nc", "florence-2018").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--scales", "4,1"), "--scales '4,1' must be rising"),
        (("--pools", "2.5"), "--pools '2.5' must be rising"),
        (("--region", "1,2,3"), "--region '1,2,3' must be x_min,y_min,x_max,y_max"),
        (("--region", "5,0,1,1"), "--region '5,0,1,1'"),
        (("--draws", "-1"), "--draws -1"),
        (("--align", "guess"), "align='guess'"),
        (("--threshold-units", "dBZ"), "thresholds are in 'dBZ', but the fields are in 'mm/h'"),
        (("--csv", "s.json"), "expected .csv"),
        (("--netcdf", "s.csv"), "expected .nc"),
    ],
)
def test_options_that_make_no_sense_are_refused(refused, forecast, words, says):
    assert says in refused("verify", forecast, "florence-2018", *words)


def test_files_without_a_forecast_are_refused(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "without .nc or .zarr" in refused("verify", "empty", "florence-2018")
    assert "does not exist" in refused("verify", "none/*.nc", "florence-2018")
    (tmp_path / "x.gif").write_bytes(b"GIF89a")
    assert "must be a .nc file or a .zarr" in refused("verify", "x.gif", "florence-2018")
    (tmp_path / "broken.nc").write_bytes(b"nothing")
    assert "cannot be read" in refused("verify", "broken.nc", "florence-2018")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    assert "holds no forecast: expected one field (time, y, x) with lead_time, found a" in refused(
        "verify", "other.nc", "florence-2018"
    )

"""The scores of an archive, added up over its issue times."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.errors import DataError
from geoscope.inference.archive import ArchiveSettings, open_forecast, run_archive
from geoscope.inference.archive.store import read_forecast_at
from geoscope.metrics.accumulate import Verification
from tests.inference.archive.archives import LEADS, rain_field

SETTINGS = ArchiveSettings(
    every="30min", model="persistence", lead_steps=LEADS, history=4, verify=True, thresholds=(1.0, 5.0)
)
ISSUES = (3, 6, 9, 12, 15)  # frames of the issue times whose truth is in the archive


def counted(frame: int) -> Verification:
    """What one issue time counts: the last frame held against the three after it."""
    rain = rain_field().values
    return Verification((1.0, 5.0)).update(
        np.repeat(rain[frame][None], LEADS, 0), rain[frame + 1 : frame + 1 + LEADS], (10, 20, 30)
    )


def test_scores_are_those_of_all_issue_times_together(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    assert [path.name for path in run.files] == ["x.scores.nc", "x.scores.json"]
    assert list(run.skipped.values()) == ["the archive ends at 2020-06-01T03:10Z, before the truth does"]
    whole = sum(counted(frame) for frame in ISSUES)
    xr.testing.assert_equal(
        run.scores[["hits", "misses", "csi", "mae"]], whole.to_dataset()[["hits", "misses", "csi", "mae"]]
    )
    with xr.open_dataset(tmp_path / "x.scores.nc", engine="h5netcdf", decode_timedelta=True) as held:
        np.testing.assert_array_equal(held["hits"].values, whole.to_dataset()["hits"].values)
        assert (held["issue_time"].values == run.issue_times[:5]).all()
        assert held["lead_time"].values.astype("timedelta64[m]").astype(int).tolist() == [10, 20, 30]
        np.testing.assert_array_equal(
            held["issue_csi_mean"].values, [counted(frame).csi_mean() for frame in ISSUES]
        )
    told = json.loads((tmp_path / "x.scores.json").read_text())
    assert told["lead_minutes"] == [10, 20, 30]
    assert told["threshold_mm_h"] == [1, 5]
    assert told["pooled"]["csi_mean"] == whole.csi_mean()
    assert told["pooled"]["csi_mean_low"] < whole.csi_mean() < told["pooled"]["csi_mean_high"]
    assert list(told["skipped"]) == ["2020-06-01T03:00Z"]
    assert json.loads(told["about"]["run_card"])["model"] == "persistence"


def test_one_issue_time_scores_as_verify_does(archive, tmp_path):
    run = run_archive(
        archive, tmp_path / "x.zarr", replace(SETTINGS, start="2020-06-01T01:00", end="2020-06-01T01:00")
    )
    rain = rain_field()
    alone = gs.verify(gs.nowcast(rain[:7], model="persistence", lead_steps=LEADS), rain, thresholds=(1, 5))
    np.testing.assert_array_equal(run.scores["hits"].values, alone["hits"].values)
    assert run.scores.attrs["csi_mean"] == alone.attrs["csi_mean"]
    assert math.isnan(run.scores.attrs["csi_mean_low"])
    assert json.loads((tmp_path / "x.scores.json").read_text())["pooled"]["csi_mean_low"] is None


def test_a_missing_frame_of_truth_skips_the_issue_time(archive_with_a_gap, tmp_path):
    run = run_archive(archive_with_a_gap, tmp_path / "x.zarr", SETTINGS)
    assert [str(time)[11:16] for time in run.skipped] == ["01:00", "01:30", "02:00", "03:00"]
    assert run.scores.attrs["issue_times"] == 2
    assert run.scores["pixels"].values.tolist() == [2 * (32 * 32 - 1)] * LEADS


@pytest.mark.parametrize("first", [{"verify": False}, {"thresholds": (2.0,)}])
def test_forecasts_that_are_there_are_scored_without_being_made_again(archive, tmp_path, first):
    run_archive(archive, tmp_path / "x.zarr", replace(SETTINGS, **first))
    chunk = tmp_path / "x.zarr" / "rain_rate" / "0.0.0.0"
    before = chunk.stat().st_mtime_ns
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    assert run.made == 0
    assert chunk.stat().st_mtime_ns == before
    assert run.scores.attrs["csi_mean"] == sum(counted(frame) for frame in ISSUES).csi_mean()
    assert run_archive(archive, tmp_path / "x.zarr", SETTINGS).scores.equals(run.scores)


def test_without_verify_no_scores_are_written(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", replace(SETTINGS, verify=False))
    assert run.scores is None
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


def test_a_forecast_that_cannot_be_read_back_for_its_scores_is_made_again(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", replace(SETTINGS, verify=False))
    chunk = run.store / "rain_rate" / "1.0.0.0"
    chunk.write_bytes(bytes(chunk.stat().st_size))  # of the same length, so that only reading shows it
    with pytest.raises(DataError, match="the forecast number 1 cannot be read"):
        read_forecast_at(run.store, "rain_rate", 1)
    with pytest.raises(DataError, match=r"x.zarr cannot be read \(.*\); write it again with --overwrite"):
        open_forecast(run.store, run.issue_times[1])
    again = run_archive(archive, run.store, SETTINGS)
    assert again.scores.attrs["csi_mean"] == sum(counted(frame) for frame in ISSUES).csi_mean()
    np.testing.assert_array_equal(
        open_forecast(run.store, run.issue_times[1])[0].values, rain_field()[6].values
    )

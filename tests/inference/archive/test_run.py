"""A run over an archive in one process: what the store holds, and what is skipped."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.errors import Cancelled, ConfigError, DataError, MissingExtraError
from geoscope.inference import archive as archives
from geoscope.inference.archive import ArchiveSettings, open_forecast, run_archive, store
from tests.inference.archive.archives import LEADS, expected, forecasts, frame_file, rain_field, write_archive

EXTRAPOLATION = ArchiveSettings(every="30min", model="extrapolation", lead_steps=LEADS, history=4)
PERSISTENCE = ArchiveSettings(every="30min", model="persistence", lead_steps=LEADS, history=4)


def test_every_issue_time_holds_what_nowcast_gives_for_it(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", EXTRAPOLATION)
    assert [str(time)[11:16] for time in run.issue_times] == [
        "00:30",
        "01:00",
        "01:30",
        "02:00",
        "02:30",
        "03:00",
    ]
    assert (run.made, run.found, run.skipped) == (6, 0, {})
    assert run.seconds > 0
    held = forecasts(run.store)
    for place, frame in enumerate(range(3, 20, 3)):
        np.testing.assert_array_equal(held[place], expected(rain_field(), frame, history=4))


def test_the_store_says_what_it_is(archive, tmp_path):
    run_archive(archive, tmp_path / "x.zarr", PERSISTENCE)
    assert (tmp_path / "x.zarr" / ".zmetadata").is_file()
    with xr.open_zarr(
        tmp_path / "x.zarr", consolidated=True, decode_timedelta=True, decode_coords="all"
    ) as data:
        rain = data["rain_rate"]
        assert rain.dims == ("issue_time", "lead_time", "y", "x")
        assert rain.encoding["chunks"] == (1, LEADS, 32, 32)
        assert rain.attrs["units"] == "mm/h"
        assert rain.dtype == np.float32
        assert data.attrs["Conventions"] == "CF-1.11"
        assert data["issue_time"].attrs["standard_name"] == "forecast_reference_time"
        assert data["lead_time"].attrs["standard_name"] == "forecast_period"
        assert data["valid_time"].attrs["standard_name"] == "time"
        valid = data["issue_time"].values[:, None] + data["lead_time"].values[None]
        assert (data["valid_time"].values == valid).all()
        assert (data["status"].values == store.DONE).all()
        assert (data["seconds"].values > 0).all()
        card = json.loads(data.attrs["run_card"])
    assert (card["model"], card["every"], card["lead_steps"], card["interval_minutes"]) == (
        "persistence",
        "30min",
        3,
        10,
    )
    assert len(card["grid_sha256"]) == 64


def test_the_place_on_the_earth_goes_into_the_store(tmp_path):
    rain = gs.sample("florence-2018").isel(time=slice(0, 4))
    run = run_archive(
        rain, tmp_path / "x.zarr", ArchiveSettings(every="1h", model="persistence", lead_steps=1)
    )
    one = open_forecast(run.store, run.issue_times[0])
    assert one.rio.crs == rain.rio.crs
    assert one.attrs["credit"] == rain.attrs["credit"]


def test_large_fields_are_cut_into_chunks_by_lead(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 2 * 4 * 32 * 32)
    run = run_archive(archive, tmp_path / "x.zarr", PERSISTENCE)
    assert (run.store / "rain_rate" / "0.1.0.0").is_file()
    np.testing.assert_array_equal(
        forecasts(run.store)[0], expected(rain_field(), 3, history=4, model="persistence")
    )
    assert run_archive(archive, run.store, PERSISTENCE).made == 0


def test_one_forecast_comes_out_as_nowcast_gives_it(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", PERSISTENCE)
    one = open_forecast(run.store, "2020-06-01T01:00")
    fresh = gs.nowcast(rain_field(7), model="persistence", lead_steps=LEADS)
    np.testing.assert_array_equal(one.values, fresh.values)
    for name in ("time", "lead_time", "y", "x", "forecast_reference_time"):
        assert (one[name].values == fresh[name].values).all()
    assert gs.verify(one, rain_field()).attrs["csi_mean"] == gs.verify(fresh, rain_field()).attrs["csi_mean"]


def test_a_missing_frame_skips_the_issue_times_that_need_it(archive_with_a_gap, tmp_path):
    run = run_archive(archive_with_a_gap, tmp_path / "x.zarr", PERSISTENCE)
    reason = "the past lacks the frame of 2020-06-01T01:30Z"
    assert [(str(time)[11:16], why) for time, why in run.skipped.items()] == [
        ("01:30", reason),
        ("02:00", reason),
    ]
    assert run.made == 4
    with xr.open_zarr(run.store, chunks=None) as data:
        states = data["status"].values
        assert states.tolist() == [1, 1, 2, 2, 1, 1]
        assert np.isnan(data["rain_rate"].values[states == store.SKIPPED]).all()
    np.testing.assert_array_equal(
        forecasts(run.store)[4], expected(rain_field(), 15, history=4, model="persistence")
    )
    with pytest.raises(DataError, match="has no forecast of 2020-06-01T01:30Z: it was skipped"):
        open_forecast(run.store, "2020-06-01T01:30")


def test_gaps_may_be_filled_on_request(archive_with_a_gap, tmp_path):
    run = run_archive(archive_with_a_gap, tmp_path / "x.zarr", PERSISTENCE, fill_gaps="previous")
    assert (run.made, run.skipped) == (6, {})


def test_a_damaged_file_skips_its_issue_times_until_it_is_whole(archive, tmp_path):
    folder = shutil.copytree(archive, tmp_path / "radar")
    whole = frame_file(folder, 18).read_bytes()
    at = whole.rindex(b"x\x9c") if b"x\x9c" in whole else whole.rindex(b"x\x5e")
    damaged = bytearray(whole)
    damaged[at + 2 : at + 40] = bytes(38)
    frame_file(folder, 18).write_bytes(bytes(damaged))
    run = run_archive(folder, tmp_path / "x.zarr", PERSISTENCE)
    assert run.made == 5
    (reason,) = run.skipped.values()
    assert "frame018.nc" in reason
    assert "damaged" in reason
    frame_file(folder, 18).write_bytes(whole)
    again = run_archive(folder, tmp_path / "x.zarr", PERSISTENCE)
    assert (again.made, again.found, again.skipped) == (1, 5, {})


def test_a_frame_without_any_data_counts_as_missing(tmp_path):
    rain = rain_field()
    rain[9] = np.nan
    run = run_archive(write_archive(tmp_path / "radar", rain), tmp_path / "x.zarr", PERSISTENCE)
    assert set(run.skipped.values()) == {"the past has no data in the frame of 2020-06-01T01:30Z"}
    assert len(run.skipped) == 2


def test_a_field_that_the_model_refuses_leaves_no_store(tmp_path):
    rain = rain_field().assign_attrs(units="dBZ")
    with pytest.raises(DataError, match="takes rain rate in mm/h, the field is in 'dBZ'"):
        run_archive(rain, tmp_path / "x.zarr", ArchiveSettings(model="earthformer-nowcast", lead_steps=2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("archive_like", "out", "line"),
    [
        (rain_field(), "x.nc", "ends in '.nc': an archive of forecasts is written to .zarr"),
        (rain_field(), "none/x.zarr", "does not exist; make it first"),
        (rain_field()[0], "x.zarr", r"an archive needs dimensions \(time, y, x\), got \('y', 'x'\)"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(tmp_path, archive_like, out, line):
    with pytest.raises((ConfigError, DataError), match=line):
        run_archive(archive_like, tmp_path / out, PERSISTENCE)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no model is called 'oracle'"):
        run_archive(rain_field(), tmp_path / "x.zarr", ArchiveSettings(model="oracle"))


@pytest.mark.parametrize("package", ["zarr", "dask.array"])
def test_missing_packages_are_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"need {package.split('.')[0]}, .* 'geoscope\[scale\]'"):
        run_archive(rain_field(), tmp_path / "x.zarr", PERSISTENCE)


def test_an_issue_time_that_is_not_there_is_refused(archive, tmp_path):
    run_archive(archive, tmp_path / "x.zarr", PERSISTENCE)
    with pytest.raises(ConfigError, match=r"issue_time=2020-06-01T00:35 is not in .*: it has 6 from"):
        open_forecast(tmp_path / "x.zarr", "2020-06-01T00:35")
    with pytest.raises(ConfigError, match="is no archive of geoscope nowcast --every"):
        open_forecast(tmp_path, "2020-06-01T00:30")


def test_progress_rises_and_a_stop_keeps_what_is_finished(archive, tmp_path):
    heard: list[tuple[str, float]] = []

    def stop_at_the_third(stage: str, share: float) -> None:
        heard.append((stage, share))
        if stage.startswith("3 of 6"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        run_archive(archive, tmp_path / "x.zarr", PERSISTENCE, progress=stop_at_the_third)
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert ("2 of 6, 2020-06-01T01:00Z", 1 / 6) in heard
    with xr.open_zarr(tmp_path / "x.zarr", chunks=None) as data:
        assert data["status"].values.tolist() == [1, 1, 0, 0, 0, 0]
    run = run_archive(archive, tmp_path / "x.zarr", PERSISTENCE)
    assert (run.made, run.found) == (4, 2)


def test_a_stop_before_the_first_forecast_leaves_no_store(archive, tmp_path):
    def stop(stage: str, share: float) -> None:
        if stage.startswith("1 of"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        run_archive(archive, tmp_path / "x.zarr", PERSISTENCE, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_face_of_the_room():
    assert sorted(archives.__all__) == [
        "ArchiveRun",
        "ArchiveSettings",
        "Cluster",
        "open_forecast",
        "run_archive",
    ]

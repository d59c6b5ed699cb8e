"""`geoscope nowcast` on what ships."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import xarray as xr

import geoscope as gs
from geoscope.cli.events import open_forecast
from geoscope.data.writers import write_forecast

PERSISTENCE = ("--model", "persistence", "--lead-steps", "3")
MAGIC = {".gif": b"GIF8", ".png": b"\x89PNG", ".mp4": b"ftyp", ".nc": b"\x89HDF"}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_forecast_comes_back_from_its_file(run, tmp_path, suffix):
    out = tmp_path / f"x{suffix}"
    result = run("nowcast", "florence-2018", "--issue-time", "2018-09-14T05:00", "--out", out, *PERSISTENCE)
    assert result.exit_code == 0, result.output
    assert "3 frames from 2018-09-14T06:00 to 2018-09-14T08:00 UTC by persistence" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    forecast = open_forecast(out)
    rain = gs.sample("florence-2018")
    seen = rain.sel(time="2018-09-14T05:00")
    for frame in forecast.values:
        np.testing.assert_allclose(frame, seen.values, atol=0.06)
    assert json.loads(forecast.attrs["run_card"])["model"] == "persistence"
    assert (forecast["lead_time"].values == np.array([1, 2, 3], "timedelta64[h]")).all()


@pytest.mark.parametrize("suffix", [".gif", ".png", ".mp4"])
def test_a_picture_of_the_forecast_is_written(run, tmp_path, suffix):
    out = tmp_path / f"x{suffix}"
    assert run("nowcast", "florence-2018", "--out", out, *PERSISTENCE).exit_code == 0
    assert MAGIC[suffix] in out.read_bytes()[:16]
    assert list(tmp_path.iterdir()) == [out]


def test_a_geotiff_stack_is_written(run, tmp_path):
    assert run("nowcast", "florence-2018", "--out", tmp_path / "x.tif", *PERSISTENCE).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]
    with rasterio.open(tmp_path / "x.tif") as image:
        assert image.count == 3
        assert image.crs is not None


def test_a_field_without_a_place_is_refused_as_geotiff(refused):
    line = refused("nowcast", "simulated-storms", "--out", "x.tif", *PERSISTENCE)
    assert "does not say where on the Earth it is" in line


def test_an_older_file_is_replaced_on_request(run, tmp_path):
    out = tmp_path / "x.nc"
    out.write_text("yesterday's")
    assert run("nowcast", "florence-2018", "--out", out, "--overwrite", *PERSISTENCE).exit_code == 0
    assert out.read_bytes()[:4] == MAGIC[".nc"]


def test_an_older_file_is_not_replaced_unasked(refused, tmp_path):
    (tmp_path / "x.nc").write_text("yesterday's")
    assert "'x.nc' exists already" in refused("nowcast", "florence-2018", "--out", "x.nc", *PERSISTENCE)
    assert (tmp_path / "x.nc").read_text() == "yesterday's"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--out", "x.doc"), r"--out 'x.doc' ends in '.doc'; expected .nc"),
        (("--out", "x"), r"ends in 'nothing'; expected .nc"),
        (("--out", "none/x.nc"), r"the folder 'none' does not exist"),
        (("--out", "x.nc", "--model", "oracle"), "oracle"),
        (("--out", "x.nc", "--issue-time", "yesterday"), "issue_time='yesterday' is not a time"),
        (("--out", "x.nc", "--issue-time", "2020-01-01T00:00"), "is not the time of a frame"),
        (("--out", "x.nc", "--lead-steps", "0"), "lead_steps=0 must be a whole number"),
        (("--out", "x.nc", "--device", "abacus"), "device='abacus' is not available"),
    ],
)
def test_bad_options_are_refused_in_one_line(refused, options, line):
    words = ("nowcast", "florence-2018", *options)
    assert line in refused(*words, *(() if "--model" in options else ("--model", "persistence")))


MEMBERS = ("--model", "pysteps-steps", "--lead-steps", "1", "--members", "2", "--seed", "3")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_members_and_their_chances_come_back_from_their_file(run, tmp_path, suffix):
    out = tmp_path / f"x{suffix}"
    words = ("nowcast", "florence-2018", "--out", out, *MEMBERS, "--probabilities", "--thresholds", "1,5")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "2 members, chances of 2 thresholds" in result.stdout
    engine = "h5netcdf" if suffix == ".nc" else "zarr"
    with xr.open_dataset(out, engine=engine, decode_coords="all", decode_timedelta=True) as data:
        rain, chance = data["rain_rate"].load(), data["exceedance_probability"].load()
    assert rain.dims == ("member", "time", "y", "x")
    assert chance.dims == ("threshold", "time", "y", "x")
    assert list(chance["threshold"].values) == [1.0, 5.0]
    known = np.isfinite(rain).any("member")
    share = (rain >= np.float32(5)).sum("member") / np.isfinite(rain).sum("member").where(known)
    np.testing.assert_allclose(chance.sel(threshold=5.0).values, share.values, atol=1e-6)
    card = json.loads(data.attrs["run_card"])
    assert (card["members"], card["seed"]) == (2, 3)
    for name in ("lat", "lon", "lead_time", "forecast_reference_time"):
        assert name in chance.coords


def test_the_seed_repeats_the_members(run, tmp_path):
    for name in ("a.nc", "b.nc"):
        assert run("nowcast", "florence-2018", "--out", name, *MEMBERS).exit_code == 0
    first, second = (xr.load_dataset(tmp_path / name, engine="h5netcdf") for name in ("a.nc", "b.nc"))
    np.testing.assert_array_equal(first["rain_rate"].values, second["rain_rate"].values)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ("--out", "x.tif", "--members", "2"),
            "'x.tif': members and probabilities are written to .nc or .zarr",
        ),
        (("--out", "x.gif", "--probabilities"), "a .gif holds one field"),
        (("--out", "x.nc", "--members", "2"), "persistence gives no members: use an ensemble such as"),
        (("--out", "x.nc", "--probabilities"), "persistence gives no probabilities"),
        (("--out", "x.nc", "--thresholds", "1"), "give --probabilities too"),
        (("--out", "x.nc", "--probabilities", "--thresholds", "5,1"), "--thresholds '5,1' must be rising"),
        (("--out", "x.nc", "--members", "0"), "members=0 must be a whole number, 1 or more"),
        (("--out", "x.nc", "--seed", "-1"), "seed=-1 must be a whole number from 0"),
        (("--out", "x.zarr", "--every", "1h", "--members", "2"), "--members"),
        (("--out", "x.zarr", "--every", "1h", "--probabilities"), "--probabilities"),
    ],
)
def test_members_and_probabilities_that_cannot_be_are_refused(refused, options, line):
    assert line in refused("nowcast", "florence-2018", *options, "--model", "persistence")


def test_an_event_that_is_not_there_is_refused(refused):
    assert "neither a sample (florence-2018" in refused("nowcast", "nowhere", "--out", "x.nc", *PERSISTENCE)


def test_a_gap_is_refused_unless_it_is_said_how_to_fill_it(run, refused, tmp_path):
    rain = gs.sample("simulated-storms").isel(time=[0, 1, 2, 4, 5])
    write_forecast(rain, tmp_path / "rain.nc")
    assert "12:15" in refused("nowcast", "rain.nc", "--out", "y.nc", *PERSISTENCE)
    assert run("nowcast", "rain.nc", "--out", "y.nc", "--fill-gaps", "linear", *PERSISTENCE).exit_code == 0
    assert "fill_gaps" in refused("nowcast", "rain.nc", "--out", "z.nc", "--fill-gaps", "hope", *PERSISTENCE)


def test_a_file_that_is_no_radar_is_refused(refused, tmp_path):
    (tmp_path / "x.h5").write_text("hello")
    assert "x.h5" in refused("nowcast", "x.h5", "--out", "y.nc", *PERSISTENCE)


STOPPED_WHILE_WRITING = """
import signal, sys, time
import xarray as xr

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it

def write_half(self, path, *args, **options):
    open(path, "wb").write(b"half")
    print("writing", flush=True)
    time.sleep(60)

xr.Dataset.to_netcdf = xr.DataArray.to_netcdf = write_half
from geoscope.cli import main
sys.argv = ["geoscope", "nowcast", "florence-2018", "--model", "persistence", "--out", "x.nc"]
main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_a_kill_while_writing_leaves_nothing(tmp_path, sent, code):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED_WHILE_WRITING],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert list(tmp_path.iterdir()) != []
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said
    assert said in ("", "geoscope: stopped; nothing half-written was left behind\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_forecasting_leaves_the_older_file(run, tmp_path, monkeypatch):
    def interrupted(rain: xr.DataArray, **options) -> xr.DataArray:
        options["progress"]("motion", 0.5)
        raise KeyboardInterrupt

    monkeypatch.setattr("geoscope.inference.nowcast.nowcast", interrupted)
    out = tmp_path / "x.nc"
    out.write_text("yesterday's")
    assert run("nowcast", "florence-2018", "--out", out, "--overwrite").exit_code == 130
    assert out.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [out]

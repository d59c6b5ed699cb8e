"""`geoscope nowcast --every` on small archives."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from tests.inference.archive.archives import rain_field, write_archive

PERSISTENCE = ("--model", "persistence", "--lead-steps", "3")


@pytest.fixture
def radar(tmp_path):
    """A folder of twenty files, one of them missing."""
    return write_archive(tmp_path / "radar", rain_field(), missing=(9,))


def test_an_archive_is_forecast_and_scored_and_gone_on_with(run, radar, tmp_path):
    words = ("nowcast", "radar", "--every", "30min", "--verify", "--out", "x.zarr", *PERSISTENCE)
    first = run(*words)
    assert first.exit_code == 0, first.output
    assert "x.zarr: 3 forecasts from 2020-06-01T00:30Z to 2020-06-01T03:00Z by persistence; " in first.stdout
    assert "s each, 3 skipped" in first.stdout
    assert "  skipped 2020-06-01T01:00Z: the truth lacks the frame of 2020-06-01T01:30Z\n" in first.stdout
    assert "CSI mean 0." in first.stdout
    assert "wrote x.scores.nc and x.scores.json" in first.stdout
    again = run(*words)
    assert "3 forecasts" in again.stdout
    assert ", 3 of them from before; " in again.stdout
    with xr.open_zarr(tmp_path / "x.zarr", chunks=None) as data:
        assert data["rain_rate"].shape == (6, 3, 32, 32)
    assert len(json.loads((tmp_path / "x.scores.json").read_text())["issue_times"]) == 3


def test_options_of_an_archive_reach_it(run, radar, tmp_path):
    words = (
        *("nowcast", "radar", "--every", "1h", "--start", "2020-06-01T02:00", "--end", "2020-06-01T03:00"),
        *("--history", "3", "--threads", "2", "--fill-gaps", "previous", "--out", "x.zarr"),
    )
    result = run(*words, *PERSISTENCE)
    assert "2 forecasts from 2020-06-01T02:00Z to 2020-06-01T03:00Z" in result.stdout
    with xr.open_zarr(tmp_path / "x.zarr", chunks=None) as data:
        card = json.loads(data.attrs["run_card"])
    assert (card["history"], card["threads"], card["every"], card["device"]) == (3, 2, "1h", "cpu")


def test_a_sample_is_an_archive_too(run, tmp_path):
    result = run("nowcast", "florence-2018", "--every", "6h", "--out", "x.zarr", *PERSISTENCE)
    assert result.exit_code == 0, result.output
    with xr.open_zarr(tmp_path / "x.zarr", chunks=None) as data:
        first = data["rain_rate"][0, 0].values
        seen = gs.sample("florence-2018").sel(time=data["issue_time"].values[0])
    np.testing.assert_array_equal(first, seen.values)


def test_many_skipped_times_are_told_in_part(run, tmp_path):
    # frames 7, 9, ..., 15 are missing: only frames 1, 2 and 3 have a whole past (2) and truth (3)
    write_archive(tmp_path / "radar", rain_field(), missing=range(7, 16, 2))
    result = run("nowcast", "radar", "--every", "10min", "--verify", "--out", "x.zarr", *PERSISTENCE)
    assert result.stdout.count("  skipped ") == 5
    assert "  and 11 more\n" in result.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--out", "x.nc", "--every", "30min"), "--out 'x.nc' ends in '.nc'; expected .zarr"),
        (("--out", "no/x.zarr", "--every", "30min"), "the folder 'no' does not exist"),
        (("--out", "x.zarr", "--every", "soon"), "every='soon' is not a span of time"),
        (
            ("--out", "x.zarr", "--every", "30min", "--issue-time", "2020-06-01"),
            "--issue-time is for a single forecast",
        ),
        (("--out", "x.zarr", "--every", "30min", "--workers", "0"), "workers=0 must be a whole number"),
        (("--out", "x.zarr", "--every", "30min", "--fill-gaps", "hope"), "fill_gaps='hope'"),
        (("--out", "x.nc", "--verify"), "--verify is for archives: give --every too"),
        (("--out", "x.nc", "--dask", "local"), "--dask is for archives"),
        (("--out", "x.nc", "--start", "2020-06-01"), "--start is for archives"),
    ],
)
def test_options_that_do_not_go_together_are_refused(refused, radar, words, line):
    assert line in refused("nowcast", "radar", "--model", "persistence", *words)


def test_a_name_that_is_nothing_is_refused(refused):
    assert "neither a sample (" in refused("nowcast", "nowhere", "--every", "30min", "--out", "x.zarr")


def test_a_store_of_another_run_is_refused_in_one_line(run, refused, radar):
    assert run("nowcast", "radar", "--every", "1h", "--out", "x.zarr", *PERSISTENCE).exit_code == 0
    line = refused("nowcast", "radar", "--every", "30min", "--out", "x.zarr", *PERSISTENCE)
    assert "x.zarr belongs to another run: its every is 1h, this run's is 30min" in line


STOPPED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
from geoscope.inference.archive import work

write, calls = work.records.write_record, 0

def slow(*given):
    global calls
    write(*given)
    calls += 1
    if calls == 2:
        print("two", flush=True)
        time.sleep(60)

work.records.write_record = slow
from geoscope.cli import main
sys.argv = "geoscope nowcast radar --every 30min --model persistence --lead-steps 3 --out x.zarr".split()
main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_a_kill_keeps_what_is_finished(run, radar, tmp_path, sent, code):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "two\n"
    process.send_signal(sent)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in said
    if sent == signal.SIGINT:
        assert "geoscope: what is finished stays in x.zarr; the same command goes on\n" in said
    result = run("nowcast", "radar", "--every", "30min", "--out", "x.zarr", *PERSISTENCE)
    assert ", 2 of them from before; " in result.stdout

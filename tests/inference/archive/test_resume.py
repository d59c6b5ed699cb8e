"""A run that was stopped goes on; a store of another run is left alone."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from geoscope.errors import ConfigError, DataError
from geoscope.inference.archive import ArchiveSettings, records, run_archive
from tests.inference.archive.archives import LEADS, forecasts, rain_field

SETTINGS = ArchiveSettings(every="30min", model="persistence", lead_steps=LEADS, history=4)

# One process imports everything, then a child of it dies at each of the places.
KILLED = """
import os, signal, sys
from geoscope.inference.archive import ArchiveSettings, records, run_archive, work
import geoscope.inference.nowcast, zarr

archive, folder = sys.argv[1:]
replace = os.replace

def dying(function, *, before):
    calls = 0
    def call(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 3 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*given, **named)
        if calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

def replace_or_die(source, target, die=dying(lambda: None, before=True)):
    if "times" in str(target):
        die()
    return replace(source, target)

def wound(where):
    if where == "before the data":
        work.store.write_forecast_at = dying(work.store.write_forecast_at, before=True)
    elif where == "before the record":
        work.records.write_record = dying(work.records.write_record, before=True)
    elif where == "inside the record":
        os.replace = replace_or_die
    else:
        work.records.write_record = dying(work.records.write_record, before=False)

for where in ("before the data", "before the record", "inside the record", "after the record"):
    child = os.fork()
    if child == 0:
        wound(where)
        settings = ArchiveSettings(every="30min", model="persistence", lead_steps=3, history=4)
        run_archive(archive, f"{folder}/{where}.zarr", settings)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(where, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "survived")
"""


@pytest.fixture(scope="module")
def killed(archive, tmp_path_factory):
    """A folder of stores, each left by a run that was killed at the place that its name tells."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(archive), str(folder)], capture_output=True, text=True, check=True
    )
    assert [line.rsplit(" ", 1)[1] for line in done.stdout.splitlines()] == ["9"] * 4, (
        done.stdout + done.stderr
    )
    return folder


@pytest.mark.parametrize(
    ("where", "finished"),
    [("before the data", 2), ("before the record", 2), ("inside the record", 2), ("after the record", 3)],
)
def test_a_killed_run_goes_on_and_repeats_nothing_that_was_finished(
    killed, archive, tmp_path, where, finished
):
    out = killed / f"{where}.zarr"
    chunks = [out / "rain_rate" / f"{issue}.0.0.0" for issue in range(finished)]
    before = [(path.stat().st_mtime_ns, path.stat().st_ino) for path in chunks]
    run = run_archive(archive, out, SETTINGS)
    assert (run.made, run.found) == (6 - finished, finished)
    assert [(path.stat().st_mtime_ns, path.stat().st_ino) for path in chunks] == before
    whole = run_archive(archive, tmp_path / "whole.zarr", SETTINGS)
    np.testing.assert_array_equal(forecasts(out), forecasts(whole.store))
    with xr.open_zarr(out, chunks=None) as data:
        assert data["status"].values.tolist() == [1] * 6


def test_a_chunk_that_lost_bytes_is_made_again(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    whole = forecasts(run.store)
    with (run.store / "rain_rate" / "2.0.0.0").open("r+b") as file:
        file.truncate(20)
    (run.store / "rain_rate" / "4.0.0.0").unlink()
    again = run_archive(archive, run.store, SETTINGS)
    assert (again.made, again.found) == (2, 4)
    np.testing.assert_array_equal(forecasts(run.store), whole)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"issue_time": "2020-06-01T00:30:00Z"}', b'{"chunks": 3}']
)
def test_a_damaged_record_makes_its_issue_time_again(archive, tmp_path, content):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    records.record_path(run.store, run.issue_times[0]).write_bytes(content)
    assert run_archive(archive, run.store, SETTINGS).made == 1


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model": "extrapolation"}, "its model is persistence, this run's is extrapolation"),
        ({"lead_steps": 2}, "its lead steps is 3, this run's is 2"),
        ({"every": "1h"}, "its every is 30min, this run's is 1h"),
        ({"history": 5}, "its history is 4, this run's is 5"),
        ({"threads": 2}, "its threads is 1, this run's is 2"),
        (
            {"start": "2020-06-01T01:00"},
            "its issue times is 6 from 2020-06-01T00:30Z to 2020-06-01T03:00Z, this run's",
        ),
    ],
)
def test_a_store_of_another_run_is_refused(archive, tmp_path, change, line):
    run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    with pytest.raises(ConfigError, match=f"x.zarr belongs to another run: {line}.*--overwrite"):
        run_archive(archive, tmp_path / "x.zarr", replace(SETTINGS, **change))


@pytest.mark.parametrize(
    ("rain", "line"),
    [
        (rain_field(20, 15).isel(time=slice(0, 14)), "its interval minutes is 10.0, this run's is 15.0"),
        (rain_field(side=40), "its grid is 32 x 32, this run's is 40 x 40"),
        (rain_field().assign_coords(x=rain_field().x + 500.0), "its pixels lie elsewhere"),
        (rain_field().rename("snow"), "its variable is rain_rate, this run's is snow"),
    ],
)
def test_another_archive_is_refused(archive, tmp_path, rain, line):
    run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    with pytest.raises(ConfigError, match=line):
        run_archive(rain, tmp_path / "x.zarr", SETTINGS)


def test_other_weights_are_refused(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    records.write_card(run.store, records.read_card(run.store) | {"weights_sha256": "0" * 64})
    with pytest.raises(ConfigError, match="belongs to another run: its weights are not those of today"):
        run_archive(archive, run.store, SETTINGS)


def test_what_is_no_archive_is_refused_and_left_alone(archive, tmp_path):
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is no archive of geoscope nowcast --every"):
        run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    assert (tmp_path / "x.zarr" / "mine").read_text() == "mine"


def test_a_damaged_card_is_refused(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    (run.store / ".run" / "card.json").write_text("{")
    with pytest.raises(DataError, match=r"the card of its run \(card.json\) is damaged; .* --overwrite"):
        run_archive(archive, run.store, SETTINGS)


def test_overwrite_starts_anew(archive, tmp_path):
    run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    run = run_archive(archive, tmp_path / "x.zarr", replace(SETTINGS, lead_steps=2), overwrite=True)
    assert (run.made, forecasts(run.store).shape) == (6, (6, 2, 32, 32))
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_runs_do_not_write_one_store(archive, tmp_path, overwrite):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    with (
        records.locked(run.store),
        pytest.raises(
            ConfigError, match=rf"is being written by process {os.getpid()} on .* since .*Z; wait for it"
        ),
    ):
        run_archive(archive, run.store, SETTINGS, overwrite=overwrite)
    assert run_archive(archive, run.store, SETTINGS).found == 6


def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_later(archive, tmp_path, monkeypatch):
    calls = 0
    put = records.write_json

    def full(path, content):
        nonlocal calls
        calls += "times" in str(path)
        if calls == 4:
            raise OSError(28, "No space left on device")
        return put(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_json", full)
        with pytest.raises(
            DataError, match=r"x.zarr cannot be written: No space left on device; free space and run"
        ):
            run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr("zarr.storage._local._put", lambda *_, **__: full_disk())
        with pytest.raises(DataError, match="No space left on device"):
            run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    assert (run.made, run.found) == (3, 3)


def full_disk():
    raise OSError(28, "No space left on device")


def test_the_record_of_an_issue_time_names_what_made_it(archive, tmp_path):
    run = run_archive(archive, tmp_path / "x.zarr", SETTINGS)
    record = json.loads(records.record_path(run.store, run.issue_times[1]).read_text())
    assert record["issue_time"] == "2020-06-01T01:00:00Z"
    assert record["chunks"] == {"rain_rate/1.0.0.0": (run.store / "rain_rate" / "1.0.0.0").stat().st_size}
    assert len(record["input_sha256"]) == 64

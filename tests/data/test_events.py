"""Events: files of one storm, folders of them, and what a word on the command line stands for."""

import json

import numpy as np
import pytest

import geoscope as gs
from geoscope.data.events import find_events, open_event_file, read_event
from geoscope.data.writers import write_forecast
from geoscope.errors import DataError

META = {"dt_minutes": 5, "pixel_km": 2.0}


def save(path, rain=None, **meta):
    stored = np.full((3, 4, 5), 150, np.uint16) if rain is None else rain
    np.savez(path, rain=stored, meta=json.dumps(META | meta))
    return path


def test_an_event_file_becomes_a_field_with_its_times(tmp_path):
    rain = np.array([[[0, 1, 65535]], [[250, 65534, 7]]], np.uint16)
    times = ["2016-07-11T20:45:00Z", "2016-07-11T20:50:00Z"]
    field = open_event_file(save(tmp_path / "one.npz", rain, times=times))
    assert field.dims == ("time", "y", "x")
    assert field.attrs["units"] == "mm/h"
    np.testing.assert_array_equal(
        field.values, np.array([[[0, 0.01, np.nan]], [[2.5, 655.34, 0.07]]], np.float32)
    )
    assert str(field["time"].values[0])[:16] == "2016-07-11T20:45"
    assert (np.diff(field["x"].values) == 2000).all()


@pytest.mark.parametrize(
    "times", [None, ["soon"] * 3, ["2016-07-11T20:45:00Z"] * 3, ["2016-07-11T20:45:00Z"]]
)
def test_times_that_are_not_told_or_do_not_fit_count_from_2000(tmp_path, times):
    field = open_event_file(save(tmp_path / "one.npz", times=times))
    assert str(field["time"].values[0])[:10] == "2000-01-01"
    assert (np.diff(field["time"].values) == np.timedelta64(5, "m")).all()


@pytest.mark.parametrize(
    "change",
    [
        {"meta": json.dumps({"dt_minutes": 0, "pixel_km": 1})},
        {"meta": json.dumps({"dt_minutes": "often", "pixel_km": 1})},
        {"meta": "{"},
        {"rain": np.zeros((3, 4), np.uint16)},
        {"rain": np.zeros((3, 4, 5))},
    ],
)
def test_a_file_that_is_no_event_is_refused_in_one_line(tmp_path, change):
    arrays = {"rain": np.zeros((3, 4, 5), np.uint16), "meta": json.dumps(META)} | change
    np.savez(tmp_path / "bad.npz", **arrays)
    for reader in (open_event_file, read_event):
        with pytest.raises(DataError, match=r"bad\.npz is not an event") as caught:
            reader(tmp_path / "bad.npz")
        assert "\n" not in str(caught.value)


def test_a_sample_a_file_and_a_folder_of_event_files_are_found(tmp_path):
    (sample,) = find_events("florence-2018")
    assert sample.name == "florence-2018"
    assert sample.open().sizes["time"] == 23
    for name in ("b", "a"):
        save(tmp_path / f"{name}.npz")
    (tmp_path / "README.md").write_text("two events")
    assert [one.name for one in find_events(str(tmp_path))] == ["a", "b"]
    (one,) = find_events(str(tmp_path / "b.npz"))
    assert one.open().shape == (3, 4, 5)


def test_a_folder_of_sequences_holds_an_event_a_file_and_one_of_frames_is_one(tmp_path):
    rain = gs.sample("florence-2018")
    many, frames = tmp_path / "many", tmp_path / "frames"
    many.mkdir()
    frames.mkdir()
    write_forecast(rain[:3], many / "early.nc")
    write_forecast(rain[6:9], many / "late.nc")
    for index in range(3):
        write_forecast(rain[index : index + 1], frames / f"{index}.nc")
    assert [one.name for one in find_events(str(many))] == ["early", "late"]
    assert find_events(str(many))[1].open().sizes["time"] == 3
    (sequence,) = find_events(str(frames))
    assert sequence.name == "frames"
    assert sequence.open().sizes["time"] == 3
    (glob,) = find_events(str(frames / "*.nc"))
    assert glob.open().sizes["time"] == 3


def test_what_is_not_there_is_refused():
    with pytest.raises(DataError, match="'nowhere' is neither a sample"):
        find_events("nowhere")

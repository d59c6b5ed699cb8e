"""Event windows: cut from what is there, the same for any worker, refused in one line."""

import json

import numpy as np
import pytest

from geoscope.data.events import Event
from geoscope.data.radar import open_radar
from geoscope.data.rain_scale import decode_rain, encode_rain
from geoscope.data.storms import StormConfig, simulate_storms
from geoscope.errors import ConfigError, DataError
from geoscope.training.augmentation import Augmentation
from geoscope.training.event_folder import read_events, trace_event
from geoscope.training.event_windows import (
    DrawnEventWindows,
    EventWindowConfig,
    EventWindows,
    wetter_place,
)
from geoscope.training.splits import GroupRule
from tests.data.loaders import assert_same_for_any_workers

SMALL = EventWindowConfig(in_frames=3, out_frames=2, size=8, stride=5)


def ramp(
    frames: int = 12, height: int = 16, width: int = 24, interval: float = 5.0, name: str = "ramp"
) -> Event:
    """Frame t holds t + 1 mm/h, and its column's number in hundredths."""
    rain = (np.arange(1, frames + 1) * 100)[:, None, None] + np.arange(width) + np.zeros((1, height, 1), int)
    return Event(name, rain.astype(np.uint16), interval, 1.0)


def write_event(path, event: Event, **meta) -> None:
    told = {"dt_minutes": event.interval_minutes, "pixel_km": event.pixel_km} | meta
    np.savez(path, rain=event.rain, meta=json.dumps(told))


# The network's scale


def test_rain_on_the_networks_scale_by_hand():
    assert encode_rain(np.array([0.0, 100.0])).tolist() == [0, 1]
    assert encode_rain(np.array([0.1]))[0] == pytest.approx(np.log(2) / np.log(1001))
    rain = np.array([0.0, 0.1, 1, 10, 150], np.float32)
    np.testing.assert_allclose(decode_rain(encode_rain(rain)), rain, rtol=1e-5)
    assert decode_rain(np.array([-0.2]))[0] == 0


# Ordered windows


def test_windows_follow_each_other_in_time_and_over_the_picture():
    dataset = EventWindows([ramp()], SMALL)
    # starts 0 and 5; 2 rows and 3 columns of squares
    assert len(dataset) == 2 * 2 * 3
    sample = dataset[6 + 4]  # the second start, the second row, the second column
    assert {name: value.shape for name, value in sample.items()} == {
        "input": (3, 8, 8, 1),
        "target": (2, 8, 8, 1),
        "known": (2, 8, 8, 1),
    }
    rain = decode_rain(sample["input"])[:, 0, 0, 0]
    np.testing.assert_allclose(rain, [6.08, 7.08, 8.08], rtol=1e-5)  # frames 6, 7, 8 at column 8
    np.testing.assert_allclose(decode_rain(sample["target"])[:, 0, 1, 0], [9.09, 10.09], rtol=1e-5)
    assert sample["known"].all()
    assert sample["input"].dtype == sample["target"].dtype == np.float32
    with pytest.raises(IndexError, match="window 12 of 12"):
        dataset[12]


def test_frames_are_taken_at_the_interval_that_is_asked_for():
    config = EventWindowConfig(in_frames=3, out_frames=2, size=8, stride=5, interval_minutes=10)
    dataset = EventWindows([ramp()], config)
    np.testing.assert_allclose(
        decode_rain(np.concatenate((dataset[0]["input"], dataset[0]["target"])))[:, 0, 0, 0],
        [1, 3, 5, 7, 9],
        rtol=1e-5,
    )
    with pytest.raises(
        DataError, match="ramp: expected frames every 10 minutes or a part of it, found every 4"
    ):
        EventWindows([ramp(interval=4)], config)
    with pytest.raises(DataError, match="found every 15"):
        DrawnEventWindows([ramp(interval=15)], config)


def test_what_has_no_data_is_zero_and_marked_and_a_blind_window_is_left_out():
    event = ramp(frames=5)
    event.rain[:, :, :16] = 65535
    event.rain[4, 0, 16] = 65535
    dataset = EventWindows([event], SMALL)
    assert [place[2:] for place in dataset.places] == [(0, 16), (8, 16)]
    sample = dataset[0]
    assert not sample["known"][1, 0, 0, 0]
    assert sample["known"].sum() == 2 * 64 - 1
    assert sample["target"][1, 0, 0, 0] == 0


def test_a_picture_smaller_than_the_window_is_filled_with_no_data():
    sample = EventWindows([ramp(height=6, width=8)], SMALL)[0]
    assert sample["known"][:, :6].all()
    assert not sample["known"][:, 6:].any()


# Drawn windows


def test_a_drawn_window_is_a_function_of_seed_and_index():
    augmentation = Augmentation(turns=True, intensity_spread=0.3, share_coarse=0.5, share_overlaid=0.3)
    first, again = (DrawnEventWindows([ramp()], SMALL, augmentation, count=6, seed=1) for _ in range(2))
    _ = first[0]
    np.testing.assert_array_equal(first[4]["target"], again[4]["target"])
    other = DrawnEventWindows([ramp()], SMALL, augmentation, count=6, seed=2)
    assert (first[4]["target"] != other[4]["target"]).any()
    assert (first[4]["target"] != first[5]["target"]).any()
    with pytest.raises(IndexError, match="window 6 of 6"):
        first[6]


def test_a_plain_drawn_window_holds_following_frames_of_the_event():
    for sample in DrawnEventWindows([ramp()], SMALL, count=20):
        rain = decode_rain(np.concatenate((sample["input"], sample["target"])))[..., 0]
        np.testing.assert_allclose(np.diff(rain, axis=0), 1, atol=1e-3)
        np.testing.assert_allclose(np.diff(rain, axis=2), 0.01, atol=1e-3)


def test_coarse_windows_show_more_of_the_picture():
    augmentation = Augmentation(share_coarse=1, largest_factor=2)
    sample = DrawnEventWindows([ramp()], SMALL, augmentation, count=1)[0]
    rain = decode_rain(sample["input"])[..., 0]
    np.testing.assert_allclose(np.diff(rain, axis=2), 0.02, atol=1e-3)
    small = DrawnEventWindows([ramp(height=8, width=8)], SMALL, augmentation, count=1)[0]  # too small for it
    np.testing.assert_allclose(np.diff(decode_rain(small["input"])[..., 0], axis=2), 0.01, atol=1e-3)


def test_any_number_of_workers_gives_the_same_batches():
    assert_same_for_any_workers(DrawnEventWindows([ramp()], SMALL, Augmentation(turns=True), count=6))


def test_the_wetter_place_is_the_likelier():
    frame = np.zeros((8, 64), np.uint16)
    frame[:, 32:] = 1000
    random = np.random.default_rng(0)
    columns = [wetter_place(frame, 8, random)[1] for _ in range(300)]
    assert np.mean(np.array(columns) > 24) > 0.8
    assert wetter_place(frame, 100, random) == (0, 0)


def test_events_that_give_no_window_are_refused_with_the_splits_name():
    for build in (EventWindows, DrawnEventWindows):
        with pytest.raises(
            DataError, match="the split 'nights' is empty: expected windows of 5 frames with data"
        ) as one:
            build([ramp(frames=4)], SMALL, split="nights")
        assert "found none in 1 events of at most 4 frames" in str(one.value)
        with pytest.raises(DataError, match="found none in 0 events of at most 0 frames"):
            build([], SMALL)
    blind = Event("blind", np.full((9, 16, 16), 65535, np.uint16), 5.0, 1.0)
    with pytest.raises(DataError, match=r"200 windows had data on less than 0\.3 of the picture"):
        DrawnEventWindows([blind], SMALL)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_frames": 0}, "in_frames=0: expected 1 or more"),
        ({"size": 7}, "size=7: expected 8 pixels or more"),
        ({"interval_minutes": 0.0}, "interval_minutes=0.0: expected more than zero"),
        ({"least_known": 1.5}, "least_known=1.5: expected a share"),
    ],
)
def test_windows_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EventWindowConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"count": 0}, "count=0: expected 1 or more samples"), ({"seed": -1}, "seed=-1: expected zero or more")],
)
def test_draws_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        DrawnEventWindows([ramp()], SMALL, **options)


# Folders


def test_a_folder_of_events_in_two_formats_is_read(tmp_path):
    write_event(
        tmp_path / "b_1.npz",
        ramp(),
        times=["2020-01-01T00:00:00Z", "2020-01-01T00:55:00Z"],
        projection="laea",
        full_shape=[9, 9],
    )
    field = simulate_storms(StormConfig(frames=4, height=16, width=16))
    field.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    (tmp_path / "notes.txt").write_text("not an event")
    (tmp_path / ".hidden").write_text("nor this")
    found = read_events(tmp_path, GroupRule({"b_": "b"}, {"b": "home"}))
    assert [event.name for event, _ in found] == ["a", "b_1"]
    np.testing.assert_allclose(found[0][0].rain / 100, open_radar(tmp_path / "a.nc").values, atol=0.0051)
    assert (found[0][0].interval_minutes, found[0][0].pixel_km) == (5.0, pytest.approx(1.0))
    first, second = (trace for _, trace in found)
    assert (first.group, first.source, first.place) == ("a", "a", None)
    assert first.start == np.datetime64("2001-07-01T12:00")
    assert (second.group, second.source, second.place) == ("b", "home", "laea [9, 9]")
    assert second.end == np.datetime64("2020-01-01T00:55")
    assert len(second.frames) == 12
    assert trace_event(tmp_path / "b_1.npz").start == second.start


def test_real_sevir_sequences_are_events_too(shared):
    trace = trace_event(shared / "realdata" / "radar" / "events" / "sevir_diffcast_demo3.npz")
    assert (trace.start, trace.place, len(trace.frames)) == (None, None, 20)


def test_a_folder_inside_is_one_event_of_many_files(tmp_path):
    storm = tmp_path / "storm"
    storm.mkdir()
    field = simulate_storms(StormConfig(frames=3, height=16, width=16))
    for number in range(3):
        field[number : number + 1].to_netcdf(storm / f"{number}.nc", engine="h5netcdf")
    [(event, _)] = read_events(tmp_path)
    assert (event.name, event.rain.shape, event.interval_minutes) == ("storm", (3, 16, 16), 5.0)
    with pytest.raises(DataError, match=r"0\.nc: expected an event of two frames or more, found one"):
        trace_event(storm / "0.nc")


def test_folders_that_hold_no_events_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected events .*, found none; put some there"):
        read_events(tmp_path)
    with pytest.raises(DataError, match="expected a folder of events, found none"):
        read_events(tmp_path / "nowhere")
    write_event(tmp_path / "a.npz", ramp())
    (tmp_path / "b.bin").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"b\.bin"):
        read_events(tmp_path)
    (tmp_path / "b.bin").unlink()
    simulate_storms(StormConfig(frames=2, height=16, width=16)).to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf"
    )
    with pytest.raises(DataError, match="expected one event of each name, found 'a' twice"):
        read_events(tmp_path)


def test_an_event_in_another_unit_or_with_broken_times_is_refused(tmp_path):
    field = simulate_storms(StormConfig(frames=2, height=16, width=16)).assign_attrs(
        units="1", standard_name="x"
    )
    field.to_netcdf(tmp_path / "vil.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"vil\.nc: expected rain in mm/h, found rain_rate in 1; convert"):
        trace_event(tmp_path / "vil.nc")
    write_event(tmp_path / "late.npz", ramp(), times=["yesterday", "today"])
    with pytest.raises(DataError, match=r"late\.npz: expected times in its meta data, found 'yesterday'"):
        trace_event(tmp_path / "late.npz")

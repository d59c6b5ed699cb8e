"""What follows from the choices: fields, runs, caches, scores. Jobs run in threads and report directly."""

import threading
import time

import numpy as np
import pytest

import geoscope as gs
from geoscope.errors import ConfigError, DataError
from geoscope.ui import nowcast_desk
from geoscope.ui.map_frame import when
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_frames import map_frames, outcomes, series
from geoscope.ui.nowcast_runs import Request, Run, RunCache, nowcast_models, title_of
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.open_field import OpenField, say_duration, say_time
from geoscope.ui.places import point_mask, say_place
from tests.ui.pages import PATIENCE, run_it, wait_for


@pytest.fixture
def field(rain):
    return OpenField.of("upload:test.nc", "a test", rain)


@pytest.fixture
def desk(field):
    desk = NowcastDesk(NowcastState(model="persistence", model_b="extrapolation", compared=[], lead_steps=3))
    desk.use(field)
    yield desk
    desk.close()


def test_the_issue_time_leaves_enough_truth_to_verify(desk):
    assert desk.state.issue_index == 4  # of 8 frames, 3 leads: frames 5, 6, 7 are the truth
    assert desk.last_frame == 7


def test_florence_opens_with_three_hours_of_truth():
    state = NowcastState(lead_steps=3)
    desk = NowcastDesk(state)
    desk.open_now("sample:florence-2018")
    assert desk.field.frames - 1 - state.issue_index >= 3
    assert state.frame_index == state.issue_index + 3


def test_an_unknown_sample_is_a_problem_in_words():
    desk = NowcastDesk(NowcastState())
    desk.open_now("sample:nowhere")
    assert "nowhere" in desk.data_problem
    assert desk.field is None


def test_a_run_gives_both_forecasts(desk):
    run_it(desk)
    assert desk.run.forecast.shape == (3, 24, 30)
    assert (desk.run.model, desk.run_b.model) == ("persistence", "extrapolation")
    assert not desk.is_stale
    np.testing.assert_array_equal(desk.run.forecast.values[2], desk.field.rain.values[4])


def test_the_same_request_comes_from_the_cache(desk, monkeypatch):
    run_it(desk)
    first = desk.run
    monkeypatch.setattr(nowcast_desk, "make_run", lambda *args: pytest.fail("ran again"))
    desk.state.lead_steps = 2
    assert desk.is_stale
    desk.state.lead_steps = 3
    desk.start()
    assert desk.run is first
    assert not desk.is_running


def test_another_session_finds_the_result_but_not_the_choices(desk, field):
    run_it(desk)
    other = NowcastDesk(NowcastState(model="persistence", compared=[], lead_steps=3))
    other.use(field)
    assert other.take_known()
    assert other.run is desk.run
    other.state.point = (1.0, 2.0)
    assert desk.state.point is None


def test_cancel_acts_at_once_and_keeps_the_old_forecast(desk, monkeypatch):
    run_it(desk)
    old, started, stopped = desk.run, threading.Event(), threading.Event()

    def endless(field, request, progress):
        started.set()
        try:
            while True:
                progress("forecast", 0.3)
                time.sleep(0.005)
        finally:
            stopped.set()

    monkeypatch.setattr(nowcast_desk, "make_run", endless)
    desk.state.issue_index = 3
    desk.start()
    assert started.wait(PATIENCE)
    wait_for(lambda: desk.progress is not None and desk.progress.stage.endswith("Persistence: forecast"))
    desk.cancel()
    assert not desk.is_running
    assert desk.progress is None
    assert desk.run is old
    assert desk.is_stale
    assert stopped.wait(PATIENCE)


def test_a_fault_of_the_model_is_shown_in_one_line(desk, monkeypatch):
    def fail(field, request, progress):
        raise ConfigError("lead_steps=99 is\nbeyond the reach")

    monkeypatch.setattr(nowcast_desk, "make_run", fail)
    desk.start()
    wait_for(lambda: not desk.is_running)
    assert "A, Persistence: lead_steps=99 is beyond the reach" in desk.run_problem
    assert set(desk.problems) == {"persistence", "extrapolation"}


def test_a_bug_does_not_look_like_the_user_s_fault(desk, monkeypatch):
    monkeypatch.setattr(nowcast_desk, "make_run", lambda *args: 1 / 0)
    desk.start()
    wait_for(lambda: not desk.is_running)
    assert "ZeroDivisionError" in desk.run_problem
    assert "report" in desk.run_problem


def test_a_result_of_another_field_is_not_shown(desk, field):
    run_it(desk)
    run = desk.run
    desk.use(OpenField.of("upload:other.nc", "other", field.rain + 1))
    assert desk.run is None
    desk._run_done(run)  # it arrives late
    assert desk.run is None


def test_without_data_a_run_says_what_to_do():
    desk = NowcastDesk(NowcastState())
    desk.start()
    assert "step 1" in desk.run_problem
    assert map_frames(desk, 0)["observed"].values is None


def test_later_frames_stay_hidden_until_asked_for(desk):
    run_it(desk)
    shown = map_frames(desk, 6)
    assert shown["observed"].is_dim
    assert shown["observed"].offers_truth
    np.testing.assert_array_equal(shown["observed"].values, desk.field.rain.values[4])
    desk.state.layer = "difference"
    assert map_frames(desk, 6)["a"].values is None
    desk.state.shows_truth = True
    shown = map_frames(desk, 6)
    np.testing.assert_array_equal(shown["observed"].values, desk.field.rain.values[6])
    np.testing.assert_array_equal(
        shown["b"].values, desk.run_b.forecast.values[1] - desk.field.rain.values[6]
    )


def test_an_old_forecast_is_marked(desk):
    run_it(desk)
    assert not map_frames(desk, 6)["a"].is_dim
    desk.state.issue_index = 3
    frame = map_frames(desk, 6)["a"]
    assert frame.is_dim
    assert "Old forecast" in frame.note


@pytest.mark.parametrize("layer", ["rain", "difference", "outcome", "probability"])
@pytest.mark.parametrize("truth", [False, True])
def test_a_map_without_values_says_why(desk, layer, truth):
    desk.state.param.update(layer=layer, shows_truth=truth)
    for index in range(desk.last_frame + 3):
        for name, frame in map_frames(desk, index).items():
            assert frame.values is not None or frame.note, (name, index)
    run_it(desk)
    for index in range(desk.last_frame + 3):
        for name, frame in map_frames(desk, index).items():
            assert frame.values is not None or frame.note, (name, index)


def test_the_clock_names_valid_time_and_lead(desk):
    assert when(desk, 4) == ("1 Jun 2020 12:40 UTC", "issue time")
    assert when(desk, 6) == ("1 Jun 2020 13:00 UTC", "lead +20 min")
    assert when(desk, 1) == ("1 Jun 2020 12:10 UTC", "30 min before issue")


def test_a_series_at_a_point_by_hand(desk):
    run_it(desk)
    x, y = desk.field.table.position_of(10, 9)
    values = series(desk, point_mask(desk.field, x, y), "here")
    # The shower covers column 9 in frames 0 to 5 with 3, 4, ... mm/h; frames after the issue are hidden.
    np.testing.assert_array_equal(values.lines["observed"][:5], [3, 4, 5, 6, 7])
    assert np.isnan(values.lines["observed"][5:]).all()
    np.testing.assert_array_equal(values.lines["persistence"][5:8], [7, 7, 7])
    desk.state.shows_truth = True
    values = series(desk, point_mask(desk.field, x, y), "here")
    np.testing.assert_array_equal(values.lines["observed"][5:], [8, 0, 0])


def test_mean_and_maximum_over_an_area_leave_missing_pixels_out(desk):
    mask = np.zeros((24, 30), bool)
    mask[0, :2] = True  # one pixel without data, one dry
    assert series(desk, mask, "area").lines["observed"][0] == 0.0
    mask[:] = False
    mask[10, 3:5] = True  # one dry, one with 3 mm/h in the first frame
    assert series(desk, mask, "area").lines["observed"][0] == 1.5
    assert series(desk, mask, "area", reduce="max").lines["observed"][0] == 3.0
    mask[:] = False
    mask[0, 0] = True
    assert np.isnan(series(desk, mask, "area", reduce="max").lines["observed"]).all()


def test_outside_the_field_there_is_no_point(desk):
    assert point_mask(desk.field, 0.0, 0.0) is None


def test_places_are_said_in_degrees_or_kilometres(field, rain):
    x, y = field.table.position_of(0, 0)
    assert say_place(field, x, y) == "50.000° N, 10.000° E"
    plain = rain.drop_vars("spatial_ref").assign_coords(x=np.arange(30) * 1e3, y=np.arange(24)[::-1] * 1e3)
    assert say_place(OpenField.of("upload:a", "a", plain), 2000.0, 1500.0) == "x 2.0 km, y 1.5 km"


def test_the_summary_names_what_was_read(field):
    summary = dict(field.summary())
    assert summary["Interval"] == "10 min"
    assert summary["Frames"] == "8"
    assert summary["Missing"] == "0.1 %"
    assert "mm/h" in summary["Quantity"]
    assert "30 x 24" in summary["Grid"]


def test_a_field_that_is_too_large_is_refused(rain, monkeypatch):
    monkeypatch.setattr("geoscope.ui.open_field.MAX_BYTES", 100)
    with pytest.raises(DataError, match="at most"):
        OpenField.of("upload:big", "big", rain)


def test_times_and_durations_in_words():
    assert say_time(np.datetime64("2018-09-04T06:05")) == "4 Sep 2018 06:05 UTC"
    assert [say_duration(np.timedelta64(m, "m")) for m in (0, 5, 60, 95, 1500)] == [
        "0 min",
        "5 min",
        "1 h",
        "1 h 35 min",
        "1 d 1 h",
    ]


def test_all_models_are_offered_and_those_that_cannot_run_say_why(monkeypatch):
    monkeypatch.setattr("geoscope.ui.nowcast_runs.find_spec", lambda name: None)
    choices = {choice.name: choice for choice in nowcast_models()}
    assert set(choices) == {card.name for card in gs.list_models(task="nowcast")}
    assert next(iter(choices)) == "earthformer-nowcast"  # learned ones first
    assert choices["persistence"].obstacle == ""
    for name in (name for name in choices if name.startswith("pysteps-")):
        assert "geoscope[radar]" in choices[name].label
    assert title_of("persistence") == "Persistence"
    assert title_of("nobody") == "nobody"


def test_the_cache_of_runs_is_bounded(desk):
    run_it(desk)
    first = desk.run
    cache = RunCache(kept_bytes=3 * first.nbytes)
    for number in range(9):
        cache.put(Run(Request("x", "persistence", number, 1, "cpu"), first.forecast))
    kept = [cache.get(Request("x", "persistence", number, 1, "cpu")) is not None for number in range(9)]
    assert kept == [False] * 6 + [True] * 3


def test_reading_a_file_waits_to_be_used(rain, tmp_path):
    path = tmp_path / "rain.nc"
    rain.to_netcdf(path, engine="h5netcdf")
    desk = NowcastDesk(NowcastState())
    desk.read("upload:rain.nc", files=[path])
    wait_for(lambda: not desk.is_loading)
    assert desk.data_problem == ""
    assert desk.field is None
    desk.use(desk.candidate)
    assert desk.field.source == "upload:rain.nc"
    assert desk.candidate is None


def test_a_bad_file_is_a_problem_in_one_line(tmp_path):
    path = tmp_path / "rain.nc"
    path.write_bytes(b"this is not radar data")
    desk = NowcastDesk(NowcastState())
    desk.read("upload:rain.nc", files=[path])
    wait_for(lambda: not desk.is_loading)
    assert desk.data_problem.startswith("rain.nc")  # and not with a folder of the server
    assert "\n" not in desk.data_problem
    assert desk.candidate is None


def test_a_b_that_cannot_run_leaves_a_and_says_why(desk, monkeypatch):
    def only_persistence(field, request, progress):
        if request.model != "persistence":
            raise DataError("the grid is too small")
        return original(field, request, progress)

    original = nowcast_desk.make_run
    monkeypatch.setattr(nowcast_desk, "make_run", only_persistence)
    desk.start()
    wait_for(lambda: not desk.is_running)
    assert desk.run is not None
    assert desk.run_b is None
    assert desk.run_problem.startswith("B, ")
    assert map_frames(desk, 6)["b"].note == "the grid is too small"
    assert not desk.is_stale  # another press would not help


def test_a_known_forecast_comes_as_soon_as_it_is_chosen(desk):
    run_it(desk)
    desk.state.model = "extrapolation"
    assert desk.run is desk.run_b
    assert not desk.is_stale
    desk.state.model = "climatology"
    assert desk.is_stale
    assert map_frames(desk, 6)["a"].is_dim
    assert map_frames(desk, 6)["a"].title == f"A: {title_of('extrapolation')}"


def test_loaded_forecasts_have_one_issue_time(desk):
    desk.state.compared = ["climatology"] if "climatology" in {c.name for c in nowcast_models()} else []
    run_it(desk)
    assert list(desk.loaded) == desk.state.models
    late = Run(Request(desk.field.digest, "extrapolation", 3, 3, "auto"), desk.run.forecast)
    desk._keep(late)
    assert "extrapolation" not in desk.loaded
    desk.state.compared = []
    desk._keep()
    assert "climatology" not in desk.runs


def test_outcomes_by_hand():
    forecast = np.array([[2.0, 2.0, 0.0, 0.0, np.nan]], np.float32)
    observed = np.array([[1.0, 0.0, 1.0, 0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(outcomes(forecast, observed, 1.0), [[1, 3, 2, 0, np.nan]])


def test_an_event_file_of_the_server_opens(rain, tmp_path, monkeypatch):
    monkeypatch.setenv("GEOSCOPE_DATA_ROOT", str(tmp_path))
    hundredths = np.where(np.isnan(rain.values), 65535, rain.values * 100).astype(np.uint16)
    np.savez(tmp_path / "storm.npz", rain=hundredths, meta='{"dt_minutes": 5, "pixel_km": 2}')
    desk = NowcastDesk(NowcastState())
    desk.read("path:storm.npz", then_use=True)
    wait_for(lambda: desk.field is not None or desk.data_problem)
    assert desk.data_problem == ""
    assert desk.field.rain.shape == rain.shape
    assert not desk.field.table.has_place

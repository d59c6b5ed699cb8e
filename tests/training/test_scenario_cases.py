"""Cases: where they are cut, what is in them, that they are cut once, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from geoscope.data.events import NO_DATA, Event
from geoscope.errors import ConfigError, DataError
from geoscope.models.scenarios.marginals import Marginals
from geoscope.models.scenarios.outlook import FEATURES
from geoscope.training.scenarios.cases import (
    Case,
    CaseTable,
    Cutter,
    Place,
    cut_cases,
    open_cases,
    places_of,
)
from geoscope.training.scenarios.regions import random_ellipse
from tests.training.scenario_events import (
    SILENT,
    TABLE,
    ByHand,
    rain_of,
    some_cases,
    write_event,
    write_events,
)


def event(rain=None, interval=10.0, **more):
    rain = rain_of(1) if rain is None else rain
    return Event("storm", (rain * 100).astype(np.uint16), interval, 1.0, **more)


def expected_by_hand(storm, place):
    """The marginals of the stand-in at a place of a window of 72 x 96."""
    columns = slice(place.column, place.column + 96)
    past = storm.frames(slice(0, place.seen), slice(0, 72), columns)
    ahead = ByHand().look_ahead(
        past, interval_minutes=10, pixel_km=1, leads=[float(lead) for lead in range(1, 7)], progress=SILENT
    )
    return Marginals.of(torch.stack([ahead.logits[float(lead)] for lead in range(1, 7)]), ahead.thresholds)


def test_a_case_holds_where_the_truth_stands_in_what_was_expected():
    storm, place = event(), Place(seen=10, row=0, column=4)
    arrays = Cutter(ByHand(), TABLE, 8, seed=0).cut(storm, place)
    truth = storm.frames(slice(10, 16), slice(0, 72), slice(4, 100))
    marginals = expected_by_hand(storm, place)
    assert arrays["scores"].shape == (6, 72, 96)
    np.testing.assert_allclose(arrays["scores"], marginals.scores(torch.from_numpy(truth)), atol=2e-3)
    np.testing.assert_allclose(arrays["share"], 1.0)
    blocks = truth.reshape(6, 9, 8, 12, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(arrays["rain"], blocks, rtol=2e-3, atol=1e-4)
    blocks = marginals.expected.numpy().reshape(6, 9, 8, 12, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(arrays["expected"], blocks, rtol=2e-3, atol=1e-4)
    newest = storm.frames(slice(9, 10), slice(0, 72), slice(4, 100))[0]
    wet = (newest >= 0.1).reshape(9, 8, 12, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(arrays["conditions"][0, ..., 0], wet, atol=1e-3)
    assert arrays["features"].shape == (len(arrays["means"]), len(FEATURES))
    assert arrays["means"][0] == pytest.approx(truth.mean(), rel=1e-5)  # the first region is all of it


def test_a_truth_that_is_not_there_counts_nothing():
    rain = rain_of(1)
    storm = event(rain)
    storm.rain[12, :, :60] = NO_DATA
    arrays = Cutter(ByHand(), TABLE, 8, seed=0).cut(storm, Place(16, 0, 0))
    assert np.isnan(arrays["scores"][4:]).all()  # the event ends after four steps
    assert not arrays["share"][4:].any()
    assert arrays["means"][0] == pytest.approx(
        storm.frames(slice(16, 20), slice(0, 72), slice(0, 96)).mean(), rel=1e-5
    )
    storm.rain[9, :, :60] = NO_DATA
    assert (
        Cutter(ByHand(), TABLE, 8, seed=0).cut(storm, Place(10, 0, 0)) is None
    )  # most of the newest frame is missing


def test_what_is_censored_is_not_believed():
    plain = Cutter(ByHand(), TABLE, 8, seed=0).cut(event(), Place(10, 0, 0))
    known = Cutter(ByHand(), TABLE, 8, seed=0).cut(event(low_mm_h=1.0, high_mm_h=5.0), Place(10, 0, 0))
    truth = event().frames(slice(10, 16), slice(0, 72), slice(0, 96))
    marginals = expected_by_hand(event(), Place(10, 0, 0)).above(1.0)
    clamped = torch.from_numpy(truth).clamp(max=5.0)
    np.testing.assert_allclose(known["scores"], marginals.scores(clamped), atol=2e-3)
    assert known["means"][0] == pytest.approx(float(clamped.mean()), rel=1e-5)
    np.testing.assert_array_equal(
        known["conditions"], plain["conditions"]
    )  # what a forecast would be told as well


def test_places_are_a_function_of_seed_and_event_and_leave_room_for_two_steps():
    table = CaseTable(per_event=4, size=64)
    storm = event(interval=5.0)  # two frames a step
    places = places_of(storm, table, 5, seed=1)
    assert places == places_of(storm, table, 5, seed=1) != places_of(storm, table, 5, seed=2)
    assert len(places) == 4 == len({place.seen for place in places})
    assert all(
        8 <= place.seen <= 16 for place in places
    )  # 20 frames: 12 ahead where that leaves two, 4 at least
    assert all(0 <= place.row <= 8 and 0 <= place.column <= 40 for place in places)
    assert places_of(event(rain_of(1, height=40)), table, 5, seed=1) == []
    assert places_of(event(rain_of(1, frames=3)), table, 5, seed=1) == []


def test_cases_are_cut_once(tmp_path):
    cases = some_cases(tmp_path)
    assert len(cases) == 6
    assert {case.event for case in cases} == {"storm_a", "storm_b"}
    assert {(case.rows, case.columns) for case in cases} == {(9, 12)}
    before = [load_file(case.path) for case in cases]
    gone = cases[2].path
    gone.unlink()
    nowcaster = ByHand()
    paths = sorted((tmp_path / "events").iterdir())
    again = cut_cases(Cutter(nowcaster, TABLE, 8, seed=3), paths, {}, tmp_path / "cases", SILENT)
    assert nowcaster.calls == 1
    assert again == cases
    for case, arrays in zip(again, before, strict=True):
        np.testing.assert_equal(load_file(case.path), arrays)


def test_a_part_of_a_case_is_that_part_of_the_whole(tmp_path):
    case = some_cases(tmp_path)[0]
    whole = case.read("conditions")["conditions"]
    part = case.cut("conditions", slice(2, 5), slice(4, 9), steps=slice(1, 3))
    np.testing.assert_array_equal(part, whole[1:3, 2:5, 4:9])


def test_cases_of_other_events_are_left_alone(tmp_path):
    some_cases(tmp_path)
    assert {case.event for case in open_cases(tmp_path / "cases", ["storm_b"])} == {"storm_b"}


def test_events_without_a_case_are_refused(tmp_path):
    write_events(tmp_path / "events")
    write_event(tmp_path / "events" / "small.npz", height=40)
    with pytest.raises(
        DataError, match="none of the 1 events is long and large enough for a case: expected 64 x 64"
    ):
        cut_cases(
            Cutter(ByHand(), TABLE, 8, 0), [tmp_path / "events" / "small.npz"], {}, tmp_path / "cases", SILENT
        )


def test_a_broken_case_is_named(tmp_path):
    case = some_cases(tmp_path)[0]
    assert isinstance(case, Case)
    case.path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"is not a case .*delete it and run the same command again"):
        open_cases(tmp_path / "cases", ["storm_a"])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"per_event": 0}, "per_event=0"),
        ({"regions": 0}, "regions=0"),
        ({"size": 32}, "size=32: expected 64"),
    ],
)
def test_tables_that_cannot_work_are_refused(table, said):
    with pytest.raises(ConfigError, match=said):
        CaseTable(**table)


def test_ellipses_have_the_size_that_was_asked_for():
    random = np.random.default_rng(0)
    areas = [random_ellipse((400, 400), random, smallest=30, largest=30).sum() for _ in range(30)]
    assert np.median(areas) == pytest.approx(np.pi * 15**2, rel=0.03)
    assert max(areas) < 1.05 * np.pi * 15**2  # those at the edge are smaller

"""Which issue times an archive gives."""

import numpy as np
import pytest

from geoscope.errors import ConfigError, DataError
from geoscope.inference.archive.plan import ArchiveSettings, Plan, plan_archive, seconds_of
from tests.inference.archive.archives import START, rain_field


def plan(
    frames: int = 20, minutes: int = 10, begin: np.datetime64 = START, gaps: str = "", **settings
) -> Plan:
    rain = rain_field(frames, minutes, begin, side=4).assign_attrs(filled_frames=gaps)
    wanted = ArchiveSettings(**({"every": "30min"} | settings))
    return plan_archive(rain, wanted, history=4, leads=3)


def hours(found: Plan) -> list[str]:
    return [str(time)[11:16] for time in found.issue_times]


def test_issue_times_stand_on_the_clock_once_there_is_enough_past():
    # frames at 00:00, 00:10, ..., 03:10; the first with 4 frames of past is 00:30
    assert hours(plan()) == ["00:30", "01:00", "01:30", "02:00", "02:30", "03:00"]
    assert hours(plan(every="1h")) == ["01:00", "02:00", "03:00"]


def test_parts_of_an_archive_agree_with_the_whole():
    later = plan(begin=START + np.timedelta64(50, "m"))
    assert set(hours(plan())) & {f"{h:02d}:{m:02d}" for h in range(1, 4) for m in (30, 0)} >= set(
        hours(later)[:3]
    )
    assert hours(later)[:3] == ["01:30", "02:00", "02:30"]


def test_frames_beside_the_clock_count_as_the_first_after_it():
    assert hours(plan(begin=START + np.timedelta64(2, "m"))) == [
        "00:32",
        "01:02",
        "01:32",
        "02:02",
        "02:32",
        "03:02",
    ]


def test_start_and_end_bound_the_issue_times_and_are_inside():
    assert hours(plan(end="2020-06-01T01:30")) == ["00:30", "01:00", "01:30"]
    settings = ArchiveSettings(every="30min", start="2020-06-01T01:00Z", end="2020-06-01T02:10")
    found = plan_archive(rain_field(side=4), settings, history=4, leads=3)
    assert hours(found) == ["01:00", "01:30", "02:00"]


def test_past_and_truth_are_frames_of_the_archive():
    found = plan()
    assert (found.past(1), found.truth(1)) == (slice(3, 7), slice(7, 10))
    assert found.step == 600


def test_a_gap_marks_the_issue_times_that_need_it():
    gap = "2020-06-01T01:20:00Z"  # frame 8: past of 01:30 (5..8 -> frames 6 to 9), truth of 01:00 (7, 8, 9)
    assert plan(gaps=gap).gaps == {2: "the past lacks the frame of 2020-06-01T01:20Z"}
    assert plan(gaps=gap, verify=True, end="2020-06-01T02:30").gaps == {
        1: "the truth lacks the frame of 2020-06-01T01:20Z",
        2: "the past lacks the frame of 2020-06-01T01:20Z",
    }


def test_an_issue_time_whose_truth_lies_beyond_the_archive_is_marked_when_it_is_to_verify():
    assert plan(verify=True).gaps == {5: "the archive ends at 2020-06-01T03:10Z, before the truth does"}
    assert plan().gaps == {}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"every": "25min"}, "every=25min is no multiple of the 10 minutes between frames: take 20min"),
        ({"every": "5min"}, "take 10min"),
        ({"start": "2021-01-01"}, "no frame from 2021-01-01 to the last is an issue time every 30min"),
    ],
)
def test_settings_that_fit_no_frame_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        plan(**settings)


@pytest.mark.parametrize(
    ("frames", "settings", "line"),
    [
        (3, {}, r"the archive's 3 frames hold no issue time with 4 frames of past"),
        (
            5,
            {"verify": True},
            "none of the 1 issue times can be forecast: at 2020-06-01T00:30Z the archive ends",
        ),
    ],
)
def test_an_archive_that_is_too_short_is_refused(frames, settings, line):
    with pytest.raises(DataError, match=line):
        plan(frames, **settings)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"every": "soon"}, "every='soon' is not a span of time"),
        ({"every": "0min"}, "every='0min' is not a span"),
        ({"every": "30 parsecs"}, "is not a span"),
        ({"lead_steps": 0}, "lead_steps=0 must be a whole number, 1 or more"),
        ({"history": 1}, "history=1 must be a whole number, 2 or more"),
        ({"threads": True}, "threads=True must be"),
        ({"start": "yesterday"}, "start='yesterday' is not a time"),
        ({"end": "NaT"}, "end='NaT' is not a time"),
        ({"start": "2020-01-02", "end": "2020-01-01"}, "start=2020-01-02 is after end=2020-01-01"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        ArchiveSettings(**settings)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30min", 1800), ("1h", 3600), ("90 s", 90), ("2D", 172800), ("5m", 300)]
)
def test_spans_of_time_are_read(text, seconds):
    assert seconds_of(text) == seconds

"""Models held against each other: what is counted, what is left out, and what the table says."""

import json
import math

import numpy as np
import pytest
import xarray as xr

from geoscope.data.events import EventSource
from geoscope.errors import Cancelled, ConfigError, DataError
from geoscope.inference.benchmark import Settings, issue_indices, run
from geoscope.inference.benchmark_table import MEAN, POOLED, advice, as_csv, as_plain, rows
from geoscope.inference.peak_memory import peak_memory


def field(values: np.ndarray, minutes: int = 5) -> xr.DataArray:
    """A rain field of ``values`` (T, H, W) at 1 km."""
    time = np.datetime64("2021-06-01T12:00", "ns") + np.arange(len(values)) * np.timedelta64(minutes, "m")
    coords = {
        "time": time,
        "y": -1000.0 * np.arange(values.shape[1]),
        "x": 1000.0 * np.arange(values.shape[2]),
    }
    return xr.DataArray(
        values.astype(np.float32), dims=("time", "y", "x"), coords=coords, name="rain_rate",
        attrs={"units": "mm/h"},
    )  # fmt: skip


def moving(frames: int = 10, speed: int = 2, side: int = 40, rain: float = 6.0) -> np.ndarray:
    """A block of rain that moves east."""
    values = np.zeros((frames, side, side))
    for t in range(frames):
        values[t, 10:22, 2 + speed * t : 14 + speed * t] = rain
    return values


def event(name: str, values: np.ndarray, minutes: int = 5) -> EventSource:
    return EventSource(name, lambda: field(values, minutes))


SHORT = Settings(minutes=10, every=5, history=4, thresholds=(1.0, 5.0, 20.0), scales=(1, 4))


def test_persistence_is_counted_by_hand():
    """Two issue times, one lead: the block of 144 pixels has moved by two columns of 12."""
    values = moving(frames=6)
    outcome = run(
        [event("one", values)],
        ["persistence"],
        Settings(minutes=5, every=5, history=4, thresholds=(1.0, 20.0)),
    )
    (row,) = rows(outcome)
    assert (row.event, row.model, row.cases, row.leads, row.lead_minutes) == ("one", "persistence", 2, 1, 5.0)
    assert row.csi == {"1": pytest.approx(120 / 168), "20": pytest.approx(math.nan, nan_ok=True)}
    assert row.csi_mean == pytest.approx(120 / 168 / 2)  # nobody forecast or saw 20 mm/h: that counts 0
    assert row.mae == pytest.approx(6.0 * 48 / 1600)
    assert row.bias == pytest.approx(0.0)
    assert row.rain_ratio == pytest.approx(1.0)
    assert row.csi_low == row.csi_high == row.csi_mean  # both issue times are alike
    assert row.seconds > 0
    assert row.memory_mb > 10
    assert row.fair == ""


def test_what_a_model_does_not_say_counts_as_dry_and_what_is_not_known_does_not_count():
    values = np.full((4, 16, 16), 6.0)
    values[:3, :, :4] = np.nan  # unknown to the model, seen afterwards
    values[3, :, 8:12] = np.nan  # never known
    (row,) = rows(
        run([event("one", values)], ["persistence"], Settings(minutes=5, history=3, thresholds=(1.0,)))
    )
    assert row.csi == {"1": pytest.approx(8 / 12)}
    assert row.mae == pytest.approx(6.0 * 4 / 12)


def test_the_model_that_knows_the_motion_wins_and_the_gain_says_so():
    outcome = run([event("one", moving(12))], ["persistence", "extrapolation"], SHORT)
    persistence, extrapolation = rows(outcome)
    assert extrapolation.csi_mean > persistence.csi_mean
    assert extrapolation.fair == "persistence"
    assert persistence.fair == "extrapolation"
    assert extrapolation.gain == pytest.approx(extrapolation.csi_mean - persistence.csi_mean)
    assert extrapolation.gain_low <= extrapolation.gain <= extrapolation.gain_high
    assert extrapolation.gain_low > 0
    assert set(extrapolation.fss) == {"1", "4"}
    assert extrapolation.fss["4"] >= extrapolation.fss["1"]


def test_several_events_are_pooled_and_averaged():
    sources = [event("slow", moving(12, speed=0)), event("fast", moving(8, speed=3))]
    outcome = run(sources, ["persistence"], SHORT)
    slow, fast, pooled, mean = rows(outcome)
    assert (pooled.event, mean.event) == (POOLED, MEAN)
    assert mean.csi_mean == pytest.approx((slow.csi_mean + fast.csi_mean) / 2)
    assert mean.csi["1"] == pytest.approx((slow.csi["1"] + fast.csi["1"]) / 2)
    assert fast.csi_mean < pooled.csi_mean < slow.csi_mean
    assert pooled.csi_mean > mean.csi_mean  # the slow event has more issue times
    assert pooled.cases == mean.cases == slow.cases + fast.cases == 7 + 3
    assert (mean.csi_low, mean.csi_high) == (pytest.approx(fast.csi_mean), pytest.approx(slow.csi_mean))


def test_an_issue_time_that_one_model_refuses_is_left_out_for_all():
    values = moving(10)
    values[3] = np.nan  # pysteps needs data in its last four frames
    outcome = run([event("one", values)], ["persistence", "pysteps-extrapolation"], SHORT)
    assert outcome.events[0].issues == 1
    assert all(row.cases == 1 for row in rows(outcome))
    assert any("left out for all: pysteps-extrapolation needs data" in note for note in outcome.notes)


def test_members_are_scored_as_an_ensemble_and_others_as_they_are():
    values = moving(7, side=48) + np.random.default_rng(0).gamma(0.3, 0.4, (7, 48, 48))
    settings = Settings(minutes=5, history=5, thresholds=(1.0,), scales=(1,), members=3, seed=4)
    outcome = run([event("one", values)], ["persistence", "pysteps-steps"], settings)
    persistence, steps = rows(outcome)
    assert math.isnan(persistence.crps)
    assert steps.crps > 0
    assert outcome.events[0].by_model["pysteps-steps"][0].total("ensemble") is not None
    assert any("add pysteps-linda" in line for line in advice(outcome))


def test_probabilities_are_scored_where_a_model_has_them():
    values = moving(8, side=64)
    settings = Settings(minutes=10, every=10, history=5, thresholds=(1.0, 5.0), scales=(1,))
    outcome = run([event("one", values)], ["persistence", "earthformer-nowcast"], settings)
    persistence, earthformer = rows(outcome)
    assert persistence.brier_skill == {}
    assert set(earthformer.brier_skill) == {"1", "5"}
    assert earthformer.brier_skill["1"] > 0.3  # a block that moves evenly is not hard to follow
    plain = as_plain(outcome)
    assert [(curve["model"], curve["threshold"]) for curve in plain["reliability"]] == [
        ("earthformer-nowcast", 1.0),
        ("earthformer-nowcast", 5.0),
    ]
    assert sum(plain["reliability"][0]["pixels"]) == 2 * 64 * 64  # leads, pixels


def test_short_events_are_noted_and_none_left_is_refused():
    outcome = run([event("short", moving(3)), event("one", moving(8))], ["extrapolation"], SHORT)
    assert outcome.notes == ["short is too short: it has 3 frames for 2 of the past and 2 leads"]
    assert [one.name for one in outcome.events] == ["one"]
    with pytest.raises(DataError, match="no event could be forecast by all models: short is too short"):
        run([event("short", moving(3))], ["extrapolation"], SHORT)


def test_only_the_middle_is_looked_at():
    values = moving(8, side=40)
    values[:, :8] = values[:, -8:] = values[:, :, :8] = values[:, :, -8:] = 50.0
    settings = Settings(minutes=5, history=4, thresholds=(20.0,), size=24)
    (row,) = rows(run([event("one", values)], ["persistence"], settings))
    assert math.isnan(row.csi["20"])


@pytest.mark.parametrize(
    ("frames", "leads", "settings", "needed", "expected"),
    [
        (40, 12, Settings(), 2, [13, 19, 25]),  # 40 - 12 + 1 = 29 is past the end
        (20, 12, Settings(), 2, [8]),  # a shorter past
        (20, 12, Settings(), 4, [8]),
        (13, 12, Settings(), 1, [1]),
        (13, 12, Settings(), 2, []),
        (10, 2, Settings(every=5, history=6), 2, [6, 7, 8]),
    ],
)
def test_issue_times_leave_room_for_the_past_and_the_truth(frames, leads, settings, needed, expected):
    assert list(issue_indices(frames, leads, 5.0, settings, needed)) == expected


def test_the_default_lead_is_an_hour_or_three_sparse_frames():
    sources = [event("often", moving(16, speed=1)), event("hourly", moving(8), minutes=60)]
    outcome = run(sources, ["persistence"], Settings(thresholds=(1.0,)))
    assert [one.leads for one in outcome.events] == [12, 3]


def test_progress_rises_to_one_and_may_cancel():
    seen: list[float] = []
    sources = [event("one", moving(8)), event("two", moving(8))]
    run(sources, ["persistence", "extrapolation"], SHORT, progress=lambda stage, share: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(stage: str, share: float) -> None:
        if stage == "two: extrapolation: motion":
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        run(sources, ["persistence", "extrapolation"], SHORT, progress=stop)


def test_the_plain_form_is_json_and_the_csv_has_a_line_a_row():
    outcome = run([event("a, b", moving(8)), event("two", moving(8, rain=3))], ["persistence"], SHORT)
    plain = json.loads(json.dumps(as_plain(outcome), allow_nan=False))
    assert plain["models"] == ["persistence"]
    assert [row["event"] for row in plain["rows"]] == ["a, b", "two", POOLED, MEAN]
    assert plain["by_lead"][0]["lead_minutes"] == [5.0, 10.0]
    assert len(plain["by_lead"][0]["csi"]) == 2
    assert plain["settings"]["history"] == 4
    text = as_csv(rows(outcome)).splitlines()
    assert text[0].startswith("event,model,cases,leads,lead_minutes,csi_1,csi_5,csi_20,csi_mean")
    assert text[1].startswith('"a, b",persistence,')
    assert len(text) == 5


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        ([], {}, "needs events and different models"),
        (["persistence", "persistence"], {}, "needs events and different models"),
        (["oracle"], {}, "oracle"),
        (["persistence"], {"minutes": 0}, "minutes=0 must be a number of minutes above 0"),
        (["persistence"], {"every": -5}, "every=-5 must be"),
        (["persistence"], {"history": 0}, "history=0 must be a whole number, 1 or more"),
        (["persistence"], {"size": 4}, "size=4 must be a whole number, 8 or more"),
        (["persistence"], {"members": 2}, "members=2: none of persistence gives members; add an ensemble"),
        (["persistence"], {"members": 1.5}, "members=1.5 must be a whole number"),
        (["persistence"], {"thresholds": (1.0, 1.0)}, "thresholds"),
        (["persistence"], {"scales": (0,)}, "scales"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(models, settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run([event("one", moving(8))], models, Settings(**settings))
    assert "\n" not in str(caught.value)


def test_a_bare_network_is_refused(monkeypatch):
    monkeypatch.setattr("geoscope.inference.benchmark.load_model", lambda name, device: object())
    with pytest.raises(ConfigError, match="model 'net' is a bare network"):
        run([event("one", moving(8))], ["net"], SHORT)


def test_the_peak_of_memory_is_seen():
    with peak_memory() as before:
        pass
    with peak_memory() as peak:
        held = np.ones(40_000_000)  # 320 MB
        held[0] = 2.0
    assert peak.megabytes > before.megabytes + 200


def test_without_a_mark_to_reset_the_peak_is_that_of_the_process(monkeypatch, tmp_path):
    monkeypatch.setattr("geoscope.inference.peak_memory.RESET", tmp_path / "none" / "clear_refs")
    with peak_memory() as peak:
        pass
    assert peak.megabytes > 10

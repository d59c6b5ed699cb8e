"""The nowcast door: what it gives, what it never looks at, what it refuses."""

import json

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.errors import Cancelled, ConfigError, DataError


def moving_rain(frames: int = 8, side: int = 72, step: float = 1000.0, minutes: int = 5) -> xr.DataArray:
    """A block of 10 mm/h that moves two pixels east a frame."""
    rain = np.zeros((frames, side, side), np.float32)
    for t in range(frames):
        rain[t, 20:40, 10 + 2 * t : 30 + 2 * t] = 10.0
    time = np.datetime64("2021-06-01T12:00", "ns") + np.arange(frames) * np.timedelta64(minutes, "m")
    return xr.DataArray(
        rain,
        dims=("time", "y", "x"),
        name="rain_rate",
        coords={"time": time, "y": -np.arange(side) * step, "x": np.arange(side) * step},
        attrs={"units": "mm/h", "long_name": "rain rate", "source": "a test"},
    )


def test_persistence_repeats_the_last_frame_at_the_valid_times():
    rain = moving_rain()
    forecast = gs.nowcast(rain, model="persistence", lead_steps=4)
    assert forecast.dims == ("time", "y", "x")
    assert forecast.dtype == np.float32
    np.testing.assert_array_equal(forecast.values, np.repeat(rain.values[-1:], 4, 0))
    assert forecast["time"].values[0] - rain["time"].values[-1] == np.timedelta64(5, "m")
    np.testing.assert_array_equal(forecast["lead_time"].values, np.arange(1, 5) * np.timedelta64(5, "m"))
    assert forecast["forecast_reference_time"].values == rain["time"].values[-1]
    assert forecast.attrs["units"] == "mm/h"


def test_extrapolation_moves_the_block_on():
    rain = moving_rain()
    forecast = gs.nowcast(rain, model="extrapolation", lead_steps=3)
    truth = np.zeros((72, 72), np.float32)
    truth[20:40, 30:50] = 10.0  # three frames later: 2 x (7 + 3) to the east of 10
    middle = forecast.values[2, 25:35, 33:47]
    assert np.abs(middle - truth[25:35, 33:47]).mean() < 0.5
    assert forecast.values[2, 25:35, 24:28].mean() < 1.0  # where it came from is dry


def test_the_future_is_never_shown_to_the_model():
    rain = moving_rain(frames=10)
    issue = rain["time"].values[5]
    spoiled = rain.copy()
    spoiled[6:] = 77.0
    for model in ("persistence", "extrapolation"):
        first, second = (gs.nowcast(r, model=model, issue_time=issue, lead_steps=2) for r in (rain, spoiled))
        np.testing.assert_array_equal(first.values, second.values)
        alone = gs.nowcast(rain.isel(time=slice(0, 6)), model=model, lead_steps=2)
        np.testing.assert_array_equal(first.values, alone.values)
        assert (
            json.loads(first.attrs["run_card"])["input_sha256"]
            == json.loads(second.attrs["run_card"])["input_sha256"]
        )


def test_the_run_card_says_what_made_it():
    card = json.loads(gs.nowcast(moving_rain(), model="extrapolation", lead_steps=1).attrs["run_card"])
    assert card["model"] == "extrapolation"
    assert card["interval_minutes"] == 5
    assert card["pixel_km"] == 1
    assert card["issue_time"] == "2021-06-01T12:35:00Z"
    assert len(card["input_sha256"]) == 64
    assert {"geoscope", "torch", "created", "device", "seconds", "seed", "weights_sha256"} <= set(card)


def test_the_default_reach_is_one_hour_or_three_slow_steps():
    assert len(gs.nowcast(moving_rain(), model="persistence")) == 12
    assert len(gs.nowcast(moving_rain(minutes=60), model="persistence")) == 3


def test_missing_pixels_stay_missing_in_persistence():
    rain = moving_rain()
    rain[:, :5] = np.nan
    forecast = gs.nowcast(rain, model="persistence", lead_steps=2)
    assert np.isnan(forecast.values[:, :5]).all()
    assert np.isfinite(forecast.values[:, 5:]).all()


def test_progress_rises_to_one_and_may_cancel():
    seen: list[float] = []
    gs.nowcast(
        moving_rain(), model="extrapolation", lead_steps=3, progress=lambda stage, share: seen.append(share)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(stage: str, share: float) -> None:
        if stage == "extrapolation":
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        gs.nowcast(moving_rain(), model="extrapolation", lead_steps=3, progress=stop)


def test_fields_with_places_keep_them():
    rain = gs.sample("florence-2018")
    forecast = gs.nowcast(rain, model="persistence", issue_time="2018-09-14T05:00", lead_steps=3)
    for name in ("lat", "lon", "spatial_ref"):
        assert name in forecast.coords
    assert len(forecast) == 3


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda r: r.isel(time=0), {}, DataError, r"dimensions \(time, y, x\)"),
        (lambda r: r.isel(time=[0]), {"model": "extrapolation"}, DataError, "one frame has no interval"),
        (lambda r: r.isel(time=[0, 1, 5]), {}, DataError, "not evenly spaced"),
        (lambda r: r.where(False), {}, DataError, "has no data"),
        (lambda r: r.assign_coords(x=r["x"] * 3), {}, DataError, "too far from square"),
        (lambda r: r.assign_coords(x=r["x"] * 0), {}, DataError, "makes no sense"),
        (lambda r: r, {"issue_time": "2021-06-01T12:01"}, ConfigError, "is not the time of a frame"),
        (lambda r: r, {"issue_time": "soon"}, ConfigError, "is not a time"),
        (
            lambda r: r,
            {"issue_time": "2021-06-01T12:00", "model": "extrapolation"},
            DataError,
            "needs 2 frames",
        ),
        (lambda r: r, {"lead_steps": 0}, ConfigError, "must be a whole number"),
        (lambda r: r, {"lead_steps": 2.5}, ConfigError, "must be a whole number"),
        (lambda r: r, {"model": "no-such-model"}, ConfigError, "no-such-model"),
        (lambda r: r, {"device": "cuda:7"}, ConfigError, "not available here"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(change, options, error, message):
    options = {"model": "persistence", "lead_steps": 1, **options}
    with pytest.raises(error, match=message) as caught:
        gs.nowcast(change(moving_rain()), **options)
    assert "\n" not in str(caught.value)

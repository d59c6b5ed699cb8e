"""Running the nowcaster on arrays: any interval, short pasts, missing data, and the shipped weights."""

import numpy as np
import pytest
import torch

from geoscope.models.nowcaster.forecast import EarthformerNowcaster, Hour, choose_history, hours, model_stride
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.zoo.cards import card


@pytest.fixture(scope="module")
def nowcaster() -> EarthformerNowcaster:
    torch.manual_seed(0)
    return EarthformerNowcaster(
        LagrangianEarthformer(nowcaster_small(width=16, features=8, widths=(8, 16, 16))), card("persistence")
    )


def past(frames: int = 9, side: int = 64) -> np.ndarray:
    """A cell of 20 mm/h that moves one pixel a frame to the east."""
    rows, columns = np.mgrid[:side, :side]
    cells = [20 * np.exp(-((rows - 32) ** 2 + (columns - 20 - t) ** 2) / 60) for t in range(frames)]
    return np.stack(cells).astype(np.float32)


def run(
    nowcaster: EarthformerNowcaster, rain: np.ndarray, interval: float = 10.0, leads: int = 2
) -> np.ndarray:
    return nowcaster.forecast(
        rain, interval_minutes=interval, pixel_km=1.0, lead_steps=leads, progress=lambda stage, share: None
    )


@pytest.mark.parametrize(("interval", "reach"), [(2, 60), (5, 24), (10, 12), (15, 12), (60, 12)])
def test_the_reach_in_frames_follows_the_interval(nowcaster, interval, reach):
    assert nowcaster.max_lead_steps(interval) == reach


@pytest.mark.parametrize("interval", [2.0, 5.0, 10.0, 60.0])
def test_every_interval_gives_rain_on_the_grid(nowcaster, interval):
    forecast = run(nowcaster, past(), interval, leads=3)
    assert forecast.shape == (3, 64, 64)
    assert forecast.dtype == np.float32
    assert (forecast >= 0).all()
    assert forecast.max() <= 50.0


@torch.inference_mode()
def test_two_frames_closer_than_a_step_still_tell_the_motion(nowcaster):
    """Two frames five minutes apart: the model's step is ten, the motion two pixels a step all the same."""
    frames = torch.zeros(1, 5, 64, 64)
    motion = nowcaster._motion(past(2), frames, torch.zeros_like(frames), stride=2)[0]
    wet = past(2)[1] > 2
    assert motion[1].numpy()[wet].mean() == pytest.approx(2.0, abs=0.3)


def test_where_no_past_frame_has_data_there_is_no_forecast(nowcaster):
    rain = past()
    rain[:, :10] = np.nan
    rain[-1, 50:] = np.nan  # missing only now: older frames still tell
    forecast = run(nowcaster, rain)
    assert np.isnan(forecast[:, :10]).all()
    assert np.isfinite(forecast[:, 10:]).all()


def test_the_same_input_gives_the_same_forecast(nowcaster):
    np.testing.assert_array_equal(run(nowcaster, past()), run(nowcaster, past()))


def test_progress_ends_at_one(nowcaster):
    shares: list[float] = []
    nowcaster.forecast(
        past(),
        interval_minutes=10.0,
        pixel_km=1.0,
        lead_steps=3,
        progress=lambda stage, share: shares.append(share),
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(("interval", "stride"), [(2, 5), (5, 2), (6, 2), (10, 1), (15, 1), (60, 1)])
def test_a_model_step_is_about_ten_minutes(interval, stride):
    assert model_stride(interval) == stride


def test_history_ends_at_the_issue_time_and_says_what_is_missing():
    frames = np.broadcast_to(np.arange(6.0)[:, None, None], (6, 2, 2))
    history = choose_history(frames, stride=2, count=4)
    assert history[1:, 0, 0].tolist() == [1.0, 3.0, 5.0]
    assert np.isnan(history[0]).all()


def test_the_hours_of_a_forecast_by_hand():
    # frames of 5 minutes, two to a step of ten: an hour is six steps
    assert hours(14, 2, 10.0, 12) == [
        Hour(tuple(range(1, 13)), (1, 2, 3, 4, 5, 6)),
        Hour((13, 14), (7, 8, 9, 10, 11, 12)),
    ]
    assert hours(2, 1, 60.0, 12) == [Hour((1, 2), (1, 2, 3))]  # hourly frames: three share a cut
    assert hours(12, 1, 25.0, 12)[-1] == Hour((10, 11, 12), (10, 11, 12))


def test_a_longer_forecast_begins_like_a_shorter(nowcaster):
    short, long = run(nowcaster, past(), 5.0, leads=3), run(nowcaster, past(), 5.0, leads=14)
    np.testing.assert_allclose(long[:3], short, rtol=1e-3, atol=1e-3)


def test_probabilities_come_with_the_forecast(nowcaster):
    rain = past()
    rain[:, :5] = np.nan
    forecast, chance = nowcaster.forecast_probabilities(
        rain,
        interval_minutes=10.0,
        pixel_km=1.0,
        lead_steps=2,
        thresholds_mm_h=(0.5, 3.7),
        progress=lambda stage, share: None,
    )
    assert chance.shape == (2, 2, 64, 64)
    assert np.isnan(chance[:, :, :5]).all()
    known = chance[:, :, 5:]
    assert ((known >= 0) & (known <= 1)).all()
    assert (known[0] >= known[1]).all()  # more is never likelier
    np.testing.assert_array_equal(forecast, run(nowcaster, rain))


def test_a_small_grid_is_filled_up_with_what_is_unknown(nowcaster):
    forecast = run(nowcaster, past(side=64)[:, :40, :37])
    assert forecast.shape == (2, 40, 37)
    assert np.isfinite(forecast).all()

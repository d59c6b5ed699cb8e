"""Running the nowcaster on arrays: any interval, short pasts, missing data, and the shipped weights."""

import numpy as np
import pytest
import torch

from geoscope.models.nowcaster.forecast import EarthformerNowcaster
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.zoo.cards import card


@pytest.fixture(scope="module")
def nowcaster() -> EarthformerNowcaster:
    torch.manual_seed(0)
    return EarthformerNowcaster(LagrangianEarthformer(nowcaster_small(width=16)), card("persistence"))


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

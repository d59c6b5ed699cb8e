"""Training windows are cut as the recipe says, and only from what is there."""

import json

import numpy as np
import pytest

from geoscope.errors import DataError
from geoscope.training.storms import Event, WindowRecipe, WindowSampler, accumulate, coarsen, read_event


def ramp(frames: int = 40, side: int = 96, interval: float = 5.0) -> Event:
    """Frame t holds t / 10 mm/h everywhere."""
    rain = np.broadcast_to(
        (np.arange(frames, dtype=np.uint16) * 10)[:, None, None], (frames, side, side)
    ).copy()
    return Event("ramp", rain, interval, 1.0)


PLAIN = WindowRecipe(
    size=64, share_coarse=0, share_slow=0, share_accumulated=0, share_short_history=0, intensity_jitter=0
)


def test_leads_are_counted_in_model_steps_from_the_last_past_frame():
    sampler = WindowSampler([ramp()], PLAIN, seed=0)
    window = sampler.draw([0.5, 1.0, 3.0])
    past, target = window.history[:, 0, 0], window.target[:, 0, 0]
    assert window.step_minutes == 10.0
    np.testing.assert_allclose(np.diff(past), 0.2, atol=1e-5)  # two frames of 5 minutes a step
    np.testing.assert_allclose(
        target[np.isfinite(target)] - past[-1],
        np.array([0.1, 0.2, 0.6])[: np.isfinite(target).sum()],
        atol=1e-5,
    )


def test_a_half_step_that_no_frame_falls_on_has_no_truth():
    sampler = WindowSampler([ramp(interval=10.0)], PLAIN, seed=0)
    window = sampler.draw([0.5, 1.0])
    assert np.isnan(window.target[0]).all()
    assert np.isfinite(window.target[1]).all()


def test_the_same_seed_gives_the_same_windows():
    first, second = (WindowSampler([ramp()], WindowRecipe(size=64), seed=3) for _ in range(2))
    for _ in range(5):
        leads = first.draw_leads(3)
        assert leads == second.draw_leads(3)
        np.testing.assert_array_equal(first.draw(leads).target, second.draw(leads).target)


def test_coarsening_by_hand():
    rain = np.array([[[1.0, 3.0], [np.nan, 2.0]], [[np.nan, np.nan], [np.nan, 4.0]]], dtype=np.float32)
    coarse = coarsen(rain, 2)
    assert coarse[0, 0, 0] == pytest.approx(2.0)
    assert np.isnan(coarse[1, 0, 0])  # one pixel of four is too little


def test_accumulating_by_hand():
    np.testing.assert_allclose(accumulate(np.arange(5.0).reshape(5, 1, 1), 2)[:, 0, 0], [0.5, 2.5])


def test_an_event_file_is_read_and_censored_by_name(tmp_path):
    rain = np.array([[[150, 65535]]], dtype=np.uint16)
    np.savez(tmp_path / "cut_1.npz", rain=rain, meta=json.dumps({"dt_minutes": 10, "pixel_km": 2}))
    event = read_event(tmp_path / "cut_1.npz", {"cut_": (1.0, 40.0)})
    frames = event.frames(slice(None), slice(None), slice(None))
    assert frames[0, 0, 0] == pytest.approx(1.5)
    assert np.isnan(frames[0, 0, 1])
    assert (event.low_mm_h, event.high_mm_h) == (1.0, 40.0)


def test_a_file_that_is_no_event_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    with pytest.raises(DataError, match=r"other\.npz is not an event"):
        read_event(tmp_path / "other.npz")


def test_no_events_and_events_too_short_are_refused():
    with pytest.raises(DataError, match="no events to train on"):
        WindowSampler([], PLAIN, seed=0)
    with pytest.raises(DataError, match="long and large enough"):
        WindowSampler([ramp(frames=3)], PLAIN, seed=0).draw([1.0])

"""Persistence, climatology and extrapolation on fields whose future is known."""

import numpy as np
import pytest
import torch

import geoscope as gs
from geoscope.inference.loading import BASELINES
from geoscope.models.baselines.extrapolation import extrapolate, frames_for_motion
from geoscope.zoo.cards import list_models

SCENE = {"interval_minutes": 5.0, "pixel_km": 1.0}


def quiet(stage: str, share: float) -> None:
    assert 0.0 <= share <= 1.0


def blob(row: float, column: float, side: int = 64, width: float = 6.0) -> torch.Tensor:
    """A round shower of 20 mm/h at its middle."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return 20.0 * torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))


def sequence(speed: tuple[float, float], frames: int = 4) -> torch.Tensor:
    """(T, H, W): a shower that moves ``speed`` pixels (rows, columns) a frame and is in the middle at the last."""
    return torch.stack(
        [blob(32 - speed[0] * (frames - 1 - t), 32 - speed[1] * (frames - 1 - t)) for t in range(frames)]
    )


def test_every_baseline_card_has_a_maker():
    assert {card.name for card in list_models() if card.kind == "baseline"} == set(BASELINES)


def test_climatology_is_the_mean_of_the_frames_that_know():
    past = np.array([[[1.0, np.nan, np.nan]], [[4.0, 6.0, np.nan]]], np.float32)
    forecast = gs.load_model("climatology").forecast(past, lead_steps=2, progress=quiet, **SCENE)
    np.testing.assert_array_equal(forecast, np.repeat([[[2.5, 6.0, np.nan]]], 2, axis=0))


def test_extrapolation_carries_a_shower_to_where_it_will_be():
    *_, last = extrapolate(sequence((1.5, -2.0))[None], [1.0, 3.0])
    truth = blob(32 + 4.5, 32 - 6.0)
    inside = torch.isfinite(last[0])
    assert (last[0] - truth)[inside].abs().mean() < 0.15 * truth[inside].mean()


def test_half_frames_lie_between():
    whole, half = extrapolate(sequence((0.0, 2.0))[None], [0.5, 1.0])
    truth = blob(32, 33)
    assert (whole[0] - truth).nan_to_num().abs().max() < 1.5
    assert (half[0] - blob(32, 34)).nan_to_num().abs().max() < 1.5


def test_a_batch_is_its_members_each_with_a_motion_of_its_own():
    east, south = sequence((0.0, 2.0)), sequence((1.0, 0.0))
    together = list(extrapolate(torch.stack([east, south]), [1.0, 2.0]))
    for index, alone in enumerate((east, south)):
        for both, one in zip(together, extrapolate(alone[None], [1.0, 2.0]), strict=True):
            torch.testing.assert_close(both[index], one[0], equal_nan=True, rtol=0, atol=1e-3)


def test_what_flows_in_is_missing():
    rain = sequence((0.0, 3.0)) + 5.0
    (carried,) = extrapolate(rain[None], [2.0])
    assert torch.isnan(carried[0, :, 0]).all()
    assert torch.isfinite(carried[0, :, -20:]).all()
    rain[-1, :, 30] = torch.nan
    (holed,) = extrapolate(rain[None], [0.0])
    assert torch.isnan(holed[0, :, 30]).all()


def test_a_turning_field_turns_in_inner_steps():
    """Half a turn in eight frames: straight paths would end far outside the circle."""
    from geoscope.nn.advection import backward_positions, pixel_positions

    side, frames = 65, 8
    middle = (side - 1) / 2
    offset = pixel_positions(side, side, torch.zeros(1)) - middle
    angle = torch.pi / frames
    motion = angle * torch.stack((offset[:, 1], -offset[:, 0]), dim=1)
    *_, positions = backward_positions(motion, range(1, frames + 1))
    inner = offset.square().sum(1).sqrt() < 0.7 * middle
    error = (
        (positions + offset - middle).square().sum(1).sqrt()
    )  # half a turn maps every point to its opposite
    assert error[inner].max() < 0.05 * 0.7 * middle


@pytest.mark.parametrize(
    ("minutes", "frames", "used"), [(5, 20, 7), (2, 64, 16), (15, 20, 3), (60, 20, 3), (5, 2, 2)]
)
def test_half_an_hour_tells_the_motion_and_three_frames_at_least(minutes, frames, used):
    assert frames_for_motion(minutes, frames) == used


def test_dry_fields_stay_dry():
    forecast = gs.load_model("extrapolation").forecast(
        np.zeros((4, 40, 50), np.float32), lead_steps=3, progress=quiet, **SCENE
    )
    assert (forecast == 0).all()

"""Motion is recovered from moved rain, and transport along it does what arithmetic says."""

import pytest
import torch

from geoscope.nn.advection import (
    advect,
    backward_positions,
    distance_outside,
    is_inside,
    pixel_positions,
    sample_at,
)
from geoscope.nn.motion import estimate_motion, gaussian_blur, log_rain


def blobs(height: int, width: int, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """A few smooth rain cells, the whole picture moved by ``shift`` pixels."""
    rows, columns = pixel_positions(height, width, torch.zeros(()))[0]
    field = torch.zeros(height, width)
    for row, column, radius in ((30.0, 30.0, 8.0), (60.0, 80.0, 12.0), (80.0, 30.0, 6.0), (25.0, 75.0, 7.0)):
        distance = (rows - row - shift[0]) ** 2 + (columns - column - shift[1]) ** 2
        field = field + 10.0 * torch.exp(-distance / (2 * radius**2))
    return field


@pytest.mark.parametrize("speed", [(0.0, 0.0), (1.5, -2.0), (-0.4, 0.3), (6.0, 5.0)])
def test_the_speed_of_moved_cells_is_recovered(speed):
    frames = torch.stack([blobs(112, 112, (speed[0] * t, speed[1] * t)) for t in range(3)])
    motion = estimate_motion(log_rain(frames)[None])[0]
    wet = frames[1] > 1.0
    for component in range(2):
        error = (motion[component][wet] - speed[component]).abs().mean()
        assert error < 0.1 + 0.05 * abs(speed[component])


def test_turning_the_picture_turns_the_motion():
    frames = torch.stack([blobs(96, 96, (1.0 * t, 2.0 * t)) for t in range(3)])
    motion = estimate_motion(log_rain(frames)[None])[0]
    turned = estimate_motion(log_rain(frames.transpose(1, 2))[None])[0]
    assert torch.allclose(turned[0].T, motion[1], atol=1e-4)
    assert torch.allclose(turned[1].T, motion[0], atol=1e-4)


def test_one_frame_or_no_rain_does_not_move():
    assert estimate_motion(torch.zeros(1, 1, 64, 64)).abs().max() == 0
    assert estimate_motion(torch.zeros(2, 4, 64, 64)).abs().max() == 0


def test_a_frame_without_data_has_no_say():
    frames = torch.stack([torch.zeros(96, 96), *[blobs(96, 96, (1.0 * t, -1.0 * t)) for t in range(3)]])
    valid = torch.ones(1, 4, 96, 96)
    valid[:, 0] = 0
    kept = estimate_motion(log_rain(frames)[None], valid)[0]
    wet = frames[2] > 1.0
    assert (kept[0][wet] - 1.0).abs().mean() < 0.15
    assert (kept[1][wet] + 1.0).abs().mean() < 0.15


def test_log_rain_by_hand():
    # log2(1 + 0.2/0.2) = 1, log2(1 + 0.6/0.2) = 2, no data reads as dry
    assert log_rain(torch.tensor([0.0, 0.2, 0.6, float("nan")])).tolist() == pytest.approx(
        [0.0, 1.0, 2.0, 0.0]
    )


def test_a_blur_keeps_a_constant_to_the_rim_and_the_mean_of_a_point():
    constant = torch.full((1, 2, 20, 17), 3.0)
    assert torch.allclose(gaussian_blur(constant, 4.0), constant, atol=1e-5)
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1.0
    assert gaussian_blur(point, 2.0).sum() == pytest.approx(1.0, abs=1e-5)


def test_whole_pixel_motion_moves_whole_pixels():
    field = torch.arange(30.0).reshape(1, 1, 5, 6)
    motion = torch.zeros(1, 2, 5, 6)
    motion[:, 0], motion[:, 1] = 1.0, 2.0
    (positions,) = backward_positions(motion, [1])
    carried = advect(field, positions)
    assert torch.allclose(carried[0, 0, 1:, 2:], field[0, 0, :-1, :-2], atol=1e-5)
    assert torch.isnan(carried[0, 0, 0]).all()
    assert torch.isnan(carried[0, 0, :, :2]).all()


def test_two_steps_are_one_step_twice_in_uniform_flow():
    motion = torch.full((1, 2, 16, 16), 0.7)
    one, two = backward_positions(motion, [1.0, 2.0])
    start = pixel_positions(16, 16, motion)
    assert torch.allclose(2 * (one - start), two - start, atol=1e-5)


def test_solid_rotation_keeps_the_radius():
    """The backward scheme follows curved paths: a quarter turn in ten steps stays on its circle."""
    size, centre = 65, 32.0
    rows, columns = pixel_positions(size, size, torch.zeros(()))[0] - centre
    omega = torch.pi / 2 / 10
    motion = torch.stack((-omega * columns, omega * rows))[None]
    positions = list(backward_positions(motion, range(1, 11)))[-1][0] - centre
    start = torch.tensor([10.0, 0.0])  # ten rows below the centre
    end = positions[:, 42, 32]
    assert end.norm() == pytest.approx(10.0, abs=0.1)
    assert abs(float(end @ start)) < 1.0  # a right angle away


def test_missing_data_travels_with_the_rain():
    field = torch.ones(1, 1, 8, 8)
    field[..., 3, 3] = torch.nan
    motion = torch.zeros(1, 2, 8, 8)
    motion[:, 1] = 2.0
    (positions,) = backward_positions(motion, [1])
    carried = advect(field, positions)[0, 0]
    assert torch.isnan(carried[3, 5])
    assert torch.isnan(carried).sum() == 1 + 2 * 8


def test_leads_must_rise():
    with pytest.raises(ValueError, match="leads must rise"):
        list(backward_positions(torch.zeros(1, 2, 4, 4), [2, 1]))


def test_sampling_between_pixels_is_bilinear():
    field = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    middle = torch.full((1, 2, 1, 1), 0.5)
    assert sample_at(field, middle).item() == pytest.approx(1.5)
    assert is_inside(torch.tensor([[[[2.0]], [[0.0]]]]), 2, 2).item() is False


def test_the_distance_from_a_picture_is_that_to_its_nearest_pixel():
    rows = torch.tensor([[0.0, 2.0, -3.0, 1.0, 5.0]])
    columns = torch.tensor([[0.0, 4.0, 2.0, 6.5, 8.0]])
    away = distance_outside(torch.stack((rows, columns), dim=1)[..., None], 3, 5)
    assert away.flatten().tolist() == [0, 0, 3, 2.5, 5]  # the last is 3 rows below and 4 columns beside

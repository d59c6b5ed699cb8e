"""The comparison of networks on moving digits: scores by hand, a tiny run of each task, what it refuses."""

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError
from geoscope.training.video_benchmark import compare, score

TINY = {"size": 32, "in_frames": 2, "out_frames": 2, "train_steps": 2, "batch": 2, "test_count": 3}


class Dark:
    """Three sequences: nothing is seen, and one pixel of 0.5 in the last frame of the target."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        target = np.zeros((2, 12, 12, 1), np.float32)
        target[1, 6, 6] = 0.5
        return {"input": np.zeros((2, 12, 12, 1), np.float32), "target": target}


def nothing(past: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(past)


def test_errors_are_added_over_a_frame_and_averaged_over_the_rest():
    row = score("dark", nothing, Dark(), 2)
    assert row.mse_by_lead == pytest.approx((0.0, 0.25))
    assert row.mae_by_lead == pytest.approx((0.0, 0.5))
    assert (row.mse, row.mae) == pytest.approx((0.125, 0.25))
    assert row.ssim_by_lead[0] == pytest.approx(1.0)
    assert row.ssim_by_lead[1] < 1.0


def test_what_no_picture_can_be_is_clipped():
    row = score("bright", lambda past: past - 3.0, Dark(), 3)
    assert row.mse_by_lead == pytest.approx((0.0, 0.25))


@pytest.mark.parametrize("task", ["moving-mnist", "nbody-mnist"])
def test_networks_are_trained_and_compared_in_one_call(task, tmp_path):
    told: list[float] = []
    rows = compare(
        task, ["unet", "predrnn"], out=tmp_path, progress=lambda stage, share: told.append(share), **TINY
    )
    assert [row.model for row in rows] == ["persistence", "unet", "predrnn"]
    assert [row.steps for row in rows] == [0, 2, 2]
    assert rows[1].parameters > 100_000
    assert all(row.seconds_a_step > 0 for row in rows[1:])
    assert all(len(row.mse_by_lead) == len(row.ssim_by_lead) == 2 for row in rows)
    assert all(row.mse == pytest.approx(np.mean(row.mse_by_lead)) and row.ssim <= 1.0 for row in rows)
    assert told == sorted(told)
    assert told[-1] == 1.0
    again = compare(task, ["unet"], out=tmp_path, **TINY)  # goes on where it was: nothing is trained again
    assert again[1].mse_by_lead == rows[1].mse_by_lead


def test_persistence_comes_without_being_asked_for_and_once():
    (floor,) = compare("moving-mnist", ["persistence"], **TINY)
    assert floor.model == "persistence"
    assert floor.mse_by_lead[0] < floor.mse_by_lead[1]


@pytest.mark.parametrize(
    ("task", "models", "options", "message"),
    [
        ("moving-mnits", ["unet"], {}, "task 'moving-mnits' is not known; did you mean 'moving-mnist'"),
        ("moving-mnist", ["u-net"], {}, "network 'u-net' is not known .*did you mean 'unet'"),
        ("moving-mnist", ["unet"], {"train_steps": 0}, "train_steps=0, batch=2: expected 1 or more"),
        ("moving-mnist", ["unet"], {"test_count": 0}, "count=0"),
    ],
)
def test_what_cannot_be_compared_is_refused(task, models, options, message):
    with pytest.raises(ConfigError, match=message):
        compare(task, models, **{**TINY, **options})

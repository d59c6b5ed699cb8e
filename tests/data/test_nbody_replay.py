"""N-body MNIST again from published random numbers."""

import numpy as np
import pytest
import torch

from geoscope.data.nbody_replay import ReplayedNBody
from geoscope.errors import DataError
from tests.data.digit_files import numbers, write_digits

NAMES = ("digit_indices", "affine_transforms_multipliers", "init_velocity_angle", "init_velocity_magnitude")


@pytest.fixture
def folder(tmp_path):
    write_digits(tmp_path, np.full((10, 28, 28), 200))
    return tmp_path


def test_published_numbers_give_the_published_frames(shared, tmp_path):
    oracle = torch.load(shared / "oracle" / "prediff" / "nbody.pt", weights_only=True)
    write_digits(tmp_path, oracle["digits_0_255"].numpy())
    run = oracle["runs"]["r0"]
    np.savez(tmp_path / "numbers.npz", **{name: value.numpy() for name, value in run["replay"].items()})
    dataset = ReplayedNBody(tmp_path / "numbers.npz", tmp_path)
    assert len(dataset) == 2
    sample = dataset[0]
    frames = np.concatenate((sample["input"], sample["target"]))
    np.testing.assert_allclose(
        frames, run["final_sample0"].float().numpy(), atol=3e-4
    )  # stored in half precision
    assert "numbers.npz" in dataset.source
    with pytest.raises(IndexError, match="sequence 2 of 2"):
        dataset[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"digit_indices": np.full((2, 3), 12)},
            "expected digits below 12, those of MNIST.*, found 12; name the folder",
        ),
        (
            {"init_velocity_angle": np.zeros((2, 2))},
            "init_velocity_angle of 3 digits a sequence, finite, found shape",
        ),
        (
            {"init_velocity_angle": np.full((2, 3), np.nan)},
            "init_velocity_angle of 3 digits a sequence, finite",
        ),
        (
            {"scale_variation": np.full((2, 3), 1.1)},
            "expected scale_variation = 1 throughout, found other values",
        ),
    ],
)
def test_numbers_that_cannot_be_replayed_are_refused(folder, change, message):
    np.savez(folder / "n.npz", **(numbers() | change))
    with pytest.raises(DataError, match=message) as caught:
        ReplayedNBody(folder / "n.npz", folder)
    assert "n.npz" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_array_is_named(folder, name):
    held = {key: value for key, value in numbers().items() if key != name}
    np.savez(folder / "n.npz", **held)
    with pytest.raises(DataError, match=f"expected an array {name}, found"):
        ReplayedNBody(folder / "n.npz", folder)


def test_files_that_are_not_there_or_broken_are_refused(folder):
    with pytest.raises(DataError, match=r"none\.npz: expected an existing file"):
        ReplayedNBody(folder / "none.npz", folder)
    (folder / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"cut\.npz: expected random numbers of N-body MNIST"):
        ReplayedNBody(folder / "cut.npz", folder)

"""What a recipe can draw from random numbers: published N-body sets, simulated storms, turned looks."""

import numpy as np
import pytest
import torch

from geoscope.data.nbody_replay import ReplayedNBody
from geoscope.errors import ConfigError
from geoscope.models.networks.weights import read_network
from geoscope.training import frame_data, tasks
from geoscope.training.frame_splits import FrameData
from tests.data.digit_files import numbers, write_digits
from tests.data.sevir_files import three_splits


def opened(beside, **table) -> FrameData:
    return frame_data.open_table(frame_data.read_table(table, "run.toml"), beside, 0)


@pytest.fixture
def replay(tmp_path):
    """MNIST's file of twelve digits, and random numbers of three sequences to train and two to validate."""
    write_digits(tmp_path, np.random.default_rng(0).integers(0, 255, (10, 28, 28)))
    np.savez(tmp_path / "train.npz", **numbers(3))
    np.savez(tmp_path / "valid.npz", **numbers(2))
    return tmp_path


REPLAY = {"kind": "nbody-mnist", "folder": ".", "file": "train.npz", "validation_file": "valid.npz"}


def test_a_published_set_of_n_body_digits_is_replayed(replay):
    data = opened(replay, **REPLAY, validation_count=1)
    assert (len(data.train), len(data.validation), data.is_endless) == (3, 1, False)
    expected = ReplayedNBody(replay / "train.npz", replay)[2]
    np.testing.assert_array_equal(data.train[2]["target"], expected["target"])
    assert "train.npz" in data.description


@pytest.mark.parametrize("lacking", ["folder", "file", "validation_file"])
def test_a_replay_needs_both_files_and_the_digits(replay, lacking):
    with pytest.raises(ConfigError, match="give file, validation_file and folder, all three"):
        opened(replay, **{key: value for key, value in REPLAY.items() if key != lacking})


def test_simulated_storms_train_a_network_to_the_end(tmp_path):
    (tmp_path / "run.toml").write_text(
        "steps = 1\nbatch = 1\nthreads = 1\nworkers = 0\nestimate = false\npictures = false\n"
        '[model]\nname = "unet"\n[data]\nkind = "simulated"\nvalidation_count = 1\nin_frames = 2\n'
        "out_frames = 2\nsize = 32\ninterval_minutes = 10\npixel_km = 2\n"
    )
    tasks.TASKS["nowcast"](tmp_path / "run.toml", tmp_path / "out", lambda stage, share: None)
    network, header = read_network(tmp_path / "out" / "model.safetensors")
    assert (header.encoding, header.pixel_km, header.interval_minutes) == ("log rain", 2.0, 10.0)
    assert network(torch.zeros(1, 2, 32, 32, 1)).shape == (1, 2, 32, 32, 1)


def test_simulated_storms_are_without_end_unless_counted_and_differ_between_splits(tmp_path):
    table = {"kind": "simulated", "in_frames": 2, "out_frames": 2, "size": 16, "validation_count": 3}
    endless, counted = opened(tmp_path, **table), opened(tmp_path, **table, count=5)
    assert (endless.is_endless, counted.is_endless, len(counted.train)) == (True, False, 5)
    assert "not an observation" in endless.description
    assert endless.train[10**9]["input"].shape == (2, 16, 16, 1)
    assert (endless.train[0]["input"] != endless.validation[0]["input"]).any()


@pytest.mark.parametrize("kind", ["simulated", "moving-mnist", "nbody-mnist"])
def test_no_validation_is_refused_by_its_own_name(tmp_path, kind):
    with pytest.raises(ConfigError, match="validation_count=0: expected 1 or more"):
        opened(tmp_path, kind=kind, validation_count=0)


def test_sevir_can_be_shown_in_several_looks(tmp_path):
    three_splits(tmp_path / "sevir")
    once, turned = (opened(tmp_path, kind="sevir", folder="sevir", looks=looks) for looks in (1, 8))
    assert len(turned.train) == 8 * len(once.train)
    assert len(turned.validation) == len(once.validation)
    plain = once.train[0]["input"]
    looks = [turned.train[place]["input"] for place in range(0, len(turned.train), len(once.train))]
    np.testing.assert_array_equal(np.sort(looks[0], axis=None), np.sort(plain, axis=None))
    assert any((look != plain).any() for look in looks)
    with pytest.raises(ConfigError, match="looks=0"):
        opened(tmp_path, kind="sevir", folder="sevir", looks=0)


def test_sequences_of_vil_codes_can_be_shown_in_several_looks(tmp_path):
    for name in ("a", "b"):
        np.savez(
            tmp_path / f"{name}.npz", vil=np.random.default_rng(0).integers(0, 255, (5, 16, 16), np.uint8)
        )
    table = {"kind": "vil-sequences", "folder": ".", "validate_on": ["b"], "in_frames": 3, "out_frames": 2}
    data = opened(tmp_path, **table, looks=8)
    assert (len(data.train), len(data.validation)) == (8, 1)

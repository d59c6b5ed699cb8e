"""Moving digits: worked by hand, equal to the published generator, and a function of seed and index alone."""

import gzip
import struct

import numpy as np
import pytest
import torch

from geoscope.data.digits import draw_glyphs, load_digits, read_idx_images
from geoscope.data.moving_mnist import MovingMnist, MovingMnistConfig, PublishedMovingMnist, draw_moving
from geoscope.data.nbody_mnist import (
    NBodyConfig,
    NBodyMnist,
    accelerations,
    crop_digit,
    draw,
    halve_bicubic,
    simulate,
    trajectories,
)
from geoscope.errors import ConfigError, DataError
from tests.data.loaders import assert_same_for_any_workers


def idx_bytes(
    count: int = 12, rows: int = 28, columns: int = 28, magic: int = 0x803, body: int | None = None
):
    pixels = np.arange(count * rows * columns if body is None else body, dtype=np.uint32).astype(np.uint8)
    return struct.pack(">4I", magic, count, rows, columns) + pixels.tobytes()


# Digits


def test_mnist_is_read_from_the_folder_that_the_user_names(shared):
    digits = load_digits(shared / "realdata" / "mnist")
    assert digits.images.shape == (10_000, 28, 28)
    assert digits.images[0].sum() == 18454  # the first test digit, a seven
    assert "MNIST" in digits.source


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_is_read_packed_or_not(tmp_path, pack):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(pack(idx_bytes()))
    images = read_idx_images(path)
    assert images.shape == (12, 28, 28)
    assert images[0, 0, :3].tolist() == [0, 1, 2]
    assert images[0, 1, 0] == 28


def test_the_training_file_comes_first(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(12))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(24)))
    assert len(load_digits(tmp_path).images) == 24


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_bytes(magic=0x801), "expected MNIST images .magic number 2051., found 2049"),
        (idx_bytes(rows=20), "28x28, found 12 of 20x28"),
        (idx_bytes(count=3), "12 or more images of 28x28, found 3 of"),
        (idx_bytes(body=100), "expected 9408 bytes of images, found 100"),
        (idx_bytes(body=9409), "expected 9408 bytes of images, found more"),
        (b"\0\0\x08", "magic number"),
        (gzip.compress(idx_bytes())[:-200], "whole gzip file"),
        (gzip.compress(idx_bytes())[:10] + b"\xff" * 40, "whole gzip file"),
    ],
    ids=["labels", "size", "few", "short", "long", "header", "cut", "damaged"],
)
def test_a_file_that_holds_no_digits_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx_images(path)
    assert "t10k-images-idx3-ubyte" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_mnist_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(DataError, match="found neither; put MNIST's files there"):
        load_digits(tmp_path)


def test_without_a_folder_glyphs_are_drawn_that_nobody_takes_for_mnist():
    digits = load_digits()
    assert "not MNIST" in digits.source
    assert digits.images.shape[1:] == (28, 28)
    assert digits.images.dtype == np.uint8
    np.testing.assert_array_equal(draw_glyphs(10, seed=1), draw_glyphs(10, seed=1))
    assert (draw_glyphs(10, seed=1) != draw_glyphs(10, seed=2)).any()


def test_drawn_glyphs_are_ten_shapes_that_can_be_told_apart():
    glyphs = draw_glyphs(400, seed=3).reshape(40, 10, -1).astype(float)
    means = glyphs[:20].mean(axis=0)
    nearest = ((glyphs[20:, :, None] - means) ** 2).sum(axis=-1).argmin(axis=-1)
    assert (nearest == np.arange(10)).mean() > 0.8
    assert (glyphs.max(axis=-1) == 255).all()
    assert ((glyphs > 0) & (glyphs < 255)).any(axis=-1).all()  # antialiased


def test_no_digit_is_in_two_splits():
    digits = load_digits()
    parts = {split: digits.part(split).images for split in ("train", "val", "test")}
    assert [len(parts[split]) for split in parts] == [800, 200, 200]
    np.testing.assert_array_equal(np.concatenate(list(parts.values())), digits.images)
    with pytest.raises(ConfigError, match="split='valid': expected one of train, val, test"):
        digits.part("valid")


# Moving MNIST


def test_a_digit_moves_stops_at_the_wall_and_comes_back():
    image = np.full((1, 2, 2), 7, np.uint8)
    frames = draw_moving(image, np.array([[0.5, 0.0]]), np.array([[0.0, 0.375]]), frames=6, size=10)
    corner = [np.argwhere(frame == 7)[0].tolist() for frame in frames]
    # in shares of the 8 free pixels: 0, 3/8, 6/8, the wall, 5/8, 2/8
    assert corner == [[4, 0], [4, 3], [4, 6], [4, 8], [4, 5], [4, 2]]


def test_the_brighter_digit_shows():
    images = np.stack([np.full((2, 2), 9), np.full((2, 2), 200)]).astype(np.uint8)
    frame = draw_moving(images, np.zeros((2, 2)), np.zeros((2, 2)), frames=1, size=4)[0]
    assert frame[:2, :2].tolist() == [[200, 200], [200, 200]]
    assert frame.sum() == 800


@pytest.mark.parametrize("kind", [MovingMnist, NBodyMnist])
def test_a_sample_is_a_function_of_seed_split_and_index(kind):
    first, again, other = kind(count=5, seed=1), kind(count=9, seed=1), kind(count=5, seed=2)
    _ = first[0], first[2]
    np.testing.assert_array_equal(first[3]["input"], again[3]["input"])
    assert (first[3]["input"] != other[3]["input"]).any()
    assert (first[3]["input"] != first[4]["input"]).any()
    assert (kind(None, "val", count=5, seed=1)[3]["input"] != first[3]["input"]).any()


@pytest.mark.parametrize("kind", [MovingMnist, NBodyMnist])
def test_samples_have_the_shapes_of_the_task(kind):
    dataset = kind(count=3)
    assert len(dataset) == len(list(dataset)) == 3
    sample = dataset[2]
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == {
        "input": ((10, 64, 64, 1), "float32"),
        "target": ((10, 64, 64, 1), "float32"),
    }
    assert sample["input"].min() >= 0
    assert 0.9 < sample["input"].max() <= 1
    assert "not MNIST" in dataset.source
    for index in (3, -1):
        with pytest.raises(IndexError, match=f"sample {index} of 3"):
            dataset[index]


@pytest.mark.parametrize("kind", [MovingMnist, NBodyMnist])
def test_any_number_of_workers_gives_the_same_batches(kind):
    assert_same_for_any_workers(kind(count=5, seed=4))


@pytest.mark.parametrize("kind", [MovingMnist, NBodyMnist])
def test_impossible_requests_are_refused(kind):
    with pytest.raises(ConfigError, match="count=0: expected 1 or more"):
        kind(count=0)
    with pytest.raises(ConfigError, match="seed=-1: expected zero or more"):
        kind(seed=-1)
    with pytest.raises(ConfigError, match="split='dev'"):
        kind(split="dev")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_frames": 0}, "in_frames=0: expected 1 or more"),
        ({"size": 28}, "size=28: expected more than 28"),
        ({"speed": 40}, "speed=40: expected 0 to 36"),
    ],
)
def test_impossible_moving_mnist_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MovingMnistConfig(**options)


def published_file(path, count: int = 20, frames: int = 20, dtype: str = "uint8"):
    sequences = np.zeros((frames, count, 64, 64), dtype)
    sequences[:, :, 0, 0] = np.arange(count)
    sequences[:, :, 0, 1] = np.arange(frames)[:, None]
    np.save(path, sequences)
    return path


def test_the_published_file_is_cut_in_three(tmp_path):
    path = published_file(tmp_path / "mnist_test_seq.npy")
    held = {}
    for split in ("train", "val", "test"):
        dataset = PublishedMovingMnist(path, split)
        held[split] = [round(255 * float(sample["input"][0, 0, 0, 0])) for sample in dataset]
    assert held["test"] == [18, 19]
    assert [len(held[split]) for split in ("train", "val")] == [17, 1]
    assert sorted(held["train"] + held["val"]) == list(range(18))
    sample = PublishedMovingMnist(path, "test")[0]
    np.testing.assert_allclose(sample["target"][:, 0, 1, 0] * 255, np.arange(10, 20), rtol=1e-6)
    with pytest.raises(IndexError, match="sample 2 of 2"):
        PublishedMovingMnist(path, "test")[2]


def test_the_published_sizes_follow_from_the_rule(tmp_path):
    path = tmp_path / "whole.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (20, 10_000, 64, 64)).flush()  # holes: takes no disk
    assert [len(PublishedMovingMnist(path, split)) for split in ("train", "val", "test")] == [8100, 900, 1000]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"frames": 10}, "found uint8 .10, 20, 64, 64."), ({"dtype": "float32"}, "found float32")],
)
def test_another_file_than_the_published_one_is_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        PublishedMovingMnist(published_file(tmp_path / "other.npy", **options))


def test_a_published_file_that_is_damaged_or_too_small_or_a_wrong_split_is_refused(tmp_path):
    path = tmp_path / "broken.npy"
    path.write_bytes(published_file(tmp_path / "whole.npy").read_bytes()[:5000])
    with pytest.raises(DataError, match=r"broken\.npy: expected Moving MNIST's file"):
        PublishedMovingMnist(path)
    with pytest.raises(DataError, match="the split 'val' is empty"):
        PublishedMovingMnist(published_file(tmp_path / "few.npy", count=10), "val")
    with pytest.raises(ConfigError, match="split='dev'"):
        PublishedMovingMnist(tmp_path / "whole.npy", "dev")


# N-body MNIST


def test_two_bodies_pull_each_other_as_worked_by_hand():
    # r = (3, 4): |r|^2 = 25, softening 10: 125; pull = 0.05 * (3, 4) / sqrt(125)
    positions = np.array([[0.0, 0.0], [3.0, 4.0]])
    pull = accelerations(positions, NBodyConfig())
    np.testing.assert_allclose(pull[0], 0.05 * np.array([3, 4]) / np.sqrt(125))
    np.testing.assert_allclose(pull[1], -pull[0])
    np.testing.assert_allclose(accelerations(positions, NBodyConfig(force="r1"))[0], [0.0012, 0.0016])
    assert not accelerations(positions, NBodyConfig(force="none")).any()


def test_a_free_digit_turns_round_where_its_centre_meets_the_margin():
    # 8 wide, 10 high: the corner's x stays in 6..114, y in 5..113
    config = NBodyConfig(force="none")
    path = trajectories(
        np.array([[9.0, 50.0]]), np.array([[-2.0, 0.5]]), np.array([[8, 10]]), steps=5, config=config
    )
    assert path[:, 0].tolist() == [[9, 50], [7, 50.5], [6, 51], [8, 51.5], [10, 52]]


def test_speeds_stay_within_the_limit():
    config = NBodyConfig(force="none")
    path = trajectories(
        np.array([[50.0, 50.0]]), np.array([[9.0, -9.0]]), np.array([[8, 8]]), steps=2, config=config
    )
    assert (path[1] - path[0]).tolist() == [[2.0, -2.0]]


def test_a_digit_between_pixels_is_shared_among_them():
    frame = draw([np.array([[100.0]], np.float32)], np.array([[[2.25, 1.5]]]), canvas=4)[0]
    np.testing.assert_allclose(frame[1:3, 2:4], [[37.5, 12.5], [37.5, 12.5]])
    assert frame.sum() == pytest.approx(100)


def test_a_digit_at_the_edge_is_cut_off():
    frame = draw([np.ones((2, 2), np.float32)], np.array([[[-1.0, 3.0]]]), canvas=4)[0]
    assert np.argwhere(frame).tolist() == [[3, 0]]


def test_halving_is_what_torch_calls_bicubic():
    frames = np.random.default_rng(0).uniform(0, 255, (2, 10, 14)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(frames)[:, None], scale_factor=0.5, mode="bicubic", align_corners=False
    )[:, 0]
    np.testing.assert_allclose(halve_bicubic(frames), expected.numpy(), atol=2e-4)


@pytest.mark.parametrize("force", ["none", "r0", "r1", "r2"])
def test_paths_and_frames_equal_the_published_generator(shared, force):
    oracle = torch.load(shared / "oracle" / "prediff" / "nbody.pt", weights_only=True)
    run = oracle["runs"]["None" if force == "none" else force]
    replay = {name: value.numpy() for name, value in run["replay"].items()}
    config = NBodyConfig(force=force)
    for sample in range(2):
        images = oracle["digits_0_255"].numpy()[replay["digit_indices"][sample]]
        place = replay["affine_transforms_multipliers"][sample]
        angle, speed = replay["init_velocity_angle"][sample], replay["init_velocity_magnitude"][sample]
        sizes = np.array([crop_digit(image).shape[::-1] for image in images])
        velocity = speed[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
        path = trajectories(place * (128 - sizes), velocity, sizes, 100, config)
        np.testing.assert_allclose(path, run["affine_translation_xy"][sample].numpy(), atol=5e-5)
        if sample == 0:
            frames = simulate(images, place, angle, speed, config)
            stored = run["final_sample0"].float().numpy()[..., 0]  # stored in half precision
            np.testing.assert_allclose(frames, stored, atol=3e-4)
    if force != "none":
        np.testing.assert_allclose(
            accelerations(run["acc_pos"].numpy(), config), run["acc"].numpy(), rtol=1e-12
        )


def test_a_dark_digit_is_refused():
    with pytest.raises(ConfigError, match="a digit without any pixel above 5"):
        crop_digit(np.full((28, 28), 5, np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digits": 0}, "digits=0: expected 1 or more"),
        ({"size": 16}, "size=16: expected 32 or more"),
        ({"force": "r3"}, "force='r3': expected none, r0, r1 or r2"),
        ({"softening": 0.0}, "softening=0.0: expected more than zero"),
        ({"margin": 64.0}, "margin=64.0: expected 0 to 64"),
    ],
)
def test_an_impossible_system_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        NBodyConfig(**options)

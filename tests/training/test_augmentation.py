"""Other looks at one storm: worked by hand, never inventing data where there was none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscope.errors import ConfigError
from geoscope.training.augmentation import (
    Augmentation,
    TurnedFrames,
    fit_square,
    overlay,
    random_turn,
    scale_intensity,
    simulated_rain,
    turn,
)

CORNER = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_eight_symmetries_by_hand():
    looks = [turn(CORNER, symmetry)[0].ravel().tolist() for symmetry in range(8)]
    assert looks[:4] == [[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]]
    assert looks[4:] == [[2, 1, 4, 3], [4, 2, 3, 1], [3, 4, 1, 2], [1, 3, 2, 4]]


def test_all_symmetries_are_drawn_and_a_long_picture_stays_long():
    looks = {random_turn(CORNER, random(seed)).tobytes() for seed in range(60)}
    assert len(looks) == 8
    long = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    turned = [random_turn(long, random(seed)) for seed in range(40)]
    assert {each.shape for each in turned} == {(1, 2, 3)}
    assert len({each.tobytes() for each in turned}) == 4


def test_intensity_is_one_factor_for_all_rain():
    rain = np.array([[[1.0, 0.0], [np.nan, 8.0]]], np.float32)
    scaled = scale_intensity(rain, random(), 0.5)
    factor = scaled[0, 0, 0]
    assert factor != 1
    np.testing.assert_allclose(scaled, rain * factor)
    np.testing.assert_array_equal(scale_intensity(rain, random(), 0.0), rain)
    logs = [np.log(scale_intensity(CORNER, random(seed), 0.5)[0, 0, 0]) for seed in range(400)]
    assert np.std(logs) == pytest.approx(0.5, rel=0.1)


def test_the_stronger_rain_shows_and_no_data_stays_no_data():
    rain = np.array([[[1.0, 5.0, np.nan, 0.0]]], np.float32)
    storm = np.array([[[3.0, 2.0, 9.0, np.nan]]], np.float32)
    np.testing.assert_array_equal(overlay(rain, storm), [[[3.0, 5.0, np.nan, 0.0]]])


def test_a_square_is_cut_or_filled():
    rain = np.ones((1, 2, 4), np.float32)
    square = fit_square(rain, 3)
    assert square.shape == (1, 3, 3)
    assert np.isnan(square[0, 2]).all()
    assert (square[0, :2] == 1).all()


def test_simulated_storms_are_rain_and_differ_by_their_generator():
    first, again, other = (simulated_rain((3, 20, 12), 5.0, 1.0, random(seed)) for seed in (4, 4, 5))
    assert first.shape == (3, 20, 12)
    assert (first >= 0).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert max(simulated_rain((2, 64, 64), 5.0, 2.0, random(seed)).max() for seed in range(5)) > 1


@given(st.integers(0, 200), st.booleans(), st.floats(0, 0.5), st.floats(0, 1), st.floats(0, 1))
def test_an_augmented_window_keeps_its_shape_and_is_a_function_of_the_generator(
    seed, turns, spread, whole, over
):
    recipe = Augmentation(turns=turns, intensity_spread=spread, share_simulated=whole, share_overlaid=over)
    rain = np.random.default_rng(seed).gamma(0.5, 2, (3, 16, 16)).astype(np.float32)
    first, again = (recipe.apply(rain, 5.0, 1.0, random(seed)) for _ in range(2))
    assert first.shape == rain.shape
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_the_default_shows_a_window_as_it_is():
    np.testing.assert_array_equal(Augmentation().apply(CORNER, 5.0, 1.0, random()), CORNER)
    assert Augmentation().draw_factor(random()) == 1


def test_shares_of_one_always_apply():
    simulated = Augmentation(share_simulated=1).apply(
        np.full((2, 16, 16), np.nan, np.float32), 5.0, 1.0, random()
    )
    assert np.isfinite(simulated).all()
    base = np.full((2, 64, 64), 0.5, np.float32)
    overlaid = [Augmentation(share_overlaid=1).apply(base, 5.0, 1.0, random(seed)) for seed in range(5)]
    assert all((each >= 0.5).all() for each in overlaid)
    assert any((each > 0.5).any() for each in overlaid)
    factors = {Augmentation(share_coarse=1, largest_factor=3).draw_factor(random(seed)) for seed in range(20)}
    assert factors == {2, 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share_coarse": 1.2}, "share_coarse=1.2: expected a share, 0 to 1"),
        ({"intensity_spread": -0.1}, "intensity_spread=-0.1: expected 0 to 3"),
        ({"largest_factor": 1}, "largest_factor=1: expected 2 or more"),
    ],
)
def test_recipes_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**options)


class Two:
    """Two samples of a picture whose pixels differ; the target is the input plus ten."""

    def __init__(self, height: int = 2):
        self.height = height

    def __len__(self):
        return 2

    def __getitem__(self, index):
        frames = np.arange(self.height * 2, dtype=np.float32).reshape(1, self.height, 2, 1) + 100 * index
        return {"input": frames, "target": frames + 10}


def test_a_turned_sample_turns_all_its_arrays_alike_and_is_a_function_of_seed_and_index():
    turned, again, other = (TurnedFrames(Two(), looks=40, seed=seed) for seed in (1, 1, 2))
    assert len(turned) == 80
    looks = set()
    for index in range(80):
        sample = turned[index]
        np.testing.assert_array_equal(sample["target"], sample["input"] + 10)
        assert sample["input"].min() == 100 * (index % 2)
        looks.add((sample["input"] - sample["input"].min()).tobytes())
    assert len(looks) == 8
    np.testing.assert_array_equal(turned[7]["input"], again[7]["input"])
    assert any((turned[index]["input"] != other[index]["input"]).any() for index in range(80))
    with pytest.raises(IndexError, match="sample 80 of 80"):
        turned[80]


def test_a_long_picture_is_turned_within_its_shape():
    turned = TurnedFrames(Two(height=3), looks=30)
    assert {turned[index]["input"].shape for index in range(60)} == {(1, 3, 2, 1)}


def test_turns_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="looks=0, seed=0: expected 1 or more looks"):
        TurnedFrames(Two(), looks=0)

"""Simulated windows: rain in most of them, a function of seed and index."""

import numpy as np
import pytest

from geoscope.errors import ConfigError
from geoscope.training.event_windows import EventWindowConfig
from geoscope.training.simulated_windows import SimulatedWindows

SMALL = EventWindowConfig(in_frames=2, out_frames=2, size=32)


def test_a_simulated_window_is_a_function_of_seed_and_index():
    first, again, other = (SimulatedWindows(SMALL, count=4, seed=seed) for seed in (1, 1, 2))
    _ = first[0]
    np.testing.assert_array_equal(first[3]["target"], again[3]["target"])
    assert (first[3]["target"] != other[3]["target"]).any()
    assert (first[3]["target"] != SimulatedWindows(SMALL, "val", count=4, seed=1)[3]["target"]).any()
    sample = first[3]
    assert sample["input"].shape == sample["target"].shape == (2, 32, 32, 1)
    assert sample["known"].all()
    assert len(first) == 4
    with pytest.raises(IndexError, match="window 4 of 4"):
        first[4]


def test_dry_windows_are_drawn_again_but_not_for_ever():
    drawn = []

    def mostly_dry(shape, interval, pixel, random):
        drawn.append((interval, pixel))
        return np.full(shape, float(len(drawn) == 3), np.float32)

    wet = SimulatedWindows(SMALL, pixel_km=2, simulate=mostly_dry)[0]
    assert wet["input"].min() > 0
    assert drawn == [(5.0, 2)] * 3
    drawn.extend([(0.0, 0.0)] * 10)
    assert SimulatedWindows(SMALL, simulate=mostly_dry)[0]["input"].max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "split='valid': expected one of train, val, test"),
        ({"count": 0}, "expected 1 or more samples"),
        ({"pixel_km": 0.0}, "pixel_km=0.0: expected more than zero"),
        ({"config": EventWindowConfig(size=8)}, "size=8: expected 16 pixels or more"),
    ],
)
def test_windows_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SimulatedWindows(**options)

"""Regions drawn at random, over which a mean is learned: catchments differ in place, size and shape."""

import math

import numpy as np

LONGEST = 0.5  # of the logarithm of an ellipse's axis over that of a circle of the same area


def random_ellipse(
    shape: tuple[int, int], random: np.random.Generator, *, smallest: float, largest: float
) -> np.ndarray:
    """An ellipse (H, W) bool anywhere in ``shape``, its mean diameter between the bounds (in cells of the grid).

    Diameters are even on a logarithmic scale. It may stick out, and be empty where it is all but outside.
    """
    height, width = shape
    diameter = math.exp(random.uniform(math.log(smallest), math.log(max(largest, smallest))))
    stretch = math.exp(random.uniform(-LONGEST, LONGEST))
    row, column = random.uniform(0, height), random.uniform(0, width)
    rows, columns = np.ogrid[:height, :width]
    down = (rows - row) / (0.5 * diameter * stretch)
    across = (columns - column) / (0.5 * diameter / stretch)
    return down**2 + across**2 < 1.0

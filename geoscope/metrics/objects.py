"""Structure, amplitude and location of rain objects (SAL)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ShapeError
from geoscope.metrics.sums import Sums, known_pair, ratio


def label_objects(is_wet: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected parts of a boolean field (H, W) from 1, 0 elsewhere; the result and how many.

    Pixels that share a side or a corner are connected.
    """
    height, width = is_wet.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = is_wet
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)  # runs of wet pixels, row by row
    ends = np.nonzero(change == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(height + 1)).tolist()
    begin, end = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, stop_above = first_of_row[row - 1], first_of_row[row]
        for run in range(first_of_row[row], first_of_row[row + 1]):
            while above < stop_above and end[above] < begin[run]:
                above += 1
            other = above
            while other < stop_above and begin[other] <= end[run]:
                parent[root(other)] = root(run)
                other += 1
    roots = np.array([root(run) for run in range(len(rows))], np.int64)
    _, number = np.unique(roots, return_inverse=True)
    labels = np.zeros((height, width + 1), np.int64)
    np.add.at(labels, (rows, starts), number + 1)
    np.add.at(labels, (rows, ends), -(number + 1))
    return np.cumsum(labels, axis=1)[:, :-1], len(np.unique(roots))


@dataclass(frozen=True, eq=False)
class SalSums(Sums):
    """Sums over frames of S, A, L and of the magnitudes of S and A, and the frames that had each."""

    amplitude_frames: Any = 0
    object_frames: Any = 0
    structure: Any = 0.0
    amplitude: Any = 0.0
    location: Any = 0.0
    structure_magnitude: Any = 0.0
    amplitude_magnitude: Any = 0.0


def sum_sal(forecast: Any, observed: Any, *, factor: float = 1 / 15, quantile: float = 0.95) -> SalSums:
    """S, A and L of one frame (H, W) of rain, from the pixels known in both fields.

    Objects are connected pixels at or above ``factor`` times the ``quantile`` of the field's values above zero
    (Wernli et al. 2009). A frame where either field has no rain has no S and L; one where neither has, no A.

    Raises:
        ShapeError: the two arrays differ in shape or are not (H, W).
    """
    forecast, observed, known = known_pair(forecast, observed)
    if forecast.ndim != 2:
        raise ShapeError(f"SAL needs fields (H, W), not the shape {forecast.shape}")
    if not known.any():
        return SalSums()
    fields = [
        np.where(known, np.maximum(field, 0.0), 0.0).astype(np.float64) for field in (forecast, observed)
    ]
    means = [float(field.sum()) for field in fields]
    if not sum(means):
        return SalSums()
    amplitude = 2 * (means[0] - means[1]) / (means[0] + means[1])
    if not means[0] or not means[1]:
        return SalSums(amplitude_frames=1, amplitude=amplitude, amplitude_magnitude=abs(amplitude))
    volumes, centres, scatters = zip(*(_describe(field, factor, quantile) for field in fields), strict=True)
    structure = 2 * (volumes[0] - volumes[1]) / (volumes[0] + volumes[1])
    longest = math.hypot(*forecast.shape)  # as in pysteps; between pixel centres it would be a little shorter
    apart = float(np.hypot(*(centres[0] - centres[1])))
    location = apart / longest + 2 * abs(scatters[0] - scatters[1]) / longest
    return SalSums(1, 1, structure, amplitude, location, abs(structure), abs(amplitude))


def _describe(rain: np.ndarray, factor: float, quantile: float) -> tuple[float, np.ndarray, float]:
    """Scaled volume of the objects, centre of mass (row, column) of all rain, and how far objects lie from it."""
    rows, columns = np.indices(rain.shape)
    centre = np.array([(rows * rain).sum(), (columns * rain).sum()]) / rain.sum()
    labels, count = label_objects(rain >= factor * np.quantile(rain[rain > 0], quantile))
    flat = labels.ravel()
    total, by_row, by_column = (
        np.bincount(flat, weights=values.ravel(), minlength=count + 1)[1:]
        for values in (rain, rain * rows, rain * columns)
    )
    highest = np.zeros(count + 1)
    np.maximum.at(highest, flat, rain.ravel())
    volume = float((total * total / highest[1:]).sum() / total.sum())
    distance = np.hypot(by_row / total - centre[0], by_column / total - centre[1])
    return volume, centre, float((total * distance).sum() / total.sum())


def sal_structure(sums: SalSums) -> np.ndarray:
    """Mean S in [-2, 2]: above 0 objects are too large or flat, below 0 too small or peaked. Wernli et al. 2008."""
    return ratio(sums.structure, sums.object_frames)


def sal_amplitude(sums: SalSums) -> np.ndarray:
    """Mean A in [-2, 2]: relative error of the mean rain. Source: Wernli et al. 2008."""
    return ratio(sums.amplitude, sums.amplitude_frames)


def sal_location(sums: SalSums) -> np.ndarray:
    """Mean L in [0, 2]: distance of the centres of mass and of the objects' scatter. Wernli et al. 2008."""
    return ratio(sums.location, sums.object_frames)


def sal_structure_magnitude(sums: SalSums) -> np.ndarray:
    """Mean of |S|, so that errors of both signs do not cancel."""
    return ratio(sums.structure_magnitude, sums.object_frames)


def sal_amplitude_magnitude(sums: SalSums) -> np.ndarray:
    """Mean of |A|, so that errors of both signs do not cancel."""
    return ratio(sums.amplitude_magnitude, sums.amplitude_frames)

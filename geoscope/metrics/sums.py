"""What every score is made of: counts and sums that add up, over batches, leads and machines.

A score family is a frozen dataclass of arrays (or numbers) below `Sums`, a function that counts one pair of
fields, and formulas that turn the sums into scores. Adding is field by field, so merging halves gives the
whole: exactly for counts, to rounding for sums of float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np

from geoscope.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Sums:
    """Base of all counts and sums; every field adds."""

    def parts(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __add__(self, other: Self) -> Self:
        """The sums of both.

        Raises:
            ShapeError: they were counted for different thresholds, scales or sizes.
        """
        together: dict[str, Any] = {}
        for name, mine in self.parts().items():
            theirs = getattr(other, name)
            if np.shape(mine) != np.shape(theirs):
                raise ShapeError(
                    f"{type(self).__name__}.{name} of shapes {np.shape(mine)} and {np.shape(theirs)} do not add up: "
                    "count both for the same thresholds, scales and field sizes"
                )
            together[name] = mine + theirs
        return type(self)(**together)

    def __radd__(self, start: int) -> Self:
        """Let `sum(list)` work, whose start is 0."""
        return self

    def pooled(self, axis: int = 0) -> Self:
        """The sums added up along an axis: scores of the pool, not means of scores."""
        return type(self)(**{name: np.sum(part, axis=axis) for name, part in self.parts().items()})

    def zeros(self) -> Self:
        """Sums of nothing in the same shape."""
        return type(self)(**{name: np.zeros_like(part) for name, part in self.parts().items()})


AnySums = TypeVar("AnySums", bound=Sums)


def stack(each: Sequence[AnySums]) -> AnySums:
    """Sums side by side along a new first axis, for example lead time."""
    names = each[0].parts()
    return type(each[0])(**{name: np.stack([getattr(one, name) for one in each]) for name in names})


def as_array(values: Any) -> np.ndarray:
    """Values as a numpy array: takes numpy, masked arrays (masked is NaN), xarray and torch tensors of any device."""
    if hasattr(values, "detach"):  # a torch tensor, known by what it can do: torch is not imported here
        values = values.detach().cpu()
        if values.dtype.is_floating_point and values.dtype.itemsize < 4:
            values = values.float()  # numpy has no bfloat16
        return values.numpy()
    if isinstance(values, np.ma.MaskedArray):
        floats: Any = values if values.dtype.kind == "f" else values.astype(np.float64)
        return floats.filled(np.nan)
    return np.asarray(values)


def known_pair(forecast: Any, observed: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both fields as arrays, and where both are known (not NaN).

    Raises:
        ShapeError: the two differ in shape.
    """
    forecast, observed = as_array(forecast), as_array(observed)
    if forecast.shape != observed.shape:
        raise ShapeError(f"forecast {forecast.shape} and observed {observed.shape} must have the same shape")
    return forecast, observed, ~(np.isnan(forecast) | np.isnan(observed))


def ratio(part: Any, whole: Any) -> np.ndarray:
    """``part / whole`` in float64, NaN where there is nothing to divide by (``whole`` is not above zero)."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)

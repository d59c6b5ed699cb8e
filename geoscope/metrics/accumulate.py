"""Scores that grow frame by frame: what the page, the archive and the benchmarks feed while they run."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics.families import (
    KINDS,
    Settings,
    count_ensemble,
    count_fields,
    count_member_share,
    count_probability_fields,
)
from geoscope.metrics.sums import Sums, as_array

if TYPE_CHECKING:
    import xarray as xr

Lead = np.timedelta64 | datetime.timedelta | float


class Verification:
    """Counts and sums by lead time that grow with every frame, merge with `+`, and become scores when asked.

        scores = Verification((0.5, 1, 2, 5, 10), scales=(1, 4, 16))
        scores.update(forecast, observed, 5)      # two frames (H, W) at a lead of 5 minutes
        scores.to_dataset()                       # the variables of gs.verify

    Thresholds and, with `scales`, `pools`, `tolerances`, ..., the families of `Settings`. Fields are numpy
    arrays or torch tensors, NaN where nothing is known; a pixel unknown in either is left out of all scores.
    """

    def __init__(self, thresholds: Sequence[float] = (0.5, 1, 2, 5, 10), **families: Any) -> None:
        try:
            self.settings = Settings(thresholds=tuple(np.atleast_1d(thresholds).tolist()), **families)
        except TypeError as error:
            known = ", ".join(name for name in Settings.__dataclass_fields__ if name != "thresholds")
            raise ConfigError(f"Verification: {error}; the families are {known}") from None
        self.sums: dict[int, dict[str, Sums]] = {}  # by lead in nanoseconds
        self.frames: dict[int, int] = {}

    def update(
        self, forecast: Any, observed: Any, lead: "Lead | Sequence[Lead] | np.ndarray"
    ) -> "Verification":
        """Count frames (H, W) at one lead, or (T, H, W) at T leads; gives itself back.

        ``lead`` is a timedelta or minutes.

        Raises:
            ShapeError: forecast and observed differ, are not two- or three-dimensional, or leads do not match.
            ConfigError: a lead that is not a time.
        """
        forecast, observed = as_array(forecast), as_array(observed)
        if forecast.shape != observed.shape:
            raise ShapeError(
                f"forecast {forecast.shape} and observed {observed.shape} must have the same shape"
            )
        for at, number in self._frames_of(observed, lead):
            self._add(at, count_fields(self.settings, forecast[number], observed[number]))
            self.frames[at] = self.frames.get(at, 0) + 1
        return self

    def update_ensemble(
        self, members: Any, observed: Any, lead: "Lead | Sequence[Lead] | np.ndarray"
    ) -> "Verification":
        """Count ensembles (M, H, W) against (H, W), or (M, T, H, W) against (T, H, W); gives itself back.

        The ensemble mean is counted as `update` counts a forecast, the members for the scores of ensembles, and the
        share of members at or above each threshold as its probability.

        Raises:
            ShapeError: shapes that do not belong together, or leads that do not match.
            ConfigError: a lead that is not a time.
        """
        members, observed = as_array(members), as_array(observed)
        if members.ndim != observed.ndim + 1 or members.shape[1:] != observed.shape or not len(members):
            raise ShapeError(
                f"members {members.shape} and observed {observed.shape} must be (member, ...) and (...)"
            )
        self.update(members.mean(axis=0), observed, lead)
        for at, number in self._frames_of(observed, lead):
            of_frame, seen = members[(slice(None), *number)], observed[number]
            self._add(at, count_ensemble(self.settings, of_frame, seen))
            self._add(at, count_member_share(self.settings, of_frame, seen))
        return self

    def update_probabilities(
        self, probabilities: Any, observed: Any, lead: "Lead | Sequence[Lead] | np.ndarray"
    ) -> "Verification":
        """Count P(value >= threshold), (K, H, W) or (K, T, H, W) in the rising order of thresholds; gives itself back.

        Only the scores of probabilities are counted; give the field itself to `update`.

        Raises:
            ShapeError: shapes that do not belong together, or leads that do not match.
            DataError: probabilities outside [0, 1].
            ConfigError: a lead that is not a time.
        """
        probabilities, observed = as_array(probabilities), as_array(observed)
        if probabilities.shape != (len(self.settings.thresholds), *observed.shape):
            raise ShapeError(
                f"probabilities {probabilities.shape} for {len(self.settings.thresholds)} thresholds and observed "
                f"{observed.shape}: expected (threshold, ...) and (...)"
            )
        for at, number in self._frames_of(observed, lead):
            of_frame = probabilities[(slice(None), *number)]
            self._add(at, count_probability_fields(self.settings, of_frame, observed[number]))
        return self

    def _frames_of(self, observed: np.ndarray, lead: Any) -> list[tuple[int, tuple[int, ...]]]:
        """Each frame's lead in nanoseconds, and its index in (H, W) or (T, H, W)."""
        leads = [_nanoseconds(one) for one in np.atleast_1d(np.asarray(lead))]
        if observed.ndim == 2 and len(leads) == 1:
            return [(leads[0], ())]
        if observed.ndim != 3 or len(observed) != len(leads):
            raise ShapeError(
                f"frames of shape {observed.shape} for {len(leads)} leads: expected (H, W) with one lead "
                "or (T, H, W) with T leads"
            )
        return [(at, (number,)) for number, at in enumerate(leads)]

    def _add(self, lead: int, counted: Mapping[str, Sums]) -> None:
        mine = self.sums.setdefault(lead, {})
        together = {name: mine[name] + new if name in mine else new for name, new in counted.items()}
        mine.update(together)

    def __add__(self, other: "Verification") -> "Verification":
        """Both together, as if all frames had been given to one.

        Raises:
            ConfigError: they count different thresholds or families.
        """
        if self.settings != other.settings:
            raise ConfigError(
                f"two verifications with different settings do not add up: {self.settings} and {other.settings}"
            )
        both = self.empty()
        for one in (self, other):
            for lead, counted in one.sums.items():
                both._add(lead, counted)
            for lead, frames in one.frames.items():
                both.frames[lead] = both.frames.get(lead, 0) + frames
        return both

    def __radd__(self, start: int) -> "Verification":
        """Let `sum(list)` work, whose start is 0."""
        return self

    merge = __add__

    def empty(self) -> "Verification":
        """Another one with the same settings and nothing counted."""
        return Verification(**asdict(self.settings))

    @property
    def leads(self) -> np.ndarray:
        """The leads that were counted, rising, timedelta64[ns]."""
        return np.array(sorted(self.sums), dtype="timedelta64[ns]")

    def total(self, family: str) -> Sums | None:
        """The sums of a family over all leads, None when nothing was counted for it."""
        each = [counted[family] for counted in self.sums.values() if family in counted]
        return sum(each[1:], each[0]) if each else None

    def overall(self, score: str) -> Any:
        """A score of all leads together: a number, or an array by threshold (and scale, pool, ...).

        ``score`` is a name in `to_dataset()` without "_pooled", such as "csi", "mae" or "fss", or "csi_mean", or
        "csi_mean_all" (`geoscope.metrics.tables`). NaN when it was not counted.

        Raises:
            ConfigError: no such score.
        """
        from geoscope.metrics.tables import formula_of

        family, formula = formula_of(score)
        sums = self.total(family)
        if sums is None:
            return float("nan")
        value = formula(sums)
        return value if np.ndim(value) else float(value)

    def csi_mean(self) -> float:
        """Mean over thresholds of the CSI of counts added over leads; thresholds without any event are left out."""
        return self.overall("csi_mean")

    def to_dataset(self) -> "xr.Dataset":
        """The scores by lead time and threshold: see `geoscope.metrics.tables.dataset`."""
        from geoscope.metrics.tables import dataset

        return dataset(self)

    def state_dict(self) -> dict[str, Any]:
        """Everything counted, as plain lists and numbers that JSON keeps exactly."""
        return {
            "settings": asdict(self.settings),
            "leads": [
                {
                    "lead_ns": lead,
                    "frames": self.frames.get(lead, 0),
                    "sums": {
                        name: {key: _plain(part) for key, part in counted.parts().items()}
                        for name, counted in families.items()
                    },
                }
                for lead, families in sorted(self.sums.items())
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Verification":
        """The verification that `state_dict` described.

        Raises:
            ConfigError: not such a state.
        """
        try:
            new = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in state["settings"].items()})
            for row in state["leads"]:
                lead = int(row["lead_ns"])
                new.frames[lead] = int(row["frames"])
                new.sums[lead] = {
                    name: KINDS[name](**{key: _revived(part) for key, part in parts.items()})
                    for name, parts in row["sums"].items()
                }
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"not the state of a verification ({error}): give what state_dict() gave"
            ) from None
        return new


def _plain(part: Any) -> Any:
    return part.tolist() if isinstance(part, np.ndarray | np.generic) else part


def _revived(part: Any) -> Any:
    return np.array(part) if isinstance(part, list) else part


def _nanoseconds(lead: Any) -> int:
    if isinstance(lead, np.timedelta64):
        return int(lead.astype("timedelta64[ns]").astype(np.int64))
    if isinstance(lead, datetime.timedelta):
        return (lead.days * 86_400 + lead.seconds) * 1_000_000_000 + lead.microseconds * 1000
    if isinstance(lead, int | float | np.number) and np.isfinite(lead):
        return round(float(lead) * 60e9)
    raise ConfigError(f"lead={lead!r} must be a timedelta or a number of minutes")

"""Scores that grow frame by frame: what the page, the archive and the benchmarks feed while they run."""

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics import contingency, continuous, neighbourhood, pooling
from geoscope.metrics.sums import Sums, as_array

if TYPE_CHECKING:
    import xarray as xr

Lead = np.timedelta64 | datetime.timedelta | float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is counted. Empty or false families cost nothing; sizes are in pixels.

    `thresholds` in the fields' unit; `pools` for CSI of block maxima; `scales` for the fractions skill score;
    `tolerances` for neighbourhood CSI; `log_error` for errors of ln(1 + value).
    """

    thresholds: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    pools: tuple[int, ...] = ()
    scales: tuple[int, ...] = ()
    tolerances: tuple[int, ...] = ()
    log_error: bool = False

    def __post_init__(self) -> None:
        clean: dict[str, Any] = {
            "thresholds": tuple(float(t) for t in contingency.rising_thresholds(self.thresholds)),
            "pools": pooling.checked_sizes("pools", self.pools),
            "scales": pooling.checked_sizes("scales", self.scales),
            "tolerances": pooling.checked_sizes("tolerances", self.tolerances, smallest=0),
        }
        for name, value in clean.items():
            object.__setattr__(self, name, value)


Family = Callable[[np.ndarray, np.ndarray], Sums]

KINDS: dict[str, type[Sums]] = {
    "events": contingency.Contingency,
    "errors": continuous.ErrorSums,
    "log_errors": continuous.LogErrorSums,
    "pooled": contingency.Contingency,
    "fractions": neighbourhood.FractionSums,
    "tolerant": neighbourhood.TolerantCounts,
}


def field_families(settings: Settings) -> dict[str, Family]:
    """The counting functions of one forecast and one observed frame (H, W), by name."""
    levels = settings.thresholds
    families: dict[str, Family] = {
        "events": functools.partial(contingency.count_events, thresholds=levels),
        "errors": continuous.sum_errors,
    }
    if settings.log_error:
        families["log_errors"] = continuous.sum_log_errors
    if settings.pools:
        families["pooled"] = functools.partial(pooling.count_pooled, thresholds=levels, pools=settings.pools)
    if settings.scales:
        families["fractions"] = functools.partial(
            neighbourhood.sum_fractions, thresholds=levels, scales=settings.scales
        )
    if settings.tolerances:
        families["tolerant"] = functools.partial(
            neighbourhood.count_tolerant, thresholds=levels, tolerances=settings.tolerances
        )
    return families


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
        leads = [_nanoseconds(one) for one in np.atleast_1d(np.asarray(lead))]
        if forecast.shape != observed.shape:
            raise ShapeError(
                f"forecast {forecast.shape} and observed {observed.shape} must have the same shape"
            )
        if forecast.ndim == 2:
            forecast, observed = forecast[None], observed[None]
        if forecast.ndim != 3 or len(forecast) != len(leads):
            raise ShapeError(
                f"forecast of shape {forecast.shape} for {len(leads)} leads: expected (H, W) with one lead "
                "or (T, H, W) with T leads"
            )
        families = field_families(self.settings)
        for at, predicted, seen in zip(leads, forecast, observed, strict=True):
            self._add(at, {name: count(predicted, seen) for name, count in families.items()})
            self.frames[at] = self.frames.get(at, 0) + 1
        return self

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

    def csi_mean(self) -> float:
        """Mean over thresholds of the CSI of counts added over leads; thresholds without any event are left out."""
        counts = self.total("events")
        if not isinstance(counts, contingency.Contingency):
            return float("nan")
        return mean_of_known(contingency.critical_success_index(counts))

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


def mean_of_known(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN when nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


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

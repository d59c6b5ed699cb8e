"""Which scores a `Verification` counts, and how each family counts one frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoscope.errors import ConfigError
from geoscope.metrics import (
    contingency,
    continuous,
    ensemble,
    neighbourhood,
    objects,
    pooling,
    probability,
    similarity,
    spectrum,
)
from geoscope.metrics.sums import Sums


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is counted. Empty or false families cost nothing; sizes are in pixels.

    `thresholds` in the fields' unit; `pools` for CSI of block maxima; `scales` for the fractions skill score;
    `tolerances` for neighbourhood CSI; `log_error` for errors of ln(1 + value); `spectrum` for power by wavelength;
    `similarity_range`, the span of values, for SSIM; `sal` for structure, amplitude and location of objects;
    `probability_bins` for the tables of probabilities.
    """

    thresholds: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    pools: tuple[int, ...] = ()
    scales: tuple[int, ...] = ()
    tolerances: tuple[int, ...] = ()
    log_error: bool = False
    spectrum: bool = False
    similarity_range: float | None = None
    sal: bool = False
    probability_bins: int = 10

    def __post_init__(self) -> None:
        if self.similarity_range is not None and not self.similarity_range > 0:
            raise ConfigError(
                f"similarity_range={self.similarity_range} must be above 0: the span of values, such as 255"
            )
        if int(self.probability_bins) != self.probability_bins or self.probability_bins < 1:
            raise ConfigError(f"probability_bins={self.probability_bins} must be a whole number, 1 or more")
        clean: dict[str, Any] = {
            "thresholds": tuple(float(t) for t in contingency.rising_thresholds(self.thresholds)),
            "pools": pooling.checked_sizes("pools", self.pools),
            "scales": pooling.checked_sizes("scales", self.scales),
            "tolerances": pooling.checked_sizes("tolerances", self.tolerances, smallest=0),
        }
        for name, value in clean.items():
            object.__setattr__(self, name, value)


KINDS: dict[str, type[Sums]] = {
    "events": contingency.Contingency,
    "errors": continuous.ErrorSums,
    "log_errors": continuous.LogErrorSums,
    "pooled": contingency.Contingency,
    "fractions": neighbourhood.FractionSums,
    "tolerant": neighbourhood.TolerantCounts,
    "spectrum": spectrum.SpectrumSums,
    "similarity": similarity.SimilaritySums,
    "sal": objects.SalSums,
    "ensemble": ensemble.EnsembleSums,
    "ranks": ensemble.RankCounts,
    "probability": probability.ProbabilityTable,
}

Count = Callable[[Settings, np.ndarray, np.ndarray], Sums]

# family -> (is it wanted, how one frame of forecast and observation (H, W) is counted)
FIELD_FAMILIES: dict[str, tuple[Callable[[Settings], Any], Count]] = {
    "events": (lambda s: True, lambda s, f, o: contingency.count_events(f, o, s.thresholds)),
    "errors": (lambda s: True, lambda s, f, o: continuous.sum_errors(f, o)),
    "log_errors": (lambda s: s.log_error, lambda s, f, o: continuous.sum_log_errors(f, o)),
    "pooled": (lambda s: s.pools, lambda s, f, o: pooling.count_pooled(f, o, s.thresholds, s.pools)),
    "fractions": (
        lambda s: s.scales,
        lambda s, f, o: neighbourhood.sum_fractions(f, o, s.thresholds, s.scales),
    ),
    "tolerant": (
        lambda s: s.tolerances,
        lambda s, f, o: neighbourhood.count_tolerant(f, o, s.thresholds, s.tolerances),
    ),
    "spectrum": (lambda s: s.spectrum, lambda s, f, o: spectrum.sum_spectra(f, o)),
    "similarity": (
        lambda s: s.similarity_range,
        lambda s, f, o: similarity.sum_similarity(f, o, value_range=s.similarity_range or 1.0),
    ),
    "sal": (lambda s: s.sal, lambda s, f, o: objects.sum_sal(f, o)),
}


def count_fields(settings: Settings, forecast: np.ndarray, observed: np.ndarray) -> dict[str, Sums]:
    """One frame of forecast and observation (H, W), counted for every family that is wanted."""
    return {
        name: count(settings, forecast, observed)
        for name, (is_wanted, count) in FIELD_FAMILIES.items()
        if is_wanted(settings)
    }


def count_ensemble(settings: Settings, members: np.ndarray, observed: np.ndarray) -> dict[str, Sums]:
    """Members (M, H, W) against one observed frame: CRPS and spread, and ranks of what reaches the lowest threshold."""
    return {
        "ensemble": ensemble.sum_ensemble(members, observed),
        "ranks": ensemble.count_ranks(members, observed, smallest=settings.thresholds[0]),
    }


def count_member_share(settings: Settings, members: np.ndarray, observed: np.ndarray) -> dict[str, Sums]:
    """Members (M, H, W) counted as probabilities: the share of them at or above each threshold."""
    share = probability.member_share(members, settings.thresholds)
    return count_probability_fields(settings, share, observed)


def count_probability_fields(
    settings: Settings, probabilities: np.ndarray, observed: np.ndarray
) -> dict[str, Sums]:
    """Probabilities (threshold, H, W) against one observed frame (H, W)."""
    bins = settings.probability_bins
    return {
        "probability": probability.count_probabilities(
            probabilities, observed, settings.thresholds, bins=bins
        )
    }

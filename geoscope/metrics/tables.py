"""From counts and sums to the labelled scores of `gs.verify`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geoscope.errors import ConfigError
from geoscope.metrics import (
    contingency,
    continuous,
    ensemble,
    neighbourhood,
    objects,
    probability,
    similarity,
    spectrum,
)
from geoscope.metrics.sums import Sums, ratio, stack

if TYPE_CHECKING:
    from geoscope.metrics.accumulate import Verification

COST_LOSS = np.round(np.arange(1, 20) * 0.05, 2)  # users of the economic value
Formula = Callable[[Any], np.ndarray]
Score = tuple[tuple[str, ...], Formula]  # dimensions after lead_time, and how it follows from the sums


def _scores(dimensions: tuple[str, ...], formulas: dict[str, Formula]) -> dict[str, Score]:
    return {name: (dimensions, formula) for name, formula in formulas.items()}


TABLES: dict[str, dict[str, Score]] = {
    "events": _scores(
        ("threshold",),
        {
            "csi": contingency.critical_success_index,
            "pod": contingency.probability_of_detection,
            "far": contingency.false_alarm_ratio,
            "success_ratio": contingency.success_ratio,
            "frequency_bias": contingency.frequency_bias,
            "hss": contingency.heidke_skill_score,
            "ets": contingency.equitable_threat_score,
            "f1": contingency.f1_score,
            "base_rate": contingency.base_rate,
        },
    ),
    "errors": _scores(
        (),
        {
            "mae": continuous.mean_absolute_error,
            "rmse": continuous.root_mean_square_error,
            "mean_error": continuous.mean_error,
            "correlation": continuous.correlation,
            "mean_forecast": continuous.mean_forecast,
            "mean_observed": continuous.mean_observed,
        },
    ),
    "log_errors": _scores(
        (),
        {
            "mean_log_error": continuous.mean_log_error,
            "rms_log_error": continuous.root_mean_square_log_error,
        },
    ),
    "pooled": _scores(
        ("pool", "threshold"),
        {
            "pool_csi": contingency.critical_success_index,
            "pool_pod": contingency.probability_of_detection,
            "pool_success_ratio": contingency.success_ratio,
        },
    ),
    "fractions": _scores(("scale", "threshold"), {"fss": neighbourhood.fractions_skill_score}),
    "tolerant": _scores(
        ("tolerance", "threshold"),
        {
            "tolerant_csi": neighbourhood.tolerant_critical_success_index,
            "tolerant_pod": neighbourhood.tolerant_probability_of_detection,
            "tolerant_success_ratio": neighbourhood.tolerant_success_ratio,
        },
    ),
    "spectrum": _scores(
        ("wavenumber",),
        {
            "spectrum_forecast": spectrum.spectrum_of_forecast,
            "spectrum_observed": spectrum.spectrum_of_observed,
            "spectrum_ratio": spectrum.spectrum_ratio,
        },
    ),
    "similarity": _scores((), {"ssim": similarity.structural_similarity}),
    "sal": _scores(
        (),
        {
            "sal_structure": objects.sal_structure,
            "sal_amplitude": objects.sal_amplitude,
            "sal_location": objects.sal_location,
            "sal_structure_magnitude": objects.sal_structure_magnitude,
            "sal_amplitude_magnitude": objects.sal_amplitude_magnitude,
        },
    ),
    "ensemble": _scores(
        (),
        {
            "crps": ensemble.crps,
            "crps_fair": ensemble.crps_fair,
            "spread": ensemble.spread,
            "mean_rmse": ensemble.mean_rmse,
            "spread_skill_ratio": ensemble.spread_skill_ratio,
        },
    ),
    "ranks": _scores(("rank",), {"rank_histogram": ensemble.rank_histogram}),
    "probability": {
        **_scores(
            ("threshold",),
            {
                "brier": probability.brier_score,
                "brier_skill": probability.brier_skill_score,
                "brier_reliability": probability.brier_reliability,
                "brier_resolution": probability.brier_resolution,
                "brier_uncertainty": probability.brier_uncertainty,
                "roc_area": probability.roc_area,
            },
        ),
        **_scores(
            ("threshold", "probability_bin"),
            {
                "reliability_probability": lambda table: probability.reliability_curve(table)[0],
                "reliability_frequency": lambda table: probability.reliability_curve(table)[1],
                "reliability_pixels": lambda table: table.pixels,
            },
        ),
        **_scores(
            ("threshold", "warning"),
            {
                "roc_false_alarm_rate": lambda table: probability.roc_curve(table)[0],
                "roc_detection": lambda table: probability.roc_curve(table)[1],
            },
        ),
        **_scores(
            ("threshold", "cost_loss"),
            {"economic_value": lambda table: probability.economic_value(table, COST_LOSS)},
        ),
    },
}


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1))


def csi_mean(counts: contingency.Contingency) -> np.ndarray:
    """Mean over thresholds of the CSI; thresholds without any event are left out."""
    return mean_of_known(contingency.critical_success_index(counts))


def csi_mean_all(counts: contingency.Contingency) -> np.ndarray:
    """Mean over all thresholds of the CSI; one that nobody forecast or saw counts 0, for every model alike.

    That keeps models comparable, where `csi_mean` leaves such a threshold out for the model that is silent and counts 0
    for the one that raised a false alarm.
    """
    return np.nan_to_num(contingency.critical_success_index(counts)).mean(axis=-1)


MEANS: dict[str, Formula] = {"csi_mean": csi_mean, "csi_mean_all": csi_mean_all}  # of the family events


def formula_of(name: str) -> tuple[str, Formula]:
    """The family that a score is counted in, and how it follows from its sums; also of MEANS.

    Raises:
        ConfigError: no such score.
    """
    if name in MEANS:
        return "events", MEANS[name]
    for family, scores in TABLES.items():
        if name in scores:
            return family, scores[name][1]
    known = ", ".join([*MEANS, *(score for scores in TABLES.values() for score in scores)])
    raise ConfigError(f"{name!r} is no score: give one of {known}")


def dataset(counted: "Verification") -> xr.Dataset:
    """The scores of a verification; dimensions lead_time and threshold, and those of the families asked for.

    Counts `hits`, `misses`, `false_alarms`, `correct_negatives`, `pixels`; each score NAME by lead, and NAME_pooled
    from sums added over the leads (a score without further dimension: the attribute NAME). `fss` is useful from
    `fss_useful` on. Dimensions of families:
    pool, scale, tolerance (pixels), wavenumber (waves per longest side), rank (members below the observation),
    probability_bin (its middle), warning (the lowest probability that warns; the first one never does) and cost_loss.
    attrs: `csi_mean`, `frames`.
    """
    variables: dict[str, Any] = {}
    attributes: dict[str, Any] = {"csi_mean": counted.csi_mean(), "frames": sum(counted.frames.values())}
    for family, scores in TABLES.items():
        if not any(family in families for families in counted.sums.values()):
            continue
        by_lead = _by_lead(counted, family)
        if family == "events":
            variables |= {name: (("lead_time", "threshold"), part) for name, part in by_lead.parts().items()}
        if family == "errors":
            variables["pixels"] = (("lead_time",), np.asarray(by_lead.parts()["pixels"], np.int64))
        over_leads = by_lead.pooled(0)
        for name, (dimensions, formula) in scores.items():
            variables[name] = (("lead_time", *dimensions), formula(by_lead))
            value = formula(over_leads)
            if dimensions:
                variables[f"{name}_pooled"] = (dimensions, value)
            else:
                attributes[name] = float(value)
    if "fss" in variables:  # what the skill must pass to be useful: Roberts and Lean 2008
        for end in ("", "_pooled"):
            dimensions, seen = variables[f"base_rate{end}"]
            variables[f"fss_useful{end}"] = (dimensions, 0.5 + seen / 2)
    table = xr.Dataset(variables, attrs=attributes)
    return table.assign_coords(_coordinates(counted, table))


def _coordinates(counted: "Verification", table: xr.Dataset) -> dict[str, Any]:
    settings = counted.settings
    bins = settings.probability_bins
    edges = np.arange(bins, -1, -1) / bins
    known: dict[str, np.ndarray] = {
        "pool": np.array(settings.pools, np.int64),
        "scale": np.array(settings.scales, np.int64),
        "tolerance": np.array(settings.tolerances, np.int64),
        "probability_bin": (np.arange(bins) + 0.5) / bins,
        "warning": np.where(edges == 1, np.inf, edges),
        "cost_loss": COST_LOSS,
    }
    for name in ("wavenumber", "rank"):
        if name in table.sizes:
            known[name] = np.arange(table.sizes[name])
    here = {name: values for name, values in known.items() if name in table.sizes}
    return {"lead_time": counted.leads, "threshold": np.array(settings.thresholds), **here}


def _by_lead(counted: "Verification", family: str) -> Sums:
    each = [families.get(family) for _, families in sorted(counted.sums.items())]
    nothing = next(one for one in each if one is not None).zeros()
    return stack([one if one is not None else nothing for one in each])

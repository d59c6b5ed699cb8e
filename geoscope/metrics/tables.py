"""From counts and sums to the labelled scores of `gs.verify`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geoscope.metrics import contingency, continuous, neighbourhood
from geoscope.metrics.sums import Sums, stack

if TYPE_CHECKING:
    from geoscope.metrics.accumulate import Verification

Formula = Callable[[Any], np.ndarray]

EVENT_SCORES: dict[str, Formula] = {
    "csi": contingency.critical_success_index,
    "pod": contingency.probability_of_detection,
    "far": contingency.false_alarm_ratio,
    "success_ratio": contingency.success_ratio,
    "frequency_bias": contingency.frequency_bias,
    "hss": contingency.heidke_skill_score,
    "ets": contingency.equitable_threat_score,
    "f1": contingency.f1_score,
}
ERROR_SCORES: dict[str, Formula] = {
    "mae": continuous.mean_absolute_error,
    "rmse": continuous.root_mean_square_error,
    "mean_error": continuous.mean_error,
    "correlation": continuous.correlation,
    "mean_forecast": continuous.mean_forecast,
    "mean_observed": continuous.mean_observed,
}
LOG_SCORES: dict[str, Formula] = {
    "mean_log_error": continuous.mean_log_error,
    "rms_log_error": continuous.root_mean_square_log_error,
}
POOLED_SCORES: dict[str, Formula] = {
    "pool_csi": contingency.critical_success_index,
    "pool_pod": contingency.probability_of_detection,
    "pool_success_ratio": contingency.success_ratio,
}
TOLERANT_SCORES: dict[str, Formula] = {
    "tolerant_csi": neighbourhood.tolerant_critical_success_index,
    "tolerant_pod": neighbourhood.tolerant_probability_of_detection,
    "tolerant_success_ratio": neighbourhood.tolerant_success_ratio,
}
# family -> (dimensions after lead_time, scores)
TABLES: dict[str, tuple[tuple[str, ...], dict[str, Formula]]] = {
    "events": (("threshold",), EVENT_SCORES),
    "errors": ((), ERROR_SCORES),
    "log_errors": ((), LOG_SCORES),
    "pooled": (("pool", "threshold"), POOLED_SCORES),
    "fractions": (("scale", "threshold"), {"fss": neighbourhood.fractions_skill_score}),
    "tolerant": (("tolerance", "threshold"), TOLERANT_SCORES),
}


def dataset(counted: "Verification") -> xr.Dataset:
    """The scores of a verification, dimensions lead_time and threshold, pool, scale, tolerance where asked for.

    Counts `hits`, `misses`, `false_alarms`, `correct_negatives`, `pixels`; each score NAME by lead, and NAME_pooled
    from sums added over the leads (scores without a threshold: as attribute NAME). attrs: `csi_mean`, `frames`.
    """
    settings = counted.settings
    leads = counted.leads
    variables: dict[str, Any] = {}
    attributes: dict[str, Any] = {"csi_mean": counted.csi_mean(), "frames": sum(counted.frames.values())}
    present = [name for name in TABLES if any(name in families for families in counted.sums.values())]
    for family in present:
        dimensions, formulas = TABLES[family]
        by_lead = _by_lead(counted, family)
        if family == "events":
            variables |= {name: (("lead_time", "threshold"), part) for name, part in by_lead.parts().items()}
        if family == "errors":
            variables["pixels"] = (("lead_time",), np.asarray(by_lead.parts()["pixels"], np.int64))
        over_leads = by_lead.pooled(0)
        for name, formula in formulas.items():
            variables[name] = (("lead_time", *dimensions), formula(by_lead))
            value = formula(over_leads)
            if dimensions:
                variables[f"{name}_pooled"] = (dimensions, value)
            else:
                attributes[name] = float(value)
    coordinates: dict[str, Any] = {"lead_time": leads, "threshold": np.array(settings.thresholds)}
    for name, family, sizes in (
        ("pool", "pooled", settings.pools),
        ("scale", "fractions", settings.scales),
        ("tolerance", "tolerant", settings.tolerances),
    ):
        if family in present:
            coordinates[name] = np.array(sizes, np.int64)
    return xr.Dataset(variables, coords=coordinates, attrs=attributes)


def _by_lead(counted: "Verification", family: str) -> Sums:
    each = [families.get(family) for _, families in sorted(counted.sums.items())]
    nothing = next(one for one in each if one is not None).zeros()
    return stack([one if one is not None else nothing for one in each])

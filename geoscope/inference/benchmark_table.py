"""The table of a benchmark: one row for each model, on each event and on all of them, with the fair baseline marked."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from geoscope.inference.benchmark import Benchmark, EventScores
from geoscope.metrics.accumulate import Verification
from geoscope.metrics.bootstrap import interval, interval_of_mean, paired_interval
from geoscope.metrics.tables import mean_of_known
from geoscope.zoo.fairness import fair_baselines, fairest_of

POOLED, MEAN = "all events, pooled", "mean of the events"
DRAWS = 1000
CSI_MEAN = "csi_mean_all"
AVERAGED = ("csi_mean", "mae", "bias", "rain_ratio", "crps", "seconds")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores of one model on one event, or on several.

    csi: by threshold. csi_mean: mean over thresholds, one that nobody forecast or saw counting 0; csi_low to csi_high
    is its 95 % interval from drawing events, or issue times where there is one event; NaN where there is one of both.
    fss: fractions skill score by scale in pixels, mean over thresholds. bias: forecast minus observed, rain_ratio:
    forecast over observed, of the mean rain. crps: of the members, NaN without. brier_skill: by threshold, of the
    probabilities of exceedance against the frequency seen, empty without. seconds: wall time of one forecast;
    memory_mb: the most that the process held meanwhile. fair: the baseline at hand that is fairest to compare with,
    else ""; gain: csi_mean minus the baseline's, gain_low to gain_high its interval from the same draws.
    """

    event: str
    model: str
    cases: int
    leads: int
    lead_minutes: float
    csi: dict[str, float]
    csi_mean: float
    csi_low: float
    csi_high: float
    fss: dict[str, float]
    mae: float
    bias: float
    rain_ratio: float
    crps: float
    brier_skill: dict[str, float]
    seconds: float
    memory_mb: float
    fair: str
    gain: float
    gain_low: float
    gain_high: float


def rows(outcome: Benchmark, draws: int = DRAWS) -> list[Row]:
    """A row for each event and model, from counts pooled over its issue times and leads.

    Where there are several events follow those of all counts pooled, in which long and wet events weigh more, and the
    means over the events, in which each counts the same.
    """
    table: list[Row] = []
    for event in outcome.events:
        parts = {name: event.by_model[name] for name in outcome.models}
        table += _rows(outcome, [event], event.name, parts, draws)
    if len(outcome.events) > 1:
        means = _mean_rows(table, outcome, draws)
        parts = {name: [_sum(event.by_model[name]) for event in outcome.events] for name in outcome.models}
        table += [*_rows(outcome, outcome.events, POOLED, parts, draws), *means]
    return table


def _sum(each: Sequence[Verification]) -> Verification:
    return sum(each[1:], each[0])


def _rows(
    outcome: Benchmark,
    chosen: Sequence[EventScores],
    title: str,
    parts: dict[str, list[Verification]],
    draws: int,
) -> list[Row]:
    totals = {name: _sum(each) for name, each in parts.items()}
    made = []
    for name, total in totals.items():
        each, csi_mean = parts[name], total.overall(CSI_MEAN)
        is_ensemble = total.total("ensemble") is not None
        fair = fairest_of(name, [other for other in parts if other != name], members=is_ensemble)
        low, high = interval(each, CSI_MEAN, draws=draws)
        gain, gain_low, gain_high = math.nan, math.nan, math.nan
        if fair is not None:
            gain = csi_mean - totals[fair.name].overall(CSI_MEAN)
            gain_low, gain_high = paired_interval(each, parts[fair.name], CSI_MEAN, draws=draws)
        settings = total.settings
        skill = mean_of_known(np.asarray(total.overall("fss")))
        seconds = [second for one in chosen for second in one.seconds[name]]
        made.append(
            Row(
                event=title,
                model=name,
                cases=sum(one.issues for one in chosen),
                leads=max(one.leads for one in chosen),
                lead_minutes=max(one.leads * one.interval_minutes for one in chosen),
                csi=_by(settings.thresholds, total.overall("csi")),
                csi_mean=csi_mean,
                csi_low=low,
                csi_high=high,
                fss=_by(settings.scales, skill),
                mae=total.overall("mae"),
                bias=total.overall("mean_error"),
                rain_ratio=_ratio(total.overall("mean_forecast"), total.overall("mean_observed")),
                crps=total.overall("crps"),
                brier_skill=_brier_skill(total),
                seconds=float(np.mean(seconds)),
                memory_mb=outcome.memory_mb[name],
                fair=fair.name if fair is not None else "",
                gain=gain,
                gain_low=gain_low,
                gain_high=gain_high,
            )
        )
    return made


def _brier_skill(total: Verification) -> dict[str, float]:
    if total.total("probability") is None:
        return {}
    return _by(total.settings.thresholds, total.overall("brier_skill"))


def _mean_rows(table: Sequence[Row], outcome: Benchmark, draws: int) -> list[Row]:
    """The mean of the events' rows of each model; intervals from drawing events."""
    by_model = {name: [row for row in table if row.model == name] for name in outcome.models}
    values = {name: np.array([row.csi_mean for row in each]) for name, each in by_model.items()}
    made = []
    for name, each in by_model.items():
        one = each[0]
        low, high = interval_of_mean(values[name], draws=draws)
        numbers: dict[str, Any] = {key: _mean([getattr(row, key) for row in each]) for key in AVERAGED}
        tables = {
            key: {inner: _mean([getattr(row, key)[inner] for row in each]) for inner in getattr(one, key)}
            for key in ("csi", "fss", "brier_skill")
        }
        gain: dict[str, Any] = {"gain": math.nan, "gain_low": math.nan, "gain_high": math.nan}
        if one.fair:
            difference = values[name] - values[one.fair]
            gain_low, gain_high = interval_of_mean(difference, draws=draws)
            gain = {"gain": float(difference.mean()), "gain_low": gain_low, "gain_high": gain_high}
        made.append(
            Row(
                event=MEAN,
                model=name,
                cases=sum(row.cases for row in each),
                leads=max(row.leads for row in each),
                lead_minutes=max(row.lead_minutes for row in each),
                csi_low=low,
                csi_high=high,
                memory_mb=one.memory_mb,
                fair=one.fair,
                csi=tables["csi"],
                fss=tables["fss"],
                brier_skill=tables["brier_skill"],
                **numbers,
                **gain,
            )
        )
    return made


def _mean(values: Sequence[float]) -> float:
    """The mean of what is known, NaN where nothing is."""
    return float(mean_of_known(np.asarray(values, np.float64)))


def _by(keys: Sequence[float], values: Any) -> dict[str, float]:
    return {f"{key:g}": float(value) for key, value in zip(keys, np.atleast_1d(values), strict=True)}


def _ratio(forecast: float, observed: float) -> float:
    return forecast / observed if observed > 0 else math.nan


def advice(outcome: Benchmark) -> list[str]:
    """For each model one line: the fair baseline at hand and why, or which one to add."""
    lines = []
    for name in outcome.models:
        each = outcome.events[0].by_model[name]
        is_ensemble = each[0].total("ensemble") is not None
        others = [other for other in outcome.models if other != name]
        fair = fairest_of(name, others, members=is_ensemble)
        if fair is not None:
            lines.append(f"{name}: fair baseline {fair.name} ({fair.reason})")
        elif known := fair_baselines(name, members=is_ensemble):
            lines.append(f"{name}: no fair baseline here, add {known[0].name} ({known[0].reason})")
    return lines


def as_plain(outcome: Benchmark, draws: int = DRAWS) -> dict[str, Any]:
    """Everything as plain lists and numbers for JSON: settings, rows, scores by lead, advice and notes; NaN is null."""
    by_lead = [
        {"event": event.name, "model": name, **_by_lead(_sum(event.by_model[name]))}
        for event in outcome.events
        for name in outcome.models
    ]
    return {
        "settings": asdict(outcome.settings),
        "models": list(outcome.models),
        "rows": [_finite(asdict(row)) for row in rows(outcome, draws)],
        "by_lead": by_lead,
        "reliability": _reliability(outcome),
        "fair": advice(outcome),
        "notes": outcome.notes,
    }


def _reliability(outcome: Benchmark) -> list[dict[str, Any]]:
    """For each model with probabilities and each threshold the reliability curve of all events pooled, bin by bin."""
    found: list[dict[str, Any]] = []
    for name in outcome.models:
        total = _sum([_sum(event.by_model[name]) for event in outcome.events])
        if total.total("probability") is None:
            continue
        curve = {
            key: np.asarray(total.overall(f"reliability_{key}"))
            for key in ("probability", "frequency", "pixels")
        }
        for index, threshold in enumerate(total.settings.thresholds):
            each = {key: values[index].tolist() for key, values in curve.items()}
            found.append(_finite({"model": name, "threshold": threshold, **each}))
    return found


def _by_lead(total: Verification) -> dict[str, Any]:
    scores = total.to_dataset()
    minutes = scores["lead_time"].values.astype("timedelta64[s]").astype(float) / 60
    wanted = {name: scores[name].values.tolist() for name in ("csi", "mae", "mean_error") if name in scores}
    return _finite({"lead_minutes": minutes.tolist(), **wanted})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(table: Sequence[Row]) -> str:
    """The rows as comma-separated text: a line each, scores by threshold and by scale as columns; NaN is empty."""
    lines = []
    for row in table:
        flat: dict[str, Any] = {}
        for key, value in asdict(row).items():
            if isinstance(value, dict):
                flat |= {f"{key}_{inner}": number for inner, number in value.items()}
            else:
                flat[key] = value
        lines.append(flat)
    heading = list(dict.fromkeys(key for flat in lines for key in flat))
    cells = [[_cell(flat.get(key, "")) for key in heading] for flat in lines]
    return "\n".join(",".join(line) for line in [heading, *cells]) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text

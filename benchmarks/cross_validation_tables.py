"""What a cross-validation found, as means, as rows of a model card and as a page of the documentation.

An event is ``{"fold", "source", "storm", "models": {model: row}}``, as benchmarks/cross_validation.py writes them.
Events that show one storm are averaged first, so that a storm in several cuts counts once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from geoscope.metrics.tables import mean_of_known as mean_over_last_axis

MODEL = "earthformer"  # the name of every fold's own model
SPROG, EXTRAPOLATION = "pysteps-sprog", "extrapolation"
Event = dict[str, Any]
Value = Callable[[dict[str, Any]], float]  # of the rows of an event's models


def mean_of_known(values: list[float]) -> float:
    """The mean of the numbers among ``values``; NaN where there is none."""
    return float(mean_over_last_axis(np.asarray(values, np.float64)))


def mean_of_storms(events: dict[str, Event], value: Value) -> float:
    """The mean over storms of the mean over their events; NaN (nobody forecast or saw so much rain) is left out."""
    storms: dict[str, list[float]] = {}
    for event in events.values():
        storms.setdefault(event["storm"], []).append(value(event["models"]))
    return mean_of_known([mean_of_known(values) for values in storms.values()])


def best_baseline(models: dict[str, Any]) -> float:
    """The highest CSI mean that a baseline reached on an event."""
    return max(row["csi_mean"] for name, row in models.items() if name != MODEL)


def summary(events: dict[str, Event]) -> dict[str, Any]:
    """Means over storms for every model, the best baseline of each event, and the gain over it."""
    result: dict[str, Any] = {
        "storms": len({event["storm"] for event in events.values()}),
        "events": len(events),
    }
    for model in next(iter(events.values()))["models"]:
        values: dict[str, Value] = {
            "csi_mean": lambda models, m=model: models[m]["csi_mean"],
            "csi_5": lambda models, m=model: models[m]["csi"]["5"],
            "csi_10": lambda models, m=model: models[m]["csi"]["10"],
            "mae": lambda models, m=model: models[m]["mae"],
            "rain_ratio": lambda models, m=model: models[m]["rain_ratio"],
        }
        result[model] = {key: mean_of_storms(events, value) for key, value in values.items()}
    best = mean_of_storms(events, best_baseline)
    result["best_baseline_csi_mean"] = best
    result["gain"] = result[MODEL]["csi_mean"] / best - 1
    return result


def _columns() -> dict[str, Value]:
    columns: dict[str, Value] = {
        "CSI mean persistence": lambda models: models["persistence"]["csi_mean"],
        "CSI mean extrapolation": lambda models: models[EXTRAPOLATION]["csi_mean"],
        "CSI mean S-PROG": lambda models: models[SPROG]["csi_mean"],
        "CSI mean best of them": best_baseline,
        "CSI mean model": lambda models: models[MODEL]["csi_mean"],
    }
    for threshold in ("5", "10"):
        columns[f"CSI {threshold} extrapolation"] = lambda models, t=threshold: models[EXTRAPOLATION]["csi"][
            t
        ]
        columns[f"CSI {threshold} model"] = lambda models, t=threshold: models[MODEL]["csi"][t]
    columns["MAE S-PROG"] = lambda models: models[SPROG]["mae"]
    columns["MAE model"] = lambda models: models[MODEL]["mae"]
    columns["rain ratio model"] = lambda models: models[MODEL]["rain_ratio"]
    return columns


def _cells(events: dict[str, Event]) -> dict[str, float]:
    return {name: mean_of_storms(events, value) for name, value in _columns().items()}


def card_rows(events: dict[str, Event]) -> list[dict[str, Any]]:
    """A row for each source, then for each fold, then for all: what is left out, storms, and the columns."""
    folds = sorted({event["fold"] for event in events.values()})
    parts: list[tuple[str, dict[str, Event]]] = []
    for fold in folds:
        inside = {name: event for name, event in events.items() if event["fold"] == fold}
        for source in dict.fromkeys(event["source"] for event in inside.values()):
            parts.append(
                (f"{source} (fold {fold + 1})", {n: e for n, e in inside.items() if e["source"] == source})
            )
    for fold in folds:
        parts.append(
            (f"fold {fold + 1}", {name: event for name, event in events.items() if event["fold"] == fold})
        )
    parts.append(("all storms", events))
    return [
        {"left out": label, "storms": len({event["storm"] for event in part.values()}), **_cells(part)}
        for label, part in parts
    ]


def event_rows(events: dict[str, Event]) -> list[dict[str, Any]]:
    """A row for each event, those first where the model stands worst against the best baseline."""
    rows = []
    for name, event in events.items():
        models = event["models"]
        best, own = best_baseline(models), models[MODEL]["csi_mean"]
        gain = own / best - 1 if best > 0 else float("nan")
        one = {name: event}
        place = {"event": name, "fold": event["fold"] + 1, "minutes": models[MODEL]["minutes"]}
        rows.append({**place, "issues": models[MODEL]["issues"], "gain": gain, **_cells(one)})
    return sorted(rows, key=lambda row: row["gain"])


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table of these rows."""

    def text(key: str, value: Any) -> str:
        if isinstance(value, float):
            if np.isnan(value):
                return "-"
            return f"{value:+.0%}" if key == "gain" else f"{value:.3f}"
        return str(value)

    keys = list(rows[0])
    lines = [f"| {' | '.join(keys)} |", f"|{' --- |' * len(keys)}"]
    lines += [f"| {' | '.join(text(key, row[key]) for key in keys)} |" for row in rows]
    return "\n".join(lines)

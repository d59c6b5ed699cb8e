"""Scores as text: the summary of all forecasts, one score by lead, and the whole as CSV."""

import csv
import html
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from geoscope.ui.charts import model_look
from geoscope.ui.nowcast_runs import title_of
from geoscope.ui.open_field import say_duration
from geoscope.ui.scoring import ScoreBoard, values_at

SCALE_OF_THE_SUMMARY = 10.0  # km, the nearest one that was counted

CSS = """
:host { color: var(--panel-on-surface-color); font: 13px/18px Roboto, sans-serif; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; }
caption { text-align: left; font-weight: 500; padding: 6px 0 2px; }
th, td { padding: 2px 8px; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th { font-weight: 500; white-space: normal; } th:first-child, td:first-child { text-align: left; padding-left: 2px; }
th[colspan], thead tr + tr th { text-align: center !important; } th.first, td.first { border-left: 1px solid #8884; }
.best { font-weight: 700; } .later { opacity: .35; }
i.key { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 6px; }
"""

Best = Callable[[list[float]], float] | None
Column = tuple[str, int, Best, Callable[[xr.Dataset], Any]]  # title, digits, which is best, values


def _nearest_to_one(values: list[float]) -> float:
    return min(values, key=lambda value: abs(math.log(max(value, 1e-9))))


def _nearest_to_zero(values: list[float]) -> float:
    return min(values, key=abs)


BEST: dict[str, Best] = {
    "csi": max,
    "pod": max,
    "far": min,
    "frequency_bias": _nearest_to_one,
    "fss": max,
    "mae": min,
    "rmse": min,
    "mean_error": _nearest_to_zero,
}
ERROR_TITLES = {"mae": "MAE", "rmse": "RMSE", "mean_error": "Mean error"}


def summary_table(scores: Mapping[str, xr.Dataset], board: ScoreBoard, threshold: float, caption: str) -> str:
    """One row a forecast, over all leads that count: mean CSI, the scores at a threshold, FSS at one scale, errors."""
    units, at = board.units, {"threshold": threshold}
    columns: list[Column] = [("CSI mean", 3, max, lambda data: data.attrs["csi_mean"])]
    for name, title in (("csi", "CSI"), ("pod", "POD"), ("far", "FAR"), ("frequency_bias", "Freq. bias")):
        columns.append((f"{title} ≥ {threshold:g}", 2, BEST[name], _pooled(name, at)))
    scales = next(iter(scores.values()))["scale"].values if scores else np.array([1])
    scale = scales[np.argmin(np.abs(scales * board.pixel_km - SCALE_OF_THE_SUMMARY))]
    title = f"FSS ≥ {threshold:g}, {scale * board.pixel_km:.3g} km"
    columns.append((title, 2, max, _pooled("fss", {**at, "scale": scale})))
    for name, title in ERROR_TITLES.items():
        columns.append((f"{title} ({units})", 2, BEST[name], lambda data, name=name: data.attrs[name]))
    head = "".join(f"<th>{html.escape(title)}</th>" for title, *_ in columns)
    cells = [
        _cells(
            [float(value(data)) for data in scores.values()], digits, best, is_signed=title.startswith("Mean")
        )
        for title, digits, best, value in columns
    ]
    rows = [
        f"<tr><td>{_key(number)}{html.escape(title_of(name))}</td>{''.join(column[number] for column in cells)}</tr>"
        for number, name in enumerate(scores)
    ]
    return (
        f'<div class="wide"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr><th>Forecast</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def lead_table(scores: Mapping[str, xr.Dataset], board: ScoreBoard, measure: str, threshold: float) -> str:
    """One row a lead: a score at every threshold, FSS at every scale, or the errors; one column a forecast.

    Leads that do not count yet keep their row, so that the table does not grow under the reader's eyes.
    """
    if not scores:
        return ""
    groups = _groups(next(iter(scores.values())), board, measure, threshold)
    count = len(scores)
    head = "".join(f'<th class="first" colspan="{count}">{html.escape(title)}</th>' for title, *_ in groups)
    keys = "".join(
        f'<th{" class=first" if number == 0 else ""} title="{html.escape(title_of(name))}">{_key(number)}</th>'
        for _ in groups
        for number, name in enumerate(scores)
    )
    known = next(iter(scores.values())).sizes["lead_time"]
    columns = [[values(data) for data in scores.values()] for *_, values in groups]
    rows = []
    for lead in range(board.leads):
        cells = []
        for (title, digits, best, _), lines in zip(groups, columns, strict=True):
            if lead < known:
                numbers = [float(line[lead]) for line in lines]
                cells += _cells(numbers, digits, best, is_signed=title.startswith("Mean"), marks_first=True)
            else:
                cells += ['<td class="first later">·</td>', *['<td class="later">·</td>'] * (count - 1)]
        rows.append(
            f"<tr><td>+{html.escape(say_duration((lead + 1) * board.step))}</td>{''.join(cells)}</tr>"
        )
    return (
        f'<div class="wide"><table><thead><tr><th rowspan="2">Lead</th>{head}</tr><tr>{keys}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _groups(first: xr.Dataset, board: ScoreBoard, measure: str, threshold: float) -> list[Column]:
    if measure == "mae":
        return [
            (f"{title} ({board.units})", 2, BEST[name], lambda data, name=name: values_at(data, name))
            for name, title in ERROR_TITLES.items()
        ]
    if measure == "fss":
        return [
            (
                f"FSS ≥ {threshold:g}, {scale * board.pixel_km:.3g} km",
                2,
                max,
                lambda data, scale=scale: values_at(data, "fss", threshold=threshold, scale=scale),
            )
            for scale in first["scale"].values
        ]
    return [
        (
            f"≥ {level:g}",
            2,
            BEST[measure],
            lambda data, level=level: values_at(data, measure, threshold=level),
        )
        for level in first["threshold"].values
    ]


def _pooled(name: str, at: Mapping[str, Any]) -> Callable[[xr.Dataset], Any]:
    return lambda data: values_at(data, f"{name}_pooled", **at)


def _key(number: int) -> str:
    return f'<i class="key" style="background:{model_look(number)["colour"]}"></i>'


def _cells(
    values: Sequence[float], digits: int, best: Best, is_signed: bool = False, marks_first: bool = False
) -> list[str]:
    known = [value for value in values if not math.isnan(value)]
    winner = best(known) if best is not None and len({round(value, digits) for value in known}) > 1 else None
    cells = []
    for number, value in enumerate(values):
        is_best = winner is not None and round(value, digits) == round(winner, digits)
        classes = ["best"] * is_best + ["first"] * (marks_first and number == 0)
        mark = f' class="{" ".join(classes)}"' if classes else ""
        cells.append(f"<td{mark}>{say(value, digits, is_signed)}</td>")
    return cells


def say(value: float, digits: int, is_signed: bool = False) -> str:
    """A number for a table; a dash where there is none."""
    if math.isnan(value):
        return "–"
    return f"{value:+.{digits}f}" if is_signed else f"{value:.{digits}f}"


COLUMNS = ("lead_minutes", "threshold_mm_h", "scale_km", "wavelength_km", "probability")
_DIMENSIONS = {"lead_time", "threshold", "scale", "wavenumber", "probability_bin"}


def scores_csv(scores: Mapping[str, xr.Dataset], board: ScoreBoard, about: Mapping[str, str]) -> str:
    """All scores as CSV, one value a row, after comment lines with ``about``; lead "all" is over the leads together."""
    text = io.StringIO()
    for key, value in about.items():
        text.write(f"# {key}: {' '.join(str(value).split())}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "score", *COLUMNS, "value"])
    for name, data in scores.items():
        for variable, values in data.data_vars.items():
            if not set(values.dims) <= _DIMENSIONS:
                continue
            for index in np.ndindex(values.shape):
                at = {dim: values[dim].values[i] for dim, i in zip(values.dims, index, strict=True)}
                score = str(variable).removesuffix("_pooled")
                writer.writerow([name, score, *_where(at, board), f"{values.values[index]:.6g}"])
        for key in ("csi_mean", *ERROR_TITLES):
            writer.writerow([name, key, "all", *[""] * (len(COLUMNS) - 1), f"{data.attrs[key]:.6g}"])
    return text.getvalue()


def _where(at: Mapping[Any, Any], board: ScoreBoard) -> list[str]:
    """The place of a value in the columns; a wavenumber of 0 is the mean over the field."""
    waves = at.get("wavenumber")
    length = math.inf if not waves else board.side * board.pixel_km / waves
    return [
        f"{at['lead_time'] / np.timedelta64(1, 'm'):g}" if "lead_time" in at else "all",
        f"{at['threshold']:g}" if "threshold" in at else "",
        f"{at['scale'] * board.pixel_km:.6g}" if "scale" in at else "",
        f"{length:.6g}" if waves is not None else "",
        f"{at['probability_bin']:g}" if "probability_bin" in at else "",
    ]

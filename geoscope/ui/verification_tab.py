"""The tab that holds the forecast against what happened, beside its baselines."""

import html
import math
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import xarray as xr

from geoscope.ui.charts import COLOURS, DASHES, LEGEND_CSS, LineChart, legend_html
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.open_field import say_duration, say_time
from geoscope.ui.panes import html_pane, set_html

CHOICES = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0]

_CSS = """
:host { color: var(--panel-on-surface-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 4px 0; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 12px; }
caption { text-align: left; font-weight: 500; padding: 4px 0; }
th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.best { font-weight: 700; }
"""


class VerificationTab:
    """Scores by lead as table and plots. `view` is the panel object."""

    def __init__(self, state: NowcastState, desk: NowcastDesk) -> None:
        self.state, self.desk = state, desk
        thresholds = pmui.CheckButtonGroup(
            options={f"{value:g}": value for value in CHOICES},
            value=[value for value in state.thresholds if value in CHOICES],
            size="small",
            margin=(4, 8),
        )
        thresholds.param.watch(self._thresholds_chosen, "value")
        self._button = pmui.Button(
            label="Verify against what happened",
            icon="fact_check",
            on_click=lambda event: self._verify(),
            margin=(4, 8),
        )
        self._text = html_pane(_CSS, margin=(0, 12))
        self._table = html_pane(_CSS, margin=(0, 12))
        self._keys = html_pane(LEGEND_CSS, margin=(0, 12))
        self._csi = LineChart("CSI", "Lead (min)")
        self._error = LineChart("MAE, bias", "Lead (min)")
        self._charts = pmui.FlexBox(
            _framed(self._csi), _framed(self._error), sizing_mode="stretch_width", gap="12px"
        )
        label = pn.pane.HTML("Thresholds (mm/h)", margin=(10, 0, 0, 12), stylesheets=[_CSS])
        self.view = pmui.Column(
            pmui.FlexBox(self._button, label, thresholds, align_items="center", sizing_mode="stretch_width"),
            self._text,
            self._keys,
            self._charts,
            self._table,
            sizing_mode="stretch_width",
            min_height=420,
        )
        desk.param.watch(lambda *events: self.refresh(), ["run", "field", "scores", "score_problem"])
        self.refresh()

    def _thresholds_chosen(self, event: Any) -> None:
        if event.new:
            self.state.thresholds = sorted(float(value) for value in event.new)

    def _verify(self) -> None:
        if self.state.shows_truth:
            self.desk.verify()
        else:
            self.state.shows_truth = True

    def refresh(self) -> None:
        """Show the scores, or say what is missing and how to get it."""
        scores, desk = self.desk.scores, self.desk
        self._charts.styles = {"visibility": "visible" if scores else "hidden"}
        self._button.disabled = desk.run is None
        if scores:
            set_html(self._text, self._headline(scores))
            set_html(self._table, f'<div class="wide">{scores_table(scores)}</div>')
            self._draw(scores)
            return
        set_html(self._table, "")
        set_html(self._keys, "")
        self._csi.draw([])
        self._error.draw([])
        text = desk.score_problem
        if not text and desk.run is None:
            text = "No forecast to verify yet: press Run forecast (step 4)."
        elif not text:
            text = (
                "The observations after the issue time are still hidden. Press Verify to show them and to score the "
                "forecast against them, beside persistence and extrapolation."
            )
        set_html(self._text, f"<p>{html.escape(text)}</p>")

    def _headline(self, scores: dict[str, xr.Dataset]) -> str:
        desk, first = self.desk, next(iter(scores.values()))
        issue = say_time(desk.field.time_at(desk.run.request.issue_index))
        parts = [
            f"{name}: CSI {_say(data.attrs['csi_mean'], 3)}, MAE {_say(data.attrs['mae'], 2)}"
            for name, data in scores.items()
        ]
        text = (
            f"Issued {issue}, {first.attrs['frames']} frames. Mean over leads and thresholds - "
            + "; ".join(parts)
            + ". "
            "CSI: hits / (hits + misses + false alarms), 1 is perfect. MAE and bias in "
            f"{first.attrs.get('units') or 'the unit of the field'}."
        )
        return f"<p>{html.escape(text)}</p>"

    def _draw(self, scores: dict[str, xr.Dataset]) -> None:
        csi, errors = [], []
        for dash, (name, data) in zip(DASHES, scores.items(), strict=False):
            minutes = (data["lead_time"].values / np.timedelta64(1, "m")).astype(float)
            for colour, level in zip(COLOURS, data["threshold"].values, strict=False):
                values = data["csi"].sel(threshold=level).values
                label = f"{name} ≥ {level:g}"
                csi.append(_line(label, minutes, values, colour, dash))
            errors.append(_line(f"{name} MAE", minutes, data["mae"].values, COLOURS[5], dash))
            errors.append(_line(f"{name} bias", minutes, data["mean_error"].values, COLOURS[6], dash))
        levels = next(iter(scores.values()))["threshold"].values
        set_html(
            self._keys,
            legend_html(
                [
                    *((name, "#8a929c", dash) for name, dash in zip(scores, DASHES, strict=False)),
                    *(
                        (f"CSI ≥ {level:g}", colour, "solid")
                        for level, colour in zip(levels, COLOURS, strict=False)
                    ),
                    ("MAE", COLOURS[5], "solid"),
                    ("bias", COLOURS[6], "solid"),
                ]
            ),
        )
        self._csi.draw(csi)
        self._error.draw(errors)


def _framed(chart: LineChart) -> pn.pane.Bokeh:
    css = ":host { flex: 1 1 420px; min-width: 0; }"
    return pn.pane.Bokeh(chart.figure, sizing_mode="stretch_width", margin=(4, 8), stylesheets=[css])


def _line(name: str, x: np.ndarray, y: np.ndarray, colour: str, dash: str) -> dict[str, Any]:
    labels = [f"+{minutes:g} min: {_say(value, 3)}" for minutes, value in zip(x, y, strict=True)]
    return {"name": name, "x": x, "y": y, "labels": labels, "colour": colour, "dash": dash}


def scores_table(scores: dict[str, xr.Dataset]) -> str:
    """CSI by lead and threshold, MAE and bias, one column a model; the best CSI and MAE of a row stand out."""
    names = list(scores)
    first = scores[names[0]]
    head = "".join(
        f'<th colspan="{len(names)}">{html.escape(title)}</th>'
        for title in [*(f"CSI ≥ {level:g}" for level in first["threshold"].values), "MAE", "Bias"]
    )
    below = "".join(
        f"<th>{html.escape(name)}</th>" for _ in range(first.sizes["threshold"] + 2) for name in names
    )
    rows = []
    for number, lead in enumerate(first["lead_time"].values):
        cells = []
        for level in range(first.sizes["threshold"]):
            cells += _cells([float(scores[name]["csi"].values[number, level]) for name in names], 2, max)
        cells += _cells([float(scores[name]["mae"].values[number]) for name in names], 2, min)
        cells += _cells([float(scores[name]["mean_error"].values[number]) for name in names], 2, None)
        rows.append(f"<tr><td>+{html.escape(say_duration(lead))}</td>{''.join(cells)}</tr>")
    return (
        f"<table><thead><tr><th rowspan=2>Lead</th>{head}</tr><tr>{below}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _cells(values: list[float], digits: int, best: Any) -> list[str]:
    known = [value for value in values if not math.isnan(value)]
    winner = best(known) if best is not None and known and len(set(known)) > 1 else None
    return [
        f"<td{' class=best' if value == winner else ''}>{_say(value, digits, is_signed=best is None)}</td>"
        for value in values
    ]


def _say(value: float, digits: int, is_signed: bool = False) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:+.{digits}f}" if is_signed else f"{value:.{digits}f}"

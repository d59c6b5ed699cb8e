"""The charts of the verification tab: scores by lead, FSS by scale, spectrum and reliability, a line a forecast."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn
import xarray as xr

from geoscope.ui.charts import LEGEND_CSS, LineChart, legend_html, model_look
from geoscope.ui.nowcast_runs import title_of
from geoscope.ui.panes import html_pane, set_html
from geoscope.ui.scoring import ScoreBoard

_GRID = """
:host { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(min(270px, 100%), 1fr));
  gap: 6px 12px; box-sizing: border-box; padding: 0 8px; }
"""
# score -> (title, span of the axis or None): drawn over the lead, at the threshold that was chosen
BY_LEAD: dict[str, tuple[str, tuple[float, float] | None]] = {
    "csi": ("CSI", (0, 1)),
    "pod": ("POD", (0, 1)),
    "far": ("FAR", (0, 1)),
    "frequency_bias": ("Frequency bias", None),
}
ERRORS: dict[str, tuple[str, tuple[float, float] | None]] = {
    "mae": ("MAE (mm/h)", None),
    "mean_error": ("Mean error (mm/h)", None),
}
HEIGHT = 210


class ScoreCharts:
    """Small multiples over one legend. `view` is the panel object; `draw` shows scores, an empty mapping none."""

    def __init__(self) -> None:
        self._keys = html_pane(LEGEND_CSS, margin=(0, 12))
        self._events = {name: _lead_chart(*look) for name, look in BY_LEAD.items()}
        self._errors = {name: _lead_chart(*look) for name, look in ERRORS.items()}
        self._fss = LineChart("FSS", "Scale (km)", height=HEIGHT, is_log_x=True, y_span=(0, 1))
        charts = [*self._events.values(), *self._errors.values(), self._fss]
        frames = [pn.pane.Bokeh(chart.figure, sizing_mode="stretch_width", margin=0) for chart in charts]
        self._frames = pn.Column(*frames, margin=0, sizing_mode="stretch_width", stylesheets=[_GRID])
        self.view = pn.Column(self._keys, self._frames, sizing_mode="stretch_width", margin=0)

    def draw(self, scores: Mapping[str, xr.Dataset], board: ScoreBoard, threshold: float) -> None:
        """Show the scores by model name at a threshold; the legend names all forecasts of the board."""
        looks = {name: model_look(number) for number, name in enumerate(board.parts)}
        entries = [(title_of(name), look["colour"], look["dash"]) for name, look in looks.items()]
        set_html(self._keys, legend_html(entries))
        for chart in (*self._events.values(), *self._errors.values()):
            chart.span_x(0, float(board.leads * board.step / np.timedelta64(1, "m")))
        for score, chart in self._events.items():
            chart.draw(
                [_lead_line(n, d[score].sel(threshold=threshold), looks[n]) for n, d in scores.items()]
            )
        for score, chart in self._errors.items():
            chart.draw([_lead_line(n, d[score], looks[n]) for n, d in scores.items()])
        self._fss.draw(
            [
                _line(
                    n,
                    d["scale"].values * board.pixel_km,
                    d["fss_pooled"].sel(threshold=threshold).values,
                    looks[n],
                    "km",
                )
                for n, d in scores.items()
            ]
        )


def _lead_chart(title: str, span: tuple[float, float] | None) -> LineChart:
    return LineChart(title, "Lead (min)", height=HEIGHT, x_span=(0, 60), y_span=span)


def _lead_line(name: str, values: xr.DataArray, look: dict[str, str]) -> dict[str, Any]:
    minutes = values["lead_time"].values / np.timedelta64(1, "m")
    return _line(name, minutes.astype(float), values.values, look, "min")


def _line(name: str, x: np.ndarray, y: np.ndarray, look: dict[str, str], unit: str) -> dict[str, Any]:
    labels = [
        f"{at:.3g} {unit}: {'–' if np.isnan(value) else f'{value:.3g}'}"
        for at, value in zip(x, y, strict=True)
    ]
    return {"name": title_of(name), "x": x, "y": y, "labels": labels, **look}

"""The tab with all members over time beside what happened, and with depths by duration."""

import html
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from geoscope.ui.charts import LEGEND_CSS, MARK_LOOKS, OBSERVED_LOOK, LineChart, legend_html, model_look
from geoscope.ui.open_field import say_time
from geoscope.ui.panes import html_pane, set_html
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_frames import say_sigma
from geoscope.ui.scenario_series import Fan, depth_table, fan_of
from geoscope.ui.scenario_state import ScenarioState
from geoscope.ui.scenario_truth import truth_of

TABLE_CSS = """
:host { color: var(--panel-on-background-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 4px 0; max-width: 110ch; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 6px 0; }
th, td { padding: 3px 16px 3px 0; text-align: right; border-bottom: 1px solid #8884; font-weight: 400;
  white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; } thead th { font-weight: 500; }
"""


class SeriesTab:
    """Chart and table. `view` is the panel object."""

    def __init__(self, state: ScenarioState, desk: ScenarioDesk) -> None:
        self.state, self.desk = state, desk
        self._text, self._table = html_pane(TABLE_CSS, margin=(4, 12)), html_pane(TABLE_CSS, margin=(0, 12))
        self._keys = html_pane(LEGEND_CSS, margin=(0, 12))
        self._chart = LineChart("mm/h", is_time=True)
        plot = pn.pane.Bokeh(self._chart.figure, sizing_mode="stretch_width", margin=(4, 8))
        self.view = pmui.Column(
            self._text, self._keys, plot, self._table, sizing_mode="stretch_width", min_height=420
        )
        desk.param.watch(lambda *events: self.refresh(), ["field", "case", "arrived"])
        names = ["sigma", "members", "steps", "point", "area", "shows_truth", "issue_index", "tab"]
        state.param.watch(lambda *events: self.refresh(), names)
        state.param.watch(lambda *events: self._mark(), "frame_index")
        self.refresh()

    def refresh(self) -> None:
        """Draw the fan, or say how to get one; nothing while the tab is hidden."""
        if self.state.tab != "series":
            return
        fan = fan_of(self.desk)
        if fan is None or not fan.lines:
            set_html(self._text, "<p>No scenario drawn yet.</p>")
            set_html(self._keys, "")
            set_html(self._table, "")
            self._chart.draw([])
            return
        old = " Old: drawn for other choices." if self.desk.is_stale else ""
        hint = "" if self.state.point else " Click on a map to see one place instead."
        set_html(self._text, f"<p>Rain in mm/h, {html.escape(fan.place)}.{old}{hint}</p>")
        lines = [_line("observed", fan.times, fan.observed, OBSERVED_LOOK)]
        looks = self._looks(fan)
        for (sigma, member), values in fan.lines.items():
            lines.append(_line(f"{say_sigma(sigma)}, member {member + 1}", fan.times, values, looks[sigma]))
        self._chart.draw(lines)
        keys = [("observed", OBSERVED_LOOK["colour"], OBSERVED_LOOK["dash"])]
        keys += [(say_sigma(sigma), looks[sigma]["colour"], looks[sigma]["dash"]) for sigma in fan.sigmas()]
        names = {"issue": "issue time", "frame": "frame shown"}
        set_html(self._keys, legend_html(keys, [(names[key], *look) for key, look in MARK_LOOKS.items()]))
        fell = None
        if truth_of(self.desk) is not None:
            fell = fan.observed[fan.first_lead : fan.first_lead + self.desk.case.question.lead_steps]
        set_html(
            self._table,
            f"{depth_table(fan, fell)}<p>Most rain within a duration: mean of the members, in brackets the member "
            "with the most.</p>",
        )
        self._mark()

    def _looks(self, fan: Fan) -> dict[float, dict[str, str]]:
        order = sorted(fan.sigmas(), key=lambda sigma: (sigma != self.state.sigma, sigma != 0.0, sigma))
        return {sigma: model_look(number) for number, sigma in enumerate(order)}

    def _mark(self) -> None:
        field = self.desk.field
        if field is not None and self.state.tab == "series":
            self._chart.mark("issue", _milliseconds(field.time_at(self.state.issue_index)))
            self._chart.mark("frame", _milliseconds(field.time_at(self.state.frame_index)))


def _line(name: str, times: np.ndarray, values: np.ndarray, look: dict[str, str]) -> dict[str, Any]:
    labels = [f"{say_time(time)}: {value:.1f} mm/h" for time, value in zip(times, values, strict=True)]
    return {"name": name, "x": times.astype("datetime64[ms]"), "y": values, "labels": labels, **look}


def _milliseconds(time: np.datetime64) -> float:
    return float(time.astype("datetime64[ms]").astype(np.int64))

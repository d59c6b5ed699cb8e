"""The tab with what happens over time at a point, or in a box or polygon."""

import html
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from geoscope.reprojection import to_mercator
from geoscope.ui.charts import LEGEND_CSS, MARK_LOOKS, OBSERVED_LOOK, LineChart, legend_html, model_look
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_frames import Series, series
from geoscope.ui.nowcast_runs import title_of
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.open_field import say_time
from geoscope.ui.panes import Problem, html_pane, set_html
from geoscope.ui.places import point_mask, say_place

WAYS = {"Point": "point", "Area mean": "mean", "Area maximum": "max"}

MOST_NORTHERN = 85.0  # degrees; the map ends there
_PLACES = {
    True: {"label": "Latitude, longitude", "placeholder": "34.2, -77.9"},
    False: {"label": "x, y in km", "placeholder": "12.5, -30"},
}
_HOW_TO_WRITE = {
    True: "Write a latitude and a longitude in degrees, for example 34.2, -77.9; the map ends at 85 degrees.",
    False: "This field has no place on the Earth: write x and y in km, as the line under the maps reads them.",
}
_CSS = """
:host { color: var(--panel-on-surface-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 4px 0; font-variant-numeric: tabular-nums; }
"""


class PointTab:
    """Time series of observation, forecast and baselines. `view` is the panel object."""

    def __init__(self, state: NowcastState, desk: NowcastDesk) -> None:
        self.state, self.desk = state, desk
        self._way = pmui.RadioButtonGroup(
            options=WAYS, value="mean" if state.area else "point", size="small", width=330, margin=8
        )
        self._place = pmui.TextInput(**_PLACES[True], size="small", width=210, margin=8)
        go = pmui.Button(
            label="Set point",
            size="small",
            variant="outlined",
            on_click=lambda e: self._set_place(),
            margin=8,
        )
        self._problem = Problem()
        self._text = html_pane(_CSS, margin=(0, 12))
        self._values = html_pane(_CSS, margin=(0, 12))
        self._keys = html_pane(LEGEND_CSS, margin=(0, 12))
        self._shown: Series | None = None
        self._chart = LineChart("mm/h", is_time=True)
        self._plot = pn.pane.Bokeh(self._chart.figure, sizing_mode="stretch_width", margin=(4, 8))
        self.view = pmui.Column(
            pmui.FlexBox(self._way, self._place, go, align_items="center", sizing_mode="stretch_width"),
            self._problem.view,
            self._text,
            self._values,
            self._keys,
            self._plot,
            sizing_mode="stretch_width",
            min_height=420,
        )
        self._name_place()
        desk.param.watch(lambda *events: self._name_place(), "field")
        self._way.param.watch(lambda *events: self.refresh(), "value")
        self._place.param.watch(lambda *events: self._set_place(), "enter_pressed")
        state.param.watch(lambda *events: self._chosen("point"), "point")
        state.param.watch(lambda *events: self._chosen("mean"), "area")
        state.param.watch(lambda *events: self.refresh(), ["issue_index", "shows_truth", "lead_steps"])
        state.param.watch(lambda *events: self._mark(), "frame_index")
        desk.param.watch(lambda *events: self.refresh(), ["field", "run", "run_b", "runs", "problems"])
        self.refresh()

    def series(self) -> Series | None:
        """What the chart shows, or None when no place was chosen."""
        state, field = self.state, self.desk.field
        if field is None:
            return None
        if self._way.value == "point":
            mask = point_mask(field, *state.point) if state.point else None
            return series(self.desk, mask, say_place(field, *state.point)) if mask is not None else None
        if not state.area:
            return None
        xs, ys = zip(*state.area, strict=True)
        mask = field.table.pixels_within(xs, ys)
        if not mask.any():
            return None
        return series(self.desk, mask, f"area of {int(mask.sum())} pixels", reduce=self._way.value)

    def refresh(self) -> None:
        """Draw the series of the chosen place, or say how to choose one."""
        content = self._shown = self.series()
        if content is None:
            set_html(self._values, "<p>&nbsp;</p>")
            set_html(self._keys, "")
            self._chart.draw([])
            text = (
                "Click on a map, or write a place, to see what happens there over time."
                if self._way.value == "point"
                else "Choose Box or Polygon above the maps and draw inside the data; a double-click ends a polygon."
            )
            set_html(self._text, f"<p>{html.escape(text)}</p>")
            return
        if self._way.value == "point":
            what = "Value at"
        else:
            what = {"mean": "Mean over", "max": "Maximum over"}[self._way.value]
        set_html(self._text, f"<p>{html.escape(f'{what} {content.place}, in {content.units}.')}</p>")
        self._chart.label_y(content.units)
        lines = [_line(name, content) for name in content.lines]
        self._chart.draw(lines)
        names = {"issue": "issue time", "frame": "frame shown"}
        keys = [(line["name"], line["colour"], line["dash"]) for line in lines]
        set_html(self._keys, legend_html(keys, [(names[key], *look) for key, look in MARK_LOOKS.items()]))
        self._mark()

    def _now(self, content: Series) -> str:
        index = min(self.state.frame_index, len(content.times) - 1)
        values = [
            f"{title_of(name)} {values[index]:.1f}"
            for name, values in content.lines.items()
            if not np.isnan(values[index])
        ]
        return f"{say_time(content.times[index])}: {', '.join(values) or 'no value'}."

    def _mark(self) -> None:
        field, content = self.desk.field, self._shown
        if field is None or content is None:
            return
        set_html(self._values, f"<p>{html.escape(self._now(content))}</p>")
        self._chart.mark("issue", _milliseconds(field.time_at(self.state.issue_index)))
        self._chart.mark("frame", _milliseconds(field.time_at(self.state.frame_index)))

    def _chosen(self, way: str) -> None:
        if (self.state.point if way == "point" else self.state.area) is not None and self._way.value != way:
            self._way.value = way
        else:
            self.refresh()

    def _name_place(self) -> None:
        """Ask for what this field has: degrees, or kilometres where it has no place on the Earth."""
        self._place.param.update(**_PLACES[self._has_place], value="")
        self._problem.show("")

    @property
    def _has_place(self) -> bool:
        return self.desk.field is None or self.desk.field.table.has_place

    def _set_place(self) -> None:
        field, text = self.desk.field, (self._place.value_input or self._place.value or "")
        if field is None:
            self._problem.show("There is no data yet: choose it under step 1.", "warning")
            return
        try:
            first, second = (float(part) for part in text.replace(";", ",").split(","))
            x, y = _on_map(first, second) if self._has_place else (1000.0 * first, 1000.0 * second)
            is_inside = field.table.pixel_at(x, y) is not None
        except ValueError:
            self._problem.show(_HOW_TO_WRITE[self._has_place], "warning")
            return
        if not is_inside:
            self._problem.show(f"{say_place(field, x, y)} lies outside the data.", "warning")
            return
        self._problem.show("")
        self.state.point = (x, y)


def _on_map(latitude: float, longitude: float) -> tuple[float, float]:
    """Metres on the map; a ValueError where the map has no such place."""
    if not (abs(latitude) <= MOST_NORTHERN and abs(longitude) <= 360):
        raise ValueError
    x, y = to_mercator(longitude, latitude)
    return float(x), float(y)


def _line(name: str, content: Series) -> dict[str, Any]:
    values = content.lines[name]
    labels = [
        f"{say_time(time)}: {value:.1f} {content.units}"
        for time, value in zip(content.times, values, strict=True)
    ]
    number = list(content.lines).index(name) - 1  # the first line is the observation
    return {
        "name": name if number < 0 else title_of(name),
        "x": content.times.astype("datetime64[ms]"),
        "y": values,
        "labels": labels,
        **(OBSERVED_LOOK if number < 0 else model_look(number)),
    }


def _milliseconds(time: np.datetime64) -> float:
    return float(time.astype("datetime64[ms]").astype(np.int64))

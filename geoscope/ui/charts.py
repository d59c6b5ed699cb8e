"""Line charts for the tabs, as plain Bokeh figures whose one source is filled again and again."""

# Bokeh's stubs know glyphs as abstract classes without parameters, and geometries without their kinds.
# pyright: reportCallIssue=false, reportAbstractUsage=false, reportArgumentType=false, reportGeneralTypeIssues=false
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    CrosshairTool,
    FixedTicker,
    HoverTool,
    MultiLine,
    Range1d,
    Scatter,
    Span,
)
from bokeh.plotting import figure

from geoscope.ui.painting import Painter, painted

# Colour-blind safe (Okabe and Ito 2008), dark enough for both themes.
COLOURS = ("#d9771c", "#1f7fc4", "#009e73", "#b8588f", "#8d7200", "#56b4e9", "#6f5bd0")
DASHES = ("solid", "dashed", "dotted", "dotdash")
DOT, MOST_DOTS = 6, 30  # pixels of a dot; of lines with more points they are small
_STROKES = {"solid": "", "dashed": "6 4", "dotted": "2 3", "dotdash": "2 3 6 3"}

OBSERVED_LOOK = {"colour": "#8a929c", "dash": "dashed"}
# Vertical lines: colour and dash.
MARK_LOOKS = {"issue": ("#d98324", "dashed"), "frame": ("#d81b60", "solid")}


def model_look(number: int) -> dict[str, str]:
    """Colour and dash of the lines of a model, by its place: A is 0, B is 1, the others follow."""
    return {
        "colour": COLOURS[number % len(COLOURS)],
        "dash": DASHES[min(number // len(COLOURS), len(DASHES) - 1)],
    }


LEGEND_CSS = """
.keys { display: flex; flex-wrap: wrap; gap: 2px 16px; font: 12px/18px Roboto, sans-serif; padding: 2px 0;
  color: var(--panel-on-surface-color); }
.keys span { display: inline-flex; align-items: center; }
.keys svg { margin-right: 5px; }
"""


class LineChart(Painter):
    """Lines over time, lead or scale. `figure` is the plot; `draw` replaces what it shows.

    An axis fits what is drawn, unless it has a span, which then stays whatever is drawn.

    The figure stays on the page when it is empty: one that comes and goes, or is put away with `visible`, breaks
    Bokeh's layout when the page is resized before it was first drawn.
    """

    def __init__(
        self,
        y_label: str,
        x_label: str = "",
        *,
        is_time: bool = False,
        is_log_x: bool = False,
        is_log_y: bool = False,
        x_span: tuple[float, float] | None = None,
        y_span: tuple[float, float] | None = None,
        height: int = 260,
    ) -> None:
        super().__init__()
        spans = {"x_range": x_span, "y_range": y_span}
        self.figure = figure(
            **{name: Range1d(*span) for name, span in spans.items() if span is not None},
            height=height,
            sizing_mode="stretch_width",
            x_axis_type="datetime" if is_time else "log" if is_log_x else "linear",
            y_axis_type="log" if is_log_y else "linear",
            y_axis_label=y_label,
            x_axis_label=x_label,
            toolbar_location=None,
            tools=[CrosshairTool(dimensions="height", line_alpha=0.4)],  # type: ignore[arg-type]
            min_border_right=12,
        )
        if is_log_x:  # few decades, where Bokeh's own ticks run into each other
            self.figure.xaxis.ticker = FixedTicker(
                ticks=[m * 10.0**p for p in range(-2, 5) for m in (1, 2, 5)]
            )
            self.figure.xaxis.formatter = BasicTickFormatter()
        self._lines = ColumnDataSource({"xs": [], "ys": [], "colour": [], "dash": []})
        self._dots = ColumnDataSource({"x": [], "y": [], "name": [], "label": [], "colour": [], "size": []})
        look = {"line_color": "colour", "line_dash": "dash", "line_width": 2}
        self.figure.add_glyph(self._lines, MultiLine(**look))
        dots = self.figure.add_glyph(
            self._dots, Scatter(size="size", fill_color="colour", line_color="colour")
        )
        self.figure.add_tools(HoverTool(tooltips=[("", "@name"), ("", "@label")], renderers=[dots]))
        self._spans: dict[str, Span] = {}

    @property
    def document(self) -> Document | None:
        """The document that the figure is on."""
        return self.figure.document

    @painted
    def draw(self, lines: Sequence[dict[str, Any]]) -> None:
        """Show lines: each has name, x, y, labels (a text for each point), colour and dash."""
        counts = [len(line["x"]) for line in lines]
        self._dots.data = {
            "x": np.concatenate([line["x"] for line in lines]) if lines else [],
            "y": np.concatenate([line["y"] for line in lines]) if lines else [],
            "label": [label for line in lines for label in line["labels"]],
            "size": [DOT if count <= MOST_DOTS else DOT / 3 for count in counts for _ in range(count)],
            **{
                key: [line[key] for line, count in zip(lines, counts, strict=True) for _ in range(count)]
                for key in ("name", "colour")
            },
        }
        self._lines.data = {
            "xs": [line["x"] for line in lines],
            "ys": [line["y"] for line in lines],
            "colour": [line["colour"] for line in lines],
            "dash": [line["dash"] for line in lines],
        }

    @painted
    def mark(self, name: str, x: Any) -> None:
        """A vertical line with a name of `MARK_LOOKS`, moved when it is there already."""
        span = self._spans.get(name)
        if span is None:
            colour, dash = MARK_LOOKS[name]
            span = self._spans[name] = Span(
                dimension="height", line_color=colour, line_dash=dash, line_width=1.5
            )
            self.figure.add_layout(span)
        span.location = x

    @painted
    def fit(self, x_label: str, y_label: str, x_span: tuple[float, float] | None) -> None:
        """Name the axes, and move the lower one of a chart that was made with an ``x_span``."""
        for axis, text in ((self.figure.xaxis, x_label), (self.figure.yaxis, y_label)):
            if axis.axis_label != text:
                axis.axis_label = text
        x_range = self.figure.x_range
        if x_span is not None and (x_range.start, x_range.end) != x_span:
            x_range.update(start=x_span[0], end=x_span[1])

    @painted
    def label_y(self, text: str) -> None:
        """Name the values' axis."""
        self.figure.yaxis.axis_label = text


def legend_html(entries: Sequence[tuple[str, str, str]], marks: Sequence[tuple[str, str, str]] = ()) -> str:
    """A legend for charts: (name, colour, dash) of each line, and after them of each vertical mark.

    Under `LEGEND_CSS` it wraps instead of eating the plot.
    """
    lines = "".join(_key(entry, "0 0 26 8", "M0 4H26") for entry in entries)
    return f'<div class="keys">{lines}{"".join(_key(mark, "0 0 10 16", "M5 0V16") for mark in marks)}</div>'


def _key(entry: tuple[str, str, str], box: str, path: str) -> str:
    name, colour, dash = entry
    _, _, width, height = box.split()
    return (
        f'<span><svg viewBox="{box}" style="width:{width}px;height:{height}px" aria-hidden="true"><path d="{path}" '
        f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{_STROKES[dash]}"/></svg>{html.escape(name)}</span>'
    )

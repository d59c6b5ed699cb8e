"""Line charts for the tabs, as plain Bokeh figures whose sources are filled again and again."""

from collections.abc import Sequence
from typing import Any

from bokeh.models import ColumnDataSource, CrosshairTool, HoverTool, Legend, LegendItem, Span
from bokeh.plotting import figure

# Colour-blind safe (Okabe and Ito 2008), dark enough for both themes.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
ROLE_COLOURS = {"observed": "#5f8fc4", "forecast": "#d98324", "persistence": "#8a929c", "extrapolation": "#009e73"}
DASHES = ("solid", "dashed", "dotted", "dotdash")


class LineChart:
    """Lines over time or lead. `figure` is the plot; `draw` replaces what it shows."""

    def __init__(self, y_label: str, x_label: str = "", *, is_time: bool = False, most_lines: int = 24) -> None:
        self.figure = figure(
            height=260,
            sizing_mode="stretch_width",
            x_axis_type="datetime" if is_time else "linear",
            y_axis_label=y_label,
            x_axis_label=x_label,
            toolbar_location=None,
            tools=[CrosshairTool(dimensions="height", line_alpha=0.4)],
            min_border_right=12,
        )
        self.figure.y_range.only_visible = True  # type: ignore[union-attr]
        self._sources, self._lines, self._dots = [], [], []
        for _ in range(most_lines):
            source = ColumnDataSource({"x": [], "y": [], "name": [], "label": []})
            self._sources.append(source)
            self._lines.append(self.figure.line("x", "y", source=source, line_width=2, visible=False))
            self._dots.append(self.figure.scatter("x", "y", source=source, size=6, visible=False))
        self._legend = Legend(
            items=[], orientation="vertical", label_text_font_size="11px", spacing=0, padding=4, glyph_height=14
        )
        self.figure.add_layout(self._legend, "right")
        hover = HoverTool(
            tooltips=[("", "@name"), ("", "@label")], renderers=self._dots, mode="mouse", attachment="horizontal"
        )
        self.figure.add_tools(hover)
        self._spans: dict[str, Span] = {}

    def draw(self, lines: Sequence[dict[str, Any]]) -> None:
        """Show lines: each has name, x, y, labels (a text for each point), colour and dash."""
        items = []
        for source, line, dots, content in zip(self._sources, self._lines, self._dots, lines, strict=False):
            names = [content["name"]] * len(content["x"])
            source.data = {"x": content["x"], "y": content["y"], "name": names, "label": content["labels"]}
            line.glyph.update(line_color=content["colour"], line_dash=content.get("dash", "solid"))
            dots.glyph.update(fill_color=content["colour"], line_color=content["colour"])
            line.visible = dots.visible = True
            items.append(LegendItem(label=content["name"], renderers=[line]))
        for number in range(len(lines), len(self._sources)):
            self._lines[number].visible = self._dots[number].visible = False
        self._legend.items = items

    def mark(self, name: str, x: Any, colour: str) -> None:
        """A vertical line, moved when it is there already."""
        span = self._spans.get(name)
        if span is None:
            span = self._spans[name] = Span(dimension="height", line_color=colour, line_dash="6 3", line_width=1.5)
            self.figure.add_layout(span)
        span.location = x

    def label_y(self, text: str) -> None:
        """Name the values' axis."""
        self.figure.yaxis.axis_label = text

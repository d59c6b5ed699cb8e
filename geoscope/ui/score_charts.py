"""The charts of the verification tab: small multiples over one legend, a line a forecast."""

import html
from collections.abc import Mapping

import panel as pn
import xarray as xr
from bokeh.document import Document

from geoscope.ui.charts import LEGEND_CSS, LineChart, legend_html
from geoscope.ui.painting import Painter
from geoscope.ui.panes import html_pane, set_html
from geoscope.ui.score_lines import chart_lines, chart_looks, legend
from geoscope.ui.score_words import say_smoothed
from geoscope.ui.scoring import ScoreBoard

HEIGHT = 216
_GRID = """
:host { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr));
  gap: 6px 12px; box-sizing: border-box; padding: 0 8px; }
"""
_WORDS = "p { margin: 0; max-width: 120ch; font: 13px/18px Roboto, sans-serif; color: var(--panel-on-surface-color); }"


class ScoreCharts(Painter):
    """`view` is the panel object; `draw` shows scores, an empty mapping none."""

    def __init__(self) -> None:
        super().__init__()
        self._keys = html_pane(LEGEND_CSS, margin=(0, 12))
        self._charts = {
            name: LineChart(
                look.y_label,
                look.x_label,
                is_log_x=look.is_log_x,
                is_log_y=look.is_log_y,
                x_span=look.x_span,
                y_span=look.y_span,
                height=HEIGHT,
            )
            for name, look in chart_looks(None).items()
        }
        frames = [
            pn.pane.Bokeh(chart.figure, sizing_mode="stretch_width", margin=0)
            for chart in self._charts.values()
        ]
        grid = pn.Column(*frames, margin=0, sizing_mode="stretch_width", stylesheets=[_GRID])
        self._sizes = html_pane(_WORDS, margin=(4, 12))
        self.view = pn.Column(self._keys, grid, self._sizes, sizing_mode="stretch_width", margin=0)

    @property
    def document(self) -> Document | None:
        """The document that the charts are on."""
        return self._charts["csi"].document

    def draw(self, scores: Mapping[str, xr.Dataset], board: ScoreBoard, threshold: float) -> None:
        """Show the scores by model name at a threshold; the legend names all forecasts of the board."""
        set_html(self._keys, legend_html(legend(board)))
        lines = chart_lines(scores, board, threshold)
        for name, look in chart_looks(board).items():
            self._charts[name].fit(look.x_label, look.y_label, look.x_span)
            self._charts[name].draw(lines[name])
        said = say_smoothed(scores, board)
        set_html(self._sizes, f"<p>{html.escape(said)}</p>" if said else "")

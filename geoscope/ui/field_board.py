"""The middle of a page over a field: tools, linked maps with their captions, legend, cursor readout and credit."""

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui

from geoscope.ui.field_desk import FieldDesk
from geoscope.ui.legend import CSS as LEGEND_CSS
from geoscope.ui.legend import legend_html
from geoscope.ui.linked_maps import LinkedMaps
from geoscope.ui.map_frame import MapFrame, when
from geoscope.ui.map_layers import map_layers
from geoscope.ui.panes import hideable, html_pane, set_html
from geoscope.ui.pictures import Pictures
from geoscope.ui.places import say_place
from geoscope.ui.view_state import ViewState
from geoscope.viz.basemap import CREDIT, LOOKS
from geoscope.viz.colours import ColourScale, Theme, scale_for

DIM = 0.45  # of the opacity, for a frame that stands in for another

_GRID = """
:host { display: grid !important; grid-template-columns: repeat(%d, minmax(0, 1fr)); gap: 6px; flex: none !important;
  box-sizing: border-box; padding: 0 8px; }
@media (max-width: 820px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
_CELL = """
:host { position: relative; min-width: 0; width: 100%; height: clamp(320px, calc(100vh - 346px), 1100px); }
@media (max-width: 820px) { :host { height: clamp(280px, 62vh, 460px); } }
"""
_CAPTION = """
:host { position: absolute !important; top: 0; left: 0; right: 0; z-index: 2; pointer-events: none; }
.caption { display: flex; flex-wrap: wrap; gap: 0 8px; padding: 3px 8px;
  font: 12px/16px Roboto, sans-serif;
  background: color-mix(in srgb, var(--panel-surface-color) 86%, transparent); color: var(--panel-on-surface-color); }
.caption b { flex: 1 0 100%; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.caption span { white-space: nowrap; font-variant-numeric: tabular-nums; }
.caption .detail { flex: 1 0 100%; white-space: normal; }
.caption em { font-style: normal; opacity: .75; }
"""
_NOTE = """
:host { position: absolute !important; left: 0; right: 0; top: 46px; box-sizing: border-box; padding: 0 8px;
  z-index: 2; pointer-events: none; text-align: center; }
.note { display: inline-block; padding: 4px 10px; border-radius: 4px; font: 12px/16px Roboto, sans-serif;
  background: color-mix(in srgb, var(--panel-surface-color) 92%, transparent); color: var(--panel-on-surface-color);
  box-shadow: 0 0 2px #0006; }
.note.stale { border-left: 4px solid #d98324; }
"""
_OFFER = """
:host { position: absolute; top: 92px; left: 50%; transform: translateX(-50%); z-index: 3; width: max-content; }
"""
_READOUT = """
.readout { font: 12px/18px Roboto, sans-serif; font-variant-numeric: tabular-nums; display: flex; flex-wrap: wrap;
  justify-content: space-between; gap: 0 16px; color: var(--panel-on-background-color); min-height: 18px; }
.readout .values b { font-weight: 500; }
.readout .credit { opacity: .8; }
"""


class FieldBoard(ABC):
    """Draws what `frames` says. `view` is the panel object; `refresh` draws the frame of the state.

    A page's own board says which maps there are and what the readout calls them (`NAMES`, the first one is of the
    observation), which of its own choices change them (`ASKS`) or also their colours (`COLOURS`), what they show
    (`frames`), which layers the legend explains (`layers`), of what a difference is (`DIFFERENCE`), and which tools
    stand above (`make_tools`).
    """

    NAMES: ClassVar[Mapping[str, str]]
    ASKS: ClassVar[list[str]] = []
    COLOURS: ClassVar[list[str]] = []
    DIFFERENCE: ClassVar[str] = "forecast − observed"

    def __init__(self, state: ViewState, desk: FieldDesk) -> None:
        self.state, self.desk = state, desk
        self.theme: Theme = "light"
        self._first = next(iter(self.NAMES))
        self._pictures = Pictures()
        self._frames: dict[str, MapFrame] = {}
        self._cursor: tuple[float, float] | None = None
        self._scales: dict[tuple[str, ...], ColourScale] = {}
        self.maps = LinkedMaps(list(self.NAMES), self._cursor_moved, self._point_chosen, self._area_chosen)
        self._captions = {name: html_pane(_CAPTION) for name in self.NAMES}
        self._notes = {name: html_pane(_NOTE) for name in self.NAMES}
        self._plots = {
            name: pn.pane.Bokeh(plot, sizing_mode="stretch_both", margin=0)
            for name, plot in self.maps.figures.items()
        }
        self._reveal = pmui.Button(
            label="Show what happened",
            size="small",
            variant="contained",
            margin=0,
            on_click=lambda event: state.param.update(shows_truth=True),
        )
        self._offer = hideable(self._reveal, sizing_mode=None, stylesheets=[_OFFER])
        self._legend = html_pane(LEGEND_CSS, margin=(2, 8, 0, 8))
        self._readout = html_pane(_READOUT, margin=(0, 8))
        self.view = pmui.Column(
            self.make_tools(),
            self._make_cells(),
            self._legend,
            self._readout,
            sizing_mode="stretch_width",
            margin=0,
        )
        self._watch()
        self.set_theme("light")

    # What a page says of its own maps

    @abstractmethod
    def frames(self, index: int) -> Mapping[str, MapFrame]:
        """What each map shows at a frame of the axis, by its name."""

    def layers(self) -> list[str]:
        """The layers whose colours the legend explains, the field's own first."""
        return ["rain"]

    @abstractmethod
    def make_tools(self) -> Any:
        """The row above the maps; for the panel object."""

    def scale_of(self, layer: str) -> ColourScale:
        """The colour scale of a layer: "difference", or anything else in the field's own colours."""
        kind = "diverging" if layer == "difference" else self.state.scale
        if (kind,) not in self._scales:
            self._scales[kind,] = scale_for(self.desk.field.rain, kind)
        return self._scales[kind,]

    def say(self, layer: str, value: float) -> str:
        """A value of a layer with its unit, as the cursor reads it."""
        if layer == "difference":
            return f"{value:+.1f} {self.desk.field.units}"
        return f"{value:.{1 if value < 100 else 0}f} {self.desk.field.units}"

    # What is drawn

    def set_theme(self, theme: Theme) -> None:
        """Draw in "light" or "dark" colours."""
        self.theme = theme
        look = LOOKS[theme]
        self.maps.set_inks(
            {
                "land": look.land,
                "sea": look.sea,
                "coast": look.coast,
                "borders": look.border,
                "graticule": look.graticule,
                "edge": look.coast,
                "text": look.text,
            }
        )
        self._colour()
        self.refresh()

    def refresh(self) -> None:
        """Draw the three maps, their captions and the readout at the state's frame."""
        state, desk = self.state, self.desk
        self._frames = dict(self.frames(state.frame_index))
        time, lead = when(desk, state.frame_index)
        for name, frame in self._frames.items():
            self._draw(name, frame, time, lead)
        self._offer.visible = self._frames[self._first].offers_truth
        self._write_readout()

    def _draw(self, name: str, frame: MapFrame, time: str, lead: str) -> None:
        picture = None
        if frame.values is not None and self.desk.field is not None:
            scale = self.scale_of(frame.layer)
            self.maps.set_palette(name, scale, self.theme)
            picture = self._pictures.of(frame.values, frame.identity, self.desk.field.table, scale)
        self.maps.show(name, picture, self.state.opacity * (DIM if frame.is_dim else 1.0), frame.is_dim)
        set_html(
            self._captions[name],
            f'<div class="caption"><b>{html.escape(frame.title)}</b>'
            f"<span>{html.escape(time)} <em>{html.escape(lead)}</em></span>{_detail(frame)}</div>",
        )
        stale = " stale" if frame.is_dim else ""
        set_html(
            self._notes[name],
            f'<div class="note{stale}">{html.escape(frame.note)}</div>' if frame.note else "",
        )

    def _colour(self) -> None:
        """Colour the legend; the maps' palettes follow their frames."""
        if self.desk.field is None:
            set_html(self._legend, "")
            return
        scales = [self.scale_of(layer) for layer in self.layers()]
        set_html(self._legend, legend_html(scales, self.theme, LOOKS[self.theme].land, self.DIFFERENCE))

    def _write_readout(self) -> None:
        field = self.desk.field
        if field is None:
            set_html(self._readout, "")
            return
        texts = ["Point at a map to read its values."]
        if self._cursor is not None:
            texts = [say_place(field, *self._cursor)]
            pixel = field.table.pixel_at(*self._cursor)
            for name, frame in self._frames.items():
                texts.append(f"{self.NAMES[name]} {self._say_value(frame, pixel)}")
        credit = f"{field.credit} · {CREDIT}" if field.table.has_place else field.credit
        if field.is_simulated:
            credit = f"SIMULATED · {credit}"
        set_html(
            self._readout,
            f'<div class="readout"><span class="values">{" · ".join(html.escape(text) for text in texts)}</span>'
            f'<span class="credit">{html.escape(credit)}</span></div>',
        )

    def _say_value(self, frame: MapFrame, pixel: tuple[int, int] | None) -> str:
        if pixel is None:
            return "outside"
        if frame.values is None:
            return "–"
        value = float(frame.values[pixel])
        if value != value:
            return "no data"
        return self.say(frame.layer, value) + (" (old)" if frame.is_dim else "")

    def remember_view(self) -> None:
        """Take the edges of the maps into the state, or None when they show the whole field as it opens."""
        x0, y0, x1, y1 = view = self.maps.view
        home = self.maps.home
        width, height = home[2] - home[0], home[3] - home[1]
        is_home = (
            abs((x0 + x1) - (home[0] + home[2])) < 0.02 * width
            and abs((y0 + y1) - (home[1] + home[3])) < 0.02 * height
            and min(abs((x1 - x0) / width - 1), abs((y1 - y0) / height - 1)) < 0.02
        )
        self.state.view = None if is_home else tuple(round(edge) for edge in view)

    # What the user did

    def _cursor_moved(self, x: float | None, y: float | None) -> None:
        self._cursor = None if x is None or y is None else (x, y)
        self._write_readout()

    def _point_chosen(self, x: float, y: float) -> None:
        field = self.desk.field
        if field is not None and field.table.pixel_at(x, y) is not None:
            self.state.point = (x, y)

    def _area_chosen(self, corners: tuple[tuple[float, float], ...]) -> None:
        self.state.area = corners

    # How it is made

    def _watch(self) -> None:
        state, desk = self.state, self.desk
        desk.param.watch(lambda *events: self._field_changed(), "field")
        desk.param.watch(lambda *events: self.refresh(), ["is_running", *desk.RESULTS])
        always = ["frame_index", "issue_index", "shows_truth", "opacity", "lead_steps", "device", "area"]
        state.param.watch(lambda *events: self.refresh(), [*always, *self.ASKS])
        state.param.watch(lambda *events: self._layer_changed(), ["scale", *self.COLOURS])
        state.param.watch(lambda event: self.maps.mark_point(event.new), "point")
        state.param.watch(lambda event: self.maps.mark_area(event.new), "area")

    def _layer_changed(self) -> None:
        self._colour()
        self.refresh()

    def _field_changed(self) -> None:
        field = self.desk.field
        self._pictures.clear()
        self._scales.clear()
        if field is not None:
            self.maps.set_field(field.table, map_layers(field.table), self.state.view)
            self.maps.mark_point(self.state.point)
            self.maps.mark_area(self.state.area)
        self._colour()
        self.refresh()

    def _make_cells(self) -> pn.Column:
        cells = []
        for name in self.NAMES:
            parts: list[Any] = [self._plots[name], self._captions[name], self._notes[name]]
            if name == self._first:
                parts.append(self._offer)
            cells.append(pn.Column(*parts, margin=0, stylesheets=[_CELL], css_classes=[f"map-{name}"]))
        return pn.Column(*cells, margin=0, sizing_mode="stretch_width", stylesheets=[_GRID % len(self.NAMES)])


def _detail(frame: MapFrame) -> str:
    return f'<span class="detail">{html.escape(frame.detail)}</span>' if frame.detail else ""

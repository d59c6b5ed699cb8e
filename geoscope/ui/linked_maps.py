"""Three linked maps: shared zoom, pan and crosshair, one picture each, drawn with plain Bokeh figures.

Why not HoloViews: a frame change here is one `data` message a picture, a uint8 class for each pixel, and takes about
two milliseconds. A `gv.Image` that is projected anew takes over 300, a `DynamicMap` of pre-projected images more than
ten, and either rebuilds glyphs that never change. The figures are made once; a new field only fills their sources.
"""

# Bokeh's stubs know glyphs as abstract classes without parameters, and geometries without their kinds.
# pyright: reportCallIssue=false, reportAbstractUsage=false, reportArgumentType=false, reportGeneralTypeIssues=false
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import MouseLeave, MouseMove, SelectionGeometry, Tap
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    Image,
    LinearColorMapper,
    MultiLine,
    MultiPolygons,
    PanTool,
    Patches,
    PolySelectTool,
    Range1d,
    Rect,
    ScaleBar,
    Scatter,
    Span,
    Text,
    WheelZoomTool,
)
from bokeh.plotting import figure

from geoscope.reprojection import MercatorTable
from geoscope.ui.map_layers import DEGREES
from geoscope.ui.painting import Painter, painted
from geoscope.ui.pictures import browser_palette
from geoscope.viz.basemap import Extent
from geoscope.viz.colours import ColourScale, Theme

SCALE_BAR = "#78828c"  # Bokeh draws a bar in its first colour for ever, so in one that both themes show
BAR_LENGTH = 0.25  # of the map, about
CORNER, CAPTION = (
    40,
    48,
)  # pixels: what the degrees of one edge leave to those of the other, and to the caption
MARGIN = 0.03  # of the field's extent, left free around it
MILLISECONDS_BETWEEN_CURSORS = 60
MARK = "#d81b60"  # point and area: a colour that no scale uses at that lightness

# The wish is an extent; the ranges must hold it with the same scale in x and y, whatever the window's shape, and stay
# in the square that the base map fills. The bounds have the window's shape, so that zooming out meets both at once.
_FIT = """
const w = plot.inner_width, h = plot.inner_height
if (!(w > 10 && h > 10) || wish.data.x0.length == 0) return
const most = reach.data.side[0] / Math.max(w, h)
const along = (range, pixels, wanted, scale) => {
  const middle = reach.data[range === x ? "x" : "y"][0], room = (most - scale) * pixels / 2
  const centre = Math.min(Math.max(wanted, middle - room), middle + room)
  range.bounds = [middle - most * pixels / 2, middle + most * pixels / 2]
  range.setv({start: centre - scale * pixels / 2, end: centre + scale * pixels / 2})
}
const show = (wanted, cx, cy) => {
  const scale = Math.min(wanted, most)
  along(x, w, cx, scale)
  along(y, h, cy, scale)
}
// On a phone a finger that drags must scroll the page; Pan is there when it is asked for.
if (window.innerWidth < 600 && !wish._seen) for (const pan of pans) pan.active = false
wish._seen = true
const near = (a, b) => Math.abs(a - b) <= 1e-6 * Math.abs(b - x.start) + 1e-3
const last = wish._fitted
const moved = last != null && !(near(x.start, last[0]) && near(x.end, last[1]))
if (cb_obj !== wish && moved) {
  show((x.end - x.start) / wish._width, (x.start + x.end) / 2, (y.start + y.end) / 2)
} else {
  const [x0, y0, x1, y1] = [wish.data.x0[0], wish.data.y0[0], wish.data.x1[0], wish.data.y1[0]]
  show(Math.max((x1 - x0) / w, (y1 - y0) / h), (x0 + x1) / 2, (y0 + y1) / 2)
  wish._fitted = [x.start, x.end]
}
wish._width = w
"""

_CURSOR = """
const send = () => { cursor._last = Date.now(); cursor.data = {x: [cb_obj.x], y: [cb_obj.y]} }
clearTimeout(cursor._timer)
const wait = pause - (Date.now() - (cursor._last ?? 0))
if (wait <= 0) send()
else cursor._timer = setTimeout(send, wait)
"""
_CURSOR_LEFT = "clearTimeout(cursor._timer); cursor.data = {x: [], y: []}"

# Mercator stretches by 1 / cos(latitude); the scale bar reads a range in metres on the ground at the map's middle.
_GROUND = """
const stretch = has_place.data.yes[0] ? Math.cosh((y.start + y.end) / 2 / 6378137) : 1
ground.setv({start: 0, end: (x.end - x.start) / stretch})
"""

# Degrees stand along the lower and the left edge of what is shown, clear of the caption, the corner and the scale bar.
# Those that would run into each other when the map is small are left out: every second one, every fourth, and so on.
_DEGREES = """
const w = plot.inner_width, h = plot.inner_height, metres = (x.end - x.start) / w
const {text, label, place, is_meridian, number, gap, room} = degrees.data, at = degrees.data
if (!(metres > 0)) return
for (let i = 0; i < label.length; i++) {
  let every = 1
  while (every * gap[i] < room[i] * metres) every *= 2
  const pixel = is_meridian[i] ? (place[i] - x.start) / metres : (y.end - place[i]) / metres
  const last = (is_meridian[i] ? (1 - bar) * w : h) - room[i]
  const is_clear = pixel > (is_meridian[i] ? 0 : caption) && pixel < last
  text[i] = is_clear && number[i] % every == 0 ? label[i] : ""
  at.x[i] = is_meridian[i] ? place[i] : x.start
  at.y[i] = is_meridian[i] ? y.start : place[i]
}
degrees.change.emit()
"""

_TOOL = "for (const [name, tool] of Object.entries(tools)) tool.active = name == mode.data.name[0]"


class LinkedMaps(Painter):
    """The figures and what they show. Methods change them; callbacks tell what the user did on them.

    ``on_cursor(x, y)`` (None, None outside), ``on_point(x, y)`` and ``on_area(corners)`` get metres on the map.
    """

    def __init__(
        self,
        names: Sequence[str],
        on_cursor: Callable[[float | None, float | None], None],
        on_point: Callable[[float, float], None],
        on_area: Callable[[tuple[tuple[float, float], ...]], None],
    ) -> None:
        super().__init__()
        self._on_cursor, self._on_point, self._on_area = on_cursor, on_point, on_area
        self.x_range, self.y_range = Range1d(0, 1), Range1d(0, 1)
        self._ground = Range1d(0, 1)
        self._wish = ColumnDataSource({"x0": [], "y0": [], "x1": [], "y1": []})
        self._reach = ColumnDataSource({"x": [], "y": [], "side": []})
        self._cursor = ColumnDataSource({"x": [], "y": []})
        self._mode = ColumnDataSource({"name": ["pan"]})
        self._has_place = ColumnDataSource({"yes": [True]})
        self._sea = ColumnDataSource({"x": [], "y": [], "w": [], "h": []})
        self._basemap = {
            name: ColumnDataSource({"xs": [], "ys": []}) for name in ("coast", "borders", "graticule", "edge")
        }
        self._land = ColumnDataSource({"xs": [], "ys": []})
        self._degrees = ColumnDataSource({name: [] for name in DEGREES})
        self._mark = ColumnDataSource({"x": [], "y": []})
        self._outline = ColumnDataSource({"xs": [], "ys": []})
        self._crosshair = [Span(dimension=d, line_dash="4 3", line_width=1) for d in ("width", "height")]
        self._inks: dict[str, list[Any]] = {
            name: [] for name in ("land", "sea", "coast", "borders", "graticule", "edge")
        }
        self._texts: list[Any] = []
        self._bars: list[ScaleBar] = []
        self._pans: list[PanTool] = []
        self._pictures: dict[str, ColumnDataSource] = {}
        self._mappers: dict[str, LinearColorMapper] = {}
        self._images: dict[str, Any] = {}
        self._shown: dict[str, np.ndarray | None] = {}
        self._extent: Extent = (0, 0, 1, 1)
        self._shape = (1, 1)
        self.figures = {name: self._make_figure(name) for name in names}
        self._link(next(iter(self.figures.values())))

    @property
    def document(self) -> Document | None:
        """The document that the figures are on."""
        return next(iter(self.figures.values())).document

    # What the page asks

    @painted
    def set_field(self, table: MercatorTable, layers: dict[str, Any], view: Extent | None = None) -> None:
        """Show another grid: its base map ``layers`` (see `map_layers`), and its extent or the ``view`` on it."""
        self._extent, self._shape = table.extent, table.shape
        self._has_place.data = {"yes": [table.has_place]}
        for name, source in self._basemap.items():
            source.data = {
                "xs": [line[:, 0] for line in layers[name]],
                "ys": [line[:, 1] for line in layers[name]],
            }
        self._land.data = layers["land"]
        self._sea.data = layers["sea"]
        self._degrees.data = layers["degrees"]
        x0, y0, x1, y1 = layers["reach"]
        self._reach.data = {"x": [(x0 + x1) / 2], "y": [(y0 + y1) / 2], "side": [x1 - x0]}
        for name, source in self._pictures.items():
            source.data = self._empty()
            self._shown.pop(name, None)
        self.go_to(view or self.home)

    @property
    def home(self) -> Extent:
        """The field's extent with a margin around it."""
        x0, y0, x1, y1 = self._extent
        mx, my = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
        return x0 - mx, y0 - my, x1 + mx, y1 + my

    @property
    def view(self) -> Extent:
        """The edges of the maps now, as the browser last told."""
        values = (self.x_range.start, self.y_range.start, self.x_range.end, self.y_range.end)
        return tuple(float(value) for value in values)  # type: ignore[return-value]

    @painted
    def go_to(self, view: Extent) -> None:
        """Show at least this extent."""
        x0, y0, x1, y1 = view
        self._wish.data = {"x0": [x0], "y0": [y0], "x1": [x1], "y1": [y1]}

    @painted
    def zoom(self, factor: float) -> None:
        """Zoom about the middle: a factor below 1 zooms in."""
        x0, y0, x1, y1 = self.view
        cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2 * factor, (y1 - y0) / 2 * factor
        self.go_to((cx - w, cy - h, cx + w, cy + h))

    @painted
    def show(self, name: str, picture: np.ndarray | None, opacity: float, is_grey: bool = False) -> None:
        """Put a class picture (h, w), row 0 north, on a map; None clears it. What is there is not sent again."""
        styles = {"filter": "grayscale(0.9)" if is_grey else "none"}
        if self.figures[name].styles != styles:
            self.figures[name].styles = styles
        glyph = self._images[name].glyph
        if glyph.global_alpha != opacity:
            glyph.global_alpha = opacity
        if name in self._shown and self._shown[name] is picture:
            return
        self._shown[name] = picture
        self._pictures[name].data = self._empty() if picture is None else self._placed(picture)

    @painted
    def set_palette(self, name: str, scale: ColourScale, theme: Theme) -> None:
        """Colour a map's classes."""
        palette = list(browser_palette(scale, theme))
        mapper = self._mappers[name]
        if mapper.palette != palette:
            mapper.update(palette=palette, low=-0.5, high=len(palette) - 0.5)

    @painted
    def set_inks(self, inks: dict[str, str]) -> None:
        """Colour the base map: land, sea, coast, borders, graticule, text."""
        for name, glyphs in self._inks.items():
            for glyph in glyphs:
                glyph.update(
                    **({"fill_color": inks[name]} if name in ("land", "sea") else {"line_color": inks[name]})
                )
        for glyph in self._texts:
            glyph.text_color = inks["text"]
        for bar in self._bars:
            bar.update(label_text_color=inks["text"], background_fill_color=inks["land"])
        for span in self._crosshair:
            span.line_color = inks["text"]

    @painted
    def set_mode(self, name: str) -> None:
        """What dragging does: "pan", "box" or "polygon"."""
        self._mode.data = {"name": [name]}

    @painted
    def mark_point(self, point: tuple[float, float] | None) -> None:
        """Mark a place on all maps."""
        self._mark.data = {"x": [point[0]] if point else [], "y": [point[1]] if point else []}

    @painted
    def mark_area(self, corners: Sequence[tuple[float, float]] | None) -> None:
        """Outline an area on all maps."""
        xs, ys = ([[c[0] for c in corners]], [[c[1] for c in corners]]) if corners else ([], [])
        self._outline.data = {"xs": xs, "ys": ys}

    # How it is made

    def _empty(self) -> dict[str, list[Any]]:
        return {"image": [], "x": [], "y": [], "dw": [], "dh": []}

    def _placed(self, picture: np.ndarray) -> dict[str, list[Any]]:
        x0, y0, x1, y1 = self._extent
        return {"image": [picture], "x": [x0], "y": [y0], "dw": [x1 - x0], "dh": [y1 - y0]}

    def _make_figure(self, name: str) -> figure:
        # Without the focus: near the edge of the base map the wheel still zooms out, and the map moves inwards.
        pan, wheel = PanTool(), WheelZoomTool(zoom_on_axis=False, maintain_focus=False)
        self._pans.append(pan)
        box = BoxSelectTool(renderers=[], description="Choose a box")
        polygon = PolySelectTool(renderers=[], description="Choose a polygon")
        plot = figure(
            x_range=self.x_range,
            y_range=self.y_range,
            tools=[pan, wheel, box, polygon, CrosshairTool(overlay=self._crosshair)],  # type: ignore[arg-type]
            active_drag=pan,
            active_scroll=wheel,
            active_tap=None,
            toolbar_location=None,
            sizing_mode="stretch_both",
            min_border=0,
            outline_line_color=None,
            name=f"map-{name}",
        )
        plot.axis.visible = False
        plot.grid.visible = False
        self._draw(plot, name)
        tools = {"pan": pan, "box": box, "polygon": polygon}
        self._mode.js_on_change("data", CustomJS(args={"tools": tools, "mode": self._mode}, code=_TOOL))
        # The mode stands among the arguments so that the document knows it: it hangs on nothing else.
        cursor = {"cursor": self._cursor, "pause": MILLISECONDS_BETWEEN_CURSORS, "mode": self._mode}
        plot.js_on_event(MouseMove, CustomJS(args=cursor, code=_CURSOR))
        plot.js_on_event(MouseLeave, CustomJS(args=cursor, code=_CURSOR_LEFT))
        plot.on_event(Tap, self._tapped)
        plot.on_event(SelectionGeometry, self._selected)
        return plot

    def _draw(self, plot: figure, name: str) -> None:
        # add_glyph makes one glyph where plot.rect() and its like make four: a page opens sooner.
        inks = self._inks
        inks["sea"].append(plot.add_glyph(self._sea, Rect(width="w", height="h", line_color=None)).glyph)
        inks["land"].append(plot.add_glyph(self._land, MultiPolygons(line_color=None)).glyph)
        self._mappers[name] = LinearColorMapper(palette=["#00000000"], low=-0.5, high=0.5)
        self._pictures[name] = ColumnDataSource(self._empty())
        image = Image(
            dw="dw", dh="dh", color_mapper=self._mappers[name], origin="top_left", anchor="bottom_left"
        )
        self._images[name] = plot.add_glyph(self._pictures[name], image)
        for layer, width, dash in (
            ("graticule", 0.6, "2 4"),
            ("borders", 0.8, "solid"),
            ("coast", 1.1, "solid"),
            ("edge", 1.0, "6 4"),
        ):
            lines = MultiLine(line_width=width, line_dash=dash)
            inks[layer].append(plot.add_glyph(self._basemap[layer], lines).glyph)
        text = Text(text_font_size="10px", x_offset=3, y_offset=-2)
        self._texts.append(plot.add_glyph(self._degrees, text).glyph)
        area = Patches(fill_color=MARK, fill_alpha=0.08, line_color=MARK, line_width=2)
        plot.add_glyph(self._outline, area)
        point = Scatter(marker="circle_cross", size=15, line_color=MARK, line_width=2, fill_color=None)
        plot.add_glyph(self._mark, point)
        bar = ScaleBar(
            range=self._ground,
            unit="m",
            orientation="horizontal",
            location="bottom_right",
            background_fill_alpha=0.7,
            border_line_color=None,
            label_text_font_size="10px",
            bar_line_width=2,
            bar_line_color=SCALE_BAR,
            padding=4,
            margin=6,
            length_sizing="adaptive",
            bar_length=BAR_LENGTH,
        )
        self._bars.append(bar)
        plot.add_layout(bar)

    def _link(self, first: figure) -> None:
        ranges = {"x": self.x_range, "y": self.y_range}
        wish = {"wish": self._wish, "reach": self._reach, "pans": self._pans}
        fit = CustomJS(args={**ranges, "plot": first, **wish}, code=_FIT)
        clear = {"caption": CAPTION, "bar": BAR_LENGTH}
        label = CustomJS(args={**ranges, "plot": first, "degrees": self._degrees, **clear}, code=_DEGREES)
        first.js_on_change("inner_width", fit)
        first.js_on_change("inner_height", fit)
        self._wish.js_on_change("data", fit)
        ground = CustomJS(args={**ranges, "ground": self._ground, "has_place": self._has_place}, code=_GROUND)
        for bounds in (self.x_range, self.y_range):
            bounds.js_on_change("start", ground)
            bounds.js_on_change("end", ground)
            bounds.js_on_change("end", label)
        self._degrees.js_on_change("data", label)
        self._cursor.on_change("data", self._cursor_moved)

    def _cursor_moved(self, attr: str, old: Any, new: Any) -> None:
        x, y = list(new["x"]), list(new["y"])
        self._on_cursor(*((float(x[0]), float(y[0])) if x and x[0] is not None else (None, None)))

    def _tapped(self, event: Tap) -> None:
        if self._mode.data["name"][0] != "polygon" and event.x is not None and event.y is not None:
            self._on_point(float(event.x), float(event.y))

    def _selected(self, event: SelectionGeometry) -> None:
        shape = event.geometry
        if not event.final:
            return
        if shape["type"] == "rect":
            x0, x1, y0, y1 = (float(shape[key]) for key in ("x0", "x1", "y0", "y1"))
            self._on_area(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))
        elif shape["type"] == "poly" and len(shape["x"]) >= 3:
            self._on_area(tuple((float(x), float(y)) for x, y in zip(shape["x"], shape["y"], strict=True)))

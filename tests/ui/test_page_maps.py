"""The maps of the page without a browser: frames, cursor, base map, legend, layers, themes, painting."""

import re

import numpy as np
import pytest
import xarray as xr

from geoscope.ui.data_step import summary_html
from geoscope.ui.legend import legend_html
from geoscope.ui.linked_maps import SCALE_BAR
from geoscope.ui.map_layers import map_layers
from geoscope.ui.nowcast_runs import Run
from geoscope.ui.nowcast_state import THRESHOLDS
from geoscope.ui.painting import Painter, painted
from geoscope.viz.colours import (
    FIRST,
    NO_DATA,
    OUTCOME,
    RAIN,
    RAIN_DIFFERENCE,
    RAIN_PERCEPTUAL,
    probability_scale,
)
from tests.ui.pages import picture, run_it


def test_the_axis_tells_what_can_be_seen(page):
    page.state.lead_steps = 2
    assert page.player.axis.kinds == ["observed"] * 5 + ["waiting"] * 2 + ["hidden"]
    run_it(page.desk)
    assert page.player.axis.kinds == ["observed"] * 5 + ["forecast"] * 2 + ["hidden"]
    page.state.shows_truth = True
    assert page.player.axis.kinds == ["observed"] * 5 + ["verified"] * 2 + ["observed"]


def test_the_first_map_shows_the_classes_of_its_frame(page):
    page.player.go_to(0)
    field = page.desk.field
    expected = field.table.apply(RAIN.classify(field.rain.values[0]))
    shown = picture(page)
    rained = expected > NO_DATA
    np.testing.assert_array_equal(shown[rained], expected[rained])
    assert (shown[expected == NO_DATA] != expected[expected == NO_DATA]).any()  # hatched
    assert shown.dtype == np.uint8


def test_the_same_frame_is_not_sent_twice(page):
    page.player.go_to(0)
    first = picture(page)
    page.board.refresh()
    assert picture(page) is first
    page.player.go_to(1)
    page.player.go_to(0)
    assert picture(page) is first  # kept


def test_the_cursor_reads_values_with_their_unit(page):
    page.player.go_to(0)
    x, y = page.desk.field.table.position_of(10, 5)
    page.board._cursor_moved(x, y)
    text = page.board._readout.object
    assert "observed 3.0 mm/h" in text
    assert "nobody &amp; co" in text
    page.board._cursor_moved(*page.desk.field.table.position_of(0, 0))
    assert "observed no data" in page.board._readout.object
    page.board._cursor_moved(0.0, 0.0)
    assert "observed outside" in page.board._readout.object
    page.board._cursor_moved(None, None)
    assert "Point at a map" in page.board._readout.object


def test_zoom_and_home_come_back_to_the_whole_field(page):
    maps = page.board.maps
    maps.x_range.update(start=maps.home[0], end=maps.home[2])
    maps.y_range.update(start=maps.home[1], end=maps.home[3])
    page.board.remember_view()
    assert page.state.view is None
    maps.zoom(0.5)
    wish = maps._wish.data
    assert wish["x1"][0] - wish["x0"][0] == pytest.approx((maps.home[2] - maps.home[0]) / 2)
    maps.x_range.update(start=wish["x0"][0], end=wish["x1"][0])
    maps.y_range.update(start=wish["y0"][0], end=wish["y1"][0])
    page.board.remember_view()
    assert page.state.view is not None


def test_themes_change_palettes_and_not_pictures(page):
    before = picture(page)
    palette = list(page.board.maps._mappers["observed"].palette)
    page.board.set_theme("dark")
    assert {bar.bar_line_color for bar in page.board.maps._bars} == {SCALE_BAR}
    assert picture(page) is before
    assert page.board.maps._mappers["observed"].palette != palette


def test_a_field_without_a_place_has_a_map_without_coasts(page, plain):
    layers = map_layers(plain.table)
    assert layers["coast"] == []
    assert len(layers["edge"]) == 1
    page.desk.use(plain)
    page.player.go_to(0)
    assert picture(page) is not None
    assert ", no place" in summary_html(plain)
    assert "Natural Earth" not in page.board._readout.object


def test_the_base_map_fills_all_that_the_maps_can_be_moved_to(page):
    layers = map_layers(page.desk.field.table)
    x0, y0, x1, y1 = layers["reach"]
    home = page.board.maps.home
    longer = max(home[2] - home[0], home[3] - home[1])
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert x1 - x0 > 4 * longer  # a window three times as wide as high shows the whole field
    meridians = [line for line in layers["graticule"] if line[0, 0] == line[-1, 0]]
    assert all(line[:, 1].min() == y0 and line[:, 1].max() == y1 for line in meridians)
    land = [
        np.concatenate([ring for part in layers["land"][axis] for rings in part for ring in rings])
        for axis in ("xs", "ys")
    ]
    edges = [land[0].min(), land[1].min(), land[0].max(), land[1].max()]
    np.testing.assert_allclose(edges, [x0, y0, x1, y1])  # far from any sea
    assert page.board.maps._reach.data["side"] == [x1 - x0]


def test_degrees_are_numbered_so_that_every_second_one_can_be_left_out(page):
    degrees = map_layers(page.desk.field.table)["degrees"]
    step = {48: set(), 26: set()}  # pixels that a label needs: along x, along y
    for label, number, room in zip(degrees["label"], degrees["number"], degrees["room"], strict=True):
        value = float(label[:-2]) * (-1 if label[-1] in "WS" else 1) if label != "0°" else 0.0
        assert number or value == 0
        step[room] |= {value / number} if number else set()
    assert all(len({round(one, 6) for one in steps}) == 1 for steps in step.values())
    for index, is_meridian in enumerate(degrees["is_meridian"]):
        assert degrees["place"][index] == degrees["x" if is_meridian else "y"][index]
        assert degrees["room"][index] == (48 if is_meridian else 26)


@pytest.mark.parametrize("scale", [RAIN, RAIN_PERCEPTUAL])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_legend_names_unit_and_special_classes(scale, theme):
    text = legend_html([scale, RAIN_DIFFERENCE, OUTCOME, probability_scale(5.0)], theme, "#ffffff")
    words = ["Rain rate (mm/h)", "dry (below 0.1)", "no data", "outside", "±0.5"]
    for word in (*words, "forecast − observed", "false alarm", "Probability of ≥ 5 mm/h (%)"):
        assert word in text
    places = [float(place) for place in re.findall(r"left:([\d.]+)%", text)]
    assert all(0 < place < 100 for place in places)


def test_painting_waits_for_a_served_document_and_keeps_the_order():
    class Document:
        session_context = object()
        ticks: list = []  # noqa: RUF012

        def add_next_tick_callback(self, call):
            self.ticks.append(call)

    class Picture(Painter):
        document = None
        done: list = []  # noqa: RUF012

        @painted
        def draw(self, what):
            self.done.append(what)

    picture = Picture()
    picture.draw("at once")
    picture.document = Document()
    picture.draw("first")
    picture.draw("second")
    assert picture.done == ["at once"]
    assert len(Document.ticks) == 1
    Document.ticks.pop()()
    assert picture.done == ["at once", "first", "second"]

    picture.paint(lambda: 1 / 0)
    picture.draw("third")
    with pytest.raises(ZeroDivisionError):
        Document.ticks.pop()()
    Document.ticks.pop()()  # one change that fails does not hold up those behind it
    assert picture.done[-1] == "third"


def test_the_threshold_is_asked_for_where_a_layer_has_one(page):
    place = page.board.tools._threshold
    assert place.styles["visibility"] == "hidden"
    page.state.layer = "probability"
    assert place.styles["visibility"] == "visible"
    assert place.visible  # its room is always there: nothing moves when it is asked for


def test_layers_bring_their_colours_and_their_legend(page):
    run_it(page.desk)
    page.player.go_to(6)
    page.state.param.update(shows_truth=True, layer="outcome", threshold=5.0)
    codes = set(np.unique(picture(page, "a")).tolist())
    assert {FIRST, FIRST + 1, FIRST + 2} <= codes  # hit, miss, false alarm
    assert "false alarm" in page.board._legend.object
    assert "CSI" in page.board._captions["a"].object
    x, y = page.desk.field.table.position_of(10, 10)
    page.board._cursor_moved(x, y)
    assert re.search(r"A (hit|miss|neither)", page.board._readout.object)
    page.state.layer = "probability"
    assert picture(page, "a") is None
    assert "gives one field and no probabilities" in page.board._notes["a"].object
    assert "Probability of ≥ 5 mm/h (%)" in page.board._legend.object


def test_chances_are_drawn_in_per_cent(page):
    run_it(page.desk)
    run = page.desk.run
    chance = xr.DataArray(
        np.full((len(THRESHOLDS), *run.forecast.shape), 0.42, np.float16),
        dims=("threshold", *run.forecast.dims),
        coords={"threshold": list(THRESHOLDS), "time": run.forecast["time"]},
    )
    page.desk._keep(Run(run.request, run.forecast, chance))
    page.player.go_to(6)
    page.state.layer = "probability"
    x, y = page.desk.field.table.position_of(10, 10)
    page.board._cursor_moved(x, y)
    assert "A 42 %" in page.board._readout.object
    assert "Persistence, probability ≥ 1" in page.export.fields()
    assert float(page.export.fields()["Persistence, probability ≥ 1"].max()) == pytest.approx(42, abs=0.1)

"""The page's parts without a browser: player, maps, legend, tabs, and what they say when there is nothing."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from panel_material_ui.base import MaterialComponent

from geoscope.ui.data_step import DropZone, summary_html
from geoscope.ui.legend import legend_html
from geoscope.ui.linked_maps import SCALE_BAR
from geoscope.ui.map_layers import map_layers
from geoscope.ui.nowcast_page import NowcastPage
from geoscope.ui.nowcast_runs import Run
from geoscope.ui.nowcast_state import THRESHOLDS
from geoscope.ui.open_field import OpenField
from geoscope.ui.page_thread import through
from geoscope.ui.painting import Painter, painted
from geoscope.ui.shell import KeysAndClock, page_switch, pages_beside
from geoscope.ui.uploads import UploadReceiver
from geoscope.viz.colours import (
    FIRST,
    NO_DATA,
    OUTCOME,
    RAIN,
    RAIN_DIFFERENCE,
    RAIN_PERCEPTUAL,
    probability_scale,
)

PATIENCE = 60.0


@pytest.fixture
def page(rain):
    page = NowcastPage(query={"model": "persistence", "also": "none"})
    page.desk.use(OpenField.of("upload:test.nc", "test", rain))
    yield page
    page.close()


def run_it(page):
    page.desk.start()
    deadline = time.monotonic() + PATIENCE
    while page.desk.is_running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def picture(page, name="observed"):
    images = page.board.maps._pictures[name].data["image"]
    return images[0] if images else None


def test_it_opens_with_florence():
    page = NowcastPage()
    assert page.desk.field.source == "sample:florence-2018"
    assert picture(page) is not None
    assert page.desk.data_problem == ""
    page.close()


def test_a_link_to_an_upload_falls_back_to_the_sample_and_says_so():
    page = NowcastPage(query={"data": "upload:mine.nc"})
    assert page.desk.field.source == "sample:florence-2018"
    assert "drop it again" in page._complaint.alert.object
    page.close()


def test_a_bad_link_is_said_on_the_page():
    page = NowcastPage(query={"lead": "many"})
    assert "lead='many'" in page._complaint.alert.object
    assert page._complaint.view.visible
    page.close()


def test_begin_runs_the_first_forecast(page):
    page.begin()
    run_it(page)
    assert page.desk.run is not None


def test_keys_move_the_frame(page):
    page.player.press("Home")
    assert page.state.frame_index == 0
    page.player.press("ArrowLeft")
    assert page.state.frame_index == 0
    page.player.press("ArrowRight")
    assert page.state.frame_index == 1
    page.player.press("End")
    assert page.state.frame_index == page.desk.last_frame == 7
    page.player.press("ArrowRight")
    assert page.state.frame_index == 7


def test_play_ends_with_the_forecast_and_loops(page):
    page.state.lead_steps = 2
    page.player.go_to(5)
    page.player.press(" ")
    assert page.state.is_playing
    page.player.tick()
    assert page.state.frame_index == 6  # issue frame 4 and two leads; frame 7 is hidden truth
    page.player.tick()
    assert page.state.frame_index == 0
    page.state.loops = False
    page.state.frame_index = 6
    page.player.tick()
    assert not page.state.is_playing
    page.player.press(" ")
    assert page.state.frame_index == 0  # begins anew
    assert page.state.is_playing


def test_speed_sets_the_beat(page):
    page.state.speed = 4
    page.player.toggle()
    assert page.player.keys.interval == 250
    assert page.player.keys.is_ticking
    page.player.step(1)
    assert not page.player.keys.is_ticking


def test_a_tick_is_answered_so_that_the_next_one_may_come():
    ticks = []
    keys = KeysAndClock(on_key=lambda key: None, on_tick=lambda: ticks.append(1), is_ticking=True)
    keys.sent = 1
    assert (ticks, keys.answered) == ([1], 1)
    keys.is_ticking = False
    keys.sent = 2
    assert (ticks, keys.answered) == ([1], 2)


def test_keys_that_were_not_asked_for_are_ignored():
    heard = []
    keys = KeysAndClock(on_key=heard.append, on_tick=lambda: None, keys=["Home"])
    for message in ({"key": "Home"}, {"key": "x"}, "Home", None):
        keys._handle_msg(message)
    assert heard == ["Home"]


def test_the_axis_moves_frame_and_issue_time(page):
    page.player.axis.frame = 2
    assert page.state.frame_index == 2
    page.player.axis.issue = 99
    assert page.state.issue_index == 7
    assert len(page.player.axis.times) == page.desk.last_frame + 1


def test_the_axis_tells_what_can_be_seen(page):
    page.state.lead_steps = 2
    assert page.player.axis.kinds == ["observed"] * 5 + ["waiting"] * 2 + ["hidden"]
    run_it(page)
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


def test_a_click_outside_the_field_chooses_nothing(page):
    page.board._point_chosen(0.0, 0.0)
    assert page.state.point is None
    page.board._point_chosen(*page.desk.field.table.position_of(10, 5))
    assert page.point.series() is not None


def test_a_box_and_a_polygon_become_an_area(page):
    (x0, y0), (x1, y1) = (page.desk.field.table.position_of(*place) for place in ((12, 4), (8, 12)))
    box = {"type": "rect", "x0": x0, "x1": x1, "y0": y0, "y1": y1}
    page.board.maps._selected(SimpleNamespace(geometry=box, final=False))
    assert page.state.area is None
    page.board.maps._selected(SimpleNamespace(geometry=box, final=True))
    assert len(page.state.area) == 4
    assert page.point._way.value == "mean"
    polygon = {"type": "poly", "x": [x0, x1, x1], "y": [y0, y0, y1]}
    page.board.maps._selected(SimpleNamespace(geometry=polygon, final=True))
    assert len(page.state.area) == 3
    assert "pixels" in page.point._text.object


def test_a_place_can_be_written(page):
    page.point._place.value_input = "49.8, 10.15"
    page.point._set_place()
    assert page.state.point is not None
    for text, reason in (("here", "for example"), ("0, 0", "outside the data"), ("89, 0", "ends at 85")):
        page.point._place.value_input = text
        page.point._set_place()
        assert reason in page.point._problem.alert.object


@pytest.fixture
def plain(rain):
    """A field of pixels of a kilometre that nobody knows the place of."""
    moved = rain.drop_vars("spatial_ref").assign_coords(x=np.arange(30) * 1e3, y=np.arange(24)[::-1] * 1e3)
    return OpenField.of("upload:plain.nc", "plain", moved)


def test_a_field_without_a_place_is_asked_for_in_kilometres(page, plain):
    assert page.point._place.label == "Latitude, longitude"
    page.desk.use(plain)
    assert page.point._place.label == "x, y in km"
    page.point._place.value_input = "2, 1.5"
    page.point._set_place()
    assert page.state.point == (2000.0, 1500.0)
    assert "x 2.0 km, y 1.5 km" in page.point._text.object
    for text, reason in (("here", "x and y in km"), ("200, 0", "x 200.0 km, y 0.0 km lies outside")):
        page.point._place.value_input = text
        page.point._set_place()
        assert reason in page.point._problem.alert.object


def test_every_line_of_the_point_chart_looks_different(page):
    run_it(page)
    page.board._point_chosen(*page.desk.field.table.position_of(10, 5))
    keys = re.findall(r'<path d="(.*?)" stroke="(.*?)" .*?stroke-dasharray="(.*?)"', page.point._keys.object)
    assert len(keys) == len(page.desk.loaded) + 3  # observed, issue time, frame shown
    assert len({(colour, dash) for _, colour, dash in keys}) == len(keys)
    assert [path for path, _, _ in keys[-2:]] == ["M5 0V16"] * 2  # vertical, as in the chart
    page.state.point = None


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


def test_tabs_that_are_put_away_change_their_theme(page):
    page.shell.page.dark_theme = True
    assert page.board.theme == "dark"
    hidden = [view for name, view in page._views.items() if name != page.state.tab]
    components = [part for view in hidden for part in view.select(MaterialComponent)]
    assert len(components) > 9
    assert all(part.dark_theme for part in components)


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


def test_the_lead_is_said_in_the_steps_of_the_field(page, rain):
    shown = next(part for part in page.model.content if part.label == "Lead")
    model = next(
        one for one in shown.get_root().references() if hasattr(getattr(one, "data", None), "options")
    )
    assert model.data.value == "30 min (3 frames)"
    hourly = rain.assign_coords(time=rain["time"].values[0] + np.arange(8) * np.timedelta64(1, "h"))
    page.desk.use(OpenField.of("upload:hourly.nc", "hourly", hourly))
    assert model.data.value == "3 h (3 frames)"


def test_a_forecast_a_that_failed_is_not_one_that_was_never_asked_for(page):
    assert page.run.message == "No forecast yet: press Run forecast."
    page.desk.problems = {"persistence": "the grid is too small"}
    assert page.run.message == "Forecast A could not be made; why stands below."


def test_texts_of_files_are_escaped(page):
    text = summary_html(page.desk.field)
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


@pytest.mark.parametrize("scale", [RAIN, RAIN_PERCEPTUAL])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_legend_names_unit_and_special_classes(scale, theme):
    text = legend_html([scale, RAIN_DIFFERENCE, OUTCOME, probability_scale(5.0)], theme, "#ffffff")
    words = ["Rain rate (mm/h)", "dry (below 0.1)", "no data", "outside", "±0.5"]
    for word in (*words, "forecast − observed", "false alarm", "Probability of ≥ 5 mm/h (%)"):
        assert word in text
    places = [float(place) for place in re.findall(r"left:([\d.]+)%", text)]
    assert all(0 < place < 100 for place in places)


def test_the_drop_zone_gives_files_or_a_reason():
    came, problems = [], []
    zone = DropZone(UploadReceiver(), on_files=came.append, on_problem=problems.append, label="Drop")
    zone._handle_msg({"status": "initializing"})
    zone._handle_msg({"status": "upload_event", "name": "a.exe", "data": b"1", "chunk": 1, "total_chunks": 1})
    zone._handle_msg({"status": "finished"})
    assert len(problems) == 1
    assert came == []
    zone._handle_msg({"status": "initializing"})
    zone._handle_msg({"status": "upload_event", "name": "a.nc", "data": b"1", "chunk": 1, "total_chunks": 1})
    zone._handle_msg({"status": "finished"})
    assert [path.name for path in came[0]] == ["a.nc"]
    zone._receiver.close()


def test_the_switch_shows_only_pages_that_exist(tmp_path):
    assert page_switch("nowcast", ["nowcast"]) == []
    assert [button.label for button in page_switch("nowcast", ["nowcast", "cuboids"])] == [
        "Nowcast",
        "Cuboids",
    ]
    for name in ("nowcast.py", "segment.py", "other.py"):
        (tmp_path / name).touch()
    assert pages_beside(tmp_path / "nowcast.py") == ["nowcast", "segment"]


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


def test_work_of_other_threads_reaches_the_page_by_its_own_thread_and_a_page_that_is_gone_hears_nothing():
    handed, ticks = [], []
    loop = SimpleNamespace(add_callback=lambda call, *args: handed.append((call, args)))
    session = SimpleNamespace(destroyed=False)
    document = SimpleNamespace(session_context=session, add_next_tick_callback=ticks.append)
    tell = through(loop, document)
    tell("a change")
    assert ticks == []  # the document hears of it from its loop only
    call, args = handed.pop()
    call(*args)
    assert ticks == ["a change"]
    session.destroyed = True
    call(*args)
    assert ticks == ["a change"]


def test_the_threshold_is_asked_for_where_a_layer_has_one(page):
    place = page.board.tools._threshold
    assert place.styles["visibility"] == "hidden"
    page.state.layer = "probability"
    assert place.styles["visibility"] == "visible"
    assert place.visible  # its room is always there: nothing moves when it is asked for


def test_layers_bring_their_colours_and_their_legend(page):
    run_it(page)
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
    run_it(page)
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


def test_a_link_to_a_model_that_cannot_run_says_so():
    page = NowcastPage(query={"model": "nobody", "b": "somebody", "also": "persistence,anybody"})
    assert page.state.model_b == "extrapolation"
    assert page.state.compared == ["persistence"]
    assert "'nobody' cannot run" in page._complaint.alert.object
    page.close()


def test_the_export_begins_with_forecast_a(page):
    assert page.export._what.value == "Observed"
    run_it(page)
    assert page.export._what.value == "Persistence"
    page.export._what.value = "Observed"
    page.state.shows_truth = True
    assert page.export._what.value == "Observed"


def test_a_file_of_a_stays_when_b_arrives_and_goes_when_a_is_run_again(page):
    run_it(page)
    page.export._give.param.update(disabled=False, label="Download a.nc")
    page.desk.param.trigger("run_b", "runs", "problems")
    assert page.export._give.label == "Download a.nc"
    run = page.desk.run
    page.desk._keep(Run(run.request, run.forecast.copy(), None))
    page.desk.param.trigger("runs")
    assert (page.export._give.label, page.export._give.disabled) == ("Download", True)

"""The page without a browser: opening, keys, links, areas, other threads, and what it says when there is nothing."""

import html
import re
from types import SimpleNamespace

import numpy as np
from bokeh.document import Document
from panel.io.state import set_curdoc
from panel_material_ui.base import MaterialComponent

from geoscope.ui.data_step import DropZone, summary_html
from geoscope.ui.nowcast_page import NowcastPage
from geoscope.ui.nowcast_runs import Run
from geoscope.ui.open_field import OpenField
from geoscope.ui.page_thread import through
from geoscope.ui.panes import Problem
from geoscope.ui.shell import KeysAndClock, begin, page_switch, pages_beside
from geoscope.ui.uploads import UploadReceiver
from tests.ui.pages import picture, run_it, wait_for


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


def test_a_problem_is_plain_text_and_makes_no_link():
    box = Problem()
    box.show("bad.nc: [here](http://example.org) <b>*.nc*")
    sent = box.alert._process_param_change({"object": box.alert.object})["object"]
    assert html.unescape(sent) == "<span>bad.nc: [here](http://example.org) &lt;b&gt;*.nc*</span>"
    assert box.view.visible
    box.show("")
    assert not box.view.visible


def test_another_way_to_data_forgets_what_went_wrong_on_the_one_before(page):
    page.desk.data_problem = "bad.nc: expected a radar file"
    assert page.data._problem.view.visible
    page.data._kind.value = "upload"
    assert page.desk.data_problem == ""
    assert not page.data._problem.view.visible


def test_after_a_file_every_sample_can_be_chosen_again(page):
    assert page.data._sample.value is None
    page.data._sample.value = "florence-2018"
    wait_for(lambda: page.desk.field.source == "sample:florence-2018")
    assert page.data._sample.value == "florence-2018"
    assert not page.desk.is_loading


def test_begin_runs_the_first_forecast(page):
    page.begin()
    run_it(page.desk)
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
    run_it(page.desk)
    page.board._point_chosen(*page.desk.field.table.position_of(10, 5))
    keys = re.findall(r'<path d="(.*?)" stroke="(.*?)" .*?stroke-dasharray="(.*?)"', page.point._keys.object)
    assert len(keys) == len(page.desk.loaded) + 3  # observed, issue time, frame shown
    assert len({(colour, dash) for _, colour, dash in keys}) == len(keys)
    assert [path for path, _, _ in keys[-2:]] == ["M5 0V16"] * 2  # vertical, as in the chart
    page.state.point = None


def test_tabs_that_are_put_away_change_their_theme(page):
    page.shell.page.dark_theme = True
    assert page.board.theme == "dark"
    hidden = [view for name, view in page._views.items() if name != page.state.tab]
    components = [part for view in hidden for part in view.select(MaterialComponent)]
    assert len(components) > 9
    assert all(part.dark_theme for part in components)


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


def test_a_session_made_without_its_page_asks_no_other_host_for_styles():
    document = Document()
    with set_curdoc(document):
        begin()
    assert document.template_variables["dist_url"] == "static/extensions/panel/"


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


def test_a_link_to_a_model_that_cannot_run_says_so():
    page = NowcastPage(query={"model": "nobody", "b": "somebody", "also": "persistence,anybody"})
    assert page.state.model_b == "extrapolation"
    assert page.state.compared == ["persistence"]
    assert "'nobody' cannot run" in page._complaint.alert.object
    page.close()


def test_the_export_begins_with_forecast_a(page):
    assert page.export._what.value == "Observed"
    run_it(page.desk)
    assert page.export._what.value == "Persistence"
    page.export._what.value = "Observed"
    page.state.shows_truth = True
    assert page.export._what.value == "Observed"


def test_a_file_of_a_stays_when_b_arrives_and_goes_when_a_is_run_again(page):
    run_it(page.desk)
    page.export._give.param.update(disabled=False, label="Download a.nc")
    page.desk.param.trigger("run_b", "runs", "problems")
    assert page.export._give.label == "Download a.nc"
    run = page.desk.run
    page.desk._keep(Run(run.request, run.forecast.copy(), None))
    page.desk.param.trigger("runs")
    assert (page.export._give.label, page.export._give.disabled) == ("Download", True)

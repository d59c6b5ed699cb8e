"""Scores on the page without a browser: what counts when, in which region, in which words and files."""

import csv
import io
import re

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.errors import DataError
from geoscope.ui import nowcast_desk
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_page import NowcastPage
from geoscope.ui.nowcast_runs import Request, Run, title_of
from geoscope.ui.nowcast_state import THRESHOLDS, NowcastState
from geoscope.ui.open_field import OpenField
from geoscope.ui.score_desk import ScoreDesk
from geoscope.ui.score_lines import chart_lines, chart_looks, smoothed_below
from geoscope.ui.score_report import ReportContent, make_report
from geoscope.ui.score_tables import lead_table, scores_csv, summary_table
from geoscope.ui.score_words import fair_to_add, fairness_note, say_counted, say_smoothed
from geoscope.ui.scoring import Question, Window, empty_board, fill, values_at
from tests.ui.pages import run_it, wait_for


def quiet(stage, done):
    pass


def square(field, rows, cols):
    """Corners on the map of a rectangle that holds the pixels of rows and cols."""
    (x0, y0), (x1, y1) = (
        tuple(map(float, field.table.position_of(row, col)))
        for row, col in ((rows[1] - 0.5, cols[0] - 0.5), (rows[0] - 0.5, cols[1] - 0.5))
    )
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


@pytest.fixture
def field(rain):
    return OpenField.of("upload:test.nc", "a <b>test</b>", rain)


def made_run(field, model, values, probability=None, leads=3):
    """A run issued at frame 4 whose frames are all ``values``."""
    request = Request(field.digest, model, 4, leads, "cpu")
    forecast = field.rain.isel(time=slice(5, 5 + leads)).copy(data=np.repeat(values[None], leads, axis=0))
    if probability is not None:
        probability = xr.DataArray(
            np.broadcast_to(probability, (len(THRESHOLDS), *forecast.shape)).astype(np.float16),
            dims=("threshold", *forecast.dims),
            coords={"threshold": list(THRESHOLDS), "time": forecast["time"]},
        )
    return Run(request, forecast.assign_attrs(run_card='{"model": "<i>"}'), probability)


@pytest.fixture
def runs(field):
    """A forecast that keeps frame 4, and one that says rain everywhere, with a chance of one half."""
    kept = made_run(field, "persistence", field.rain.values[4])
    wet = made_run(field, "climatology", np.full(field.rain.shape[1:], 4.0, np.float32), 0.5)
    return {"persistence": kept, "climatology": wet}


@pytest.fixture
def board(field, runs):
    question = Question((0.5, 5.0))
    return fill(empty_board(field, runs, question), field, runs, quiet)


def test_scores_equal_those_of_gs_verify(field, runs, board):
    for name, run in runs.items():
        expected = gs.verify(run.forecast, field.rain, thresholds=(0.5, 5.0))
        mine = board.until(3)[name]
        for score in ("csi", "pod", "far", "frequency_bias", "mae"):
            np.testing.assert_allclose(mine[score].values, expected[score].values)
        assert mine.attrs["csi_mean"] == pytest.approx(expected.attrs["csi_mean"])


def test_scores_count_up_to_a_lead_and_no_further(board):
    first, both = board.until(1)["persistence"], board.until(2)["persistence"]
    assert first.sizes["lead_time"] == 1
    assert both.sizes["lead_time"] == 2
    # The shower is 6 x 6 and moves a column a frame: 30 hits, 6 misses, 6 false alarms, then 24, 12, 12.
    assert values_at(first, "csi_pooled", threshold=0.5) == pytest.approx(30 / 42)
    assert values_at(both, "csi_pooled", threshold=0.5) == pytest.approx(54 / 90)
    assert board.until(0) == {}
    assert board.until(9)["persistence"].sizes["lead_time"] == 3


def test_a_region_is_cut_out_and_its_outside_is_unknown(field):
    window = Window(field, square(field, (8, 14), (4, 12)))
    assert window.pixels == 48
    np.testing.assert_array_equal(window.cut(field.rain.values[0]), field.rain.values[0][8:14, 4:12])
    x, y = zip(*square(field, (8, 16), (4, 12)), strict=True)
    triangle = ((x[0], y[0]), (x[1], y[1]), (x[2], y[2]))
    window = Window(field, triangle)
    part = window.cut(field.rain.values[0])
    assert np.isfinite(part).sum() == window.pixels < part.size


def test_a_region_changes_the_scores(field, runs):
    question = Question((0.5,), square(field, (8, 14), (9, 13)))
    board = fill(empty_board(field, runs, question), field, runs, quiet)
    assert not board.is_whole
    assert board.pixels == 24
    assert values_at(board.until(1)["persistence"], "csi_pooled", threshold=0.5) == 1.0


def test_a_region_without_enough_pixels_is_refused(field, runs):
    with pytest.raises(DataError, match="holds 4 pixels, a verification needs 16"):
        empty_board(field, runs, Question((0.5,), square(field, (8, 10), (4, 6))))


def test_without_truth_there_is_no_board(field, runs):
    late = {
        "persistence": Run(Request(field.digest, "persistence", 7, 3, "cpu"), runs["persistence"].forecast)
    }
    with pytest.raises(DataError, match="choose an earlier issue time"):
        empty_board(field, late, Question((0.5,)))


def test_only_forecasts_with_chances_have_a_reliability(board):
    lines = chart_lines(board.until(3), board, 0.5)["reliability"]
    assert lines[0]["name"] == "perfect"
    assert len(lines) == 2
    wet = lines[1]
    np.testing.assert_allclose(wet["x"], [0.5], atol=1e-3)
    np.testing.assert_allclose(wet["y"], [36 / 719], atol=1e-6)  # one of 720 pixels is unknown


def test_every_chart_has_its_lines_and_units(board):
    lines, looks = chart_lines(board.until(2), board, 5.0), chart_looks(board)
    assert list(lines) == list(looks)
    assert lines["spectrum"][0]["name"] == "observed"
    assert looks["mae"].y_label == "MAE (mm/h)"
    assert looks["csi"].x_span == pytest.approx((9.2, 30.8))  # the three leads and a little room
    np.testing.assert_array_equal(lines["frequency_bias"][0]["y"], [1, 1])  # what is right
    np.testing.assert_array_equal(lines["mean_error"][0]["y"], [0, 0])
    assert [line["name"] for line in lines["mae"]] == [title_of(name) for name in board.parts]
    np.testing.assert_array_equal(lines["csi"][0]["x"], [10, 20])
    assert lines["csi"][0]["labels"][0].startswith("+10 min: ")


def test_one_lead_alone_has_a_lead_axis_too(field, runs):
    one = {"persistence": made_run(field, "persistence", field.rain.values[4], leads=1)}
    board = fill(empty_board(field, one, Question((0.5,))), field, one, quiet)
    assert chart_looks(board)["csi"].x_span == pytest.approx((5.0, 15.0))


def test_which_structures_are_smoothed_away_is_said(field, board):
    share = np.ones(16)
    scores = {
        "persistence": xr.Dataset({"spectrum_ratio": (("lead_time", "wavenumber"), share[None])}),
        "climatology": xr.Dataset(
            {"spectrum_ratio": (("lead_time", "wavenumber"), np.where(np.arange(16) < 4, 1.0, 0.1)[None])}
        ),
    }
    size = board.side * board.pixel_km / 4
    assert smoothed_below(scores["persistence"], board) is None
    assert smoothed_below(scores["climatology"], board) == pytest.approx(size)
    said = say_smoothed(scores, board)
    assert f"{title_of('climatology')} below {size:.0f} km" in said
    assert "Persistence" not in said
    assert say_smoothed({"persistence": scores["persistence"]}, board) == ""


def test_tables_mark_the_better_one_and_leave_room_for_later_leads(board):
    scores = board.until(2)
    text = summary_table(scores, board, 0.5, "until now")
    assert "until now" in text
    assert 'class="best"' in text
    table = lead_table(scores, board, "csi", 0.5)
    assert table.count("<tr>") == 2 + board.leads
    assert "·" in table
    assert "+30 min" in table
    assert "FSS ≥ 5" in lead_table(scores, board, "fss", 5.0)
    assert "Mean error (mm/h)" in lead_table(scores, board, "mae", 5.0)
    assert lead_table({}, board, "csi", 0.5) == ""


def test_two_that_read_alike_are_both_the_best(board):
    alike = {name: board.until(3)["persistence"] for name in board.parts}
    assert 'class="best"' not in summary_table(alike, board, 0.5, "")
    three = {**board.until(3), "extrapolation": board.until(3)["persistence"]}
    row = lead_table(three, board, "csi", 0.5).split("+10 min")[1].split("</tr>")[0]
    cells = re.findall(r'<td class="(.*?)">|<td>', row)
    assert [("best" in cell) for cell in cells[:3]] == [True, False, True]


def test_csv_holds_every_score_with_its_place(board):
    text = scores_csv(board.until(3), board, {"data": "nobody\n& co"})
    assert text.startswith("# data: nobody & co\n")
    rows = list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))
    found = [
        row
        for row in rows
        if (row["model"], row["score"], row["lead_minutes"]) == ("persistence", "csi", "10")
    ]
    assert [row["threshold_mm_h"] for row in found] == ["0.5", "5"]
    assert float(found[0]["value"]) == pytest.approx(30 / 42, abs=1e-5)
    assert {"fss", "mae", "spectrum_forecast", "brier", "csi_mean"} <= {row["score"] for row in rows}


def test_the_report_stands_alone_and_escapes_what_files_say(field, runs, board):
    text = make_report(ReportContent(field, runs, board, 2, 0.5), quiet)
    assert text.startswith("<!doctype html>")
    assert not re.search(r"(src|href)=.?https?:", text)
    assert text.count("data:image/png;base64,") == 2
    assert text.count("<svg viewBox") > 9
    assert "<b>test</b>" not in text
    assert "<i>" not in text.replace('<i class="key"', "")
    for words in ("Fair", "fairly compared", "2 of 3 leads", "run card", "nobody &amp; co", "CSI by lead"):
        assert words.lower() in text.lower(), words


def test_the_fair_comparison_is_named():
    note = fairness_note(("pysteps-anvil", "persistence"))
    assert "fairly compared with" in note
    assert "no fair comparison" in note
    assert "Read it against pysteps S-PROG" in fairness_note(
        ("pysteps-anvil", "persistence", "pysteps-sprog")
    )
    assert (
        fair_to_add(["pysteps-anvil", "persistence"], ["pysteps-steps", "pysteps-sprog"]) == "pysteps-sprog"
    )
    assert fair_to_add(["pysteps-anvil", "persistence"], ["persistence"]) == ""
    assert fair_to_add(["pysteps-anvil", "pysteps-sprog"], ["pysteps-sprog"]) == ""


def test_what_is_counted_is_said(board):
    assert "all 3 leads" in say_counted(board, 3)
    assert "1 of 3 leads" in say_counted(board, 1)
    assert "Nothing counted yet" in say_counted(board, 0)


@pytest.fixture
def desks(field):
    state = NowcastState(model="persistence", model_b="climatology", compared=[], lead_steps=3)
    desk = NowcastDesk(state)
    desk.use(field)
    scores = ScoreDesk(state, desk)
    yield state, desk, scores
    desk.close()
    scores.close()


def counted(scores):
    wait_for(
        lambda: scores.board is not None and not scores.is_counting and scores.counted == scores.board.leads
    )


def test_scores_come_when_the_truth_is_shown_and_follow_the_choices(desks):
    state, desk, scores = desks
    run_it(desk)
    assert scores.board is None
    state.shows_truth = True
    counted(scores)
    assert list(scores.board.parts) == ["persistence", "climatology"]
    state.thresholds = [1.0]
    counted(scores)
    assert scores.board.question.thresholds == (1.0,)
    state.area = square(desk.field, (8, 14), (4, 12))
    counted(scores)
    assert scores.board.pixels == 48
    state.area = square(desk.field, (8, 9), (4, 5))
    assert scores.board is None
    assert "draw a larger one" in scores.problem
    state.area = None
    assert scores.counted == scores.board.leads  # counted before, so it is there at once
    state.shows_truth = False
    assert scores.board is None


def test_scores_count_what_the_player_has_passed(desks):
    state, desk, scores = desks
    run_it(desk)
    state.shows_truth = True
    counted(scores)
    state.frame_index = 2
    assert scores.played == 0
    state.frame_index = 5
    assert scores.played == 1
    state.frame_index = 7
    assert scores.played == 3
    state.param.update(follows_player=False, frame_index=0)
    assert scores.played == 3


def test_no_truth_no_scores_but_a_reason(desks):
    state, desk, scores = desks
    state.issue_index = 7
    run_it(desk)
    state.shows_truth = True
    assert "earlier issue time" in scores.problem


@pytest.fixture
def page(rain):
    page = NowcastPage(query={"model": "persistence", "b": "climatology", "also": "none"})
    page.desk.use(OpenField.of("upload:test.nc", "test", rain))
    run_it(page.desk)
    yield page
    page.close()


def test_the_tab_grows_with_the_player(page):
    tab = page._verification
    assert "still hidden" in tab._text.object
    tab._verify()
    counted(page.scores)
    page.player.go_to(4)
    assert "Nothing counted yet" in tab._summary.object
    page.player.go_to(5)
    assert "1 of 3 leads" in tab._summary.object
    page.player.go_to(7)
    assert "all 3 leads" in tab._summary.object
    assert "Fair comparison" in tab._fair.object


def test_the_downloads_give_what_counts_now(page):
    assert page.downloads.csv().getvalue() == ""
    page.state.shows_truth = True
    counted(page.scores)
    page.player.go_to(6)
    text = page.downloads.csv().getvalue()
    assert "fair comparison" in text
    assert ",30," not in text  # the third lead was not passed
    page.downloads.prepare()
    wait_for(lambda: page.downloads._given.visible)
    assert "<!doctype html>" in (page.downloads._folder / page.downloads._give.filename).read_text()
    page.player.go_to(7)
    assert not page.downloads._given.visible


def test_a_compared_model_runs_as_soon_as_it_is_chosen(page):
    page._verification._compared.value = ["extrapolation"]
    wait_for(lambda: not page.desk.is_running)
    assert list(page.desk.loaded) == ["persistence", "climatology", "extrapolation"]


def test_the_last_threshold_cannot_be_taken_away(page):
    chosen = page._verification._thresholds
    chosen.value = [5.0]
    assert page.state.thresholds == [5.0]
    chosen.value = []
    assert page.state.thresholds == [5.0]
    assert chosen.value == [5.0]


def test_an_a_that_cannot_run_leaves_b_to_be_verified_and_given_away(rain, monkeypatch):
    def only_persistence(field, request, progress):
        if request.model != "persistence":
            raise DataError("the grid is too small")
        return original(field, request, progress)

    original = nowcast_desk.make_run
    monkeypatch.setattr(nowcast_desk, "make_run", only_persistence)
    page = NowcastPage(query={"model": "extrapolation", "b": "persistence", "also": "none"})
    desk = page.desk
    desk.use(OpenField.of("upload:test.nc", "test", rain))
    desk.start()
    wait_for(lambda: not desk.is_running)
    assert desk.run is None
    assert desk.leading is desk.run_b
    assert not desk.is_stale
    assert list(desk.loaded) == ["persistence"]
    assert "Persistence, issued" in page.run.message
    assert "Forecast A could not be made" in page.run.message
    assert "forecast" in page.player.axis.kinds
    page._verification._verify()
    wait_for(lambda: page.scores.board is not None and not page.scores.is_counting)
    assert list(page.scores.board.parts) == ["persistence"]
    assert "the grid is too small" in page._verification._text.object
    assert not page.export._make.disabled
    page.state.issue_index = 2  # the reason was that of another forecast
    assert desk.run_problem == ""
    page.close()

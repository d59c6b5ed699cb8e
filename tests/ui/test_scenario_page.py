"""The scenarios page without a browser, with a stand-in for the model: slider, maps, fan, verdict, files."""

import numpy as np
import pytest
import xarray as xr

from geoscope.errors import ConfigError
from geoscope.ui.open_field import OpenField
from geoscope.ui.scenario_catchment import corners_of
from geoscope.ui.scenario_frames import scenario_frames
from geoscope.ui.scenario_page import ScenarioPage
from geoscope.ui.scenario_runs import CASES, PREVIEW_STEPS
from geoscope.ui.scenario_series import depths, fan_of
from geoscope.ui.scenario_state import GRID, ScenarioState
from geoscope.ui.scenario_truth import outlook_crps, truth_of
from geoscope.viz.scenario_outlook import density
from tests.ui.pages import wait_for
from tests.ui.scenario_stand_in import StandInRunner


@pytest.fixture
def runner(monkeypatch):
    runner = StandInRunner()
    monkeypatch.setattr("geoscope.inference.scenarios.load_model", lambda name, device: runner)
    CASES.clear()
    yield runner
    CASES.clear()


@pytest.fixture
def page(rain, runner):
    page = ScenarioPage(query={"members": "2", "steps": "5"})
    page.desk.use(OpenField.of("upload:test.nc", "test", rain))
    page.desk.is_begun = True
    page.desk.start()
    settle(page)
    yield page
    page.close()


def settle(page):
    wait_for(lambda: not page.desk.is_running)
    assert page.desk.problem == ""


def test_the_slider_draws_quick_looks_everywhere_and_members_where_it_stands(page):
    drawn = page.desk.case.drawn
    assert {sigma for sigma, member, steps in drawn if steps == PREVIEW_STEPS} == set(GRID)
    refined = sorted((sigma, member) for sigma, member, steps in drawn if steps == 5)
    assert refined == [(0.0, 0), (0.0, 1), (2.0, 0), (2.0, 1)]
    assert "n = +2" in page.strip._words.object
    assert "2 members" in page.strip._words.object


def test_a_slider_that_moves_on_a_drawn_case_opens_nothing_again(page, runner):
    case = page.desk.case
    page.state.sigma = -1.5
    settle(page)
    assert page.desk.case is case
    assert len(page.desk.members(-1.5)) == 2
    count = len(runner.drawn)
    page.state.sigma = 2.0
    settle(page)
    assert len(runner.drawn) == count


def test_maps_show_the_scenario_the_expected_one_and_their_difference(page):
    page.player.go_to(page.state.issue_index + 1)
    maps = scenario_frames(page.desk, page.state.frame_index)
    np.testing.assert_allclose(
        maps["third"].values, maps["scenario"].values - maps["expected"].values, equal_nan=True
    )
    assert maps["scenario"].note == ""
    page.state.sigma = 4.0
    settle(page)
    assert (
        "Beyond what training has seen" in scenario_frames(page.desk, page.state.frame_index)["scenario"].note
    )


@pytest.mark.parametrize("layer", ["mean", "spread", "worst", "probability", "observed"])
def test_the_third_map_shows_what_was_chosen(page, layer):
    page.state.param.update(layer=layer, threshold=5.0)
    page.player.go_to(page.state.issue_index + 1)
    page.state.shows_truth = layer == "observed"
    values = page.board.frames(page.state.frame_index)["third"].values
    members = np.stack([one.rain[0] for one in page.desk.members(2.0)])
    expected = {
        "mean": members.mean(axis=0),
        "spread": members.std(axis=0, ddof=1),
        "worst": members.max(axis=0),
        "probability": 100.0 * np.where(np.isnan(members[0]), np.nan, (members >= 5).mean(axis=0)),
        "observed": page.desk.field.rain.values[page.state.frame_index],
    }[layer]
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_pictures_of_other_choices_are_marked_as_old(page):
    page.desk.is_begun = False  # nothing is drawn by itself
    page.state.issue_index -= 1
    page.player.go_to(page.desk.case.question.issue_index + 1)
    frame = page.board.frames(page.state.frame_index)["scenario"]
    assert frame.is_dim
    assert frame.note.startswith("Old: drawn for other choices")
    assert "Old" in page.strip._words.object
    assert "other choices" in page.draw.message


def test_control_acts_on_the_mean_of_a_drawn_area(page):
    field = page.desk.field
    x0, y0 = field.table.position_of(18, 2)
    x1, y1 = field.table.position_of(5, 25)
    page.state.area = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    settle(page)
    assert not page.desk.is_stale
    fan = fan_of(page.desk)
    assert fan is not None
    assert fan.place.startswith("mean over the drawn area")
    mean = np.nanmean(fan.lines[2.0, 0])
    assert mean == pytest.approx(page.desk.case.source.asked_mean(2.0), rel=0.05)


def test_cancel_keeps_what_was_drawn(page):
    page.state.sigma = 1.0
    page.desk.cancel()
    assert not page.desk.is_running
    assert page.desk.case is not None


def test_a_dry_field_says_what_to_do(page, rain):
    page.desk.use(OpenField.of("upload:dry.nc", "dry", rain * 0.0))
    wait_for(lambda: page.desk.problem)
    assert "mu and sigma are undefined without rain" in page.desk.problem
    assert "undefined" in page.board.frames(page.state.issue_index + 1)["scenario"].note


def test_the_verdict_says_where_the_truth_lies(page):
    page.state.tab = "verdict"
    assert truth_of(page.desk) is None
    page.state.shows_truth = True
    truth = truth_of(page.desk)
    assert truth is not None
    issue, leads = page.state.issue_index, page.state.lead_steps
    rain = page.desk.field.rain.values[issue + 1 : issue + 1 + leads]
    assert truth.mean == pytest.approx(np.nanmean(rain), rel=1e-5)
    assert page.desk.case.source.asked_mean(truth.sigma) == pytest.approx(truth.mean, rel=1e-5)


def test_crps_of_the_forecast_mean_is_least_where_it_is_expected(page):
    source = page.desk.case.source
    scores = [outlook_crps(source, source.asked_mean(n)) for n in (-2.0, 0.0, 2.0, 4.0)]
    assert np.argmin(scores) in (0, 1)
    assert scores[1] < scores[2] < scores[3]
    assert scores[1] > 0


def test_the_density_has_mass_one_and_spread_one():
    sigma = np.linspace(-200, 200, 400_001)
    mass = density(sigma, 5.0) * (sigma[1] - sigma[0])
    assert mass.sum() == pytest.approx(1.0, abs=1e-5)
    assert (mass * sigma**2).sum() == pytest.approx(1.0, abs=1e-3)


def test_depths_by_hand():
    found = depths(np.array([np.nan, 6.0, 12.0, 0.0, 6.0]), 10.0)
    assert found == pytest.approx({10: 2.0, 30: 3.0, 40: 4.0})


def test_files_carry_the_scenarios(page, tmp_path):
    page.export._what.value = "all"
    field = page.export.field()
    assert field is not None
    assert field.dims == ("sigma", "member", "time", "y", "x")
    assert field["sigma"].values.tolist() == [0.0, 2.0]
    path = page.export._maker()(lambda stage, share: None)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data["rain_rate"].shape == field.shape
    page.export._kind.value = "gif"
    assert "choose the scenario on the first map" in page.export.missing()
    page.export._what.value = "shown"
    assert page.export.missing() == ""
    assert page.export.field().dims == ("time", "y", "x")
    page.export._kind.value = "csv"
    text = page.export._maker()(lambda stage, share: None).read_text()
    assert "n = +2 member 2 (mm/h)" in text


def test_a_link_keeps_the_scenario():
    state = ScenarioState(sigma=-1.5, members=8, layer="worst")
    other = ScenarioState()
    assert other.read_address(state.address()) == []
    assert (other.sigma, other.members, other.layer) == (-1.5, 8, "worst")
    assert other.read_address({"n": "9"}) == ["the link's n='9' cannot be used; the default stands"]


SQUARE = b'{"type": "Polygon", "coordinates": [[[10, 49], [11, 49], [11, 50], [10, 49]]]}'


def test_a_catchment_comes_as_corners_on_the_map():
    corners = corners_of(b'{"type": "Feature", "geometry": ' + SQUARE + b"}", 1000, True)
    assert len(corners) == 3
    assert corners[0][0] == pytest.approx(10 / 180 * np.pi * 6378137)


@pytest.mark.parametrize(
    ("content", "most", "has_place", "line"),
    [
        (SQUARE, 1000, False, "the field has no place on the Earth"),
        (SQUARE, 10, True, "more than 1e-05 MB"),
        (b"{", 1000, True, "cannot be read as GeoJSON"),
        (b'{"type": "Point", "coordinates": [0, 0]}', 1000, True, "holds no polygon"),
        (SQUARE.replace(b"49", b"490"), 1000, True, "no longitudes and latitudes"),
    ],
)
def test_a_catchment_that_cannot_be_is_refused(content, most, has_place, line):
    with pytest.raises(ConfigError, match=line):
        corners_of(content, most, has_place)

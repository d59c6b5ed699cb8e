"""The nowcast page in real Chromium: what a forecaster does with it, and what can go wrong."""

import json
import os
import re
import time
from pathlib import Path

import pytest
import xarray as xr

from tests.ui.browser import PATIENCE, Server, Visit
from tests.ui.conftest import make_rain

playwright = pytest.importorskip("playwright.sync_api", reason="pip install geoscope[dev]")
APP = Path(__file__).parents[2] / "apps" / "nowcast.py"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    make_rain().to_netcdf(root / "shower.nc", engine="h5netcdf")
    (root / "text.nc").write_text("this is not radar data")
    return root


@pytest.fixture
def server(tmp_path_factory, data_root):
    environment = {**os.environ, "GEOSCOPE_DATA_ROOT": str(data_root), "OMP_NUM_THREADS": "1"}
    log = tmp_path_factory.mktemp("log") / "server.log"
    server = Server([APP, Path(__file__).with_name("slow_page.py")], log, environment)
    yield server
    server.stop()
    text = log.read_text()  # a tab closed while a message is on its way leaves a traceback of tornado's own
    ours = re.search(r'File ".*[/\\]geoscope[/\\](ui|inference)', text)
    assert ours is None, text[max(ours.start() - 3000, 0) : ours.start() + 3000]


@pytest.fixture
def browser(chromium):
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(server, browser):
    visits = []

    def open_page(query="", page="nowcast", **options):
        visits.append(Visit(browser, server.url(query, page), **options))
        return visits[-1]

    yield open_page
    for one in visits:
        one.close()
        assert one.outside == set()
        assert one.errors == []


def until(condition):
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_it_opens_with_a_storm_and_its_forecast(visit):
    one = visit()
    one.wait_for_forecast()
    assert one.page.title() == "geoscope Nowcast"
    assert one.page.locator(".caption").count() == 3
    assert "lead +3 h" in one.clock()
    assert one.page.get_by_text("NOAA Stage IV, public domain").count() > 0
    assert one.page.get_by_text("Rain rate (mm/h)").is_visible()
    for word in ("dry (below 0.1)", "no data", "outside"):
        assert one.page.get_by_text(word, exact=True).is_visible()
    assert not one.is_too_wide()


def test_keys_step_and_play_moves_on(visit):
    one = visit("?data=sample:florence-2018&issue=11&frame=11")
    one.wait_for_forecast()
    one.wait_for_clock("06:00 UTC")
    one.page.keyboard.press("ArrowRight")
    one.wait_for_clock("07:00 UTC lead +1 h")
    one.page.keyboard.press("ArrowLeft")
    one.wait_for_clock("issue time")
    one.page.keyboard.press("Home")
    one.wait_for_clock("13 Sep 2018 19:00 UTC")
    one.page.keyboard.press("Space")
    one.wait_for_clock("13 Sep 2018 21:00 UTC")
    one.page.keyboard.press("Space")
    one.page.get_by_role("button", name="Play (space)").wait_for()
    assert one.clock().startswith(("13 Sep 2018", "14 Sep 2018"))


def test_a_click_on_the_axis_chooses_the_issue_time(visit):
    one = visit()
    one.wait_for_forecast()
    lane = one.page.get_by_role("slider", name="Issue time").bounding_box()
    one.page.mouse.click(lane["x"] + lane["width"] * 8.5 / 23, lane["y"] + lane["height"] / 2)
    one.page.get_by_text("The maps show an older forecast").wait_for()
    one.page.get_by_text("Old forecast, issued 14 Sep 2018 06:00 UTC.").first.wait_for()
    one.page.get_by_role("button", name="Run forecast").click()
    one.page.get_by_text("issued 14 Sep 2018 03:00 UTC.").first.wait_for()
    frames = one.page.get_by_role("slider", name="Frame shown")
    frames.focus()
    frames.press("End")
    until(lambda: frames.get_attribute("aria-valuetext") == "14 Sep 2018 17:00 UTC")
    one.wait_for_clock("17:00 UTC")
    assert "lead +14 h" in one.clock()
    assert (
        one.page.get_by_role("slider", name="Issue time").get_attribute("aria-valuetext")
        == "14 Sep 2018 03:00 UTC"
    )


def test_cancel_gives_a_run_up_and_another_one_follows(visit):
    one = visit("?data=sample:florence-2018&issue=11&lead=6", page="slow_page")
    one.page.get_by_text("slow on purpose").wait_for()
    one.page.get_by_text(re.compile(r"\d+ (s|min) left")).wait_for()
    one.page.get_by_role("button", name="Cancel").click()
    one.page.get_by_text("No forecast yet: press Run forecast.", exact=True).wait_for()
    one.choose("Lead", "2 h (2 frames)")
    one.page.get_by_role("button", name="Run forecast").click()
    one.wait_for_forecast()
    one.page.get_by_text("issued 14 Sep 2018 06:00 UTC.").first.wait_for()
    assert one.page.get_by_text("slow on purpose").count() == 0


def test_a_point_a_box_and_their_series_as_a_file(visit):
    one = visit("?data=sample:florence-2018&issue=11&frame=11&tab=point")
    one.wait_for_forecast()
    one.page.mouse.move(*one.place("observed", 0.5, 0.5))
    one.page.get_by_text(re.compile(r"° N, .* observed .* mm/h")).wait_for()
    one.click_map("observed", 0.5, 0.5)
    one.page.get_by_text(re.compile(r"^Value at \d+\.\d+° N")).wait_for()
    one.page.get_by_text(re.compile(r"06:00 UTC: observed \d+\.\d")).wait_for()
    draw_box(one, "a")
    one.page.get_by_text(re.compile(r"^Mean over area of \d+ pixels")).wait_for()
    one.page.get_by_role("button", name="Area maximum").click()
    one.page.get_by_text(re.compile(r"^Maximum over area of \d+ pixels")).wait_for()
    one.page.get_by_role("tab", name="Export").click()
    one.choose("Format", "Point or area series CSV")
    text = download(one).read_text()
    assert "# run_card: {" in text
    assert "observed (mm/h)" in text


def draw_box(one, name: str) -> None:
    one.page.get_by_role("button", name="Box").click()
    one.page.wait_for_function(
        "[...Bokeh.documents[0].all_models].some((model) => model.type == 'BoxSelectTool' && model.active)"
    )
    one.page.mouse.move(*one.place(name, 0.4, 0.4))
    one.page.mouse.down()
    one.page.mouse.move(*one.place(name, 0.5, 0.5), steps=4)
    one.page.mouse.move(*one.place(name, 0.6, 0.6), steps=4)
    one.page.mouse.up()


def download(one) -> Path:
    one.page.get_by_role("button", name="Prepare file").click()
    button = one.page.get_by_role("button", name=re.compile("^Download .*B"))
    button.wait_for()
    with one.page.expect_download() as waiting:
        button.click()
    path = Path(waiting.value.path()).with_name(waiting.value.suggested_filename)
    waiting.value.save_as(path)
    return path


def test_verification_counts_with_the_player_in_a_box_and_gives_files(visit):
    one = visit("?data=sample:florence-2018&issue=11&frame=12&model=extrapolation&b=persistence&also=none")
    one.wait_for_forecast()
    one.page.get_by_role("button", name="Verify against what happened").click()
    one.page.get_by_text("Scores to +1 h: 1 of 3 leads").wait_for()
    one.page.get_by_role("columnheader", name="CSI ≥ 1").wait_for()
    one.page.get_by_text("fairly compared with").first.wait_for()
    one.choose("Layer of A and B", "Hits and misses")
    one.page.get_by_text("false alarm", exact=True).first.wait_for()
    one.page.get_by_text(re.compile(r"CSI 0\.\d\d · hit \d+, missed")).first.wait_for()
    one.page.locator(".clock").click()  # away from the list, whose own keys these are
    one.page.keyboard.press("End")
    one.page.get_by_text("Scores to +3 h: all 3 leads").wait_for()
    draw_box(one, "a")
    one.page.get_by_text("scored over the area drawn on the maps").wait_for()
    one.page.get_by_role("button", name="Make HTML report").click()
    button = one.page.get_by_role("button", name=re.compile("^Download report"))
    button.wait_for()
    with one.page.expect_download() as waiting:
        button.click()
    assert "<!doctype html>" in Path(waiting.value.path()).read_text()
    one.page.get_by_role("button", name="Score the whole field").click()
    one.page.get_by_text("scored over the whole field").wait_for()


def test_the_forecast_as_netcdf_carries_its_run_card(visit, tmp_path):
    one = visit("?tab=export")
    one.wait_for_forecast()
    path = download(one)
    with xr.open_dataset(path, engine="h5netcdf") as data:
        rain = data["rain_rate"]
        assert rain.sizes["time"] == 3
        card = json.loads(data.attrs.get("run_card") or rain.attrs["run_card"])
    assert card["issue_time"] == "2018-09-14T06:00:00Z"


def test_a_bad_upload_says_why_and_a_good_one_is_summarised_before_use(visit, data_root):
    one = visit("?model=persistence")  # the test's grid is too small for the learned one
    one.wait_for_forecast()
    one.page.get_by_role("button", name="Upload").click()
    one.page.get_by_text("Up to 200 files").wait_for()
    files = one.page.locator("input[type=file]")
    files.set_input_files(data_root / "text.nc")
    one.page.get_by_role("alert").filter(has_text="text.nc").wait_for()
    files.set_input_files({"name": "evil.exe", "mimeType": "application/x-msdownload", "buffer": b"MZ"})
    one.page.get_by_role("alert").filter(has_text="evil.exe is not a radar file by its name").wait_for()
    files.set_input_files(data_root / "shower.nc")
    one.page.get_by_text("Read, not used yet: shower.nc").wait_for()
    assert one.page.get_by_text("made for a test <b>bold</b>").is_visible()  # as text, not as HTML
    one.page.get_by_role("button", name="Use this data").click()
    one.wait_for_clock("1 Jun 2020")
    one.page.get_by_text("issued 1 Jun 2020 12:40 UTC.").first.wait_for()


def test_the_server_s_folder_can_be_read_and_not_left(visit):
    one = visit()
    one.wait_for_forecast()
    one.page.get_by_role("button", name="Server").click()
    field = one.page.get_by_label("File, folder or pattern")
    field.fill("../../etc/passwd")
    one.page.get_by_role("button", name="Read", exact=True).click()
    one.page.get_by_role("alert").filter(has_text="not a path inside the server's data folder").wait_for()
    field.fill("show*.nc")
    one.page.get_by_role("button", name="Read", exact=True).click()
    one.page.get_by_text(re.compile("Read, not used yet: show")).wait_for()
    one.page.get_by_role("button", name="Use this data").wait_for()
    assert "Sep 2018" in one.clock()  # the file waits to be used


def test_it_fits_a_phone_and_the_dark(visit):
    one = visit(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    one.wait_for_forecast()
    assert not one.is_too_wide()
    assert not one.page.get_by_text("Device").is_visible()  # the steps are put away
    one.page.get_by_role("button", name="Open drawer").click()
    one.page.get_by_role("button", name="Run forecast").wait_for(state="visible")
    background = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", background)[:3]) < 60


def test_a_link_reopens_the_view_and_two_users_do_not_meet(visit):
    one, other = visit("?frame=12&issue=10&layer=rain&truth=1"), visit()
    one.wait_for_forecast()
    other.wait_for_forecast()
    one.choose("Layer of A and B", "Difference")
    one.choose("Colours", "Perceptual")
    one.page.locator(".clock").click()  # away from the list, whose own keys these are
    one.page.keyboard.press("ArrowRight")
    one.wait_for_clock("14 Sep 2018 08:00 UTC")
    one.page.wait_for_url(re.compile("layer=difference.*scale=perceptual|scale=perceptual.*layer=difference"))
    one.page.wait_for_url(re.compile("frame=13"))
    assert "14 Sep 2018 09:00 UTC" in other.clock()
    assert "layer=difference" not in other.page.url
    third = visit("?" + one.page.url.split("?", 1)[1])
    third.wait_for_clock("14 Sep 2018 08:00 UTC")
    third.page.get_by_text("Difference of rain rate (mm/h)").wait_for()
    assert third.page.get_by_role("combobox", name="Colours").inner_text() == "Perceptual"

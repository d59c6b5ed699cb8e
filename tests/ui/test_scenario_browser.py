"""The scenarios page in real Chromium: it opens with a storm, and its slider draws."""

import os
import re
from pathlib import Path

import pytest

from tests.ui.browser import PATIENCE, Server

playwright = pytest.importorskip("playwright.sync_api", reason="pip install geoscope[dev]")
DRAWN = "All 4 members of this n and of n = 0 are drawn."


@pytest.fixture
def server(tmp_path):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    server = Server([Path(__file__).with_name("scenario_app.py")], tmp_path / "server.log", environment)
    yield server
    server.stop()
    assert not re.search(r'File ".*[/\\]geoscope[/\\](ui|inference|viz)', server.log.read_text())


def test_the_slider_asks_for_more_rain_and_gets_it(server, chromium):
    errors = []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.url(page="scenario_app"))
        page.get_by_text(DRAWN).wait_for()
        assert page.title() == "geoscope Scenarios"
        assert page.locator(".caption").count() == 3
        page.get_by_text("Scenario n = +2").wait_for()
        slider = page.locator("input[type=range]").first
        slider.focus()
        slider.press("ArrowRight")
        page.get_by_text("Scenario n = +2.5").wait_for()
        page.get_by_text(re.compile(r"Achieved \d+\.\d\d mm/h by 4 members")).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 2")
        browser.close()
    assert errors == []

"""A served page in real Chromium: where it listens, what it asked for, what it complained of."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 240_000  # milliseconds; the machine may be busy, and no test is timed
LOCAL = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:")


class Server:
    """`panel serve` in a process of its own; `stop` ends it."""

    def __init__(self, scripts: list[Path], log: Path, environment: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._log = log.open("w")
        self.log = log
        command = [sys.executable, "-m", "panel", "serve", *map(str, scripts), "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, env=environment)
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def url(self, query: str = "", page: str = "nowcast") -> str:
        return f"http://localhost:{self.port}/{page}{query}"


class Visit:
    """One tab with a page open, and everything that went wrong in it."""

    def __init__(self, browser, url: str, **options) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.outside: set[str] = set()
        self.errors: list[str] = []
        self.page.on(
            "request", lambda request: None if LOCAL.match(request.url) else self.outside.add(request.url)
        )
        self.page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.get_by_role("tab", name="Verification").wait_for()
        self.page.wait_for_function("Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")

    def wait_for_forecast(self) -> None:
        self.page.locator(".axis i.forecast, .axis i.verified").first.wait_for(state="attached")

    def clock(self) -> str:
        return self.page.locator(".clock").inner_text()

    def wait_for_clock(self, text: str) -> None:
        self.page.locator(".clock", has_text=text).wait_for()

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_role("combobox", name=label, exact=True).click()
        self.page.get_by_role("menuitem", name=option, exact=True).click()

    def click_map(self, name: str, across: float, down: float) -> None:
        x, y = self.place(name, across, down)
        self.page.mouse.move(x - 3, y - 3)
        self.page.mouse.click(x, y)

    def place(self, name: str, across: float, down: float) -> tuple[float, float]:
        box = self.page.locator(f".map-{name} .bk-Figure").bounding_box()
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def is_too_wide(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 2")

    def close(self) -> None:
        self.context.close()

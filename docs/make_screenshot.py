"""Take docs/screenshot.png: serve the nowcast page, open a view of the shipped event, photograph it.

    python docs/make_screenshot.py [--out docs/screenshot.png] [--dark] [--chromium PATH]

Needs the extras apps and dev, and Chromium. The page is opened at 1440x1000; nothing leaves this machine.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
SECONDS = 1000.0  # Playwright counts milliseconds
VIEW = "issue=10&frame=12&truth=1&lead=3&b=extrapolation&tab=verification"  # two hours on, the truth beside


def serve() -> tuple[subprocess.Popen[str], str]:
    """Start the page on a free port; the process and the page's address."""
    command = [sys.executable, "-m", "geoscope", "serve", "nowcast", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().split()[-1]
    for line in server.stdout:
        if "Bokeh app running at" in line:
            return server, address
    raise SystemExit("the server ended before the page was up; try geoscope serve nowcast")


def wait_for_the_forecast(page: Page) -> None:
    """Until the forecast that the address asks for stands on the maps and nothing turns or fades any more."""
    page.get_by_role("status").filter(has_text="issued").first.wait_for(timeout=400 * SECONDS)
    page.wait_for_load_state("networkidle", timeout=200 * SECONDS)
    for veil in page.locator(".MuiBackdrop-root").all():
        veil.wait_for(state="hidden", timeout=200 * SECONDS)
    page.wait_for_timeout(2 * SECONDS)


def main() -> None:
    """Serve, run, photograph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "screenshot.png")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    server, address = serve()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(
                viewport={"width": 1440, "height": 1000}, color_scheme="dark" if options.dark else "light"
            )
            page.goto(f"{address}?{VIEW}", timeout=400 * SECONDS)
            wait_for_the_forecast(page)
            page.screenshot(path=options.out)
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=20)
    print(options.out)


if __name__ == "__main__":
    main()

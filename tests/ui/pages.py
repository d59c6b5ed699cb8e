"""What tests of a page without a browser do with it."""

import time

PATIENCE = 60.0  # seconds


def run_it(page):
    page.desk.start()
    deadline = time.monotonic() + PATIENCE
    while page.desk.is_running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def picture(page, name="observed"):
    images = page.board.maps._pictures[name].data["image"]
    return images[0] if images else None

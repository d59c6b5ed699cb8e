"""What tests of desks and pages without a browser do with them."""

import time

PATIENCE = 60.0  # seconds; a test that waits so long has failed


def wait_for(condition):
    """Until it is true; jobs run in threads of their own."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


def run_it(desk):
    """Forecast what the choices ask for."""
    desk.start()
    wait_for(lambda: not desk.is_running)
    assert desk.run_problem == ""


def picture(page, name="observed"):
    """The class picture that a map shows, or None."""
    images = page.board.maps._pictures[name].data["image"]
    return images[0] if images else None

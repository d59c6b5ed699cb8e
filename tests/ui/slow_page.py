"""The nowcast page with a model that takes half a minute when six frames are asked for: served for the tests only."""

import time

from geoscope.ui import nowcast_desk
from geoscope.ui.nowcast_page import serve_nowcast

SLOW_LEAD_STEPS = 6

if not hasattr(nowcast_desk, "quick_run"):
    nowcast_desk.quick_run = nowcast_desk.make_run

    def make_run(field, request, progress):
        """Like the real one, after thirty seconds of reported work where the lead says so."""
        if request.lead_steps == SLOW_LEAD_STEPS:
            for tick in range(300):
                progress("slow on purpose", tick / 300)
                time.sleep(0.1)
        return nowcast_desk.quick_run(field, request, progress)

    nowcast_desk.make_run = make_run

serve_nowcast(["nowcast"])

"""The scenarios page: ``panel serve apps/scenarios.py``, then open http://localhost:5006/scenarios.

GEOSCOPE_DATA_ROOT names a folder whose files users may open; without it they have the samples and what they drop.
"""

from pathlib import Path

from geoscope.ui.scenario_page import serve_scenarios
from geoscope.ui.shell import pages_beside

serve_scenarios(pages_beside(Path(__file__)))

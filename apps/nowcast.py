"""The nowcast page: ``panel serve apps/nowcast.py``, then open http://localhost:5006/nowcast.

GEOSCOPE_DATA_ROOT names a folder whose files users may open; without it they have the samples and what they drop.
"""

from pathlib import Path

from geoscope.ui.nowcast_page import serve_nowcast
from geoscope.ui.shell import pages_beside

serve_nowcast(pages_beside(Path(__file__)))

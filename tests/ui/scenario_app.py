"""The scenarios page with a stand-in for the model: served for the tests only."""

from geoscope.ui import scenario_runs
from geoscope.ui.scenario_page import serve_scenarios
from tests.ui.scenario_stand_in import StandInRunner

scenario_runs.MODEL = StandInRunner()

serve_scenarios(["scenarios"])

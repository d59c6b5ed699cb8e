"""What the user of the scenarios page has chosen."""

from typing import ClassVar

import param

from geoscope.ui.nowcast_state import THRESHOLDS
from geoscope.ui.view_state import ViewState

LEAST, MOST, STEP = -4.0, 4.0, 0.5  # of the slider, in sigmas
GRID = tuple(LEAST + STEP * number for number in range(int((MOST - LEAST) / STEP) + 1))
MEMBERS = (1, 2, 4, 8)
SAMPLER_STEPS = (5, 10, 20)
LAYERS = {
    "difference": "Scenario − expected",
    "observed": "What happened",
    "mean": "Mean of the members",
    "spread": "Spread of the members",
    "probability": "Share of members ≥",
    "worst": "Worst at each point",
}
TABS = ("series", "multiples", "verdict", "words", "export")


class ScenarioState(ViewState):
    """The choices of one user. No widgets, no plots: testable without a browser."""

    sigma = param.Number(default=2.0, bounds=(LEAST, MOST), doc="how far from the expected mean rain")
    members = param.Selector(default=4, objects=list(MEMBERS))
    steps = param.Selector(default=10, objects=list(SAMPLER_STEPS), doc="of the sampler, refined scenarios")
    member = param.Integer(default=0, bounds=(0, MEMBERS[-1] - 1), doc="the member that the maps show")
    layer = param.Selector(default="difference", objects=list(LAYERS), doc="what the third map shows")
    threshold = param.Selector(default=5.0, objects=list(THRESHOLDS), doc="mm/h, of the share of members")
    tab = param.Selector(default="series", objects=list(TABS))

    IN_ADDRESS: ClassVar[dict[str, str]] = {
        "source": "data",
        "issue_index": "issue",
        "frame_index": "frame",
        "shows_truth": "truth",
        "lead_steps": "lead",
        "device": "device",
        "sigma": "n",
        "members": "members",
        "steps": "steps",
        "member": "member",
        "layer": "layer",
        "threshold": "at",
        "scale": "scale",
        "opacity": "opacity",
        "point": "point",
        "area": "area",
        "view": "view",
        "tab": "tab",
    }

    @param.depends("members", watch=True)
    def _keep_member(self) -> None:
        self.member = min(self.member, self.members - 1)

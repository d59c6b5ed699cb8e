"""The maps of the scenarios page: the chosen scenario, the expected one, and a third that the user chooses."""

from collections.abc import Mapping
from typing import Any, ClassVar

import panel as pn

from geoscope.ui.field_board import FieldBoard
from geoscope.ui.map_frame import MapFrame
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_frames import scenario_frames
from geoscope.ui.scenario_state import ScenarioState
from geoscope.ui.scenario_tools import ScenarioTools
from geoscope.viz.colours import ColourScale, probability_scale

_LOWER_CELL = """
:host { position: relative; min-width: 0; width: 100%; height: clamp(280px, calc(100vh - 486px), 1100px); }
@media (max-width: 820px) { :host { height: clamp(280px, 62vh, 460px); } }
"""


class ScenarioBoard(FieldBoard):
    """Draws what `scenario_frames` says, somewhat lower than on other pages: the slider stands above."""

    NAMES: ClassVar[Mapping[str, str]] = {
        "scenario": "scenario",
        "expected": "expected",
        "third": "third map",
    }
    ASKS: ClassVar[list[str]] = ["sigma", "members", "steps", "member"]
    COLOURS: ClassVar[list[str]] = ["layer", "threshold"]
    DIFFERENCE: ClassVar[str] = "scenario − expected"
    state: ScenarioState
    desk: ScenarioDesk

    def __init__(self, state: ScenarioState, desk: ScenarioDesk) -> None:
        super().__init__(state, desk)

    def frames(self, index: int) -> Mapping[str, MapFrame]:
        """What each map shows at a frame of the axis, by its name."""
        return scenario_frames(self.desk, index)

    def layers(self) -> list[str]:
        """Rain and, where it is another, the layer of the third map."""
        layer = self.state.layer
        return ["rain", layer] if layer in ("difference", "probability") else ["rain"]

    def make_tools(self) -> Any:
        """What dragging does, zoom, member, the third map and colours."""
        self.tools = ScenarioTools(self.state, self.maps)
        return self.tools.view

    def scale_of(self, layer: str) -> ColourScale:
        """The colour scale of a layer of the open field."""
        if layer == "probability":
            return probability_scale(self.state.threshold, self.desk.field.units)
        return super().scale_of(layer)

    def say(self, layer: str, value: float) -> str:
        """A value of a layer in words, as the cursor reads it."""
        return f"{value:.0f} %" if layer == "probability" else super().say(layer, value)

    def _make_cells(self) -> pn.Column:
        cells = super()._make_cells()
        for cell in cells:
            cell.stylesheets = [_LOWER_CELL]
        return cells

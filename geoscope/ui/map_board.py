"""The maps of the nowcast page: the observation, forecast A and forecast B, in the layer that was chosen."""

from collections.abc import Mapping
from typing import Any, ClassVar

from geoscope.ui.field_board import FieldBoard
from geoscope.ui.map_frame import MapFrame
from geoscope.ui.map_tools import MapTools
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_frames import map_frames
from geoscope.ui.nowcast_state import NowcastState
from geoscope.viz.colours import OUTCOME, OUTCOMES, ColourScale, probability_scale


class MapBoard(FieldBoard):
    """Draws what `map_frames` says."""

    NAMES: ClassVar[Mapping[str, str]] = {"observed": "observed", "a": "A", "b": "B"}
    ASKS: ClassVar[list[str]] = ["model", "model_b"]
    COLOURS: ClassVar[list[str]] = ["layer", "threshold"]
    state: NowcastState
    desk: NowcastDesk

    def __init__(self, state: NowcastState, desk: NowcastDesk) -> None:
        super().__init__(state, desk)

    def frames(self, index: int) -> Mapping[str, MapFrame]:
        """What each map shows at a frame of the axis, by its name."""
        return map_frames(self.desk, index)

    def layers(self) -> list[str]:
        """Rain and, where it is another, the layer of the forecast maps."""
        return list(dict.fromkeys(["rain", self.state.layer]))

    def make_tools(self) -> Any:
        """What dragging does, zoom, layer and colours."""
        self.tools = MapTools(self.state, self.maps)
        return self.tools.view

    def scale_of(self, layer: str) -> ColourScale:
        """The colour scale of a layer of the open field."""
        if layer == "outcome":
            return OUTCOME
        if layer == "probability":
            return probability_scale(self.state.threshold, self.desk.field.units)
        return super().scale_of(layer)

    def say(self, layer: str, value: float) -> str:
        """A value of a layer in words, as the cursor reads it."""
        if layer == "outcome":
            return ("neither", *OUTCOMES)[int(value)]
        return f"{value:.0f} %" if layer == "probability" else super().say(layer, value)

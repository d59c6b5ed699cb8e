"""The row of tools over the maps of the scenarios page: dragging, zoom, member, the third map, colours."""

from typing import Any

import panel as pn
import panel_material_ui as pmui

from geoscope.ui.linked_maps import LinkedMaps
from geoscope.ui.map_tools import tool_icon, tool_select
from geoscope.ui.nowcast_state import THRESHOLDS
from geoscope.ui.scenario_state import LAYERS, ScenarioState
from geoscope.ui.view_state import SCALES


class ScenarioTools:
    """Widgets of the state and buttons for the maps. `view` is the panel object."""

    def __init__(self, state: ScenarioState, maps: LinkedMaps) -> None:
        self.state = state
        mode = pmui.RadioButtonGroup(
            options={"Pan": "pan", "Box": "box", "Polygon": "polygon"}, value="pan", size="small",
            margin=(6, 2, 4, 0),
        )  # fmt: skip
        mode.param.watch(lambda event: maps.set_mode(event.new), "value")
        self._member = pmui.Select(
            label="Member", options=self._members(), value=state.member, **tool_select(96)
        )
        self._member.param.watch(self._member_chosen, "value")
        state.param.watch(lambda *events: self._follow(), ["members", "member"])
        layer = pmui.Select.from_param(
            state.param.layer, options={v: k for k, v in LAYERS.items()}, label="Third map", description="",
            **tool_select(178),
        )  # fmt: skip
        threshold = pmui.Select.from_param(
            state.param.threshold, options={f"≥ {value:g} mm/h": value for value in THRESHOLDS},
            label="Threshold", description="", **tool_select(108),
        )  # fmt: skip
        self._threshold = pn.Column(threshold, margin=0)
        scale = pmui.Select.from_param(
            state.param.scale, options={v: k for k, v in SCALES.items()}, label="Colours", description="",
            **tool_select(103),
        )  # fmt: skip
        clear = tool_icon(
            "layers_clear", "Remove point and area; the whole field is controlled again",
            lambda event: state.param.update(point=None, area=None),
        )  # fmt: skip
        parts: list[Any] = [
            mode,
            tool_icon("zoom_in", "Zoom in", lambda event: maps.zoom(0.5)),
            tool_icon("zoom_out", "Zoom out", lambda event: maps.zoom(2.0)),
            tool_icon("fit_screen", "Show the whole field", lambda event: maps.go_to(maps.home)),
            clear,
            pn.Spacer(styles={"flex": "1 1 auto"}, height=1),
            self._member,
            layer,
            self._threshold,
            scale,
        ]
        self.view = pmui.FlexBox(
            *parts, align_items="center", sizing_mode="stretch_width", margin=(4, 8, 2, 8)
        )
        self._show_threshold()
        state.param.watch(lambda *events: self._show_threshold(), "layer")

    def _members(self) -> dict[str, int]:
        return {str(number + 1): number for number in range(self.state.members)}

    def _follow(self) -> None:
        self._member.param.update(options=self._members(), value=self.state.member)

    def _member_chosen(self, event: Any) -> None:
        if event.new is not None:
            self.state.member = int(event.new)

    def _show_threshold(self) -> None:
        is_asked = self.state.layer == "probability"
        self._threshold.styles = {"visibility": "visible" if is_asked else "hidden"}

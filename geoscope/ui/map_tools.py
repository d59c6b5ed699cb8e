"""The row of tools over the maps: what dragging does, zoom, the layer of the forecast maps, colours and opacity."""

from typing import Any

import panel as pn
import panel_material_ui as pmui

from geoscope.ui.linked_maps import LinkedMaps
from geoscope.ui.nowcast_state import LAYERS, THRESHOLDS, NowcastState
from geoscope.ui.view_state import SCALES

LAYERS_WITH_THRESHOLD = ("outcome", "probability")


class MapTools:
    """Widgets of the state and buttons for the maps. `view` is the panel object."""

    def __init__(self, state: NowcastState, maps: LinkedMaps) -> None:
        mode = pmui.RadioButtonGroup(
            options={"Pan": "pan", "Box": "box", "Polygon": "polygon"},
            value="pan",
            size="small",
            margin=(6, 2, 4, 0),
        )
        mode.param.watch(lambda event: maps.set_mode(event.new), "value")
        layer = pmui.Select.from_param(
            state.param.layer,
            options={v: k for k, v in LAYERS.items()},
            label="Layer of A and B",
            description="",
            **tool_select(139),
        )
        threshold = pmui.Select.from_param(
            state.param.threshold,
            options={f"≥ {value:g} mm/h": value for value in THRESHOLDS},
            label="Threshold",
            description="",
            **tool_select(108),
        )
        self._threshold = pn.Column(threshold, margin=0)
        scale = pmui.Select.from_param(
            state.param.scale,
            options={v: k for k, v in SCALES.items()},
            label="Colours",
            description="",
            **tool_select(103),
        )
        opacity = pmui.FloatSlider.from_param(
            state.param.opacity,
            label="Opacity",
            step=0.05,
            width=92,
            margin=(0, 2),
            size="small",
            description="",
        )
        self.view = pmui.FlexBox(
            mode,
            tool_icon("zoom_in", "Zoom in", lambda event: maps.zoom(0.5)),
            tool_icon("zoom_out", "Zoom out", lambda event: maps.zoom(2.0)),
            tool_icon("fit_screen", "Show the whole field", lambda event: maps.go_to(maps.home)),
            tool_icon(
                "layers_clear",
                "Remove point and area; scores count the whole field again",
                lambda event: state.param.update(point=None, area=None),
            ),
            pn.Spacer(styles={"flex": "1 1 auto"}, height=1),
            layer,
            self._threshold,
            scale,
            opacity,
            align_items="center",
            sizing_mode="stretch_width",
            margin=(4, 8, 2, 8),
        )
        self._show_threshold(state.layer)
        state.param.watch(lambda *events: self._show_threshold(state.layer), "layer")

    def _show_threshold(self, layer: str) -> None:
        """The threshold keeps its place while it is not asked for, so that nothing beside or below it moves."""
        is_asked = layer in LAYERS_WITH_THRESHOLD
        self._threshold.styles = {"visibility": "visible" if is_asked else "hidden"}


def tool_select(width: int) -> dict[str, Any]:
    """The look of a list in a row that must hold everything on a window 1024 pixels wide."""
    narrow = {"& .MuiSelect-select": {"paddingLeft": "9px", "paddingRight": "26px !important"}}
    return {"size": "small", "width": width, "margin": (7, 3, 3, 3), "sx": narrow}


def tool_icon(icon: str, description: str, on_click: Any) -> pmui.IconButton:
    """A small button in the row of tools."""
    return pmui.IconButton(
        icon=icon,
        description=description,
        on_click=on_click,
        size="small",
        margin=(6, 1, 0, 1),
        color="default",
    )

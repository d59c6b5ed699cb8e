"""The row of tools over the maps: what dragging does, zoom, the layer of the forecast maps, colours and opacity."""

from typing import Any

import panel as pn
import panel_material_ui as pmui

from geoscope.ui.linked_maps import LinkedMaps
from geoscope.ui.nowcast_state import LAYERS, SCALES, THRESHOLDS, NowcastState
from geoscope.ui.panes import hideable

LAYERS_WITH_THRESHOLD = ("outcome", "probability")


class MapTools:
    """Widgets of the state and buttons for the maps. `view` is the panel object."""

    def __init__(self, state: NowcastState, maps: LinkedMaps) -> None:
        mode = pmui.RadioButtonGroup(
            options={"Pan": "pan", "Box": "box", "Polygon": "polygon"},
            value="pan",
            size="small",
            margin=(6, 8, 4, 0),
        )
        mode.param.watch(lambda event: maps.set_mode(event.new), "value")
        layer = pmui.Select.from_param(
            state.param.layer,
            options={v: k for k, v in LAYERS.items()},
            label="Layer of A and B",
            description="",
            **{**_SMALL, "width": 155},
        )
        threshold = pmui.Select.from_param(
            state.param.threshold,
            options={f"≥ {value:g} mm/h": value for value in THRESHOLDS},
            label="Threshold",
            description="",
            **{**_SMALL, "width": 116},
        )
        self._threshold = hideable(threshold, is_shown=state.layer in LAYERS_WITH_THRESHOLD, sizing_mode=None)
        scale = pmui.Select.from_param(
            state.param.scale,
            options={v: k for k, v in SCALES.items()},
            label="Colours",
            description="",
            **_SMALL,
        )
        opacity = pmui.FloatSlider.from_param(
            state.param.opacity,
            label="Opacity",
            step=0.05,
            width=96,
            margin=(0, 8),
            size="small",
            description="",
        )
        self.view = pmui.FlexBox(
            mode,
            _icon("zoom_in", "Zoom in", lambda event: maps.zoom(0.5)),
            _icon("zoom_out", "Zoom out", lambda event: maps.zoom(2.0)),
            _icon("fit_screen", "Show the whole field", lambda event: maps.go_to(maps.home)),
            _icon(
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
        state.param.watch(lambda *events: self._show_threshold(state.layer), "layer")

    def _show_threshold(self, layer: str) -> None:
        self._threshold.visible = layer in LAYERS_WITH_THRESHOLD


_SMALL: dict[str, Any] = {"size": "small", "width": 122, "margin": (7, 3, 3, 3)}


def _icon(icon: str, description: str, on_click: Any) -> pmui.IconButton:
    return pmui.IconButton(
        icon=icon,
        description=description,
        on_click=on_click,
        size="small",
        margin=(6, 1, 0, 1),
        color="default",
    )

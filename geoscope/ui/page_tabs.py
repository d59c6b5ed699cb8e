"""The tabs below the maps: one of them is shown, and which one is a choice that a link keeps."""

from collections.abc import Mapping
from typing import Any

import panel_material_ui as pmui
from panel_material_ui.base import MaterialComponent

from geoscope.viz.colours import Theme


def make_tabs(state: Any, titles: Mapping[str, str], views: Mapping[str, Any]) -> pmui.Tabs:
    """Tabs with ``titles`` by name over ``views`` by name, in their order; ``state.tab`` is the one that is shown."""
    names = list(views)
    tabs = pmui.Tabs(
        *((titles[name], view) for name, view in views.items()),
        active=names.index(state.tab),
        sizing_mode="stretch_width",
        margin=(0, 8, 24, 8),
    )
    tabs.param.watch(lambda event: state.param.update(tab=names[event.new]), "active")
    return tabs


def set_theme_of_hidden(state: Any, views: Mapping[str, Any], theme: Theme) -> None:
    """Tell the tabs that are put away of the theme: their own components hear of it too late."""
    for name, view in views.items():
        if name != state.tab:
            for component in view.select(MaterialComponent):
                component.dark_theme = theme == "dark"

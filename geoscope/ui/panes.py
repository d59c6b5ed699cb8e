"""Small things that several views of a page use: HTML that changes only when its text does, and a problem's box."""

from typing import Any

import panel as pn
import panel_material_ui as pmui


def html_pane(css: str, **options: Any) -> pn.pane.HTML:
    """An HTML pane with its own style sheet. Whoever fills it escapes what users or files wrote."""
    return pn.pane.HTML("", stylesheets=[css], **{"margin": 0, "sizing_mode": "stretch_width", **options})


def set_html(pane: pn.pane.HTML, text: str) -> None:
    """Change a pane; nothing is sent when the text is the same."""
    if pane.object != text:
        pane.object = text


class Problem:
    """A box that says what is wrong and what to do, in plain text; away when there is nothing to say."""

    def __init__(self) -> None:
        self.view = pmui.Alert(
            object="",
            severity="error",
            variant="outlined",
            visible=False,
            margin=(4, 12),
            sizing_mode="stretch_width",
        )

    def show(self, text: str, severity: str = "error") -> None:
        """Say ``text``; an empty one puts the box away."""
        self.view.param.update(object=text, visible=bool(text), severity=severity)

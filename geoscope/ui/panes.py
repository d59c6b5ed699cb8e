"""Small things that several views of a page use: HTML that changes only when its text does, and a problem's box."""

import html
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


def hideable(*content: Any, is_shown: bool = False, **options: Any) -> pn.Column:
    """A column to show and hide with `visible`.

    Panel's own column always hears of it; a Material component misses what changes between its first drawing and its
    listening, for instance a click right after the page opened.
    """
    return pn.Column(*content, visible=is_shown, **{"margin": 0, "sizing_mode": "stretch_width", **options})


class PlainAlert(pmui.Alert):
    """An alert whose text stands as it is: the library's own reads Markdown, and makes a link of every file's name."""

    def _process_param_change(self, params: dict[str, Any]) -> dict[str, Any]:
        text = params.pop("object", None)
        changed = super()._process_param_change(params)
        if text is not None:  # the browser decodes once before it parses
            changed["object"] = html.escape(f"<span>{html.escape(text)}</span>")
        return changed


class Problem:
    """A box that says what is wrong and what to do, in plain text; away when there is nothing to say."""

    def __init__(self) -> None:
        self.alert = PlainAlert(
            object="", severity="error", variant="outlined", margin=(4, 12), sizing_mode="stretch_width"
        )
        self.view = hideable(self.alert)

    def show(self, text: str, severity: str = "error") -> None:
        """Say ``text``; an empty one puts the box away."""
        self.alert.param.update(object=text, severity=severity)
        self.view.visible = bool(text)

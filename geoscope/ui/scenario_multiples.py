"""Small pictures of the frame shown: one member at every n of the slider, and every member at the chosen n."""

import base64
import html
import io

import numpy as np
from PIL import Image

from geoscope.ui.map_frame import when
from geoscope.ui.panes import html_pane, set_html
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_frames import say_sigma
from geoscope.ui.scenario_state import GRID, ScenarioState
from geoscope.viz.colours import Theme, scale_for

WIDTH = 220  # pixels of a picture at most
CSS = """
:host { color: var(--panel-on-background-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 6px 0 2px; }
.row { display: flex; flex-wrap: wrap; gap: 6px; } figure { margin: 0; width: 98px; }
figure img { width: 100%; display: block; background: #8882; border-radius: 2px; image-rendering: auto; }
figure.chosen img { outline: 2px solid #d81b60; } figcaption { font-size: 11px; line-height: 14px;
  font-variant-numeric: tabular-nums; } .stale img { filter: grayscale(.9); opacity: .5; }
"""


class MultiplesTab:
    """`view` is the panel object."""

    def __init__(self, state: ScenarioState, desk: ScenarioDesk) -> None:
        self.state, self.desk = state, desk
        self.theme: Theme = "light"
        self.view = html_pane(CSS, margin=(4, 12), min_height=420)
        desk.param.watch(lambda *events: self.refresh(), ["case", "arrived", "field"])
        names = ["sigma", "members", "steps", "member", "tab", "frame_index", "issue_index", "scale", "area"]
        state.param.watch(lambda *events: self.refresh(), names)
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        """Draw in light or dark colours."""
        self.theme = theme
        self.refresh()

    def refresh(self) -> None:
        """Draw the pictures of the frame shown; nothing while the tab is hidden."""
        if self.state.tab == "multiples":
            set_html(self.view, multiples_html(self.desk, self.theme))


def multiples_html(desk: ScenarioDesk, theme: Theme) -> str:
    """Both rows as HTML, or what is missing."""
    state, case = desk.state, desk.case
    if case is None or desk.field is None:
        return "<p>No scenario drawn yet.</p>"
    step = state.frame_index - case.question.issue_index - 1
    if not 0 <= step < case.question.lead_steps:
        return "<p>Choose a frame after the issue time: the scenarios begin there.</p>"
    time, lead = when(desk, state.frame_index)
    over_n, over_members = [], []
    for sigma in [n for n in GRID if n == int(n) or n == state.sigma]:
        found = case.best(sigma, state.member, state.steps) or case.best(sigma, 0, state.steps)
        if found is not None:
            text = f"{say_sigma(sigma)} · {found[0].achieved_mean:.2f} mm/h{_quick(found[1], state.steps)}"
            over_n.append(_figure(desk, found[0].rain[step], text, theme, sigma == state.sigma))
    for member in range(state.members):
        found = case.best(state.sigma, member, state.steps)
        if found is not None:
            text = f"member {member + 1}{_quick(found[1], state.steps)}"
            over_members.append(_figure(desk, found[0].rain[step], text, theme, member == state.member))
    old = " Old: drawn for other choices." if desk.is_stale else ""
    stale = " stale" if desk.is_stale else ""
    return (
        f"<p>{html.escape(time)}, {html.escape(lead)}: the same member over n.{old}</p>"
        f'<div class="row{stale}">{"".join(over_n)}</div>'
        f"<p>All members at {say_sigma(state.sigma)}.</p>"
        f'<div class="row{stale}">{"".join(over_members)}</div>'
    )


def _quick(steps: int, wanted: int) -> str:
    return "" if steps == wanted else " · quick look"


def _figure(desk: ScenarioDesk, values: np.ndarray, text: str, theme: Theme, is_chosen: bool) -> str:
    scale = scale_for(desk.field.rain, desk.state.scale)
    picture = desk.field.table.apply(scale.classify(values))
    every = max(1, -(-picture.shape[1] // WIDTH))
    image = Image.fromarray(scale.rgba(picture[::every, ::every], theme))
    packed = io.BytesIO()
    image.save(packed, "PNG")
    data = base64.b64encode(packed.getvalue()).decode()
    chosen = ' class="chosen"' if is_chosen else ""
    label = html.escape(text)
    return (
        f'<figure{chosen}><img alt="{label}" src="data:image/png;base64,{data}">'
        f"<figcaption>{label}</figcaption></figure>"
    )

"""The strip over the maps: the slider under the forecast distribution of the mean rain, and in words what it asks."""

import html

import numpy as np
import panel as pn
import panel_material_ui as pmui

from geoscope.ui.panes import html_pane, set_html
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_frames import say_sigma
from geoscope.ui.scenario_state import LEAST, MOST, STEP, ScenarioState
from geoscope.ui.scenario_truth import truth_of
from geoscope.viz.scenario_outlook import CSS, OutlookPicture, outlook_html

_WORDS_CSS = """
:host { font: 13px/18px Roboto, sans-serif; color: var(--panel-on-background-color); }
p { margin: 0 0 3px; font-variant-numeric: tabular-nums; } p.head { font-size: 15px; line-height: 20px; }
.doubt { border-left: 4px solid #d98324; padding-left: 8px; }
"""
_GRID = """
:host { display: grid !important; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 4px 20px;
  padding: 6px 16px 0; box-sizing: border-box; min-height: 138px; flex: none !important; }
@media (max-width: 820px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""


class ScenarioStrip:
    """Slider, picture and words. `view` is the panel object."""

    def __init__(self, state: ScenarioState, desk: ScenarioDesk) -> None:
        self.state, self.desk = state, desk
        self._picture = html_pane(CSS)
        self._words = html_pane(_WORDS_CSS)
        slider = pmui.FloatSlider.from_param(
            state.param.sigma,
            label="n, sigmas from the expected mean rain",
            start=LEAST,
            end=MOST,
            step=STEP,
            description="",
            size="small",
            margin=(2, 0, 0, 0),
            sizing_mode="stretch_width",
        )
        left = pn.Column(self._picture, slider, margin=0, sizing_mode="stretch_width")
        self.view = pn.Column(left, self._words, margin=0, sizing_mode="stretch_width", stylesheets=[_GRID])
        desk.param.watch(
            lambda *events: self.refresh(), ["field", "case", "arrived", "problem", "is_running"]
        )
        state.param.watch(
            lambda *events: self.refresh(),
            ["sigma", "members", "steps", "issue_index", "lead_steps", "area", "shows_truth"],
        )
        self.refresh()

    def refresh(self) -> None:
        """Draw what the slider asks for."""
        desk = self.desk
        if desk.case is None:
            set_html(self._picture, "")
            set_html(self._words, f"<p>{html.escape(self._waiting())}</p>")
            return
        set_html(self._picture, outlook_html(self._outlook()))
        set_html(self._words, self._say())

    def _waiting(self) -> str:
        if self.desk.field is None:
            return "Choose data first (step 1)."
        if self.desk.is_running:
            return "Working out what rain is to be expected."
        return "No scenario yet. What stands in the way is said under step 3."

    def _outlook(self) -> OutlookPicture:
        source, truth = self.desk.case.source, truth_of(self.desk)
        drawn = self.desk.members(self.state.sigma)
        if not drawn:
            found = self.desk.scenario(self.state.sigma)
            drawn = [found[0]] if found is not None else []
        return OutlookPicture(
            (LEAST, MOST),
            source.expectation.freedom,
            self.state.sigma,
            [(n, source.asked_mean(n)) for n in np.arange(LEAST, MOST + 1)],
            [source.sigma_of(one.achieved_mean) for one in drawn if one.achieved_mean > 0],
            None if truth is None else truth.sigma,
        )

    def _say(self) -> str:
        desk, state, source = self.desk, self.state, self.desk.case.source
        asked, where = (
            source.asked_mean(state.sigma),
            "the drawn area" if desk.case.question.area else "the field",
        )
        lines = [
            f'<p class="head"><b>{say_sigma(state.sigma)}</b>: mean rain {asked:.2f} mm/h over {where}, '
            f"{source.mu:.2f} expected.</p>"
        ]
        share = source.probability_beyond(state.sigma)
        beyond = "Less than that" if state.sigma < 0 else "More than that"
        lines.append(f"<p>{beyond}: {_say_share(share)}, by the tail fitted to left-out events.</p>")
        members = desk.members(state.sigma)
        if members:
            means = [one.achieved_mean for one in members]
            count = f"{len(members)} of {state.members} members" if len(members) < state.members else (
                f"{len(members)} members" if len(members) > 1 else "1 member"
            )  # fmt: skip
            lines.append(f"<p>Achieved {_span(means)} mm/h by {count}, {state.steps} steps.</p>")
        else:
            found = desk.scenario(state.sigma)
            lines.append(
                f"<p>Achieved {found[0].achieved_mean:.2f} mm/h by a quick look, {found[1]} steps.</p>"
                if found
                else "<p>Not drawn yet.</p>"
            )
        if desk.is_stale:
            lines.append(
                '<p class="doubt">Old: these numbers are of other choices than those on the page.</p>'
            )
        elif any(not one.is_plausible for one in members):
            lines.append(
                '<p class="doubt">Beyond what training has seen: do not trust the shape of the rain.</p>'
            )
        truth = truth_of(desk)
        if truth is not None:
            lines.append(f"<p>What fell: {truth.mean:.2f} mm/h, {say_sigma(round(truth.sigma, 1))}.</p>")
        return "".join(lines)


def _say_share(share: float) -> str:
    if share >= 0.095:
        return f"about {round(100 * share)} in 100"
    if share >= 0.0095:
        return f"about {max(1, round(100 * share))} in 100"
    return (
        f"about 1 in {round(1 / max(share, 1e-5), -2):.0f}"
        if share < 0.001
        else f"about {1000 * share:.0f} in 1000"
    )


def _span(means: list[float]) -> str:
    low, high = min(means), max(means)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"

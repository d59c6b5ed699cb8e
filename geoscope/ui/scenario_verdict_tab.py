"""The tab that holds the scenarios against what happened."""

import html

import panel_material_ui as pmui

from geoscope.ui.panes import hideable, html_pane, set_html
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_frames import say_sigma
from geoscope.ui.scenario_series_tab import TABLE_CSS
from geoscope.ui.scenario_state import ScenarioState
from geoscope.ui.scenario_truth import Truth, outlook_crps, truth_of, verdicts


class VerdictTab:
    """`view` is the panel object."""

    def __init__(self, state: ScenarioState, desk: ScenarioDesk) -> None:
        self.state, self.desk = state, desk
        reveal = pmui.Button(
            label="Show what happened", icon="fact_check", size="small", margin=(6, 12),
            on_click=lambda event: state.param.update(shows_truth=True),
        )  # fmt: skip
        self._reveal = hideable(reveal, sizing_mode=None)
        self._text = html_pane(TABLE_CSS, margin=(4, 12))
        self.view = pmui.Column(self._reveal, self._text, sizing_mode="stretch_width", min_height=420)
        desk.param.watch(lambda *events: self.refresh(), ["case", "arrived", "field"])
        names = ["sigma", "members", "steps", "shows_truth", "tab", "issue_index", "lead_steps", "area"]
        state.param.watch(lambda *events: self.refresh(), names)
        self.refresh()

    def refresh(self) -> None:
        """Say how the scenarios did; nothing while the tab is hidden."""
        if self.state.tab == "verdict":
            self._reveal.visible = not self.state.shows_truth
            set_html(self._text, verdict_html(self.desk))


def verdict_html(desk: ScenarioDesk) -> str:
    """The verdict, or what is missing for one."""
    if desk.case is None:
        return "<p>No scenario drawn yet.</p>"
    if not desk.state.shows_truth:
        return "<p>What happened after the issue time is hidden.</p>"
    truth = truth_of(desk)
    if truth is None:
        return "<p>Not all frames of the scenarios were observed: choose an earlier issue time or a shorter lead.</p>"
    old = "<p>Old: of scenarios that were drawn for other choices.</p>" if desk.is_stale else ""
    return old + _where(desk, truth) + _table(desk, truth)


def _where(desk: ScenarioDesk, truth: Truth) -> str:
    source = desk.case.source
    share = source.probability_beyond(truth.sigma)
    side = "less" if truth.sigma < 0 else "more"
    reach = next((f"within {n} sigma" for n in (1, 2) if abs(truth.sigma) <= n), "beyond 2 sigma")
    return (
        f"<p><b>What fell: {truth.mean:.2f} mm/h</b>, at {say_sigma(round(truth.sigma, 1))}: {reach} of the "
        f"expected {source.mu:.2f} mm/h. The forecast gave {100 * share:.0f} % to still {side}.</p>"
        f"<p>CRPS of the forecast mean: {outlook_crps(source, truth.mean):.3f} mm/h; a forecast that only says "
        f"{source.mu:.2f} would have {abs(source.mu - truth.mean):.3f}. Lower is better.</p>"
    )


def _table(desk: ScenarioDesk, truth: Truth) -> str:
    rows = verdicts(desk, truth)
    if not rows:
        return "<p>Scores by n follow when all members of an n are drawn.</p>"
    nearest = min(rows, key=lambda row: abs(row.sigma - truth.sigma))
    best = min(rows, key=lambda row: row.crps)
    body = "".join(
        f"<tr><th>{html.escape(say_sigma(row.sigma))}</th><td>{row.achieved:.2f}</td><td>{row.error:.3f}</td>"
        f"<td>{row.crps:.3f}</td></tr>"
        for row in rows
    )
    return (
        f"<p>Of the n drawn with all members, {say_sigma(nearest.sigma)} is closest in its mean and "
        f"{say_sigma(best.sigma)} pixel by pixel (CRPS). Move the slider to score another n.</p>"
        f"<table><thead><tr><th>n</th><th>mean (mm/h)</th><th>MAE of the members' mean</th><th>CRPS</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )

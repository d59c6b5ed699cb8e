"""The tab that holds every loaded forecast against what happened, and counts along as the player passes."""

import html
from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from geoscope.ui.nowcast_runs import ModelChoice, title_of
from geoscope.ui.nowcast_state import MEASURES, THRESHOLDS, NowcastState
from geoscope.ui.panes import hideable, html_pane, set_html
from geoscope.ui.score_charts import ScoreCharts
from geoscope.ui.score_desk import ScoreDesk
from geoscope.ui.score_downloads import ScoreDownloads
from geoscope.ui.score_tables import CSS, lead_table, summary_table
from geoscope.ui.score_words import GLOSSARY, fair_to_add, fairness_note, say_counted, say_scored

_CSS = """
:host { color: var(--panel-on-surface-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 4px 0; max-width: 120ch; } .quiet { opacity: .75; font-size: 12px; }
.fair { border-left: 4px solid #d98324; padding: 2px 10px; }
"""
_SMALL: dict[str, Any] = {"size": "small", "margin": (4, 8)}


class VerificationTab:
    """Scores as summary, charts and tables. `view` is the panel object."""

    def __init__(
        self,
        state: NowcastState,
        scores: ScoreDesk,
        choices: Sequence[ModelChoice],
        downloads: ScoreDownloads,
    ) -> None:
        self.state, self.scores, self.desk = state, scores, scores.desk
        self._shown: tuple | None = None
        self._text = html_pane(_CSS, margin=(0, 12))
        self._fair = html_pane(_CSS, margin=(0, 12))
        self._usable = [choice.name for choice in choices if not choice.obstacle]
        self._missing = ""  # the fair baseline that is not loaded
        self._add_button = pmui.Button(
            label="Add", icon="add", variant="outlined", on_click=lambda event: self._add_fair(), **_SMALL
        )
        self._add = hideable(self._add_button, sizing_mode=None)
        self._summary = html_pane(CSS, margin=(0, 12))
        self._table = html_pane(CSS, margin=(0, 12))
        self._charts = ScoreCharts()
        words = html_pane(_CSS, margin=(6, 12))
        set_html(words, f'<p class="quiet">{html.escape(GLOSSARY)}</p>')
        self._body = pn.Column(
            self._summary,
            self._fair,
            self._add,
            self._make_chart_tools(),
            self._charts.view,
            self._make_table_tools(),
            self._table,
            words,
            margin=0,
            sizing_mode="stretch_width",
        )
        self.view = pmui.Column(
            self._make_tools(choices, downloads),
            downloads.problem.view,
            self._text,
            self._body,
            sizing_mode="stretch_width",
            min_height=420,
        )
        self._watch()
        self.refresh()

    def _watch(self) -> None:
        self.desk.param.watch(lambda *events: self.refresh(), ["run", "run_b", "runs", "field", "problems"])
        self.scores.param.watch(lambda *events: self.refresh(), ["board", "counted", "problem"])
        # At the next tick, so that the maps of a frame do not wait for its scores.
        self.state.param.watch(lambda *events: self._charts.paint(self.refresh), "frame_index")
        names = ["threshold", "measure", "follows_player", "tab", "area", "shows_truth"]
        self.state.param.watch(lambda *events: self.refresh(), names)

    # What the user does

    def _verify(self) -> None:
        if self.state.shows_truth:
            self.scores.renew()
        else:
            self.state.shows_truth = True

    def _thresholds_chosen(self, event: Any) -> None:
        if event.new:
            self.state.thresholds = sorted(float(value) for value in event.new)
        else:
            self._thresholds.value = list(event.old)

    def _compared_chosen(self, event: Any) -> None:
        self.state.compared = list(event.new)
        if (
            self.desk.leading is not None
            and set(self.state.models) - set(self.desk.runs)
            and not self.desk.is_stale
        ):
            self.desk.start()

    def _add_fair(self) -> None:
        if self._missing and self._missing not in self.state.compared:
            self._compared.value = [*self.state.compared, self._missing]

    # What is shown

    def refresh(self) -> None:
        """Show the scores that count at the frame shown, or say what is missing; nothing while the tab is hidden."""
        state, board = self.state, self.scores.board
        self._button.disabled = self.desk.leading is None
        self._whole.visible = state.area is not None
        if state.tab != "verification":
            return
        played = self.scores.played
        key = (
            board,
            min(played, self.scores.counted),
            played,
            state.threshold,
            state.measure,
            self._message(),
        )
        if key == self._shown:
            return
        self._shown = key
        set_html(self._text, f"<p>{html.escape(self._message())}</p>")
        self._body.styles = {"visibility": "visible" if board is not None else "hidden"}
        if board is None:
            return
        scores = board.until(played)
        self._show_fairness(list(board.parts))
        self._charts.draw(scores, board, state.threshold)
        set_html(
            self._summary,
            summary_table(scores, board, state.threshold, say_counted(board, min(played, board.done))),
        )
        set_html(self._table, lead_table(scores, board, state.measure, state.threshold))

    def _message(self) -> str:
        desk, scores, board = self.desk, self.scores, self.scores.board
        if scores.problem:
            return scores.problem
        if desk.leading is None:
            return "No forecast to verify yet: press Run forecast (step 4)."
        if board is None:
            return (
                "The observations after the issue time are still hidden. Press Verify to show them and to score every "
                "loaded forecast against them."
            )
        text = say_scored(desk.field, board)
        if scores.counted < board.leads:
            text += f" Counting: {scores.counted} of {board.leads} leads."
        missing = [f"No {title_of(name)}: {why}" for name, why in desk.problems.items()]
        return " ".join([text, *missing])

    def _show_fairness(self, models: list[str]) -> None:
        note = fairness_note(tuple(models))
        set_html(
            self._fair, f'<p class="fair"><b>Fair comparison.</b> {html.escape(note)}</p>' if note else ""
        )
        self._missing = fair_to_add(models, self._usable)
        self._add.visible = bool(self._missing)
        if self._missing:
            self._add_button.label = f"Add {title_of(self._missing)}"

    # How it is made

    def _make_tools(self, choices: Sequence[ModelChoice], downloads: ScoreDownloads) -> pmui.FlexBox:
        state = self.state
        self._button = pmui.Button(
            label="Verify against what happened",
            icon="fact_check",
            on_click=lambda event: self._verify(),
            margin=(4, 8),
        )
        self._compared = pmui.MultiChoice(
            label="Compare with",
            options={choice.title: choice.name for choice in choices if not choice.obstacle},
            value=list(state.compared),
            width=330,
            margin=(12, 8, 4, 8),
        )
        self._compared.param.watch(self._compared_chosen, "value")
        self._whole = hideable(
            pmui.Button(
                label="Score the whole field",
                icon="crop_free",
                variant="outlined",
                on_click=lambda event: state.param.update(area=None),
                **_SMALL,
            ),
            is_shown=state.area is not None,
            sizing_mode=None,
        )
        follow = pmui.Switch.from_param(
            state.param.follows_player, label="Count with the player", description="", **_SMALL
        )
        parts = [self._button, self._compared, follow, self._whole, downloads.view]
        return pmui.FlexBox(*parts, align_items="center", sizing_mode="stretch_width")

    def _make_chart_tools(self) -> pmui.FlexBox:
        state = self.state
        chosen = pmui.RadioButtonGroup(
            options={f"{value:g}": value for value in THRESHOLDS}, value=state.threshold, **_SMALL
        )
        chosen.param.watch(lambda event: state.param.update(threshold=event.new), "value")
        state.param.watch(lambda event: chosen.param.update(value=event.new), "threshold")
        label = html_pane(_CSS, margin=(10, 0, 0, 12), sizing_mode=None)
        set_html(label, "Charts at or above (mm/h)")
        return pmui.FlexBox(label, chosen, align_items="center", sizing_mode="stretch_width")

    def _make_table_tools(self) -> pmui.FlexBox:
        state = self.state
        measure = pmui.Select.from_param(
            state.param.measure,
            options={title: name for name, title in MEASURES.items()},
            label="Table by lead",
            description="",
            width=180,
            **_SMALL,
        )
        self._thresholds = pmui.CheckButtonGroup(
            options={f"{value:g}": value for value in THRESHOLDS}, value=list(state.thresholds), **_SMALL
        )
        self._thresholds.param.watch(self._thresholds_chosen, "value")
        state.param.watch(lambda event: self._thresholds.param.update(value=list(event.new)), "thresholds")
        label = html_pane(_CSS, margin=(10, 0, 0, 12), sizing_mode=None)
        set_html(label, "Thresholds scored (mm/h)")
        return pmui.FlexBox(
            measure, label, self._thresholds, align_items="center", sizing_mode="stretch_width"
        )

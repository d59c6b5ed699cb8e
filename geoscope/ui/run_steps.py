"""Steps 3 and 4 of the nowcast page: models, run and cancel with progress."""

import html
from collections.abc import Sequence

import numpy as np
import panel_material_ui as pmui

from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_runs import ModelChoice, Run, title_of
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.open_field import say_time
from geoscope.ui.panes import Problem, html_pane, set_html
from geoscope.ui.question_steps import FULL, LeadStep

STAGE_CSS = """
div { font: 12px/16px Roboto, sans-serif; min-height: 32px; color: var(--panel-on-surface-color);
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
"""


class ModelStep:
    """Step 3: the models of forecasts A and B, lead and device."""

    def __init__(self, state: NowcastState, desk: NowcastDesk, choices: Sequence[ModelChoice]) -> None:
        models = [_model_select(state, name, choices) for name in ("model", "model_b")]
        self.content = [*models, *LeadStep(state, desk).content]


def _model_select(state: NowcastState, name: str, choices: Sequence[ModelChoice]) -> pmui.Select:
    """A list of all models; those that cannot run here are there, greyed, with the reason."""
    return pmui.Select.from_param(
        state.param[name],
        label={"model": "Forecast A", "model_b": "Forecast B"}[name],
        options={choice.label: choice.name for choice in choices},
        disabled_options=[choice.name for choice in choices if choice.obstacle],
        description="",
        **FULL,
    )


class RunStep:
    """Step 4: run, cancel, progress, and whether the forecast on the maps is the one asked for."""

    def __init__(self, state: NowcastState, desk: NowcastDesk) -> None:
        self.state, self.desk = state, desk
        self._run = pmui.Button(
            label="Run forecast",
            icon="bolt",
            on_click=lambda event: desk.start(),
            **{**FULL, "size": "medium"},
        )
        self._cancel = pmui.Button(
            label="Cancel",
            icon="close",
            color="default",
            variant="outlined",
            on_click=lambda event: desk.cancel(),
            disabled=True,
            **{**FULL, "size": "medium"},
        )
        self._bar = pmui.LinearProgress(
            value=0, variant="determinate", margin=(4, 12), sizing_mode="stretch_width"
        )
        self._stage = html_pane(STAGE_CSS, margin=(0, 12))
        self._problem = Problem()
        self.content = [
            pmui.Row(self._run, self._cancel, sizing_mode="stretch_width", margin=0),
            self._bar,
            self._stage,
            self._problem.view,
        ]
        desk.param.watch(
            lambda *events: self.refresh(),
            ["field", "run", "run_b", "is_running", "progress", "run_problem", "problems"],
        )
        state.param.watch(
            lambda *events: self.refresh(), ["issue_index", "model", "model_b", "lead_steps", "device"]
        )
        self.refresh()

    def refresh(self) -> None:
        """Show the state of the work."""
        desk = self.desk
        wants_run = desk.field is not None and (desk.leading is None or desk.is_stale)
        self._run.param.update(disabled=desk.field is None, variant="contained" if wants_run else "outlined")
        self._cancel.disabled = not desk.is_running
        self._bar.value = (
            round(100 * desk.progress.fraction) if desk.progress else (100 if self._is_done else 0)
        )
        set_html(self._stage, f"<div role=status>{html.escape(self.message)}</div>")
        self._problem.show(desk.run_problem)

    @property
    def _is_done(self) -> bool:
        return self.desk.leading is not None and not self.desk.is_stale

    @property
    def message(self) -> str:
        """What is going on, in one line."""
        desk = self.desk
        if desk.field is None:
            return "Choose data first (step 1)."
        if desk.is_running:
            progress = desk.progress
            text = f"{progress.stage} · {100 * progress.fraction:.0f} %" if progress else "starting"
            if progress and progress.remaining_seconds is not None:
                text += f" · {say_seconds(progress.remaining_seconds)} left"
            return text
        failed = (
            "Forecast A could not be made; why stands below." if desk.state.model in desk.problems else ""
        )
        if desk.leading is None:
            return failed or "No forecast yet: press Run forecast."
        issue = say_time(desk.field.time_at(desk.leading.request.issue_index))
        shown = [run for run in (desk.run, desk.run_b) if run is not None]
        if desk.is_stale:
            return f"The maps show an older forecast ({_names(shown)}, {issue}). Run again to renew it."
        shown = [run for run in shown if not desk.is_old(run)]
        return f"{_names(shown)}, issued {issue}. {failed}".strip()


def _names(runs: Sequence[Run]) -> str:
    """The models of forecasts, each once."""
    return " and ".join(dict.fromkeys(title_of(run.model) for run in runs))


def say_seconds(seconds: float) -> str:
    """Seconds that are left, in words."""
    if seconds < 90:
        return f"{max(1, int(np.ceil(seconds)))} s"
    return f"{int(np.ceil(seconds / 60))} min"


def usable(choices: Sequence[ModelChoice]) -> list[str]:
    """The names of the models that can run here, the one that a page begins with first."""
    return [choice.name for choice in choices if not choice.obstacle]

"""Step 3 of the scenarios page: leads, members, sampler steps and catchment; draw and cancel with progress."""

import html
from typing import Any

import panel_material_ui as pmui

from geoscope.errors import GeoscopeError
from geoscope.ui.panes import Problem, html_pane, set_html
from geoscope.ui.question_steps import FULL, LeadStep
from geoscope.ui.run_steps import STAGE_CSS, say_seconds
from geoscope.ui.scenario_catchment import corners_of
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_state import MEMBERS, SAMPLER_STEPS, ScenarioState

MOST_BYTES = 4_000_000  # of a GeoJSON file


class DrawStep:
    """What is drawn, drawing it, and how far that is."""

    def __init__(self, state: ScenarioState, desk: ScenarioDesk) -> None:
        self.state, self.desk = state, desk
        members = pmui.Select.from_param(
            state.param.members, options={str(n): n for n in MEMBERS}, label="Members", description="", **FULL
        )
        steps = pmui.Select.from_param(
            state.param.steps, options={str(n): n for n in SAMPLER_STEPS}, label="Sampler steps", description="",
            **FULL,
        )  # fmt: skip
        self._draw = pmui.Button(
            label="Draw", icon="bolt", on_click=lambda event: desk.start(),
            **{**FULL, "size": "medium"},
        )  # fmt: skip
        self._cancel = pmui.Button(
            label="Cancel", icon="close", color="default", variant="outlined", disabled=True,
            on_click=lambda event: desk.cancel(), **{**FULL, "size": "medium"},
        )  # fmt: skip
        self._bar = pmui.LinearProgress(
            value=0, variant="determinate", margin=(4, 12), sizing_mode="stretch_width"
        )
        self._stage = html_pane(STAGE_CSS, margin=(0, 12))
        self._problem = Problem()
        self._file = pmui.FileInput(
            label="Catchment from GeoJSON", accept=".geojson,.json", variant="outlined", **FULL
        )
        self._file.param.watch(lambda *events: self._catchment_came(), "value")
        self.content = [
            *LeadStep(state, desk).content,
            pmui.Row(members, steps, sizing_mode="stretch_width", margin=0),
            self._file,
            pmui.Row(self._draw, self._cancel, sizing_mode="stretch_width", margin=0),
            self._bar,
            self._stage,
            self._problem.view,
        ]
        desk.param.watch(
            lambda *events: self.refresh(), ["field", "case", "arrived", "is_running", "progress", "problem"]
        )
        state.param.watch(
            lambda *events: self.refresh(), ["sigma", "members", "steps", "issue_index", "lead_steps", "area"]
        )
        self.refresh()

    def refresh(self) -> None:
        """Show the state of the work."""
        desk = self.desk
        is_done = desk.case is not None and not desk.is_stale and bool(self._all_there())
        self._draw.param.update(
            disabled=desk.field is None, variant="outlined" if is_done or desk.is_running else "contained"
        )
        self._cancel.disabled = not desk.is_running
        self._bar.value = round(100 * desk.progress.fraction) if desk.progress else 100 * is_done
        set_html(self._stage, f"<div role=status>{html.escape(self.message)}</div>")
        self._problem.show(desk.problem)

    def _all_there(self) -> bool:
        return len(self.desk.members(self.state.sigma)) == self.state.members

    @property
    def message(self) -> str:
        """What is going on, in one line."""
        desk, state = self.desk, self.state
        if desk.field is None:
            return "Choose data first (step 1)."
        if desk.is_running and desk.progress is not None:
            progress = desk.progress
            text = f"{progress.stage} · {100 * progress.fraction:.0f} %"
            if progress.remaining_seconds is not None:
                text += f" · {say_seconds(progress.remaining_seconds)} left"
            return text
        if desk.case is None:
            return "" if desk.problem else "Nothing drawn yet."
        if desk.is_stale:
            return "The maps show scenarios of other choices. Draw again to renew them."
        if not self._all_there():
            return "Stopped; what was drawn is shown. Draw goes on."
        return (
            f"All {state.members} members of this n and of n = 0 are drawn."
            if state.members > 1
            else "Drawn."
        )

    def _catchment_came(self) -> None:
        data: Any = self._file.value
        content = data[0] if isinstance(data, list) and data else data
        if not content or self.desk.field is None:
            return
        try:
            has_place = self.desk.field.table.has_place
            self.state.area = corners_of(bytes(content), MOST_BYTES, has_place)
        except GeoscopeError as fault:
            self.desk.problem = str(fault)

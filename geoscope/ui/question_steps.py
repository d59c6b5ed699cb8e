"""Steps that every page over a field has: the issue time, whether later frames are shown, lead and device."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

from geoscope.ui.field_desk import FieldDesk
from geoscope.ui.open_field import say_duration, say_time
from geoscope.ui.view_state import ViewState

MOST_LEADS = 24
FULL: dict[str, Any] = {
    "sizing_mode": "stretch_width",
    "margin": (5, 12),
    "size": "small",
}  # widgets of a step


class TimeStep:
    """The issue time, and whether later frames are shown."""

    def __init__(self, state: ViewState, desk: FieldDesk) -> None:
        self.state, self.desk = state, desk
        self._issue = pmui.Select(label="Issue time", options={"–": 0}, value=0, **FULL)
        self._truth = pmui.Switch.from_param(
            state.param.shows_truth,
            label="Show what happened later",
            description="",
            margin=(2, 12),
            size="small",
        )
        self.content = [self._issue, self._truth]
        desk.param.watch(lambda *events: self._fill(), "field")
        state.param.watch(lambda *events: self._follow(), "issue_index")
        self._issue.param.watch(self._chosen, "value")
        self._fill()

    def _fill(self) -> None:
        field = self.desk.field
        if field is not None:
            options = {say_time(time): index for index, time in enumerate(field.times)}
            self._issue.param.update(options=options, value=self.state.issue_index)

    def _follow(self) -> None:
        if self.state.issue_index in self._issue.options.values():
            self._issue.value = self.state.issue_index

    def _chosen(self, event: Any) -> None:
        if event.new is not None and self.desk.field is not None:
            self.state.issue_index = int(event.new)


class LeadStep:
    """How far ahead, and on which device."""

    def __init__(self, state: ViewState, desk: FieldDesk) -> None:
        self.state, self.desk = state, desk
        self._lead = pmui.Select(
            label="Lead", options={"–": state.lead_steps}, value=state.lead_steps, **FULL
        )
        state.param.device.objects = _devices()
        device = pmui.Select.from_param(state.param.device, label="Device", description="", **FULL)
        self.content = [self._lead, device]
        desk.param.watch(lambda *events: self._fill(), "field")
        state.param.watch(lambda *events: self._fill(), "lead_steps")
        self._lead.param.watch(self._chosen, "value")
        self._fill()

    def _fill(self) -> None:
        field = self.desk.field
        if field is not None:
            steps = sorted({*range(1, MOST_LEADS + 1), self.state.lead_steps})
            options = {f"{say_duration(n * field.step)} ({n} frames)": n for n in steps}
            is_relabelled = options != self._lead.options
            self._lead.param.update(options=options, value=self.state.lead_steps)
            # A list shows the text that it was sent with its value, and the same value is not sent again.
            if is_relabelled:
                self._lead.param.trigger("value")

    def _chosen(self, event: Any) -> None:
        if event.new:
            self.state.lead_steps = int(event.new)


def _devices() -> list[str]:
    """The devices that can be chosen here, without importing torch when the page opens."""
    has_gpu = find_spec("torch") is not None and Path("/dev/nvidia0").exists()
    return ["auto", "cpu", "cuda"] if has_gpu else ["auto", "cpu"]

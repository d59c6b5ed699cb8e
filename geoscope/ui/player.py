"""The player under the maps: transport buttons, valid time and lead, speed, loop, and the time axis."""

import html
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from geoscope.ui.field_desk import FieldDesk
from geoscope.ui.map_frame import is_known, when
from geoscope.ui.open_field import say_time
from geoscope.ui.shell import KeysAndClock
from geoscope.ui.timeline import Timeline
from geoscope.ui.view_state import SPEEDS, ViewState

KEYS = ["ArrowLeft", "ArrowRight", "Home", "End", " "]

_CLOCK = """
.clock { font: 500 15px/20px Roboto, sans-serif; font-variant-numeric: tabular-nums; min-width: 240px;
  color: var(--panel-on-background-color); white-space: nowrap; }
@media (max-width: 820px) { :host { flex: 1 0 100%; margin: 4px 12px 0 !important; } .clock { font-size: 14px; } }
.clock em { font-style: normal; font-weight: 400; opacity: .8; margin-left: 6px; }
"""
_WIDE_ONLY = "@media (max-width: 820px) { :host { display: none !important; } }"
_STICKY = """
@media (max-width: 820px) { :host { position: sticky !important; bottom: 0; z-index: 4;
  background: var(--panel-surface-color); box-shadow: 0 -1px 4px #0004; } }
"""


class Player:
    """Moves the state's frame. `view` is the panel object, `keys` hears arrow keys and gives the beat."""

    def __init__(self, state: ViewState, desk: FieldDesk) -> None:
        self.state, self.desk = state, desk
        self.keys = KeysAndClock(on_key=self.press, on_tick=self.tick, keys=KEYS)
        self.axis = Timeline(sizing_mode="stretch_width", height=64, margin=(6, 12, 2, 12))
        self._clock = pn.pane.HTML("", stylesheets=[_CLOCK], margin=(6, 12))
        self._play = _button("play_arrow", "Play (space)", self.toggle)
        self.view = pmui.Column(
            self._make_buttons(), self.axis, sizing_mode="stretch_width", margin=0, stylesheets=[_STICKY]
        )
        self._watch()
        self.refresh()

    # What the user does

    def press(self, key: str) -> None:
        """A key: arrows step, Home and End jump, space plays and pauses."""
        if key == " ":
            self.toggle()
        elif key in ("Home", "End"):
            self.go_to(0 if key == "Home" else self.desk.last_frame)
        else:
            self.step(-1 if key == "ArrowLeft" else 1)

    def toggle(self) -> None:
        """Play or pause; at the end, play begins anew."""
        state = self.state
        if not state.is_playing and state.frame_index >= self.last_played:
            state.frame_index = 0
        state.is_playing = not state.is_playing and self.desk.field is not None

    def step(self, frames: int) -> None:
        """Pause and go so many frames on."""
        self.go_to(self.state.frame_index + frames)

    def go_to(self, index: int) -> None:
        """Pause and show a frame; beyond the ends, the first or the last."""
        self.state.is_playing = False
        self.state.frame_index = int(np.clip(index, 0, self.desk.last_frame))

    def tick(self) -> None:
        """The next frame of the film; after the last comes the first, or the end."""
        state = self.state
        if state.frame_index < self.last_played:
            state.frame_index += 1
        elif state.loops:
            state.frame_index = 0
        else:
            state.is_playing = False

    @property
    def last_played(self) -> int:
        """Where the film ends: with the forecast, or with what was observed if that is shown."""
        desk, state = self.desk, self.state
        return (
            desk.last_frame
            if state.shows_truth
            else min(state.issue_index + state.lead_steps, desk.last_frame)
        )

    # What is shown

    def refresh(self) -> None:
        """Draw axis, clock and buttons from the state."""
        desk, state = self.desk, self.state
        self._refresh_frame()
        self._play.icon = "pause" if state.is_playing else "play_arrow"
        field = desk.field
        if field is None:
            self.axis.param.update(times=[], ticks=[], kinds=[], observed=1)
            return
        indices = range(desk.last_frame + 1)
        times = [field.time_at(index) for index in indices]
        self.axis.param.update(
            times=[say_time(time) for time in times],
            ticks=_ticks(times),
            kinds=[self._kind(index) for index in indices],
            issue=state.issue_index,
            lead=state.lead_steps,
            observed=field.frames,
        )

    def _refresh_frame(self) -> None:
        time, lead = when(self.desk, self.state.frame_index)
        text = f'<div class="clock">{html.escape(time)} <em>{html.escape(lead)}</em></div>'
        if self._clock.object != text:
            self._clock.object = text
        self.axis.frame = self.state.frame_index

    def _kind(self, index: int) -> str:
        desk, state = self.desk, self.state
        if index in desk.forecast_frames and index > state.issue_index:
            return "verified" if is_known(desk, index) else "forecast"
        if is_known(desk, index):
            return "observed"
        return "waiting" if index <= state.issue_index + state.lead_steps else "hidden"

    # How it is made

    def _watch(self) -> None:
        state, desk = self.state, self.desk
        state.param.watch(lambda *events: self._refresh_frame(), "frame_index")
        state.param.watch(
            lambda *events: self.refresh(), ["issue_index", "lead_steps", "shows_truth", "is_playing"]
        )
        state.param.watch(lambda *events: self._set_beat(), ["is_playing", "speed"])
        desk.param.watch(lambda *events: self.refresh(), ["field", *desk.RESULTS])
        self.axis.param.watch(self._axis_moved, "frame")
        self.axis.param.watch(self._issue_moved, "issue")

    def _set_beat(self) -> None:
        self.keys.param.update(interval=round(1000 / self.state.speed), is_ticking=self.state.is_playing)

    def _axis_moved(self, event: Any) -> None:
        if event.new != self.state.frame_index:
            self.go_to(int(event.new))

    def _issue_moved(self, event: Any) -> None:
        field = self.desk.field
        if field is not None and event.new != self.state.issue_index:
            self.state.issue_index = int(np.clip(event.new, 0, field.frames - 1))

    def _make_buttons(self) -> pmui.FlexBox:
        state = self.state
        speed = pmui.Select.from_param(
            state.param.speed,
            options=SPEEDS,
            label="Speed",
            size="small",
            width=120,
            margin=(6, 6, 2, 6),
            description="",
        )
        loops = pmui.Switch.from_param(
            state.param.loops,
            label="Loop",
            margin=(4, 6),
            size="small",
            description="",
            stylesheets=[_WIDE_ONLY],
        )
        first = _button("first_page", "First frame (Home)", lambda: self.go_to(0))
        first.margin = (0, 0, 0, -4)
        return pmui.FlexBox(
            first,
            _button("chevron_left", "One frame back (left arrow)", lambda: self.step(-1)),
            self._play,
            _button("chevron_right", "One frame on (right arrow)", lambda: self.step(1)),
            _button("last_page", "Last frame (End)", lambda: self.go_to(self.desk.last_frame)),
            self._clock,
            pn.Spacer(styles={"flex": "1 1 auto"}, height=1),
            _legend(),
            speed,
            loops,
            align_items="center",
            sizing_mode="stretch_width",
            margin=(2, 8, 0, 8),
        )


def _button(icon: str, description: str, action: Any) -> pmui.IconButton:
    return pmui.IconButton(
        icon=icon,
        description=description,
        on_click=lambda event: action(),
        margin=0,
        color="primary",
        size="medium",
    )


def _ticks(times: list[np.datetime64]) -> list[str]:
    """A short text for each frame: the hour, and the day where it begins."""
    texts, day = [], None
    for time in times:
        moment = time.astype("datetime64[s]").item()
        texts.append(f"{moment:%H:%M}" if moment.date() == day else f"{moment.day} {moment:%b %H:%M}")
        day = moment.date()
    return texts


def _legend() -> pn.pane.HTML:
    css = """
    @media (max-width: 1160px) { :host { display: none !important; } }
    .kinds { font: 11px/14px Roboto, sans-serif; display: flex; gap: 10px; color: var(--panel-on-background-color); }
    .kinds i { display: inline-block; width: 14px; height: 10px; border-radius: 2px; margin-right: 4px; }
    """
    marks = (("#5f8fc4", "observed"), ("#d98324", "forecast"))
    text = "".join(f'<span><i style="background:{colour}"></i>{name}</span>' for colour, name in marks)
    text += "<span>&#9650; issue time</span>"
    return pn.pane.HTML(f'<div class="kinds">{text}</div>', stylesheets=[css], margin=(4, 8))

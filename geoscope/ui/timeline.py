"""The time axis of a page: which frame is shown, and from which one a forecast is issued."""

from pathlib import Path

import panel as pn
import param

_CSS = """
:host { display: block; width: 100%; }
.axis { position: relative; height: 62px; user-select: none; font: 11px/14px Roboto, sans-serif;
  color: var(--panel-on-background-color); }
.lane { position: absolute; left: 0; right: 0; cursor: pointer; outline-offset: 2px; touch-action: none; }
.lane:focus-visible { outline: 2px solid var(--panel-primary-color); }
.frames { top: 0; height: 22px; }
.cells { display: flex; height: 100%; border-radius: 3px; overflow: hidden; }
.cells i { flex: 1; box-shadow: inset -1px 0 0 var(--panel-background-color); }
.observed { background: #5f8fc4; }
.hidden { background: repeating-linear-gradient(135deg, #8a929c66 0 4px, #8a929c22 4px 8px); }
.forecast { background: #d98324; }
.verified { background: linear-gradient(#d98324 50%, #5f8fc4 50%); }
.waiting { background: repeating-linear-gradient(135deg, #d9832488 0 4px, #d9832422 4px 8px); }
.cursor { position: absolute; top: -3px; bottom: -3px; box-sizing: border-box; min-width: 5px; border-radius: 3px;
  border: 2px solid var(--panel-on-background-color); pointer-events: none; }
.issue { top: 26px; height: 18px; }
.issue .past, .issue .future { position: absolute; top: 8px; height: 2px; background: #5f8fc4; }
.issue .past { left: 0; }
.issue .future { background: #d98324; }
.flag { position: absolute; top: 1px; width: 0; height: 0; margin-left: -8px; border: 8px solid transparent;
  border-top: 0; border-bottom: 14px solid #d98324; filter: drop-shadow(0 0 1px var(--panel-on-background-color)); }
.ticks { position: absolute; left: 0; right: 0; top: 47px; height: 14px; }
.ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; opacity: .8; }
.ticks .first { transform: none; left: 0 !important; }
.ticks .last { transform: none; left: auto !important; right: 0; }
.tip { position: absolute; bottom: 66px; padding: 2px 6px; border-radius: 3px; pointer-events: none; opacity: 0;
  white-space: nowrap; background: var(--panel-on-background-color); color: var(--panel-background-color); z-index: 5; }
.tip[data-side=middle] { transform: translateX(-50%); }
.tip[data-side=left] { transform: translateX(-100%); }
"""


class Timeline(pn.custom.JSComponent):
    """Frames in the upper lane, the issue time in the lower one; both by mouse, finger or arrow keys.

    `kinds` says of each frame what can be seen there: observed, hidden (observed, not shown), forecast, verified
    (forecast and observed) or waiting (within the lead of a forecast that was not made yet).
    """

    times = param.List(default=[], item_type=str, doc="valid time of each frame, in words")
    ticks = param.List(default=[], item_type=str, doc="a shorter text for each frame, under the axis")
    kinds = param.List(default=[], item_type=str)
    frame = param.Integer(default=0)
    issue = param.Integer(default=0)
    lead = param.Integer(default=0)
    observed = param.Integer(default=1, doc="how many frames were observed: the issue time is one of them")

    _esm = Path(__file__).with_name("timeline.js")
    _stylesheets = [_CSS]  # noqa: RUF012 - Panel's own interface

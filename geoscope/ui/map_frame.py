"""What one map shows at a frame of the time axis, and the frames that every page has: the observed ones.

A map is never empty without a reason. Where it has nothing of its own to show it says so, and where an older frame
stands in for a missing one the frame is marked as dim.
"""

from dataclasses import dataclass

import numpy as np

from geoscope.ui.field_desk import FieldDesk
from geoscope.ui.open_field import OpenField, say_duration, say_time


@dataclass(frozen=True, eq=False)
class MapFrame:
    """One map at one time. `values` is (H, W), or None when there is nothing to show.

    The values of `layer` "rain" and "difference" are in the field's unit, those of "probability" in per cent, those of
    "outcome" the codes of `geoscope.viz.colours.OUTCOMES`.

    `identity` names the values, so that a picture of them can be kept; `detail` is a line for the caption, `note`
    stands over the map where something is missing; `offers_truth` is True where the note speaks of later frames that
    the user may ask for.
    """

    title: str
    values: np.ndarray | None
    identity: tuple
    note: str = ""
    detail: str = ""
    is_dim: bool = False
    layer: str = "rain"
    offers_truth: bool = False


def when(desk: FieldDesk, index: int) -> tuple[str, str]:
    """The valid time of a frame and its place relative to the issue time, as two texts."""
    if desk.field is None:
        return "No time", ""
    steps = index - desk.state.issue_index
    if steps == 0:
        lead = "issue time"
    elif steps > 0:
        lead = f"lead +{say_duration(steps * desk.field.step)}"
    else:
        lead = f"{say_duration(-steps * desk.field.step)} before issue"
    return say_time(desk.field.time_at(index)), lead


def is_known(desk: FieldDesk, index: int) -> bool:
    """Whether the user may see what was observed at a frame."""
    field = desk.field
    return (
        field is not None
        and index < field.frames
        and (index <= desk.state.issue_index or desk.state.shows_truth)
    )


def frame_of(field: OpenField, index: int) -> tuple[np.ndarray, tuple]:
    """An observed frame and its identity."""
    return field.rain.values[index], ("observed", field.digest, index)


def observed_frame(desk: FieldDesk, index: int) -> MapFrame:
    """What the map of the observation shows at a frame: that frame, or the last one that may be seen, and why."""
    field, issue = desk.field, desk.state.issue_index
    if is_known(desk, index):
        values, identity = frame_of(field, index)
        return MapFrame("Observed", values, identity)
    last = issue if not desk.state.shows_truth else field.frames - 1
    values, identity = frame_of(field, last)
    old = f"Last shown frame: {say_time(field.time_at(last))}."
    if index < field.frames:
        return MapFrame(
            "Observed", values, identity, f"{old} Later ones are hidden.", is_dim=True, offers_truth=True
        )
    return MapFrame("Observed", values, identity, f"{old} Nothing was observed later.", is_dim=True)


def nothing_to_show(title: str, note: str, offers_truth: bool = False) -> MapFrame:
    """A map without values, and the reason."""
    return MapFrame(title, None, ("nothing",), note, offers_truth=offers_truth)

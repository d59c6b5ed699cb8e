"""What the three maps of the scenarios page show, and why: values, no pictures."""

import numpy as np

from geoscope.inference.scenarios import Scenario
from geoscope.ui.map_frame import MapFrame, frame_of, is_known, nothing_to_show
from geoscope.ui.open_field import say_time
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_state import LAYERS

MAPS = ("scenario", "expected", "third")


def say_sigma(sigma: float) -> str:
    """n as it stands on the page."""
    return "n = 0" if sigma == 0 else f"n = {sigma:+g}".replace("-", "−")


def scenario_frames(desk: ScenarioDesk, index: int) -> dict[str, MapFrame]:
    """The three maps, by the names in `MAPS`, at frame ``index`` of the axis."""
    state, field = desk.state, desk.field
    titles = (f"Scenario {say_sigma(state.sigma)}", "Expected, n = 0", LAYERS[state.layer])
    if field is None:
        return {
            name: MapFrame(title, None, ("nothing",), "No data yet: choose it under step 1.")
            for name, title in zip(MAPS, titles, strict=True)
        }
    if index <= state.issue_index:
        values, identity = frame_of(field, index)
        note = "Observed until the issue time."
        return {
            name: MapFrame(title, values, identity, note) for name, title in zip(MAPS, titles, strict=True)
        }
    return {
        "scenario": _one(desk, index, state.sigma, titles[0]),
        "expected": _one(desk, index, 0.0, titles[1]),
        "third": _third(desk, index, titles[2]),
    }


def _why_none(desk: ScenarioDesk) -> str:
    if desk.problem:
        return desk.problem
    return "It is being drawn." if desk.is_running else "Not drawn: press Draw (step 3)."


def _step(desk: ScenarioDesk, index: int, title: str) -> int | MapFrame:
    """The lead of a frame of the axis in the case that is shown, or the map that says why there is none."""
    if desk.case is None:
        return nothing_to_show(title, _why_none(desk))
    asked = desk.case.question
    step = index - asked.issue_index - 1
    if step < 0:
        return nothing_to_show(title, "Before the issue time of these scenarios.")
    if step >= asked.lead_steps:
        last = say_time(desk.field.time_at(asked.issue_index + asked.lead_steps))
        return nothing_to_show(title, f"The scenarios end at {last}: choose a longer lead (step 3).")
    return step


def _one(desk: ScenarioDesk, index: int, sigma: float, title: str) -> MapFrame:
    step = _step(desk, index, title)
    if isinstance(step, MapFrame):
        return step
    found = desk.scenario(sigma)
    if found is None:
        return nothing_to_show(title, _why_none(desk))
    scenario, steps = found
    identity = ("scenario", desk.case.question, sigma, scenario.member, steps, step)
    note, is_old = _doubts(desk, scenario, steps)
    means = f"asked {scenario.asked_mean:.2f}, got {scenario.achieved_mean:.2f} mm/h"
    detail = "" if note else f"member {scenario.member + 1} · mean {means}"  # the note stands where it would
    return MapFrame(title, scenario.rain[step], identity, note, detail=detail, is_dim=is_old)


def _doubts(desk: ScenarioDesk, scenario: Scenario, steps: int) -> tuple[str, bool]:
    """What a picture must not be without: old, quick, beyond what training has seen; and whether it is old."""
    notes = []
    if desk.is_stale:
        issued = say_time(desk.field.time_at(desk.case.question.issue_index))
        notes.append(f"Old: drawn for other choices, issued {issued}.")
    if steps != desk.state.steps:
        notes.append(f"Quick look, {steps} steps; refined when it is ready.")
    if not scenario.is_plausible:
        notes.append("Beyond what training has seen.")
    return " ".join(notes), desk.is_stale


def _third(desk: ScenarioDesk, index: int, title: str) -> MapFrame:
    layer = desk.state.layer
    if layer == "observed":
        return _observed(desk, index, title)
    step = _step(desk, index, title)
    if isinstance(step, MapFrame):
        return step
    return _difference(desk, step, title) if layer == "difference" else _of_members(desk, step, title)


def _observed(desk: ScenarioDesk, index: int, title: str) -> MapFrame:
    if is_known(desk, index):
        values, identity = frame_of(desk.field, index)
        return MapFrame(title, values, identity)
    if index < desk.field.frames:
        return nothing_to_show(title, "It is hidden: switch on Show what happened later (step 2).")
    return nothing_to_show(title, "Nothing was observed at this time.")


def _difference(desk: ScenarioDesk, step: int, title: str) -> MapFrame:
    one, other = desk.scenario(desk.state.sigma), desk.scenario(0.0)
    if one is None or other is None:
        return nothing_to_show(title, _why_none(desk))
    identity = ("difference", desk.case.question, desk.state.sigma, one[0].member, one[1], other[1], step)
    note, is_old = _doubts(desk, one[0], min(one[1], other[1]))
    if one[1] != other[1]:
        note = f"One of the two is a quick look. {note}"
    return MapFrame(
        title, one[0].rain[step] - other[0].rain[step], identity, note, is_dim=is_old, layer="difference"
    )


def _of_members(desk: ScenarioDesk, step: int, title: str) -> MapFrame:
    state, every = desk.state, desk.members(desk.state.sigma)
    if not every:
        return nothing_to_show(title, _why_none(desk))
    rain = np.stack([one.rain[step] for one in every])
    layer, threshold = state.layer, state.threshold
    if layer == "spread" and len(rain) < 2:
        return nothing_to_show(title, "A spread needs two members or more (step 3).")
    identity = (layer, desk.case.question, state.sigma, len(every), state.steps, step, threshold)
    detail = f"of {len(every)} members at {say_sigma(state.sigma)}"
    values = {
        "mean": lambda: rain.mean(axis=0),
        "spread": lambda: rain.std(axis=0, ddof=1),
        "worst": lambda: rain.max(axis=0),
        "probability": lambda: _share(rain, threshold),
    }[layer]()
    missing = state.members - len(every)
    note, is_old = _doubts(desk, every[0], state.steps)
    if missing:
        note = f"{missing} members are still to come. {note}".strip()
    is_share = layer == "probability"
    name = f"Share of members ≥ {threshold:g} mm/h" if is_share else title
    return MapFrame(
        name,
        values,
        identity,
        note,
        detail=detail,
        is_dim=is_old,
        layer="probability" if is_share else "rain",
    )


def _share(rain: np.ndarray, threshold: float) -> np.ndarray:
    """Per cent of the members (M, H, W) at or above a threshold; NaN where they have no data."""
    share = 100.0 * (rain >= np.float32(threshold)).mean(axis=0).astype(np.float32)
    return np.where(np.isnan(rain).any(axis=0), np.nan, share).astype(np.float32)

"""What the maps of the nowcast page show, observed and forecasts A and B, and why: values, no pictures."""

from dataclasses import dataclass, replace

import numpy as np

from geoscope.ui.map_frame import MapFrame, frame_of, is_known, nothing_to_show, observed_frame
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_runs import Run, title_of
from geoscope.ui.open_field import say_time
from geoscope.ui.places import region_mask

MAPS = ("observed", "a", "b")


def map_frames(desk: NowcastDesk, index: int) -> dict[str, MapFrame]:
    """The three maps, by the names in `MAPS`, at frame ``index`` of the axis."""
    if desk.field is None:
        nothing = MapFrame("", None, ("nothing",), "No data yet: choose it under step 1.")
        return dict.fromkeys(MAPS, nothing)
    return {
        "observed": observed_frame(desk, index),
        "a": _forecast(desk, index, "A", desk.state.model, desk.run),
        "b": _forecast(desk, index, "B", desk.state.model_b, desk.run_b),
    }


def _forecast(desk: NowcastDesk, index: int, slot: str, wanted: str, run: Run | None) -> MapFrame:
    """Forecast A or B: the observation until its issue time, then the layer that was chosen, or why there is none."""
    title = f"{slot}: {title_of(run.model if run is not None else wanted)}"
    issue = desk.state.issue_index
    if index <= (issue if run is None else min(run.request.issue_index, issue)):
        values, identity = frame_of(desk.field, index)
        return MapFrame(title, values, identity, "Observed until the issue time.")
    if run is None:
        return nothing_to_show(title, _why_none(desk, wanted))
    step = index - run.request.issue_index - 1
    if step < 0:
        return nothing_to_show(title, "Before the issue time of this forecast.")
    if step >= len(run.forecast):
        last = say_time(desk.field.time_at(run.request.issue_index + len(run.forecast)))
        return nothing_to_show(title, f"The forecast ends at {last}: choose a longer lead (step 3).")
    is_old = run.model != wanted or desk.is_old(run)
    frame = _LAYERS[desk.state.layer](desk, run, title, step)
    if not is_old:
        return frame
    issued = say_time(desk.field.time_at(run.request.issue_index))
    old = f"Old forecast, issued {issued}." + (" A new one is under way." if desk.is_running else "")
    if wanted in desk.problems and not desk.is_running:
        old += f" No {title_of(wanted)}: {desk.problems[wanted]}"
    return replace(frame, note=f"{old} {frame.note}".strip(), is_dim=True)


def _why_none(desk: NowcastDesk, wanted: str) -> str:
    if wanted in desk.problems:
        return desk.problems[wanted]
    return (
        "The forecast is under way." if desk.is_running else "No forecast yet: press Run forecast (step 4)."
    )


def _rain(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame:
    return MapFrame(title, run.forecast.values[step], ("rain", run.request, step))


def _probability(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame:
    threshold = desk.state.threshold
    chance = run.chance_of(threshold)
    if chance is None:
        return nothing_to_show(title, f"{title_of(run.model)} gives one field and no probabilities.")
    values = 100.0 * chance.values[step].astype(np.float32)
    return MapFrame(title, values, ("probability", run.request, step, threshold), layer="probability")


def _against_truth(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame | np.ndarray:
    """The observed frame of a lead, or the frame that says why it is not to be had."""
    index = run.request.issue_index + 1 + step
    if index >= desk.field.frames:
        return nothing_to_show(title, "Nothing was observed at this time.")
    if not is_known(desk, index):
        return nothing_to_show(title, "What was observed is hidden.", offers_truth=True)
    return desk.field.rain.values[index]


def _difference(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame:
    truth = _against_truth(desk, run, title, step)
    if isinstance(truth, MapFrame):
        return truth
    identity = ("difference", run.request, step)
    return MapFrame(title, run.forecast.values[step] - truth, identity, layer="difference")


def _outcome(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame:
    truth, threshold = _against_truth(desk, run, title, step), desk.state.threshold
    if isinstance(truth, MapFrame):
        return truth
    codes = outcomes(run.forecast.values[step], truth, threshold)
    identity = ("outcome", run.request, step, threshold)
    detail = _say_outcomes(codes, region_mask(desk.field, desk.state.area))
    return MapFrame(title, codes, identity, detail=detail, layer="outcome")


_LAYERS = {"rain": _rain, "difference": _difference, "outcome": _outcome, "probability": _probability}


def outcomes(forecast: np.ndarray, observed: np.ndarray, threshold: float) -> np.ndarray:
    """Of each pixel 1 for a hit, 2 for a miss, 3 for a false alarm, 0 for none, NaN where either is not known.

    An event is a value at or above ``threshold``, as everywhere in the scores.
    """
    edge = np.float32(threshold)
    predicted, seen = forecast >= edge, observed >= edge
    codes = np.where(predicted, np.where(seen, 1, 3), np.where(seen, 2, 0)).astype(np.float32)
    codes[np.isnan(forecast) | np.isnan(observed)] = np.nan
    return codes


def _say_outcomes(codes: np.ndarray, region: np.ndarray | None) -> str:
    """How often each outcome comes, in the region where there is one."""
    inside = codes[region] if region is not None else codes.ravel()
    _, hits, misses, alarms = np.bincount(inside[~np.isnan(inside)].astype(np.intp), minlength=4)
    events = hits + misses + alarms
    score = f"CSI {hits / events:.2f}" if events else "no event"
    return f"{'in the area: ' if region is not None else ''}{score} · hit {hits}, missed {misses}, false {alarms}"


@dataclass(frozen=True)
class Series:
    """Values over the page's time axis for a point or an area: each line (frames,), NaN where there is none."""

    times: np.ndarray
    lines: dict[str, np.ndarray]
    units: str
    place: str


def series(desk: NowcastDesk, mask: np.ndarray, place: str, reduce: str = "mean") -> Series:
    """Observation and every loaded forecast over time, reduced over the pixels where ``mask`` (H, W) is True.

    ``reduce`` is "mean" or "max"; pixels without data are left out. Observed frames that are hidden stay hidden.
    """
    field = desk.field
    count = desk.last_frame + 1
    reducer = {"mean": _mean, "max": _max}[reduce]
    seen = field.frames if desk.state.shows_truth else min(desk.state.issue_index + 1, field.frames)
    lines = {"observed": _placed(reducer(field.rain.values[:seen][:, mask]), 0, count)}
    for name, run in desk.loaded.items():
        lines[name] = _placed(reducer(run.forecast.values[:, mask]), run.request.issue_index + 1, count)
    times = field.times[0] + np.arange(count) * field.step
    return Series(times, lines, field.units, place)


def _placed(values: np.ndarray, start: int, count: int) -> np.ndarray:
    line = np.full(count, np.nan)
    stop = min(start + len(values), count)
    line[start:stop] = values[: stop - start]
    return line


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    number = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _max(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    highest = np.where(known, values, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(known.any(axis=1), highest, np.nan)

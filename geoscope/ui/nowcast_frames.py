"""What each of the three maps shows at a frame of the time axis, and why: plain values, no pictures.

A map is never empty without a reason. Where it has nothing of its own to show it says so, and where an older frame
stands in for a missing one the frame is marked as dim.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from geoscope.ui.nowcast_desk import NowcastDesk, Run
from geoscope.ui.nowcast_state import THIRD_MAPS
from geoscope.ui.open_field import OpenField, say_duration, say_time

MAPS = ("observed", "forecast", "third")


@dataclass(frozen=True, eq=False)
class MapFrame:
    """One map at one time. `values` is (H, W) in the field's unit, or None when there is nothing to show.

    `identity` names the values, so that a picture of them can be kept; `offers_truth` is True where the note speaks of
    later frames that the user may ask for.
    """

    title: str
    values: np.ndarray | None
    identity: tuple
    note: str = ""
    is_dim: bool = False
    is_difference: bool = False
    offers_truth: bool = False


def map_frames(desk: NowcastDesk, index: int) -> dict[str, MapFrame]:
    """The three maps, by the names in `MAPS`, at frame ``index`` of the axis."""
    if desk.field is None:
        nothing = MapFrame("", None, ("nothing",), "No data yet: choose it under step 1.")
        return dict.fromkeys(MAPS, nothing)
    return {
        "observed": _observed(desk, index),
        "forecast": _forecast(desk, index),
        "third": _third(desk, index),
    }


def when(desk: NowcastDesk, index: int) -> tuple[str, str]:
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


def is_known(desk: NowcastDesk, index: int) -> bool:
    """Whether the user may see what was observed at a frame."""
    field = desk.field
    return (
        field is not None
        and index < field.frames
        and (index <= desk.state.issue_index or desk.state.shows_truth)
    )


def _frame_of(field: OpenField, index: int) -> tuple[np.ndarray, tuple]:
    return field.rain.values[index], ("observed", field.digest, index)


def _observed(desk: NowcastDesk, index: int) -> MapFrame:
    field, issue = desk.field, desk.state.issue_index
    if is_known(desk, index):
        values, identity = _frame_of(field, index)
        return MapFrame("Observed", values, identity)
    last = issue if not desk.state.shows_truth else field.frames - 1
    values, identity = _frame_of(field, last)
    old = f"Last shown frame: {say_time(field.time_at(last))}."
    if index < field.frames:
        return MapFrame(
            "Observed", values, identity, f"{old} Later ones are hidden.", is_dim=True, offers_truth=True
        )
    return MapFrame("Observed", values, identity, f"{old} Nothing was observed later.", is_dim=True)


def _forecast(desk: NowcastDesk, index: int) -> MapFrame:
    name = desk.run.request.model if desk.run is not None else desk.state.model
    title = f"Forecast: {name}"
    run = desk.run
    first = desk.state.issue_index if run is None else min(run.request.issue_index, desk.state.issue_index)
    if index <= first:
        values, identity = _frame_of(desk.field, index)
        return MapFrame(title, values, identity, "Observed until the issue time.")
    if run is None:
        note = (
            "The forecast is under way."
            if desk.is_running
            else "No forecast yet: press Run forecast (step 4)."
        )
        return MapFrame(title, None, ("nothing",), note)
    return _of_run(desk, run, run.forecast, title, index)


def _of_run(desk: NowcastDesk, run: Run, forecast: xr.DataArray, title: str, index: int) -> MapFrame:
    step = index - run.request.issue_index - 1
    if 0 <= step < len(forecast):
        note = ""
        if desk.is_stale:
            issue = say_time(desk.field.time_at(run.request.issue_index))
            note = f"Old forecast, issued {issue}." + (" A new one is under way." if desk.is_running else "")
        identity = (title, run.request, step)
        return MapFrame(title, forecast.values[step], identity, note, is_dim=desk.is_stale)
    if step < 0:
        return MapFrame(title, None, ("nothing",), "Before the issue time of this forecast.")
    last = say_time(desk.field.time_at(run.request.issue_index + len(forecast)))
    return MapFrame(title, None, ("nothing",), f"The forecast ends at {last}: choose a longer lead (step 3).")


def _third(desk: NowcastDesk, index: int) -> MapFrame:
    kind = desk.state.third_map
    run = desk.run
    if kind == "difference":
        return _difference(desk, index)
    title = f"Baseline: {THIRD_MAPS[kind].lower()}"
    if index <= desk.state.issue_index and (run is None or index <= run.request.issue_index):
        values, identity = _frame_of(desk.field, index)
        return MapFrame(title, values, identity, "Observed until the issue time.")
    if run is None:
        return MapFrame(title, None, ("nothing",), "Comes with the forecast.")
    if kind not in run.baselines:
        reason = next(
            (note for note in run.notes if note.startswith(f"no {kind}")), f"{THIRD_MAPS[kind]} is not there."
        )
        return MapFrame(title, None, ("nothing",), reason)
    return _of_run(desk, run, run.baselines[kind], title, index)


def _difference(desk: NowcastDesk, index: int) -> MapFrame:
    title, run, field = "Forecast minus observed", desk.run, desk.field
    step = -1 if run is None else index - run.request.issue_index - 1

    def nothing(note: str, offers_truth: bool = False) -> MapFrame:
        return MapFrame(title, None, ("nothing",), note, is_difference=True, offers_truth=offers_truth)

    if run is None:
        return nothing("Comes with the forecast.")
    if step < 0:
        return nothing("The difference begins after the issue time.")
    if step >= len(run.forecast):
        return nothing("The forecast does not reach this time.")
    if index >= field.frames:
        return nothing("Nothing was observed at this time.")
    if not is_known(desk, index):
        return nothing("What was observed is hidden.", offers_truth=True)
    values = run.forecast.values[step] - field.rain.values[index]
    note = "Old forecast." if desk.is_stale else ""
    return MapFrame(
        title, values, ("difference", run.request, step), note, is_dim=desk.is_stale, is_difference=True
    )


@dataclass(frozen=True)
class Series:
    """Values over the page's time axis for a point or an area: each line (frames,), NaN where there is none."""

    times: np.ndarray
    lines: dict[str, np.ndarray]
    units: str
    place: str


def series(desk: NowcastDesk, mask: np.ndarray, place: str, reduce: str = "mean") -> Series:
    """Observation, forecast and baselines over time, reduced over the pixels where ``mask`` (H, W) is True.

    ``reduce`` is "mean" or "max"; pixels without data are left out. Observed frames that are hidden stay hidden.
    """
    field, run = desk.field, desk.run
    count = desk.last_frame + 1
    reducer = {"mean": _mean, "max": _max}[reduce]
    seen = field.frames if desk.state.shows_truth else min(desk.state.issue_index + 1, field.frames)
    lines = {"observed": _placed(reducer(field.rain.values[:seen][:, mask]), 0, count)}
    if run is not None:
        start = run.request.issue_index + 1
        fields = {run.request.model: run.forecast, **run.baselines}
        for name, forecast in fields.items():
            lines[name] = _placed(reducer(forecast.values[:, mask]), start, count)
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


def point_mask(field: OpenField, x: float, y: float) -> np.ndarray | None:
    """The one pixel (H, W) that holds a place in metres on the map, or None outside the field."""
    pixel = field.table.pixel_at(x, y)
    if pixel is None:
        return None
    mask = np.zeros(field.rain.shape[1:], dtype=bool)
    mask[pixel] = True
    return mask


def say_place(field: OpenField, x: float, y: float) -> str:
    """A place on the map in degrees, or in kilometres when the field has no place on the Earth."""
    lonlat = field.table.lonlat_at(x, y)
    if lonlat is None:
        return f"x {x / 1000:.1f} km, y {y / 1000:.1f} km"
    lon, lat = lonlat
    return f"{abs(lat):.3f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.3f}° {'E' if lon >= 0 else 'W'}"

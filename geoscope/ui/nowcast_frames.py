"""What the maps show at a frame of the time axis, observed and forecasts A and B, and why: values, no pictures.

A map is never empty without a reason. Where it has nothing of its own to show it says so, and where an older frame
stands in for a missing one the frame is marked as dim.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from geoscope.reprojection import MercatorTable
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_runs import Run, title_of
from geoscope.ui.open_field import OpenField, say_duration, say_time

MAPS = ("observed", "a", "b")


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


def map_frames(desk: NowcastDesk, index: int) -> dict[str, MapFrame]:
    """The three maps, by the names in `MAPS`, at frame ``index`` of the axis."""
    if desk.field is None:
        nothing = MapFrame("", None, ("nothing",), "No data yet: choose it under step 1.")
        return dict.fromkeys(MAPS, nothing)
    return {
        "observed": _observed(desk, index),
        "a": _forecast(desk, index, "A", desk.state.model, desk.run),
        "b": _forecast(desk, index, "B", desk.state.model_b, desk.run_b),
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


def _forecast(desk: NowcastDesk, index: int, slot: str, wanted: str, run: Run | None) -> MapFrame:
    """Forecast A or B: the observation until its issue time, then the layer that was chosen, or why there is none."""
    title = f"{slot}: {title_of(run.model if run is not None else wanted)}"
    issue = desk.state.issue_index
    if index <= (issue if run is None else min(run.request.issue_index, issue)):
        values, identity = _frame_of(desk.field, index)
        return MapFrame(title, values, identity, "Observed until the issue time.")
    if run is None:
        return _nothing(title, _why_none(desk, wanted))
    step = index - run.request.issue_index - 1
    if step < 0:
        return _nothing(title, "Before the issue time of this forecast.")
    if step >= len(run.forecast):
        last = say_time(desk.field.time_at(run.request.issue_index + len(run.forecast)))
        return _nothing(title, f"The forecast ends at {last}: choose a longer lead (step 3).")
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


def _nothing(title: str, note: str, offers_truth: bool = False) -> MapFrame:
    return MapFrame(title, None, ("nothing",), note, offers_truth=offers_truth)


def _rain(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame:
    return MapFrame(title, run.forecast.values[step], ("rain", run.request, step))


def _probability(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame:
    threshold = desk.state.threshold
    chance = run.chance_of(threshold)
    if chance is None:
        return _nothing(title, f"{title_of(run.model)} gives one field and no probabilities.")
    values = 100.0 * chance.values[step].astype(np.float32)
    return MapFrame(title, values, ("probability", run.request, step, threshold), layer="probability")


def _against_truth(desk: NowcastDesk, run: Run, title: str, step: int) -> MapFrame | np.ndarray:
    """The observed frame of a lead, or the frame that says why it is not to be had."""
    index = run.request.issue_index + 1 + step
    if index >= desk.field.frames:
        return _nothing(title, "Nothing was observed at this time.")
    if not is_known(desk, index):
        return _nothing(title, "What was observed is hidden.", offers_truth=True)
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


@lru_cache(maxsize=32)
def _cached_mask(table: MercatorTable, area: tuple[tuple[float, float], ...]) -> np.ndarray | None:
    xs, ys = zip(*area, strict=True)
    mask = table.pixels_within(xs, ys)
    mask.flags.writeable = False
    return mask if mask.any() else None


def region_mask(field: OpenField, area: tuple[tuple[float, float], ...] | None) -> np.ndarray | None:
    """The pixels (H, W) of a polygon on the map; None for the whole field, also when the polygon holds no pixel."""
    return _cached_mask(field.table, area) if area else None


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

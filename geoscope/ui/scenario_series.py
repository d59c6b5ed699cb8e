"""Rain over time at a point or over an area, for every drawn n and member, and the depths that it adds up to."""

import html
from dataclasses import dataclass

import numpy as np

from geoscope.ui.nowcast_frames import Series
from geoscope.ui.places import point_mask, region_mask, say_place
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_frames import say_sigma

MOST_SIGMAS = 5  # lines of so many n at most, the nearest to the slider
DURATIONS_MIN = (10, 15, 30, 60, 120, 180, 360, 720)


@dataclass(frozen=True, eq=False)
class Fan:
    """Series of all members: ``lines`` (sigma, member) -> (frames,) on the page's axis, NaN where there is none."""

    times: np.ndarray
    observed: np.ndarray
    lines: dict[tuple[float, int], np.ndarray]
    minutes: float
    first_lead: int
    place: str

    def sigmas(self) -> list[float]:
        """The n that have a line, rising."""
        return sorted({sigma for sigma, _ in self.lines})

    def as_series(self) -> Series:
        """The fan as columns of a file."""
        named = {
            f"{say_sigma(sigma)} member {member + 1}": line for (sigma, member), line in self.lines.items()
        }
        return Series(self.times, {"observed": self.observed, **named}, "mm/h", self.place)


def fan_of(desk: ScenarioDesk) -> Fan | None:
    """The fan at the chosen point, else over the drawn area or the field; None without a case."""
    case, field, state = desk.case, desk.field, desk.state
    if case is None or field is None or case.question.data != field.digest:
        return None
    mask, place = _place(desk)
    count = desk.last_frame + 1
    seen = field.frames if state.shows_truth else min(state.issue_index + 1, field.frames)
    observed = np.full(count, np.nan)
    observed[:seen] = _mean(field.rain.values[:seen][:, mask])[:count]
    sigmas = sorted({*case.sigmas(state.steps), *((state.sigma,) if desk.scenario(state.sigma) else ())})
    near = sorted(sigmas, key=lambda sigma: (sigma not in (0.0, state.sigma), abs(sigma - state.sigma)))
    first = case.question.issue_index + 1
    lines = {}
    for sigma in sorted(near[:MOST_SIGMAS]):
        for member in range(state.members):
            found = case.best(sigma, member, state.steps)
            if found is not None:
                line = np.full(count, np.nan)
                line[first : first + case.question.lead_steps] = _mean(found[0].rain[:, mask])
                lines[sigma, member] = line
    times = field.times[0] + np.arange(count) * field.step
    return Fan(times, observed, lines, float(field.step / np.timedelta64(60, "s")), first, place)


def _place(desk: ScenarioDesk) -> tuple[np.ndarray, str]:
    state, field = desk.state, desk.field
    mask = point_mask(field, *state.point) if state.point else None
    if mask is not None:
        return mask, f"at {say_place(field, *state.point)}"
    mask = region_mask(field, state.area)
    if mask is not None:
        return mask, f"mean over the drawn area of {int(mask.sum())} pixels"
    return np.ones(field.rain.shape[1:], dtype=bool), "mean over the field"


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def depths(line: np.ndarray, minutes: float) -> dict[int, float]:
    """The most rain in mm that falls within each duration in minutes, of a series in mm/h, ``minutes`` apart.

    Durations are whole numbers of frames within the series.
    """
    known = line[np.isfinite(line)]
    total = np.concatenate([[0.0], np.cumsum(known) * minutes / 60.0])
    found = {}
    for duration in sorted({round(minutes), *DURATIONS_MIN, round(len(known) * minutes)}):
        frames = round(duration / minutes)
        if 1 <= frames <= len(known) and abs(frames * minutes - duration) < 0.5:
            found[duration] = float((total[frames:] - total[:-frames]).max())
    return found


def depth_table(fan: Fan, truth: np.ndarray | None) -> str:
    """Depth and duration of each n as an HTML table: the mean of its members and, in brackets, the most."""
    rows = []
    for sigma in fan.sigmas():
        every = [depths(line, fan.minutes) for (one, _), line in fan.lines.items() if one == sigma]
        rows.append((say_sigma(sigma), [_cell([each[d] for each in every]) for d in every[0]]))
    if not rows:
        return ""
    first = next(iter(fan.lines.values()))
    durations = list(depths(first, fan.minutes))
    if truth is not None:
        rows.append(("What fell", [f"{value:.1f}" for value in depths(truth, fan.minutes).values()]))
    head = "".join(f"<th>{_duration(d)}</th>" for d in durations)
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
    return f"<table><thead><tr><th>Most rain in</th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(values: list[float]) -> str:
    return f"{np.mean(values):.1f} mm" + (f" ({max(values):.1f})" if len(values) > 1 else "")


def _duration(minutes: int) -> str:
    return f"{minutes} min" if minutes % 60 else f"{minutes // 60} h"

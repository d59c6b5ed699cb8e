"""Which issue times an archive gives: every half hour, say, where the past (and the truth) is whole."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.errors import ConfigError, DataError

DEFAULT_THRESHOLDS_MM_H = (0.5, 1.0, 2.0, 5.0, 10.0)
MOST_HISTORY = 13  # frames of past that are asked for unless the settings say more
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings:
    """What to forecast over an archive, and how.

    `every` is the time between issue times, such as "30min" or "6h". `lead_steps` None means one hour, as for
    `geoscope.nowcast`. `start` and `end` (UTC, "2020-06-01T12:00") bound the issue times, both included.
    `history` is the frames of past that a model is shown, all of which have to be there; None takes what the model's
    card names, within 2 and `MOST_HISTORY`.
    `threads` is the CPU threads of one forecast: it is the same in one process and in every worker of a
    cluster, because another number of threads may add up in another order and end on other bits.
    """

    every: str = "30min"
    model: str = "earthformer-nowcast"
    lead_steps: int | None = None
    start: str | None = None
    end: str | None = None
    history: int | None = None
    verify: bool = False
    thresholds: tuple[float, ...] = DEFAULT_THRESHOLDS_MM_H
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        seconds_of(self.every)
        for name, least in (("lead_steps", 1), ("history", 2), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or int(value) != value or value < least):
                raise ConfigError(f"{name}={value!r} must be a whole number, {least} or more")
        times = [_time(name, text) for name in ("start", "end") if (text := getattr(self, name)) is not None]
        if len(times) == 2 and times[0] > times[1]:
            raise ConfigError(f"start={self.start} is after end={self.end}: swap them")


@dataclass(frozen=True, eq=False)
class Plan:
    """The issue times of a run.

    `frames` (n,) are the places of the issue times in `times` (frames of the archive), `gaps` the reasons why
    some of the n cannot be forecast, by their place in `frames`. A forecast takes the last `history` frames
    and gives `leads` frames, `step` seconds apart.
    """

    times: np.ndarray
    frames: np.ndarray
    gaps: dict[int, str]
    history: int
    leads: int
    step: int

    @property
    def issue_times(self) -> np.ndarray:
        """The issue times, datetime64[ns] UTC."""
        return self.times[self.frames]

    def past(self, issue: int) -> slice:
        """The frames that the model sees at issue time number `issue`."""
        last = int(self.frames[issue])
        return slice(last - self.history + 1, last + 1)

    def truth(self, issue: int) -> slice:
        """The frames that issue time number `issue` forecasts."""
        last = int(self.frames[issue])
        return slice(last + 1, last + 1 + self.leads)


def seconds_of(every: str) -> int:
    """Seconds in a span such as "30min", "1h" or "90 s".

    Raises:
        ConfigError: anything else.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([a-z]+)\s*", str(every).lower())
    seconds = int(match[1]) * _SECONDS.get(match[2], 0) if match else 0
    if seconds <= 0:
        raise ConfigError(
            f"every={every!r} is not a span of time: write a number and s, min, h or d, as in 30min"
        )
    return seconds


def _time(name: str, text: str) -> np.datetime64:
    try:
        time = np.datetime64(str(text).removesuffix("Z"), "ns")
    except ValueError:
        time = np.datetime64("NaT")
    if np.isnat(time):
        raise ConfigError(f"{name}={text!r} is not a time: write it as 2018-09-14T05:00")
    return time


def plan_archive(rain: xr.DataArray, settings: ArchiveSettings, *, history: int, leads: int) -> Plan:
    """The issue times of ``rain`` (time, y, x), of which only coordinates and attributes are looked at.

    A frame is an issue time when it is the first at or after a multiple of ``settings.every`` since midnight
    UTC (1970-01-01), whatever frame the archive begins with, so that parts of an archive agree. Frames named in the
    attribute ``filled_frames`` are gaps. Times before the archive has ``history`` frames are left out; those with a gap
    in their past, or in the truth where it is to verify, are planned and marked.

    Raises:
        ConfigError: ``every`` is no multiple of the interval, or no issue time is left.
        DataError: frames that are not evenly spaced.
    """
    step = round(grids.interval_minutes(rain) * 60)
    every = seconds_of(settings.every)
    if every % step:
        near = max(1, round(every / step)) * step
        raise ConfigError(
            f"every={settings.every} is no multiple of the {step / 60:g} minutes between frames: "
            f"take {near / 60:g}min"
        )
    times = rain["time"].values.astype("datetime64[ns]")
    seconds = times.astype("datetime64[s]").astype(np.int64)
    is_issue = seconds // every != (seconds - step) // every
    for name, after in (("start", True), ("end", False)):
        text = getattr(settings, name)
        if text is not None:
            is_issue &= times >= _time(name, text) if after else times <= _time(name, text)
    if not is_issue.any():
        raise ConfigError(
            f"no frame from {settings.start or 'the first'} to {settings.end or 'the last'} is an issue time every "
            f"{settings.every}: the archive has {len(times)} frames from {say(times[0])} to {say(times[-1])}"
        )
    frames = np.flatnonzero(is_issue)
    frames = frames[frames >= history - 1]
    if not len(frames):
        raise DataError(
            f"the archive's {len(times)} frames hold no issue time with {history} frames of past: give more frames, a "
            "shorter history, or other bounds"
        )
    gaps = _gaps(rain, times, frames, history, leads if settings.verify else 0)
    if len(gaps) == len(frames):
        raise DataError(
            f"none of the {len(frames)} issue times can be forecast: at {say(times[frames[0]])} {gaps[0]}"
        )
    return Plan(times, frames, gaps, history, leads, step)


def _gaps(
    rain: xr.DataArray, times: np.ndarray, frames: np.ndarray, history: int, after: int
) -> dict[int, str]:
    """Why issue times cannot be forecast, by their place; ``after`` frames of truth are needed."""
    filled = [
        np.datetime64(text.removesuffix("Z"), "ns")
        for text in str(rain.attrs.get("filled_frames", "")).split()
    ]
    lost = np.flatnonzero(np.isin(times, np.array(filled, "datetime64[ns]")))
    reasons: dict[int, str] = {}
    for issue, frame in enumerate(frames):
        first, last = np.searchsorted(lost, [frame - history + 1, frame + after + 1])
        if first < last:
            where = "past" if lost[first] <= frame else "truth"
            reasons[issue] = f"the {where} lacks the frame of {say(times[lost[first]])}"
        elif frame + after >= len(times):
            reasons[issue] = f"the archive ends at {say(times[-1])}, before the truth does"
    return reasons


def say(time: Any) -> str:
    """A datetime64 for people: 2018-09-14T05:00Z."""
    return f"{np.datetime_as_string(time, unit='m')}Z"

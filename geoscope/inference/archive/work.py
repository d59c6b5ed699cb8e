"""One issue time: read, forecast, write, score, mark. It runs in this process or in a worker of a cluster."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.errors import DataError
from geoscope.inference.archive import records, store
from geoscope.inference.archive.frames import Cut
from geoscope.inference.archive.plan import say
from geoscope.metrics.accumulate import Verification

Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What all issue times of a run share; it travels to each worker once.

    `frame` is one frame (y, x) of the archive with its coordinates, name and attributes; its values do not count.
    """

    path: Path
    variable: str
    model: str
    device: str
    threads: int
    leads: int
    step: int
    thresholds: tuple[float, ...] | None
    frame: xr.DataArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One issue time: its place in the store, its frames; `is_made` where the store has it and only scores lack."""

    issue: int
    issue_time: np.datetime64
    past: Cut
    truth: Cut | None
    is_made: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an issue time: `skipped` says why there is no forecast, and is empty where there is one."""

    issue: int
    seconds: float = 0.0
    skipped: str = ""


def carry_out(job: Job, task: Task, progress: Progress | None = None) -> Outcome:
    """Do one issue time; when this returns without `skipped`, its record is on the disk.

    Frames that cannot be read, or that hold no data at all, skip the issue time. Whatever else is wrong stops the
    run.

    Raises:
        DataError, ConfigError, WeightsError: the model refuses the field, or the disk refuses the data.
        Cancelled: ``progress`` asked to stop.
    """
    started = time.perf_counter()
    issue_time, step = task.issue_time, np.timedelta64(job.step, "s")
    truth = None
    try:
        if task.truth is not None:
            truth = _whole("truth", task.truth, issue_time + step, job.step)
        if task.is_made and (seconds := _score_again(job, task, truth)) is not None:
            return Outcome(issue=task.issue, seconds=seconds)
        past = _whole("past", task.past, issue_time - (task.past.count - 1) * step, job.step)
    except DataError as error:
        return Outcome(issue=task.issue, skipped=str(error))
    forecast = _forecast(job, past, issue_time, progress)
    chunks = store.write_forecast_at(job.path, job.variable, task.issue, forecast.values)
    made_by = json.loads(forecast.attrs["run_card"])
    seconds = time.perf_counter() - started
    record: dict[str, Any] = {
        "chunks": chunks,
        "seconds": round(seconds, 3),
        "input_sha256": made_by["input_sha256"],
        "geoscope": made_by["geoscope"],
        "torch": made_by["torch"],
        "scores": _scores(job, forecast.values, truth),
    }
    _mark(job, issue_time, record)
    return Outcome(issue=task.issue, seconds=seconds)


def _whole(where: str, cut: Cut, first: np.datetime64, step: int) -> np.ndarray:
    """The frames of a cut, each of which holds data."""
    frames = cut.read()
    empty = np.flatnonzero(~np.isfinite(frames).any(axis=(1, 2)))
    if len(empty):
        lost = first + np.timedelta64(step * int(empty[0]), "s")
        raise DataError(f"the {where} has no data in the frame of {say(lost)}")
    return frames


def _forecast(
    job: Job, past: np.ndarray, issue_time: np.datetime64, progress: Progress | None
) -> xr.DataArray:
    from geoscope.inference.nowcast import nowcast

    times = issue_time - (np.arange(len(past))[::-1] * job.step).astype("timedelta64[s]")
    coords = {name: coord.variable for name, coord in job.frame.coords.items()}
    field = xr.DataArray(
        past, dims=("time", "y", "x"), coords={"time": times.astype("datetime64[ns]"), **coords},
        name=job.frame.name, attrs=job.frame.attrs,
    )  # fmt: skip
    with _threads(job.threads):
        return nowcast(field, model=job.model, lead_steps=job.leads, device=job.device, progress=progress)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run torch on ``count`` threads: another number may add up in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _scores(job: Job, forecast: np.ndarray, truth: np.ndarray | None) -> dict[str, Any] | None:
    if job.thresholds is None or truth is None:
        return None
    leads = (np.arange(1, job.leads + 1) * job.step).astype("timedelta64[s]").astype("timedelta64[ns]")
    return Verification(job.thresholds).update(forecast, truth, leads).state_dict()


def _score_again(job: Job, task: Task, truth: np.ndarray | None) -> float | None:
    """Score a forecast of the store; gives the seconds that it took, or None where it cannot be read any more."""
    record = records.read_record(job.path, task.issue_time)
    try:
        forecast = store.read_forecast_at(job.path, job.variable, task.issue)
    except DataError:
        return None
    if record is None:
        return None
    _mark(job, task.issue_time, record | {"scores": _scores(job, forecast, truth)})
    return float(record["seconds"])


def _mark(job: Job, issue_time: np.datetime64, record: dict[str, Any]) -> None:
    try:
        records.write_record(job.path, issue_time, record)
    except OSError as error:
        raise DataError(
            f"{job.path} cannot be written: {error.strerror or error}; free space and run the same command again"
        ) from error

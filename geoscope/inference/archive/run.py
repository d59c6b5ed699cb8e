"""`run_archive`: forecasts, and their scores, for every issue time of a long archive."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.radar import open_radar
from geoscope.errors import ConfigError, DataError
from geoscope.inference.archive import cluster as clusters
from geoscope.inference.archive import identity, records, scores, store
from geoscope.inference.archive.frames import FRAMES_IN_A_BLOCK, LazyFrames
from geoscope.inference.archive.plan import MOST_HISTORY, ArchiveSettings, Plan, plan_archive, say
from geoscope.inference.archive.work import Job, Outcome, Task, carry_out
from geoscope.inference.field_request import DEFAULT_LEAD_MINUTES
from geoscope.metrics.accumulate import Verification
from geoscope.zoo.cards import ModelCard, card

Progress = Callable[[str, float], None]
Archive = str | PathLike[str] | xr.DataArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ArchiveRun:
    """What a run left: the store, its issue times, how many were made now, and why some were not.

    `seconds` is the mean time of a forecast. `scores` and the files that hold them are there where the run was to
    verify and had something to verify.
    """

    store: Path
    issue_times: np.ndarray
    made: int
    found: int
    skipped: dict[np.datetime64, str]
    seconds: float
    scores: xr.Dataset | None = None
    files: tuple[Path, ...] = field(default=())


def run_archive(
    archive: Archive,
    out: str | PathLike[str],
    settings: ArchiveSettings | None = None,
    *,
    cluster: clusters.Cluster | None = None,
    variable: str | None = None,
    fill_gaps: str = "nan",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ArchiveRun:
    """Forecast, and verify, every issue time of an archive; the store ``out`` (.zarr) goes on where it was stopped.

    ``archive`` is a file, folder or glob for `geoscope.open_radar`, read frame by frame, or a field (time, y, x). The
    store has dimensions (issue_time, lead_time, y, x) with one issue time in a chunk, the run card in its attributes,
    `status` and `seconds` by issue time. Frames that are missing (``fill_gaps`` "nan"; "linear" and "previous" fill
    them as `open_radar` does), cannot be read or hold no data skip the issue times that need them. With
    ``settings.verify`` the scores of all issue times stand beside the store, in OUT.scores.nc and OUT.scores.json.

    Without ``cluster`` all is done in this process. With one, scripts need the guard ``if __name__ == "__main__":``,
    since local workers are processes of their own. The numbers are the same bits either way.

    The run may be killed at any moment: the same call goes on, and repeats no issue time that was finished. Those
    skipped are looked at again. ``progress(stage, share)`` is called between issue times, and within them where there
    is one process, and may raise `Cancelled` to stop.

    Raises:
        ConfigError: settings that cannot work, a store of another run, or one that another process writes.
        DataError: the archive cannot be used, or the disk refuses the data.
        MissingExtraError: zarr or dask is not installed (extra `scale`).
        WeightsError: the model's weights are missing or fail their self-check.
    """
    store.require_scale()
    settings, path, report = settings or ArchiveSettings(), Path(out).absolute(), progress or _quiet
    if path.suffix != ".zarr":
        raise ConfigError(
            f"{out} ends in {path.suffix or 'nothing'!r}: an archive of forecasts is written to .zarr"
        )
    report("opening the archive", 0.0)
    rain = open_lazily(archive, variable, fill_gaps)
    if fill_gaps != "nan":  # frames that were filled on request count as frames
        rain = rain.assign_attrs(filled_frames="")
    model = card(settings.model)
    plan = _plan(rain, settings, model)
    name = store.variable_name(rain)
    about = identity.run_card(rain, name, plan, settings, model)
    job = Job(
        path=path, variable=name, model=settings.model, device=settings.device, threads=settings.threads,
        leads=plan.leads, step=plan.step, thresholds=settings.thresholds if settings.verify else None,
        frame=_one_frame(rain),
    )  # fmt: skip
    with _opened(path, rain, plan, about, overwrite) as is_new:
        progress_so_far = _Ledger(job, plan, is_new)
        try:
            for outcome in _outcomes(job, plan, LazyFrames(rain), progress_so_far, cluster, report):
                progress_so_far.add(outcome)
        finally:
            progress_so_far.save()
        return _finish(job, plan, progress_so_far, about)


def _quiet(stage: str, share: float) -> None:
    pass


def open_lazily(archive: Archive, variable: str | None, fill_gaps: str) -> xr.DataArray:
    """The field of an archive, its frames still on the disk; a field is given back as it is.

    Raises:
        DataError: see `geoscope.open_radar`, or a field with other dimensions.
    """
    if isinstance(archive, xr.DataArray):
        if archive.dims != ("time", "y", "x"):
            raise DataError(
                f"an archive needs dimensions (time, y, x), got {archive.dims}; see gs.open_radar"
            )
        return archive
    path = Path(archive).expanduser().absolute()  # a worker may stand in another folder
    return open_radar(str(path), variable, fill_gaps=fill_gaps, chunks=FRAMES_IN_A_BLOCK)


def _plan(rain: xr.DataArray, settings: ArchiveSettings, model: ModelCard) -> Plan:
    from geoscope import grids

    leads = settings.lead_steps or max(3, round(DEFAULT_LEAD_MINUTES / grids.interval_minutes(rain)))
    named = model.input.history_frames if model.input is not None else None
    history = settings.history or min(MOST_HISTORY, max(2, named or 2))
    return plan_archive(rain, settings, history=history, leads=leads)


def _one_frame(rain: xr.DataArray) -> xr.DataArray:
    """The grid, name and attributes of the archive, without its data."""
    coords = {key: coord for key, coord in rain.coords.items() if not {"time"} & {key, *map(str, coord.dims)}}
    attrs = {key: value for key, value in rain.attrs.items() if key != "filled_frames"}
    return xr.DataArray(
        np.zeros(rain.shape[1:], np.float32), dims=("y", "x"), coords=coords, name=rain.name, attrs=attrs
    )


@contextmanager
def _opened(
    path: Path, rain: xr.DataArray, plan: Plan, about: dict[str, Any], overwrite: bool
) -> Iterator[bool]:
    """The store of this run, made or found, and locked; gives whether it is new.

    A new store in which no issue time was finished does not outlive an error.
    """
    is_new = overwrite or not path.exists()
    with ExitStack() as held:
        if is_new:
            if (path / records.FOLDER).is_dir():
                held.enter_context(records.locked(path))
            store.create_store(path, rain, plan, about, overwrite=overwrite)
        else:
            identity.check_same_run(path, records.read_card(path), about)
    with records.locked(path):
        try:
            yield is_new
        except BaseException:
            if is_new and not any((path / records.FOLDER / "times").glob("*.json")):
                shutil.rmtree(path, ignore_errors=True)
            raise


class _Ledger:
    """Which issue times are finished, which were skipped and why."""

    def __init__(self, job: Job, plan: Plan, is_new: bool) -> None:
        self.job, self.plan = job, plan
        self.skipped = dict(plan.gaps)
        self.seconds = np.full(len(plan.frames), np.nan, np.float32)
        self.unscored: list[int] = []
        self.made = 0
        for issue, time in enumerate(plan.issue_times):
            record = None if is_new else records.read_record(job.path, time)
            if record is not None:
                self.seconds[issue] = record["seconds"]
                self.skipped.pop(issue, None)
                if (
                    job.thresholds is not None
                    and issue not in plan.gaps
                    and not _has_scores(record, job.thresholds)
                ):
                    self.unscored.append(issue)
        self.found = int(np.isfinite(self.seconds).sum())

    @property
    def waiting(self) -> list[int]:
        """The issue times that are to be forecast, in order."""
        return [i for i in range(len(self.seconds)) if np.isnan(self.seconds[i]) and i not in self.plan.gaps]

    def add(self, outcome: Outcome) -> None:
        """Enter what became of an issue time."""
        if outcome.skipped:
            self.skipped[outcome.issue] = outcome.skipped
        else:
            self.made += int(np.isnan(self.seconds[outcome.issue]))
            self.seconds[outcome.issue] = outcome.seconds

    def save(self) -> None:
        """Bring `status` and `seconds` of the store up to date; the records stay the truth."""
        states = np.where(np.isfinite(self.seconds), store.DONE, store.PENDING).astype(np.int8)
        for issue in self.skipped:
            if states[issue] == store.PENDING:
                states[issue] = store.SKIPPED
        with suppress(OSError):
            store.write_states(self.job.path, states, self.seconds)


def _has_scores(record: dict[str, Any], thresholds: tuple[float, ...]) -> bool:
    held = record.get("scores")
    return (
        held is not None
        and tuple(held["settings"]["thresholds"]) == Verification(thresholds).settings.thresholds
    )


def _outcomes(
    job: Job,
    plan: Plan,
    frames: LazyFrames,
    ledger: _Ledger,
    cluster: clusters.Cluster | None,
    report: Progress,
) -> Iterator[Outcome]:
    """Everything that is still to do, one outcome after the other."""
    waiting = ledger.waiting
    again = set(ledger.unscored)
    total = len(waiting) + len(again)

    def task(issue: int) -> Task:
        past = frames.cut(plan.past(issue))
        truth = frames.cut(plan.truth(issue)) if job.thresholds is not None else None
        issue_time = plan.issue_times[issue]
        return Task(issue=issue, issue_time=issue_time, past=past, truth=truth, is_made=issue in again)

    tasks = (task(issue) for issue in sorted([*waiting, *again]))
    if cluster is None or not total:
        for count, one in enumerate(tasks):
            stage = f"{count + 1} of {total}, {say(one.issue_time)}"
            report(stage, count / total)
            yield carry_out(
                job, one, lambda _, share, at=count, told=stage: report(told, (at + share) / total)
            )
        return
    report("starting the workers", 0.0)
    with clusters.connect(cluster, job.threads) as client:
        report(f"0 of {total}", 0.0)
        done = clusters.each(
            client, carry_out, job, tasks, lambda one: f"the issue time {say(one.issue_time)}"
        )
        for count, outcome in enumerate(done):
            yield outcome
            report(f"{count + 1} of {total}", (count + 1) / total)


def _finish(job: Job, plan: Plan, ledger: _Ledger, about: dict[str, Any]) -> ArchiveRun:
    issue_times = plan.issue_times
    skipped = {issue_times[issue]: reason for issue, reason in sorted(ledger.skipped.items())}
    table, files = None, ()
    if job.thresholds is not None:
        verified = _verified(job, issue_times)
        if verified:
            table = scores.add_up(np.array(list(verified)), list(verified.values()), about)
            files = scores.write_scores(job.path, table, skipped)
    known = ledger.seconds[np.isfinite(ledger.seconds)]
    return ArchiveRun(
        store=job.path, issue_times=issue_times, made=ledger.made, found=ledger.found, skipped=skipped,
        seconds=float(known.mean()) if len(known) else float("nan"), scores=table, files=files,
    )  # fmt: skip


def _verified(job: Job, issue_times: np.ndarray) -> dict[np.datetime64, Verification]:
    """The counts of every issue time that has some, from its record and in order, so that their sum is one only."""
    found: dict[np.datetime64, Verification] = {}
    for time in issue_times:
        record = records.read_record(job.path, time)
        if record is not None and record.get("scores") is not None:
            found[time] = Verification.from_state(record["scores"])
    return found

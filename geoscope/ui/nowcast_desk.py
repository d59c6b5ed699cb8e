"""What follows from the choices on the nowcast page: the open field, the forecast, its baselines, and work under way.

Nothing here knows a widget. Long work runs in two `JobRunner`s, one that reads files and one that runs models; what
they find out arrives through `notify`, on the thread that owns the page.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import param
import xarray as xr

import geoscope as gs
from geoscope.errors import DataError, GeoscopeError
from geoscope.inference.jobs import JobRunner, Progress, Report
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.open_field import OpenField, open_sample
from geoscope.ui.server_files import files_under_root

BASELINES = ("persistence", "extrapolation")
SHARE_OF_THE_MODEL = 0.8  # of a run's time, the rest goes to the baselines
KEPT_RUNS = 12

# One model at a time in one process: two would only slow each other down, and need the memory of both.
MODEL_GATE = threading.BoundedSemaphore(1)


@dataclass(frozen=True)
class Request:
    """What a forecast was asked of; equal requests have equal results. `data` is the field's digest."""

    data: str
    model: str
    issue_index: int
    lead_steps: int
    device: str


@dataclass(frozen=True, eq=False)
class Run:
    """A forecast with the baselines beside it, each (lead, y, x), by name."""

    request: Request
    forecast: xr.DataArray
    baselines: dict[str, xr.DataArray]
    notes: tuple[str, ...] = ()


class _RunCache:
    """The last runs of this process. A result depends on nothing but its request, so sessions may share it."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Request, Run] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, request: Request) -> Run | None:
        with self._lock:
            if request in self._runs:
                self._runs.move_to_end(request)
            return self._runs.get(request)

    def put(self, run: Run) -> None:
        with self._lock:
            self._runs[run.request] = run
            while len(self._runs) > KEPT_RUNS:
                self._runs.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._runs.clear()


RUNS = _RunCache()


def nowcast_models() -> list[Any]:
    """The cards of the models that this machine can run now, learned ones first."""
    cards = [card for card in gs.list_models(task="nowcast") if card.kind == "baseline" or _has_weights(card)]
    return sorted(cards, key=lambda card: card.kind == "baseline")


def _has_weights(card: Any) -> bool:
    try:
        return card.kind == "learned" and card.weights_path() is not None
    except GeoscopeError:
        return False


def make_run(field: OpenField, request: Request, progress: Report) -> Run:
    """Forecast with the model and with every baseline; runs in a worker thread.

    A baseline that cannot be had leaves a note and no forecast; a fault of the model itself is raised.
    """
    issue_time = field.rain["time"].values[request.issue_index]

    def forecast(model: str, start: float, share: float) -> xr.DataArray:
        return gs.nowcast(
            field.rain,
            model=model,
            issue_time=issue_time,
            lead_steps=request.lead_steps,
            device=request.device,
            progress=lambda stage, done: progress(f"{model}: {stage}", start + share * done),
        )

    main = forecast(request.model, 0.0, SHARE_OF_THE_MODEL)
    baselines, notes = {}, []
    known = [name for name in BASELINES if name in {card.name for card in gs.list_models(task="nowcast")}]
    share = (1.0 - SHARE_OF_THE_MODEL) / max(len(known), 1)
    for number, name in enumerate(known):
        try:
            baselines[name] = (
                main if name == request.model else forecast(name, SHARE_OF_THE_MODEL + number * share, share)
            )
        except ValueError as fault:  # DataError, ConfigError, ShapeError: the baseline asks more of the field
            notes.append(f"no {name}: {fault}")
    return Run(request, main, baselines, tuple(notes))


class NowcastDesk(param.Parameterized):
    """One session's field, forecast and work under way. `close` ends it."""

    field = param.Parameter(default=None, doc="the `OpenField` in use, or None")
    candidate = param.Parameter(
        default=None, doc="an `OpenField` that was read and waits to be used, or None"
    )
    run = param.Parameter(default=None, doc="the last `Run` of this field, or None")
    is_loading = param.Boolean(default=False)
    is_running = param.Boolean(default=False)
    progress = param.Parameter(default=None, doc="`Progress` of the run, or None")
    data_problem = param.String(default="", doc="one line that says what to do, or nothing")
    run_problem = param.String(default="")
    scores = param.Parameter(
        default=None, doc="scores of the run by model name, the run's own first, or None"
    )
    score_problem = param.String(default="")

    def __init__(
        self, state: NowcastState, notify: Callable[[Callable[[], None]], Any] | None = None, **params: Any
    ) -> None:
        super().__init__(**params)
        self.state = state
        self._reader = JobRunner(notify)
        self._models = JobRunner(notify, gate=MODEL_GATE)
        self._scorer = JobRunner(notify)
        self.param.watch(lambda *events: self.forget_scores(), "run")
        state.param.watch(lambda *events: self.forget_scores(), ["thresholds", "shows_truth"])

    def close(self) -> None:
        """Stop all work; for the end of a session."""
        self._reader.close()
        self._models.close()
        self._scorer.close()

    # Data

    def open_now(self, source: str) -> None:
        """Open a sample in this thread and use it at once; problems go to `data_problem`."""
        try:
            self.use(open_sample(source.removeprefix("sample:")))
        except GeoscopeError as fault:
            self.data_problem = str(fault)

    def read(self, source: str, files: list[Path] | None = None, then_use: bool = False) -> None:
        """Read in the background: "sample:NAME", "path:RELATIVE" or, with ``files``, an upload.

        The result waits in `candidate`, so that its summary can be seen first; ``then_use`` uses it at once.
        """
        self.param.update(is_loading=True, data_problem="", candidate=None)
        self._reader.submit(
            lambda progress: _open(source, files),
            on_done=lambda field: self._read_done(field, then_use),
            on_failed=self._read_failed,
            on_cancelled=lambda: None,
        )

    def _read_done(self, field: OpenField, then_use: bool) -> None:
        self.is_loading = False
        if then_use:
            self.use(field)
        else:
            self.candidate = field

    def _read_failed(self, fault: Exception) -> None:
        self.param.update(is_loading=False, data_problem=in_one_line(fault))

    def use(self, field: OpenField) -> None:
        """Make a field the page's own; the forecast of the one before is dropped, and its work cancelled."""
        self.cancel()
        state = self.state
        is_new = state.source != field.source or self.field is not None
        issue = field.default_issue(state.lead_steps)
        if not is_new and 0 < state.issue_index < field.frames:  # from a link
            issue = state.issue_index
        frame = state.frame_index if not is_new and state.frame_index else issue + state.lead_steps
        self.param.update(candidate=None, data_problem="", run=None, run_problem="")
        with param.parameterized.batch_call_watchers(state), param.parameterized.batch_call_watchers(self):
            if is_new:
                state.param.update(point=None, area=None, view=None, shows_truth=False, is_playing=False)
            self.field = field
            state.param.update(source=field.source, issue_index=issue)
            state.frame_index = min(frame, self.last_frame)

    # The page's time axis

    @property
    def last_frame(self) -> int:
        """Index of the last frame of the axis: the last observed one or the last lead, whichever is later."""
        if self.field is None:
            return 0
        last = max(self.field.frames - 1, self.state.issue_index + self.state.lead_steps)
        if self.run is not None:
            last = max(last, self.run.request.issue_index + self.run.request.lead_steps)
        return last

    # Runs

    @property
    def wanted(self) -> Request | None:
        """What the choices ask for, or None without data."""
        state = self.state
        if self.field is None:
            return None
        return Request(self.field.digest, state.model, state.issue_index, state.lead_steps, state.device)

    @property
    def is_stale(self) -> bool:
        """Whether the forecast on the page is not the one that the choices ask for."""
        return self.run is not None and self.run.request != self.wanted

    def start(self) -> None:
        """Run what the choices ask for; the run before it is cancelled, and a known result comes at once."""
        field, wanted = self.field, self.wanted
        if field is None or wanted is None:
            self.run_problem = "There is no data yet: choose a sample, a path or a file under step 1."
            return
        if self.take_known():
            return
        self.param.update(is_running=True, run_problem="", progress=Progress("starting", 0.0))
        self._models.submit(
            lambda progress: make_run(field, wanted, progress),
            on_progress=lambda progress: self.param.update(progress=progress),
            on_done=self._run_done,
            on_failed=self._run_failed,
            on_cancelled=lambda: None,
        )

    def take_known(self) -> bool:
        """Show the wanted forecast if it was made before; whether it was."""
        known = RUNS.get(self.wanted) if self.wanted is not None else None
        if known is not None:
            self._models.cancel()
            self.param.update(is_running=False, progress=None, run_problem="", run=known)
        return known is not None

    def cancel(self) -> None:
        """Give up the run, at once; the forecast before it stays."""
        self._models.cancel()
        self.param.update(is_running=False, progress=None)

    def _run_done(self, run: Run) -> None:
        RUNS.put(run)
        if self.field is not None and run.request.data == self.field.digest:
            self.param.update(is_running=False, progress=None, run=run)

    def _run_failed(self, fault: Exception) -> None:
        self.param.update(is_running=False, progress=None, run_problem=in_one_line(fault))

    # Verification

    def forget_scores(self) -> None:
        """Scores belong to one run and its thresholds; where truth is shown they are made anew at once."""
        self._scorer.cancel()
        self.param.update(scores=None, score_problem="")
        if self.run is not None and self.state.shows_truth:
            self.verify()

    def verify(self) -> None:
        """Hold the run and its baselines against what was observed, in the background."""
        field, run, thresholds = self.field, self.run, tuple(self.state.thresholds)
        if field is None or run is None:
            self.score_problem = "There is no forecast to verify yet: press Run forecast (step 4)."
            return
        issue = run.request.issue_index
        if issue + 1 >= field.frames:
            self.score_problem = (
                "Nothing was observed after the issue time, so there is no truth to verify with: choose an earlier "
                "issue time (step 2) or open a longer sequence (step 1)."
            )
            return
        truth = field.rain.isel(time=slice(issue + 1, issue + 1 + run.request.lead_steps))
        fields = {run.request.model: run.forecast, **run.baselines}

        def work(progress: Report) -> dict[str, xr.Dataset]:
            scores = {}
            for number, (name, forecast) in enumerate(fields.items()):
                progress(f"verifying {name}", number / len(fields))
                scores[name] = gs.verify(forecast, truth, thresholds=thresholds)
            return scores

        self._scorer.submit(
            work,
            on_done=lambda scores: self.param.update(scores=scores, score_problem=""),
            on_failed=lambda fault: self.param.update(score_problem=in_one_line(fault)),
        )


def _open(source: str, files: list[Path] | None) -> OpenField:
    kind, _, name = source.partition(":")
    if kind == "sample":
        return open_sample(name)
    paths = files if files is not None else files_under_root(name)
    try:
        rain = gs.open_radar(paths[0] if isinstance(paths, list) and len(paths) == 1 else paths)
    except GeoscopeError as fault:
        raise DataError(_without_folders(str(fault), paths)) from fault
    return OpenField.of(source, name, rain)


def _without_folders(text: str, paths: Path | list[Path]) -> str:
    """A message without the server's own folders: users know their files by name."""
    for path in paths if isinstance(paths, list) else [paths]:
        text = text.replace(f"{path.parent}/", "")
    return text


def in_one_line(fault: Exception) -> str:
    """What a user reads: our own errors as they are, anything else as a fault of the program."""
    text = " ".join(str(fault).split())
    if isinstance(fault, GeoscopeError):
        return text
    return f"Something went wrong inside geoscope ({type(fault).__name__}: {text[:160]}). Please report it."

"""What follows from the choices on the nowcast page: the open field, the forecasts, and work under way.

Nothing here knows a widget. Long work runs in two `JobRunner`s, one that reads files and one that runs models, one
model after the other; what they find out arrives through `notify`, on the thread that owns the page.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import param

import geoscope as gs
from geoscope.data.events import open_event_file
from geoscope.errors import DataError, GeoscopeError
from geoscope.inference.jobs import JobRunner, Progress
from geoscope.ui.nowcast_runs import MODEL_GATE, RUNS, Request, Run, make_run, title_of
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.open_field import OpenField, open_sample
from geoscope.ui.server_files import files_under_root

# Why a model failed before says nothing once one of these is new.
QUESTION = ["issue_index", "lead_steps", "device"]


class NowcastDesk(param.Parameterized):
    """One session's field, forecast and work under way. `close` ends it."""

    field = param.Parameter(default=None, doc="the `OpenField` in use, or None")
    candidate = param.Parameter(
        default=None, doc="an `OpenField` that was read and waits to be used, or None"
    )
    runs = param.Dict(default={}, doc="the last `Run` of each wanted model, by name")
    run = param.Parameter(default=None, doc="the `Run` that map A shows, or None")
    run_b = param.Parameter(default=None, doc="the `Run` that map B shows, or None")
    is_loading = param.Boolean(default=False)
    is_running = param.Boolean(default=False)
    progress = param.Parameter(default=None, doc="`Progress` of the run, or None")
    data_problem = param.String(default="", doc="one line that says what to do, or nothing")
    run_problem = param.String(default="")
    problems = param.Dict(default={}, doc="why a model gave no forecast in the last run, by name")

    def __init__(
        self, state: NowcastState, notify: Callable[[Callable[[], None]], Any] | None = None, **params: Any
    ) -> None:
        super().__init__(**params)
        self.state = state
        self._reader = JobRunner(notify)
        self._models = JobRunner(notify, gate=MODEL_GATE)
        self._lock = threading.RLock()  # without a served document, callbacks come in the worker's thread
        self._queue: list[Request] = []
        self._queued = 0  # how many the queue held when it was filled
        state.param.watch(lambda *events: self.take_known(), ["model", "model_b", "compared", *QUESTION])
        state.param.watch(lambda *events: self.param.update(problems={}, run_problem=""), QUESTION)

    def close(self) -> None:
        """Stop all work; for the end of a session."""
        self._reader.close()
        self._models.close()

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
        nothing = {"run": None, "run_b": None, "runs": {}, "problems": {}, "run_problem": ""}
        self.param.update(candidate=None, data_problem="", **nothing)
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
        shown = [run.request for run in (self.run, self.run_b) if run is not None]
        return max([last, *(request.issue_index + request.lead_steps for request in shown)])

    # Runs

    def wanted(self, model: str) -> Request | None:
        """What the choices ask of a model now; None without data."""
        state = self.state
        if self.field is None:
            return None
        return Request(self.field.digest, model, state.issue_index, state.lead_steps, state.device)

    def is_old(self, run: Run | None) -> bool:
        """Whether a run is not what the choices ask for: another model, issue time, lead or device."""
        if run is None:
            return False
        return run.model not in self.state.models or run.request != self.wanted(run.model)

    @property
    def is_stale(self) -> bool:
        """Whether map A or B shows another forecast than the choices ask for, or none yet beside one on the other.

        A map whose model failed is not waited for.
        """
        places = ((self.run, self.state.model), (self.run_b, self.state.model_b))
        missing = [run is None or run.request != self.wanted(model) for run, model in places]
        waited_for = [
            lacks and model not in self.problems for lacks, (_, model) in zip(missing, places, strict=True)
        ]
        return self.leading is not None and any(waited_for)

    @property
    def leading(self) -> Run | None:
        """The forecast that the others are compared with: that of map A, or of map B where the one for A failed."""
        has_failed = self.state.model in self.problems and (self.run is None or self.is_old(self.run))
        if self.run is None or has_failed:
            return self.run_b if self.run_b is not None else self.run
        return self.run

    @property
    def loaded(self) -> dict[str, Run]:
        """The forecasts of one issue time, that of the leading one: A first, then B, then the others, by name."""
        leading = self.leading
        if leading is None:
            return {}
        beside = {name: self.runs[name] for name in self.state.models if name in self.runs}
        every = {leading.model: leading, **beside}
        return {name: run for name, run in every.items() if run.request.is_beside(leading.request)}

    def start(self) -> None:
        """Run what the choices ask for, model by model; the work before is cancelled, known results come at once."""
        if self.field is None:
            self.run_problem = "There is no data yet: choose a sample, a path or a file under step 1."
            return
        with self._lock:
            self.cancel()
            self.param.update(run_problem="", problems={})
            self.take_known()
            wanted = [self.wanted(name) for name in self.state.models]
            self._queue = [one for one in wanted if one is not None and RUNS.get(one) is None]
            self._queued = len(self._queue)
            self._next()

    def take_known(self) -> bool:
        """Show the wanted forecasts that were made before; whether all of them were."""
        wanted = [request for name in self.state.models if (request := self.wanted(name)) is not None]
        known = [run for request in wanted if (run := RUNS.get(request)) is not None]
        self._keep(*known)
        return len(known) == len(wanted) > 0

    def cancel(self) -> None:
        """Give up the work, at once; the forecasts that are there stay."""
        with self._lock:
            self._queue = []
            self._models.cancel()
            self.param.update(is_running=False, progress=None)

    def _next(self) -> None:
        """Run the next model of the queue, or end."""
        if not self._queue:
            self.param.update(is_running=False, progress=None)
            return
        field, request = self.field, self._queue[0]
        before, title = self._queued - len(self._queue), title_of(request.model)
        self.param.update(
            is_running=True, progress=Progress(f"{title}: starting", before / max(self._queued, 1))
        )

        def tell(progress: Progress) -> None:
            count = f"{before + 1} of {self._queued} · " if self._queued > 1 else ""
            share = (before + progress.fraction) / max(self._queued, 1)
            self.progress = Progress(f"{count}{title}: {progress.stage}", share, progress.remaining_seconds)

        self._models.submit(
            lambda progress: make_run(field, request, progress),
            on_progress=tell,
            on_done=self._run_done,
            on_failed=lambda fault: self._run_failed(request, fault),
            on_cancelled=lambda: None,
        )

    def _run_done(self, run: Run) -> None:
        RUNS.put(run)
        with self._lock:
            if self.field is not None and run.request.data == self.field.digest:
                self._keep(run)
            self._go_on(run.request)

    def _run_failed(self, request: Request, fault: Exception) -> None:
        with self._lock:
            self._note_failure(request, fault)
            self._go_on(request)

    def _note_failure(self, request: Request, fault: Exception) -> None:
        text, state = in_one_line(fault), self.state
        self.problems = {**self.problems, request.model: text}
        slots = [slot for slot, name in (("A", state.model), ("B", state.model_b)) if name == request.model]
        if slots:
            before = f"{self.run_problem} " if self.run_problem else ""
            self.run_problem = f"{before}{' and '.join(slots)}, {title_of(request.model)}: {text}"

    def _go_on(self, request: Request) -> None:
        """Run the next model after this request; one that came too late for the queue changes nothing."""
        if self._queue[:1] == [request]:
            self._queue = self._queue[1:]
            self._next()

    def _keep(self, *runs: Run) -> None:
        """Take runs in, drop those of models that nobody wants any more, and say which the two maps show."""
        state = self.state
        every = {**self.runs, **{run.model: run for run in runs}}
        every = {name: run for name, run in every.items() if name in state.models}
        with param.parameterized.batch_call_watchers(self):
            if every != self.runs:
                self.runs = every
            self.run = every.get(state.model, self.run)
            self.run_b = every.get(state.model_b, self.run_b)


def _open(source: str, files: list[Path] | None) -> OpenField:
    kind, _, name = source.partition(":")
    if kind == "sample":
        return open_sample(name)
    paths = files if files is not None else files_under_root(name)
    one = paths[0] if isinstance(paths, list) and len(paths) == 1 else paths
    try:
        # Event files only from the operator's folder: they unpack to any size.
        is_event = files is None and isinstance(one, Path) and one.suffix == ".npz"
        rain = open_event_file(one) if is_event and isinstance(one, Path) else gs.open_radar(one)
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

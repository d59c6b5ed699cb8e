"""What follows from the choices on the nowcast page: the forecasts of the open field, and work under way.

Nothing here knows a widget. Models run in a `JobRunner`, one after the other; what they find out arrives through
`notify`, on the thread that owns the page.
"""

import threading
from typing import Any, ClassVar

import param

from geoscope.inference.jobs import JobRunner, Progress
from geoscope.ui.field_desk import FieldDesk, in_one_line
from geoscope.ui.nowcast_runs import MODEL_GATE, RUNS, Request, Run, make_run, title_of
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.page_thread import Notify

# Why a model failed before says nothing once one of these is new.
QUESTION = ["issue_index", "lead_steps", "device"]


class NowcastDesk(FieldDesk):
    """One session's field, forecasts and work under way. `close` ends it."""

    RESULTS: ClassVar[list[str]] = ["run", "run_b", "problems"]

    runs = param.Dict(default={}, doc="the last `Run` of each wanted model, by name")
    run = param.Parameter(default=None, doc="the `Run` that map A shows, or None")
    run_b = param.Parameter(default=None, doc="the `Run` that map B shows, or None")
    progress = param.Parameter(default=None, doc="`Progress` of the run, or None")
    run_problem = param.String(default="")
    problems = param.Dict(default={}, doc="why a model gave no forecast in the last run, by name")

    state: NowcastState

    def __init__(self, state: NowcastState, notify: Notify | None = None, **params: Any) -> None:
        super().__init__(state, notify, **params)
        self._models = JobRunner(notify, gate=MODEL_GATE)
        self._lock = threading.RLock()  # without a served document, callbacks come in the worker's thread
        self._queue: list[Request] = []
        self._queued = 0  # how many the queue held when it was filled
        state.param.watch(lambda *events: self.take_known(), ["model", "model_b", "compared", *QUESTION])
        state.param.watch(lambda *events: self.param.update(problems={}, run_problem=""), QUESTION)

    def close(self) -> None:
        """Stop all work; for the end of a session."""
        super().close()
        self._models.close()

    def forget(self) -> None:
        """Give the work up and drop all forecasts."""
        self.cancel()
        self.param.update(run=None, run_b=None, runs={}, problems={}, run_problem="")

    # The page's time axis

    @property
    def last_frame(self) -> int:
        """As of every desk; with forecasts on the maps not before the last lead of these."""
        shown = [run.request for run in (self.run, self.run_b) if run is not None]
        return max([super().last_frame, *(request.issue_index + request.lead_steps for request in shown)])

    @property
    def forecast_frames(self) -> range:
        """The leads of the leading forecast."""
        if self.leading is None:
            return range(0)
        request = self.leading.request
        return range(request.issue_index + 1, request.issue_index + request.lead_steps + 1)

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

"""Long work beside a page: a worker thread with progress, cancel and "the latest request wins".

A page must stay alive while a model runs, show how far it is, and forget it within a second when the user says so.
Python cannot stop a thread from outside, so two things happen on a cancel: the job is given up at once (its result
will be dropped, the page hears of it immediately), and the work itself stops at its next call of `progress`, which
raises `Cancelled`.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from geoscope.errors import Cancelled, ConfigError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Report = Callable[[str, float], None]
Notify = Callable[[Callable[[], None]], Any]

SECONDS_BETWEEN_REPORTS = 0.1
SECONDS_BETWEEN_LOOKS_AT_THE_GATE = 0.1


@dataclass(frozen=True)
class Progress:
    """How far a job is: the stage's name, the fraction done in [0, 1], and the seconds left where they are known."""

    stage: str
    fraction: float
    remaining_seconds: float | None = None


@dataclass(eq=False)
class Job(Generic[Result]):
    """One request. `state` goes waiting -> running -> done, failed or cancelled, and never back."""

    work: Callable[[Report], Result]
    on_progress: Callable[[Progress], Any] | None = None
    on_done: Callable[[Result], Any] | None = None
    on_failed: Callable[[Exception], Any] | None = None
    on_cancelled: Callable[[], Any] | None = None
    state: str = "waiting"
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_live(self) -> bool:
        """Whether its result is still wanted."""
        return self.state in ("waiting", "running")


class JobRunner:
    """Runs one job at a time in a thread of its own; a new job takes the place of the one before.

    ``notify`` carries every callback to where it may touch the page, for example
    ``lambda call: document.add_next_tick_callback(call)``; by default callbacks run in the worker thread.
    ``gate`` is a semaphore that runners of several sessions share, so that they do not crush one machine together: a
    job waits in front of it, and can be cancelled there.
    """

    def __init__(self, notify: Notify | None = None, gate: threading.Semaphore | None = None) -> None:
        self._notify = notify or (lambda call: call())
        self._gate = gate
        self._lock = threading.Lock()
        self._pending: Job | None = None
        self._current: Job | None = None
        self._is_working = False
        self._is_closed = False

    def submit(
        self,
        work: Callable[[Report], Result],
        *,
        on_progress: Callable[[Progress], Any] | None = None,
        on_done: Callable[[Result], Any] | None = None,
        on_failed: Callable[[Exception], Any] | None = None,
        on_cancelled: Callable[[], Any] | None = None,
    ) -> Job[Result]:
        """Run ``work(progress)`` in the worker thread; the job before it, running or waiting, is cancelled.

        ``work`` calls ``progress(stage, fraction)`` as often as it likes; the call raises `Cancelled` when the job is
        no longer wanted. Of the callbacks exactly one of done, failed and cancelled is called, once.

        Raises:
            ConfigError: the runner is closed.
        """
        job = Job(work, on_progress, on_done, on_failed, on_cancelled)
        with self._lock:
            if self._is_closed:
                raise ConfigError("the job runner is closed: its page has gone; open the page again")
            given_up = [other for other in (self._pending, self._current) if other is not None]
            self._pending = job
            start = not self._is_working
            self._is_working = True
        for other in given_up:
            self._give_up(other)
        if start:
            threading.Thread(target=self._work_through, name="geoscope-job", daemon=True).start()
        return job

    def cancel(self) -> None:
        """Give up the running and the waiting job, at once; nothing happens when there is none."""
        with self._lock:
            given_up = [job for job in (self._pending, self._current) if job is not None]
            self._pending = None
        for job in given_up:
            self._give_up(job)

    def close(self) -> None:
        """Cancel, and refuse further jobs: for the end of a session. No callback is called any more."""
        with self._lock:
            self._is_closed = True
        self.cancel()

    def _give_up(self, job: Job) -> None:
        self._end(job, "cancelled", job.on_cancelled)

    def _end(self, job: Job, state: str, tell: Callable[[], None] | None) -> None:
        """Move a live job to its end and tell so, once; a job that has ended stays as it is."""
        with self._lock:
            if not job.is_live:
                return
            job.state = state
        try:
            if tell is not None:
                self._send(tell)
        finally:
            job.ended.set()

    def _send(self, call: Callable[[], None]) -> None:
        if not self._is_closed:
            self._notify(call)

    def _work_through(self) -> None:
        while True:
            with self._lock:
                job = self._current = self._pending
                self._pending = None
                if job is None:
                    self._is_working = False
                    return
            try:
                self._run(job)
            except Exception:  # a page that cannot be told any more must not stop the jobs after this one
                log.debug("a job's page could not be told", exc_info=True)

    def _run(self, job: Job) -> None:
        report = _Reporter(job, self._send)
        is_inside = False
        try:
            is_inside = self._pass_gate(job, report)
            with self._lock:
                if not job.is_live:
                    return
                job.state = "running"
            report.restart_clock()
            result = job.work(report)
        except Cancelled:
            self._give_up(job)
        except Exception as error:  # the page shows it, whatever it is
            log.debug("a job failed", exc_info=True)
            self._end(job, "failed", _later(job.on_failed, error))
        else:
            self._end(job, "done", _later(job.on_done, result))
        finally:
            if is_inside and self._gate is not None:
                self._gate.release()

    def _pass_gate(self, job: Job, report: "_Reporter") -> bool:
        if self._gate is None:
            return False
        while not self._gate.acquire(timeout=SECONDS_BETWEEN_LOOKS_AT_THE_GATE):
            report("waiting for another user's run to end", 0.0)
        return True


def _later(call: Callable[[Any], Any] | None, value: Any) -> Callable[[], None] | None:
    return None if call is None else lambda: call(value)


class _Reporter:
    """The `progress` that the work calls: raises when the job is given up, else tells the page, not too often."""

    def __init__(self, job: Job, send: Callable[[Callable[[], None]], None]) -> None:
        self._job, self._send = job, send
        self._stage = ""
        self._told = -math.inf
        self._started = time.monotonic()

    def restart_clock(self) -> None:
        """Time left is counted from here: waiting at the gate says nothing about the work's speed."""
        self._started = time.monotonic()
        self._stage = ""

    def __call__(self, stage: str, done: float) -> None:
        if not self._job.is_live:
            raise Cancelled("cancelled on request")
        now = time.monotonic()
        if self._job.on_progress is None or (
            stage == self._stage and now - self._told < SECONDS_BETWEEN_REPORTS and done < 1.0
        ):
            return
        self._stage, self._told = stage, now
        fraction = min(max(float(done), 0.0), 1.0)
        elapsed = now - self._started
        remaining = elapsed * (1.0 - fraction) / fraction if fraction > 0.1 and elapsed > 0.2 else None
        tell, job = self._job.on_progress, self._job
        progress = Progress(stage, fraction, remaining)
        self._send(lambda: tell(progress) if job.is_live else None)

"""The job runner: what it promises about order, cancelling, failing and progress."""

import threading
import time

import pytest

from geoscope.errors import Cancelled, ConfigError, DataError
from geoscope.inference.jobs import JobRunner, Progress

LONG = 20.0  # seconds; a test that waits so long has failed


class Listener:
    """Writes down what a job tells."""

    def __init__(self):
        self.told, self.results, self.errors, self.cancelled = [], [], [], 0

    def callbacks(self):
        return {
            "on_progress": self.told.append,
            "on_done": self.results.append,
            "on_failed": self.errors.append,
            "on_cancelled": self._note_cancel,
        }

    def _note_cancel(self):
        self.cancelled += 1


def endless(started: threading.Event, stopped: threading.Event | None = None):
    def work(progress):
        started.set()
        try:
            while True:
                progress("turning", 0.5)
                time.sleep(0.005)
        finally:
            if stopped is not None:
                stopped.set()

    return work


def test_a_job_runs_in_another_thread_and_gives_its_result():
    heard = Listener()
    job = JobRunner().submit(lambda progress: threading.current_thread().name, **heard.callbacks())
    assert job.ended.wait(LONG)
    assert job.state == "done"
    assert heard.results == ["geoscope-job"]
    assert heard.errors == []


def test_progress_carries_stage_fraction_and_time_left():
    heard, seen = Listener(), []

    def work(progress):
        progress("reading", 0.0)
        time.sleep(0.4)
        progress("forecast", 0.5)

    JobRunner().submit(work, on_progress=seen.append, on_done=heard.results.append).ended.wait(LONG)
    assert [step.stage for step in seen] == ["reading", "forecast"]
    assert seen[0].remaining_seconds is None
    assert seen[1].fraction == 0.5
    assert seen[1].remaining_seconds == pytest.approx(0.4, abs=0.35)  # half done, so as long again


def test_progress_outside_its_range_is_clipped_and_not_told_too_often():
    seen: list[Progress] = []

    def work(progress):
        for _ in range(500):
            progress("stage", -1.0)
        progress("end", 7.0)

    JobRunner().submit(work, on_progress=seen.append).ended.wait(LONG)
    assert len(seen) < 20
    assert seen[0].fraction == 0.0
    assert seen[-1].fraction == 1.0


def test_a_cancelled_job_stops_at_its_next_report_and_gives_no_result():
    started, stopped, heard = threading.Event(), threading.Event(), Listener()
    runner = JobRunner()
    job = runner.submit(endless(started, stopped), **heard.callbacks())
    assert started.wait(LONG)
    runner.cancel()
    assert job.state == "cancelled"  # at once, whatever the work does
    assert stopped.wait(LONG)
    assert (heard.cancelled, heard.results, heard.errors) == (1, [], [])


def test_cancelling_does_not_wait_for_work_that_does_not_report():
    release, started, heard = threading.Event(), threading.Event(), Listener()

    def deaf(progress):
        started.set()
        release.wait(LONG)
        return "too late"

    runner = JobRunner()
    job = runner.submit(deaf, **heard.callbacks())
    assert started.wait(LONG)
    runner.cancel()
    assert job.ended.is_set()
    assert heard.cancelled == 1
    later = runner.submit(lambda progress: "new", **heard.callbacks())
    release.set()
    assert later.ended.wait(LONG)
    assert heard.results == ["new"]  # the old result was dropped


def test_the_latest_request_wins():
    started, heard = threading.Event(), Listener()
    runner = JobRunner()
    first = runner.submit(endless(started), **heard.callbacks())
    assert started.wait(LONG)
    second = runner.submit(lambda progress: "second", **heard.callbacks())
    third = runner.submit(lambda progress: "third", **heard.callbacks())
    assert third.ended.wait(LONG)
    assert first.state == "cancelled"
    assert second.state in ("cancelled", "done")
    assert heard.results[-1] == "third"


def test_work_that_cancels_itself_counts_as_cancelled():
    heard = Listener()

    def work(progress):
        raise Cancelled("enough")

    job = JobRunner().submit(work, **heard.callbacks())
    assert job.ended.wait(LONG)
    assert job.state == "cancelled"
    assert heard.errors == []


def test_a_failure_reaches_the_page_and_the_runner_goes_on():
    heard, runner = Listener(), JobRunner()

    def work(progress):
        raise DataError("rain.nc: not a rain field")

    job = runner.submit(work, **heard.callbacks())
    assert job.ended.wait(LONG)
    assert job.state == "failed"
    assert [str(error) for error in heard.errors] == ["rain.nc: not a rain field"]
    after = runner.submit(lambda progress: 1, **heard.callbacks())
    assert after.ended.wait(LONG)
    assert heard.results == [1]


def test_callbacks_go_through_notify():
    calls, heard = [], Listener()
    job = JobRunner(notify=calls.append).submit(lambda progress: 5, **heard.callbacks())
    assert job.ended.wait(LONG)
    deadline = time.monotonic() + LONG
    while not calls and time.monotonic() < deadline:
        time.sleep(0.005)
    assert heard.results == []
    for call in calls:
        call()
    assert heard.results == [5]


def test_progress_of_a_cancelled_job_is_not_shown_late():
    calls, seen, started = [], [], threading.Event()
    runner = JobRunner(notify=calls.append)
    runner.submit(endless(started), on_progress=seen.append)
    assert started.wait(LONG)
    runner.cancel()
    for call in list(calls):
        call()
    assert seen == []


def test_runners_share_a_gate_and_waiting_can_be_cancelled():
    gate, started, heard = threading.Semaphore(1), threading.Event(), Listener()
    first, second = JobRunner(gate=gate), JobRunner(gate=gate)
    first.submit(endless(started))
    assert started.wait(LONG)
    waiting = threading.Event()
    job = second.submit(
        lambda progress: "never", on_progress=lambda step: waiting.set(), on_done=heard.results.append
    )
    assert waiting.wait(LONG)
    second.cancel()
    assert job.state == "cancelled"
    freed = second.submit(lambda progress: "after", on_done=heard.results.append)
    first.cancel()
    assert freed.ended.wait(LONG)
    assert heard.results == ["after"]


def test_a_closed_runner_is_silent_and_refuses_work():
    started, heard = threading.Event(), Listener()
    runner = JobRunner()
    job = runner.submit(endless(started), **heard.callbacks())
    assert started.wait(LONG)
    runner.close()
    assert job.state == "cancelled"
    assert heard.cancelled == 0
    with pytest.raises(ConfigError, match="closed"):
        runner.submit(lambda progress: 1)


def test_a_page_that_cannot_be_told_does_not_stop_the_jobs_after_it():
    told = []

    def notify(call):
        if not told:
            told.append("lost")
            raise RuntimeError("the document is gone")
        call()

    runner = JobRunner(notify)
    first = runner.submit(lambda progress: 1, on_done=lambda result: None)
    assert first.ended.wait(10)
    second = runner.submit(lambda progress: 2, on_done=told.append)
    assert second.ended.wait(10)
    assert told == ["lost", 2]

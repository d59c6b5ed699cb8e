"""Trains the tiny task again and again, killing the process (SIGKILL) at chosen places; run by test_resume.py.

    python -m tests.training.killed_runs FOLDER

Each scenario is a list of places, one for each process in turn; the last process runs to the end. FOLDER/NAME gets the
run, FOLDER/results.json the ends of the processes. One process imports what is slow and forks, so that a run takes a
fraction of a second.
"""

import io
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch

from geoscope.errors import TrainingError
from geoscope.training.engine import Settings, checkpoints, fit, loop
from tests.training.tiny_task import TinyTask

STEPS = 12
SCENARIOS = {
    "whole": [],
    "at_the_first_step": ["step 0"],
    "before_the_first_checkpoint": ["step 2"],
    "between_checkpoints": ["step 7"],
    "at_the_last_step": ["step 11"],
    "again_and_again": ["step 4", "step 5", "half written 2", "step 8", "step 11"],
    "half_written": ["half written 2"],
    "written_and_not_renamed": ["rename 2"],
    "between_the_renames": ["rename 3"],
    "half_of_the_first": ["half written 1"],
    "in_the_validation": ["validation 2"],
    "in_the_best_weights": ["best 2"],
    "after_the_last_step": ["finish"],
    "by_the_clock": ["0.15 s", "0.2 s", "0.25 s"],
    "with_workers": ["step 7"],
    "disk_full": ["disk full 2"],
}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(place, task):
    """Have this process killed at ``place``."""
    what, number = place.rsplit(" ", 1) if " " in place else (place, "0")
    calls = {"step": 0, "validation": 0, "written": 0, "renamed": 0, "best": 0}
    if what == "step":
        ends = loop.Training.on_train_batch_start

        def start(self, batch, batch_idx):
            if self.step == int(number):
                die()
            ends(self, batch, batch_idx)

        loop.Training.on_train_batch_start = start
    elif what == "half written":
        save = torch.save

        def half(state, stream):
            calls["written"] += "optimizer" in state
            if calls["written"] < int(number):
                return save(state, stream)
            whole = io.BytesIO()
            save(state, whole)
            stream.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            stream.flush()
            die()

        torch.save = half
    elif what == "disk full":
        write = checkpoints.write_whole

        def full(path, state):
            calls["written"] += 1
            if calls["written"] == int(number):  # a file may grow to 1000 bytes and no further
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            write(path, state)

        checkpoints.write_whole = full
    elif what == "rename":
        replace = os.replace

        def rename(source, target):
            if Path(target).name in (checkpoints.LAST, checkpoints.PREVIOUS):
                calls["renamed"] += 1
                if calls["renamed"] == int(number):
                    die()
            replace(source, target)

        checkpoints.os.replace = rename
    elif what == "validation":
        validate = task.validate

        def validation(network, batch):
            calls["validation"] += 1
            if calls["validation"] == int(number):
                die()
            return validate(network, batch)

        task.validate = validation
    elif what == "best":
        write = checkpoints.write_whole

        def best(path, state):
            calls["best"] += path.name.startswith(loop.BEST)
            write(path, state)
            if calls["best"] == int(number):
                die()

        checkpoints.write_whole = best
    elif what == "finish":
        task.finish = lambda *_: die()


def run(folder, name, place):
    """One process, to its end or its death; returns its exit code, -9 when it was killed."""
    child = os.fork()
    if child == 0:
        settings = Settings(
            steps=STEPS, batch=4, micro_batch=2, learning_rate=0.02, warmup=3, ema=0.9, threads=1, save_every=3,
            validate_every=4, workers=1 if name == "with_workers" else 0, log_every=1, pictures=False,
        )  # fmt: skip
        task = TinyTask(settings, validation=2)
        code = 1
        try:
            if place and not place.endswith(" s"):
                arm(place, task)
            fit(
                task, settings, folder / name, lambda *_: time.sleep(0.01) if name == "by_the_clock" else None
            )
            code = 0
        except TrainingError as error:
            code = 3 if "cannot be written (File too large); the one before is whole" in str(error) else 4
        finally:
            os._exit(code)
    if place and place.endswith(" s"):
        time.sleep(float(place[:-2]))
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_on_two(folder):
    """Two processes with gloo, and one process that sees the same batches in turn."""
    common = {
        "steps": 6,
        "batch": 4,
        "learning_rate": 0.02,
        "warmup": 0,
        "threads": 1,
        "workers": 0,
        "ema": 0.5,
    }
    for name, more in {
        "two": {"devices": 2, "strategy": "ddp_fork", "accelerator": "cpu", "validate_every": 3},
        "one": {"micro_batch": 2, "validate_every": 3},
    }.items():
        settings = Settings(**common, **more)
        fit(TinyTask(settings, validation=3, dropout=0.0), settings, folder / name, lambda *_: None)


def main(folder):
    import pytorch_lightning  # noqa: F401 - once, for all children

    ends = {
        name: [run(folder, name, place) for place in (*places, None)] for name, places in SCENARIOS.items()
    }
    run_on_two(folder)
    (folder / "results.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

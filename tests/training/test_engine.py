"""The engine: schedule, checkpoints that cannot be read or written, early stop, averages, and clear refusals."""

import json
import logging
import os
import re
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from geoscope.errors import Cancelled, ConfigError, MissingExtraError, TrainingError
from geoscope.nn.recomputation import recompute_blocks
from geoscope.training.engine import Settings, checkpoints, fit, learning_rate
from geoscope.training.engine.estimate import Cost, Estimate, free_bytes, spell
from geoscope.training.engine.loop import Training
from geoscope.training.engine.parts import Log, move_average
from tests.training.tiny_task import TinyTask, weights


def quick(**changes):
    return Settings(
        **{
            "steps": 4,
            "batch": 2,
            "learning_rate": 0.02,
            "warmup": 0,
            "workers": 0,
            "threads": 1,
            "estimate": False,
            **changes,
        }
    )


def silent(stage, share):
    pass


def test_the_schedule_is_the_published_one(shared):
    table = json.loads((shared / "oracle" / "earthformer" / "metrics" / "lr_schedule.json").read_text())
    settings = Settings(
        steps=table["total_steps"], learning_rate=table["lr"], warmup=0.2, floor=table["min_lr_ratio"]
    )
    rates = [learning_rate(settings, step, table["total_steps"]) for step in range(table["total_steps"])]
    np.testing.assert_allclose(rates, table["lr_used_at_step"], rtol=1e-9, atol=1e-15)


def test_the_schedule_follows_steps_or_the_clock_whichever_is_ahead():
    settings = Settings(steps=100, minutes=1, learning_rate=1.0, warmup=10, floor=0.02)
    assert learning_rate(settings, 5, 100) == pytest.approx(0.5)
    assert learning_rate(settings, 55, 100) == pytest.approx(0.51)
    assert learning_rate(settings, 55, 100, seconds=60.0) == pytest.approx(0.02)
    by_clock = Settings(minutes=1, learning_rate=1.0, warmup=0.1, floor=0.0)
    assert learning_rate(by_clock, 7, None, seconds=3.0) == pytest.approx(0.5)
    assert learning_rate(by_clock, 7, None, seconds=33.0) == pytest.approx(0.5)
    assert learning_rate(Settings(minutes=1, warmup=0), 0, None) == pytest.approx(1e-3)


def test_an_epoch_is_counted_in_updates():
    settings = Settings(epochs=100, batch=32, micro_batch=2)
    assert settings.accumulate == 16
    assert settings.total_steps(35718) == 111618  # int(100 * 35718 / 32), as published
    assert settings.steps_between_validations(35718) == 1116
    with pytest.raises(ConfigError, match="epochs need data with a length"):
        settings.total_steps(None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "needs an end: give steps, epochs or minutes"),
        ({"steps": 0}, "steps=0 must be above zero"),
        ({"patience": -1}, "patience=-1 must not be below zero"),
        ({"ema": 1.0}, "ema=1.0 must be at least 0"),
        ({"log_every": 0}, "log_every=0"),
        ({"batch": 4, "micro_batch": 3}, "batch=4 is not a multiple of micro_batch=3"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        quick(**changes)


def test_a_loss_that_is_no_number_stops_saves_and_says_where(tmp_path):
    settings = quick(steps=9, batch=4, micro_batch=2)
    with pytest.raises(
        TrainingError, match=r"the loss of tiny is nan at step 3, batch 7; .*last\.pt: lower learn"
    ):
        fit(TinyTask(settings, broken_at=7), settings, tmp_path, silent)
    state = checkpoints.load(tmp_path)
    assert state is not None
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_a_gradient_that_overflows_is_left_out_and_not_for_ever(tmp_path, monkeypatch):
    class Overflowing(TinyTask):
        def loss(self, network, batch):
            loss = super().loss(network, batch)
            loss.register_hook(lambda gradient: gradient * torch.inf)
            return loss

    settings = quick(steps=2)
    before = weights(fit(TinyTask(quick(steps=1, learning_rate=1e-12)), quick(steps=1, learning_rate=1e-12),
                         tmp_path / "a", silent))  # fmt: skip
    after = weights(fit(Overflowing(settings), settings, tmp_path / "b", silent))
    torch.testing.assert_close(before, after)
    monkeypatch.setattr("geoscope.training.engine.loop.SKIPS_ALLOWED", 1)
    with pytest.raises(TrainingError, match="has overflowed 2 times in a row up to step 1"):
        fit(Overflowing(settings), settings, tmp_path / "c", silent)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_broken_checkpoint_is_named_and_the_previous_one_taken(tmp_path, caplog, damage):
    checkpoints.save(tmp_path, {"step": 1, "network": {"w": torch.arange(1000.0)}})
    checkpoints.save(tmp_path, {"step": 2, "network": {"w": torch.arange(1000.0)}})
    last = tmp_path / "last.pt"
    raw = bytearray(last.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    if damage == "other":
        torch.save({"step": 3}, last)
    else:
        last.write_bytes({"cut": bytes(raw[:700]), "flipped": bytes(raw), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING, "geoscope.training"):
        state = checkpoints.load(tmp_path)
    assert state is not None
    assert state["step"] == 1
    (line,) = caplog.messages
    assert "last.pt" in line
    assert line.endswith("is broken: going on from previous.pt instead")
    assert "\n" not in line


def test_a_run_goes_on_from_the_previous_checkpoint(tmp_path, caplog):
    settings = quick(steps=6, save_every=2)
    whole = weights(fit(TinyTask(settings), settings, tmp_path / "a", silent))
    fit(TinyTask(settings), settings, tmp_path / "b", silent)
    (tmp_path / "b" / "last.pt").write_bytes(b"power cut")
    (tmp_path / "b" / "weights.pt").unlink()
    again = weights(fit(TinyTask(settings), settings, tmp_path / "b", silent))
    torch.testing.assert_close(again, whole, rtol=0, atol=0)
    assert "previous.pt" in caplog.text


def test_no_whole_checkpoint_is_an_error(tmp_path):
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(
        TrainingError, match=r"no whole checkpoint in .*last\.pt .*previous\.pt .*delete them"
    ):
        checkpoints.load(tmp_path)


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, {"step": 1})

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(
        TrainingError, match=r"cannot be written \(No space left on device\); the one before is whole"
    ):
        checkpoints.save(tmp_path, {"step": 2})
    assert checkpoints.load(tmp_path)["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt"]


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    fit(TinyTask(quick()), quick(), tmp_path, silent)
    with pytest.raises(ConfigError, match="was begun with seed = 0 and the recipe says 1; put it back"):
        fit(TinyTask(quick(seed=1)), quick(seed=1), tmp_path, silent)

    class Wider(TinyTask):
        def network(self):
            return nn.Linear(4, 1)

    with pytest.raises(TrainingError, match="does not fit the network of this recipe"):
        fit(Wider(quick(steps=9)), quick(steps=9), tmp_path, silent)


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first = weights(fit(TinyTask(quick()), quick(), tmp_path, silent))
    monkeypatch.setattr(Training, "training_step", lambda *_: pytest.fail("trained again"))
    again = weights(fit(TinyTask(quick()), quick(), tmp_path, silent))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_clock_ends_a_run_and_adds_up(tmp_path):
    settings = quick(steps=None, minutes=1e-9)
    fit(TinyTask(settings), settings, tmp_path, silent)
    state = checkpoints.load(tmp_path)
    assert state["step"] == 1
    assert state["seconds"] > 0
    longer = quick(steps=2, minutes=600)
    fit(TinyTask(longer), longer, tmp_path, silent)
    assert checkpoints.load(tmp_path)["seconds"] > state["seconds"]


def test_patience_ends_a_run_and_the_best_weights_are_kept(tmp_path):
    class Worse(TinyTask):
        def scores(self, sums):
            self.told = getattr(self, "told", 0) + 1
            return {"error": float(self.told)}

    settings = quick(steps=50, validate_every=2, patience=3)
    kept = weights(fit(Worse(settings, validation=1), settings, tmp_path, silent))
    state = checkpoints.load(tmp_path)
    assert (state["step"], state["best_step"], state["best_score"]) == (8, 2, 1.0)
    torch.testing.assert_close(torch.load(tmp_path / "best.pt", weights_only=True)["network"], kept)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["monitor"], record["best_step"], record["steps"]) == ("error", 2, 8)
    (tmp_path / "best.pt").write_bytes(b"broken")
    fit(Worse(settings, validation=1), settings, tmp_path, silent)  # takes the last weights and says so


def test_ctrl_c_finishes_the_step_saves_and_goes_on_to_the_same_bits(tmp_path):
    settings = quick(steps=6)
    whole = weights(fit(TinyTask(settings), settings, tmp_path / "a", silent))

    class Interrupted(TinyTask):
        def loss(self, network, batch):
            self.count = getattr(self, "count", 0) + 1
            if self.count == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().loss(network, batch)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Cancelled, match="stopped after step 3; the same command goes on"):
        fit(Interrupted(settings), settings, tmp_path / "b", silent)
    assert signal.getsignal(signal.SIGINT) is before
    again = weights(fit(TinyTask(settings), settings, tmp_path / "b", silent))
    torch.testing.assert_close(again, whole, rtol=0, atol=0)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    class Impatient(TinyTask):
        def loss(self, network, batch):
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(Impatient(quick()), quick(), tmp_path, silent)
    assert signal.getsignal(signal.SIGINT) is before

    class Leaving(TinyTask):
        def loss(self, network, batch):
            raise SystemExit(143)

    with pytest.raises(SystemExit, match="143"):
        fit(Leaving(quick()), quick(), tmp_path, silent)


def test_the_average_by_hand():
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        average.weight.fill_(1.0)
        network.weight.fill_(3.0)
        network.running_mean.fill_(5.0)
    move_average(average, network, 0.75)
    assert average.weight.item() == pytest.approx(1.5)
    assert average.running_mean.item() == 5.0


def test_recomputing_changes_memory_and_not_one_bit(tmp_path):
    class Blocks(TinyTask):
        def network(self):
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.parts = nn.ModuleList(
                        [nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)) for _ in range(2)]
                    )
                    self.last = nn.Linear(4, 1)

                def forward(self, x):
                    for part in self.parts:
                        x = part(x)
                    return self.last(x)

            return Net()

    task = Blocks(quick())
    assert len(task.blocks(task.network())) == 2
    plain, again = (
        weights(fit(Blocks(s), s, tmp_path / str(s.recompute), silent))
        for s in (quick(), quick(recompute=True))
    )
    torch.testing.assert_close(plain, again, rtol=0, atol=0)


def test_recomputed_blocks_run_twice_in_training_and_once_in_use():
    calls = []

    class Counted(nn.Linear):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    block = Counted(2, 2)
    recompute_blocks([block])
    block(torch.ones(1, 2)).sum().backward()
    assert len(calls) == 2
    block.eval()
    block(torch.ones(1, 2))
    assert len(calls) == 3


def test_mixed_precision_trains(tmp_path):
    settings = quick(precision="bfloat16", ema=0.9)
    assert all(
        value.dtype == torch.float32
        for value in weights(fit(TinyTask(settings), settings, tmp_path, silent)).values()
    )


def test_log_pictures_and_board_are_written(tmp_path):
    settings = quick(log_every=2, validate_every=2, tensorboard=True)
    fit(TinyTask(settings, validation=1, picture=True), settings, tmp_path, silent)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    with Image.open(tmp_path / "pictures" / "step-0000004.png") as picture:
        assert picture.size == (6, 4)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_an_estimate_comes_first_and_changes_nothing(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "geoscope.training"):
        plain, estimated = (
            weights(fit(TinyTask(s), s, tmp_path / str(s.estimate), silent))
            for s in (quick(), quick(estimate=True, minutes=60))
        )
    (line,) = caplog.messages
    assert re.match(
        r"0\.00 M parameters, \S+ s a step: 4 steps in 0 s, at most 60 min, about \d+ steps; \d", line
    )
    torch.testing.assert_close(plain, estimated, rtol=0, atol=0)


def test_the_estimate_counts_workers_accumulation_and_memory():
    cost = Cost(prepare_seconds=3.0, learn_seconds=2.0, peak_bytes=1 << 60)
    assert cost.seconds_a_step(quick(batch=4, micro_batch=2)) == 10.0
    assert cost.seconds_a_step(quick(workers=1)) == 3.0
    assert cost.seconds_a_step(quick(workers=2)) == 2.0
    text = Estimate(cost, 10.0, 3600, None, 8_660_000).sentence()
    assert text.startswith("8.66 M parameters, 10 s a step: 3600 steps in 10.0 h; ")
    assert free_bytes() is None or "lower micro_batch or set recompute" in text
    assert [spell(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_a_log_that_goes_on_forgets_what_came_later_and_takes_new_columns(tmp_path):
    path = tmp_path / "log.csv"
    log = Log(path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": 0.5})
    log = Log(path, 2)
    log.write({"step": 3, "loss": 0.25, "error": 1.0})
    assert path.read_text().split() == ["step,loss,error", "1,0.5", "2,0.5", "3,0.25,1"]


@pytest.mark.parametrize(
    ("module", "changes"), [("pytorch_lightning", {}), ("tensorboard", {"tensorboard": True})]
)
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, module, changes):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module} is missing.*pip install 'geoscope\[train\]'"):
        fit(TinyTask(quick(**changes)), quick(**changes), tmp_path, silent)


@pytest.mark.parametrize(
    "changes", [{"accelerator": "abacus"}, {"accelerator": "tpu"}, {"strategy": "by hand"}]
)
def test_a_machine_that_cannot_is_named(tmp_path, changes):
    with pytest.raises(ConfigError, match="this machine cannot train so: "):
        fit(TinyTask(quick(**changes)), quick(**changes), tmp_path, silent)


def test_tasks_without_validation_say_so():
    task = TinyTask(quick())
    for call in (lambda: super(TinyTask, task).validation_batch(0), lambda: super(TinyTask, task).validate(None, {}),
                 lambda: super(TinyTask, task).scores({})):  # fmt: skip
        with pytest.raises(LookupError, match="the task tiny has no"):
            call()


def test_the_engine_knows_no_task():
    import geoscope.training.engine as engine

    assert set(engine.__all__) == {"Batch", "Progress", "Settings", "Task", "fit", "learning_rate"}


def test_a_worker_that_is_killed_ends_the_run_in_one_line(tmp_path):
    here = os.getpid()

    class Killed(TinyTask):
        def batch(self, index):
            if os.getpid() != here:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(index)

    settings = quick(workers=1)
    with pytest.raises(
        TrainingError, match=r"a process that reads the data ended .*set workers = 0"
    ) as caught:
        fit(Killed(settings), settings, tmp_path, silent)
    assert "\n" not in str(caught.value)

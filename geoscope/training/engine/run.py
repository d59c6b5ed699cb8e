"""From settings and a task to final weights: `fit`."""

import datetime
import json
import logging
import os
import platform
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from geoscope.errors import ConfigError, MissingExtraError, TrainingError
from geoscope.training.engine import checkpoints
from geoscope.training.engine.settings import Settings
from geoscope.training.engine.task import Progress, Task

RECORD = "run.json"


def fit(task: Task, settings: Settings, out: Path, progress: Progress) -> Path:
    """Train ``task`` in the folder ``out`` and return the file of weights that it wrote there.

    A run that was stopped, by whatever, goes on in the same folder from its last whole checkpoint. On a CPU with one
    process the final weights are bit-equal to those of a run that nothing stopped, when ``settings`` end it by steps
    or epochs and not by minutes.

    Raises:
        ConfigError: settings that do not fit the run in ``out``, the task or this machine.
        MissingExtraError: pytorch_lightning, or tensorboard where it is wanted, is not installed.
        TrainingError: the loss is no number, a process that reads the data ended, or a checkpoint can be neither
            written nor read.
        Cancelled: Ctrl-C; the step at hand was finished and saved.
    """
    _require_packages(settings)
    out.mkdir(parents=True, exist_ok=True)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    state = checkpoints.load(out)
    _check_same_run(task, settings, state, out)
    if state is None or not _is_over(state, task, settings):
        with _quiet_lightning():
            is_first = _train(task, settings, out, state, progress)
        if not is_first:
            return out
        state = checkpoints.load(out)
        if state is None:
            raise TrainingError(
                f"the run in {out} has left no checkpoint: the folder was emptied while it ran"
            )
    network = _final_network(task, settings, out, state)
    weights = task.finish(network, out, progress)
    _record(task, settings, out, state, weights, network)
    return weights


def _require_packages(settings: Settings) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pytorch_lightning  # noqa: F401

            if settings.tensorboard:
                import tensorboard  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise MissingExtraError(
            f"training needs the extra train ({error.name} is missing): pip install 'geoscope[train]'"
        ) from None


def _check_same_run(task: Task, settings: Settings, state: dict[str, Any] | None, out: Path) -> None:
    if state is None:
        return
    for key, now in (("task", task.name), ("seed", settings.seed), ("batch", settings.batch)):
        before = state["run"][key]
        if before != now:
            raise ConfigError(
                f"the run in {out} was begun with {key} = {before!r} and the recipe says {now!r}; put it back, or "
                "give another --out"
            )


def _is_over(state: dict[str, Any], task: Task, settings: Settings) -> bool:
    total = settings.total_steps(task.examples)
    if total is not None and state["step"] >= total:
        return True
    if settings.minutes is not None and state["seconds"] >= settings.minutes * 60:
        return True
    return bool(settings.patience) and state["waited"] >= settings.patience


def _train(
    task: Task, settings: Settings, out: Path, state: dict[str, Any] | None, progress: Progress
) -> bool:
    """Run the loop; whether this is the first process, which writes the results."""
    import pytorch_lightning as pl
    from pytorch_lightning.utilities.exceptions import MisconfigurationException  # pyright: ignore

    from geoscope.training.engine.loop import Training

    try:
        training = Training(task, settings, out, state, progress)
    except RuntimeError as error:
        raise TrainingError(
            f"the checkpoint in {out} does not fit the network of this recipe ({str(error).splitlines()[0][:100]}); "
            "put the recipe back, or give another --out"
        ) from None
    precision = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}[settings.precision]
    try:
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=_strategy(settings),
            precision=precision,  # type: ignore[arg-type]
            accumulate_grad_batches=settings.accumulate,
            max_epochs=-1,
            limit_val_batches=None if task.validation_batches else 0,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            inference_mode=False,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
        )
    except (ValueError, RuntimeError, ImportError, MisconfigurationException) as error:
        # Lightning's own check of devices, strategy and precision
        raise ConfigError(f"this machine cannot train so: {str(error).splitlines()[0][:200]}") from None
    with _stopping_politely(training):
        try:
            trainer.fit(training)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                f"a process that reads the data ended ({' '.join(str(error).split())[:100]}), most often for want of "
                "memory: free some, or set workers = 0; the same command goes on from the last checkpoint"
            ) from error
        except SystemExit as stop:  # Lightning's answer to a second Ctrl-C
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
    return bool(trainer.is_global_zero)


def _strategy(settings: Settings) -> Any:
    if settings.strategy == "auto" and settings.devices > 1:
        return "ddp"
    return settings.strategy


@contextmanager
def _stopping_politely(training: Any) -> Iterator[None]:
    """Ctrl-C lets the step at hand end and be saved; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: Any) -> None:
        training.stop_asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice to itself: what concerns the user, the engine says."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
            warnings.filterwarnings("ignore", message=r".*pytorch_lightning.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _final_network(task: Task, settings: Settings, out: Path, state: dict[str, Any]) -> nn.Module:
    """The network with the weights to keep: the best validated, else the average, else the last."""
    from geoscope.training.engine.loop import BEST

    weights = state["average"] or state["network"]
    if state["best_score"] is not None and (out / BEST).exists():
        best = checkpoints.read(out / BEST)
        if isinstance(best, str):
            logging.getLogger("geoscope.training").warning(
                "%s in %s is broken (%s): the last weights are taken instead", BEST, out, best
            )
        else:
            weights = best["network"]
    torch.manual_seed(settings.seed)
    network = task.network()
    network.load_state_dict(weights)
    return network.eval()


def _record(
    task: Task, settings: Settings, out: Path, state: dict[str, Any], weights: Path, network: nn.Module
) -> None:
    """Write what a model card needs to know of the run to ``out``/run.json."""
    record = {
        "task": task.name,
        "weights": weights.name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60.0, 1),
        "seed": settings.seed,
        "monitor": task.monitor,
        "best_score": state["best_score"],
        "best_step": state["best_step"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "hardware": _hardware(settings),
        "facts": task.facts(),
    }
    beside = out / (RECORD + ".part")
    beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(beside, out / RECORD)


def _hardware(settings: Settings) -> str:
    """On what it was trained, as far as the system says."""
    if settings.accelerator != "cpu" and torch.cuda.is_available():
        return f"{settings.devices} x {torch.cuda.get_device_name()}"
    threads = settings.threads or torch.get_num_threads()
    return f"{settings.devices * threads} threads of a {platform.machine()} CPU, {settings.precision}"

"""The training loop as a Lightning module. It knows no task: see `geoscope.training.engine.task`."""

import copy
import logging
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from geoscope.errors import Cancelled, TrainingError
from geoscope.nn.recomputation import recompute_blocks
from geoscope.training.engine import checkpoints
from geoscope.training.engine.estimate import Estimate, probe
from geoscope.training.engine.parts import (
    MANY,
    Log,
    Numbers,
    add_sums,
    gradient_norm,
    gradients_by_part,
    loader,
    move_average,
)
from geoscope.training.engine.settings import Settings, learning_rate
from geoscope.training.engine.task import Batch, Progress, Task

BEST = "best.pt"
SKIPS_ALLOWED = 50  # updates in a row whose gradient overflowed
log = logging.getLogger("geoscope.training")


class Training(pl.LightningModule):
    """One run: the network, its average, the clock, and what is written down.

    Lightning's epochs are stretches between validations; the count of updates is ours, so that a run which goes on
    is at the same step with the same batch, the same rate and the same random numbers.
    """

    def __init__(
        self, task: Task, settings: Settings, out: Path, state: dict[str, Any] | None, progress: Progress
    ) -> None:
        super().__init__()
        self.task, self.settings, self.out, self.report = task, settings, out, progress
        self.total = settings.total_steps(task.examples)
        self.stretch = settings.steps_between_validations(task.examples) if task.validation_batches else None
        torch.manual_seed(settings.seed)
        self.network = task.network()
        state = state or {}
        if state:
            self.network.load_state_dict(state["network"])
        # Not a submodule: the average has no gradients and is no business of the strategy.
        self.hidden: list[nn.Module] = [copy.deepcopy(self.network).eval().requires_grad_(False)] * bool(
            settings.ema
        )
        if self.hidden and state.get("average"):
            self.hidden[0].load_state_dict(state["average"])
        if settings.recompute:
            recompute_blocks(task.blocks(self.network))
        self.optimizer_state: dict[str, Any] | None = state.get("optimizer")
        self.step: int = state.get("step", 0)
        self.seconds_before: float = state.get("seconds", 0.0)
        self.best_score: float | None = state.get("best_score")
        self.best_step: int = state.get("best_step", 0)
        self.waited: int = state.get("waited", 0)
        self.skipped = 0
        self.losses: list[Tensor] = []
        self.since_log: list[float] = []
        self.norm = math.nan
        self.sums: dict[str, Tensor] = {}
        self.stop_asked = False

    # -- where the run is

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and keep: the average, where there is one."""
        return self.hidden[0] if self.hidden else self.network

    @property
    def seconds(self) -> float:
        """Time spent in training, over all resumed runs; the first process's clock decides for all."""
        spent = self.seconds_before + time.monotonic() - self.started
        if self.settings.minutes and self.trainer.world_size > 1:
            spent = float(self.trainer.strategy.broadcast(spent))
        return spent

    def is_over(self, seconds: float) -> bool:
        """Whether steps, minutes or patience have run out."""
        settings = self.settings
        if self.total is not None and self.step >= self.total:
            return True
        if settings.minutes is not None and seconds >= settings.minutes * 60:
            return True
        return bool(settings.patience) and self.waited >= settings.patience

    def share(self, seconds: float) -> float:
        """How much of the run is done, 0 to 1."""
        by_clock = seconds / (self.settings.minutes * 60) if self.settings.minutes else 0.0
        return min(1.0, max(by_clock, self.step / self.total if self.total else 0.0))

    def state(self, seconds: float) -> dict[str, Any]:
        """Everything a run needs to go on."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        return {
            "run": {"task": self.task.name, "seed": self.settings.seed, "batch": self.settings.batch},
            "network": self.network.state_dict(),
            "average": self.hidden[0].state_dict() if self.hidden else None,
            "optimizer": optimizer.state_dict(),  # type: ignore[union-attr]
            "step": self.step,
            "seconds": seconds,
            "best_score": self.best_score,
            "best_step": self.best_step,
            "waited": self.waited,
        }

    def save(self, seconds: float) -> None:
        """Write a checkpoint, in the first process."""
        self.saved = time.monotonic()
        if self.trainer.is_global_zero:
            checkpoints.save(self.out, self.state(seconds))

    # -- what Lightning asks for

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with the task's groups, as the checkpoint left it."""
        groups = self.task.parameter_groups(self.network, self.settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.settings.learning_rate)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return optimizer

    def train_dataloader(self) -> Any:
        """The batches up to the next validation or the end."""
        settings, trainer = self.settings, self.trainer
        end = self.total if self.total is not None else MANY
        if self.stretch:
            end = min(end, (self.step // self.stretch + 1) * self.stretch)
        first = self.step * settings.accumulate * trainer.world_size + trainer.global_rank
        count = (end - self.step) * settings.accumulate
        numbers = Numbers(first, trainer.world_size, count)
        return loader(self.task.batch, numbers, settings.workers, self.device.type == "cuda")

    def val_dataloader(self) -> Any:
        """This process's share of the validation batches."""
        rank, world, count = self.trainer.global_rank, self.trainer.world_size, self.task.validation_batches
        numbers = Numbers(rank, world, len(range(rank, count, world)))
        return loader(self.task.validation_batch, numbers, self.settings.workers, self.device.type == "cuda")

    def on_train_start(self) -> None:
        """Start the clock, open the logs."""
        for average in self.hidden:
            average.to(self.device)
        self.started = self.saved = self.told = time.monotonic()
        if self.trainer.is_global_zero:
            self.log_rows = Log(self.out / "log.csv", self.step)
            self.score_rows = Log(self.out / "scores.csv", self.step)
        if self.settings.estimate and self.trainer.is_global_zero:
            log.info("%s", self._estimate().sentence())
            self.started = time.monotonic()
        self.board = _board(self) if self.settings.tensorboard and self.trainer.is_global_zero else None

    def _estimate(self) -> Estimate:
        first = self.step * self.settings.accumulate * self.trainer.world_size
        with self.trainer.precision_plugin.train_step_context():
            cost = probe(self.task, self.network, first, self.device)
        left = None if self.total is None else self.total - self.step
        minutes = self.settings.minutes
        return Estimate(
            cost=cost,
            seconds_a_step=cost.seconds_a_step(self.settings),
            steps_left=left,
            minutes_left=None if minutes is None else max(0.0, minutes - self.seconds_before / 60),
            parameters=sum(p.numel() for p in self.network.parameters()),
        )

    def on_train_end(self) -> None:
        """Close the board."""
        if self.board is not None:
            self.board.close()

    def batch_number(self, batch_idx: int) -> int:
        """The number of the micro-batch at hand, from what is done and its place within the update."""
        settings, trainer = self.settings, self.trainer
        place = self.step * settings.accumulate + batch_idx % settings.accumulate
        return place * trainer.world_size + trainer.global_rank

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the rate, and the random numbers of this batch."""
        if batch_idx % self.settings.accumulate == 0:
            rate = learning_rate(self.settings, self.step, self.total, self.seconds)
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = rate
            self.losses = []
        torch.manual_seed((self.settings.seed * 1_000_003 + self.batch_number(batch_idx)) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one micro-batch."""
        loss = self.task.loss(self.network, batch)
        self.losses.append(loss.detach())
        return loss

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip the gradient; leave out an update whose gradient overflowed; stop where the loss is no number."""
        parts = gradients_by_part(optimizer.param_groups)
        norms = [gradient_norm(part) for part in parts]
        self.norm = math.hypot(*(float(norm) for norm in norms))
        losses = [float(loss) for loss in self.losses]
        if not all(math.isfinite(loss) for loss in losses):
            self._stop_at_no_number(losses)
        if not math.isfinite(self.norm):
            self._leave_out([p for part in parts for p in part])
            return
        self.skipped = 0
        if self.settings.clip:
            for part, norm in zip(parts, norms, strict=True):
                torch.nn.utils.clip_grads_with_norm_(part, self.settings.clip, norm)

    def _stop_at_no_number(self, losses: list[float]) -> None:
        which = next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
        self.save(self.seconds_before + time.monotonic() - self.started)
        raise TrainingError(
            f"the loss of {self.task.name} is {losses[which]} at step {self.step}, batch {self.batch_number(which)}; "
            f"the weights before it are saved in {self.out / checkpoints.LAST}: lower learning_rate (now "
            f"{self.settings.learning_rate:g}), or look at that batch"
        )

    def _leave_out(self, parameters: list[nn.Parameter]) -> None:
        self.skipped += 1
        if self.skipped > SKIPS_ALLOWED:
            self.save(self.seconds_before + time.monotonic() - self.started)
            raise TrainingError(
                f"the gradient of {self.task.name} has overflowed {self.skipped} times in a row up to step "
                f"{self.step}; lower learning_rate or take precision = 'float32'"
            )
        for parameter in parameters:  # without a gradient AdamW leaves a parameter as it is
            parameter.grad = None

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """After an update: average, log, checkpoint, and whether to stop."""
        settings = self.settings
        if (batch_idx + 1) % settings.accumulate:
            return
        if self.hidden:
            move_average(self.hidden[0], self.network, min(settings.ema, (1 + self.step) / (10 + self.step)))
        self.step += 1
        seconds = self.seconds
        self._tell(seconds)
        is_over = self.is_over(seconds)
        if is_over:
            self.trainer.should_stop = True
        validates = bool(self.task.validation_batches) and (
            is_over or (self.stretch is not None and self.step % self.stretch == 0)
        )
        # Before a validation nothing is saved: what goes on from a checkpoint would leave the validation out.
        if not validates:
            if is_over or self.stop_asked or self._is_time_to_save():
                self.save(seconds)
            self._stop_where_asked()

    def _stop_where_asked(self) -> None:
        if self.stop_asked:
            raise Cancelled(f"stopped after step {self.step}; the same command goes on from there")

    def _is_time_to_save(self) -> bool:
        every = self.settings.save_every
        if every and self.step % every == 0:
            return True
        return time.monotonic() - self.saved > self.settings.save_minutes * 60

    def _tell(self, seconds: float) -> None:
        loss = sum(float(loss) for loss in self.losses) / len(self.losses)
        self.since_log.append(loss)
        if not self.trainer.is_global_zero:
            return
        if self.step % self.settings.log_every == 0:
            row = {
                "loss": sum(self.since_log) / len(self.since_log),
                "learning_rate": float(self.trainer.optimizers[0].param_groups[0]["lr"]),
                "gradient_norm": self.norm,
                "seconds": round(seconds, 1),
            }
            self.log_rows.write({"step": self.step, **row})
            if self.board is not None:
                for name, value in row.items():
                    self.board.add_scalar(f"training/{name}", value, self.step)
            self.since_log = []
        if time.monotonic() - self.told > 0.5 or self.step == self.total:
            self.told = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            self.report(f"step {self.step}{of}, loss {loss:.4g}", self.share(seconds))

    # -- validation

    def on_validation_start(self) -> None:
        """Begin with no sums."""
        self.sums = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch."""
        self.sums = add_sums(self.sums, self.task.validate(self.best_network, batch))

    def on_validation_end(self) -> None:
        """Scores, the best weights so far, a picture, a checkpoint."""
        sums = self.sums
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, sums)
            sums = {}
            for one in gathered:
                sums = add_sums(sums, one)
        scores = self.task.scores(sums)
        seconds = self.seconds
        self._judge(scores[self.task.monitor])
        if self.trainer.is_global_zero:
            self.score_rows.write({"step": self.step, **scores})
            if self.board is not None:
                for name, value in scores.items():
                    self.board.add_scalar(f"validation/{name}", value, self.step)
            draw(self.task, self.best_network, self.out, self.step, self.settings.pictures, self.board)
            self.report(
                f"step {self.step}, {self.task.monitor} {scores[self.task.monitor]:.4g}", self.share(seconds)
            )
        if self.is_over(seconds):
            self.trainer.should_stop = True
        self.save(seconds)
        self._stop_where_asked()

    def _judge(self, score: float) -> None:
        sign = 1.0 if self.task.direction == "max" else -1.0
        if self.best_score is None or sign * score > sign * self.best_score:
            self.best_score, self.best_step, self.waited = score, self.step, 0
            if self.trainer.is_global_zero:
                beside = self.out / (BEST + ".part")
                network = self.best_network.state_dict()
                state = {"format": checkpoints.FORMAT, "network": network, "step": self.step, "score": score}
                checkpoints.write_whole(beside, state)
                beside.replace(self.out / BEST)
        else:
            self.waited += 1


def draw(task: Task, network: nn.Module, out: Path, step: int, is_wanted: bool, board: Any = None) -> None:
    """Write the task's picture of sample forecasts to ``out``/pictures, and to the board."""
    pixels = task.picture(network) if is_wanted else None
    if pixels is None:
        return
    from PIL import Image

    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    beside = folder / f".step-{step:07d}.part"
    Image.fromarray(pixels).save(beside, format="PNG")
    beside.replace(folder / f"step-{step:07d}.png")
    if board is not None:
        board.add_image("forecasts", pixels, step, dataformats="HWC")


def _board(training: Training) -> Any:
    """A TensorBoard that forgets what a killed run wrote after its last checkpoint."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(training.out / "tensorboard"), purge_step=training.step + 1)

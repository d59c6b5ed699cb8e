"""What the engine is told about a run, whatever is trained. A recipe gives these keys at its top level."""

import math
from dataclasses import dataclass
from typing import Literal

from geoscope.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training run. A step is one update of the weights.

    steps, epochs, minutes: when to stop, whichever comes first; at least one of them. Minutes are of the clock and
        add up over resumed runs. With ``minutes`` the learning rate follows the clock too, so two such runs differ;
        with ``steps`` or ``epochs`` alone a run is the same to the last bit, interrupted or not.
    batch: examples in one update, on all devices together. micro_batch: examples at one time on one device; the rest
        of a batch is accumulated (None: all at once). devices, accelerator, strategy: as Lightning names them.
    warmup: steps of rising rate, or a share of the run when below 1. start, floor: the first and the last rate over
        the highest.
    clip: largest norm of the gradient (0: any), for each part of the network that a task sets apart. ema: how much of
        the moving average of the weights stays at each step (0: no average); the average is what is validated and
        kept.
    precision: float32, or mixed with bfloat16 or float16. recompute: keep no activations inside blocks and compute
        them again in the backward pass (gradient checkpointing): less memory for a third more time.
    threads: of the CPU for the network (None: as torch finds it). workers: processes that prepare batches.
    validate_every: steps from one validation to the next (0: every epoch where the data have a length, else only at
        the end). patience: validations without a better score after which the run stops (0: never).
    save_every: steps from one checkpoint to the next (0: by the clock only). save_minutes: the same in minutes.
    log_every: steps from one line of the log to the next. estimate: measure one step before the run begins, and say
        how long all will take and how much memory.
    """

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch: int = 4
    micro_batch: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 200
    start: float = 0.0
    floor: float = 0.02
    clip: float = 1.0
    ema: float = 0.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    recompute: bool = False
    seed: int = 0
    threads: int | None = None
    workers: int = 1
    devices: int = 1
    accelerator: str = "auto"
    strategy: str = "auto"
    validate_every: int = 0
    patience: int = 0
    save_every: int = 0
    save_minutes: float = 2.0
    log_every: int = 50
    tensorboard: bool = False
    pictures: bool = True
    estimate: bool = True

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None and self.minutes is None:
            raise ConfigError("a run needs an end: give steps, epochs or minutes")
        for name in (
            "steps",
            "epochs",
            "minutes",
            "batch",
            "micro_batch",
            "learning_rate",
            "devices",
            "threads",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value} must be above zero")
        for name in ("weight_decay", "warmup", "clip", "workers", "validate_every", "patience", "save_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be below zero")
        for name in ("start", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be a share of the highest rate, 0 to 1")
        if not 0 <= self.ema < 1:
            raise ConfigError(
                f"ema={self.ema} must be at least 0 and below 1 (0.999 averages over 1000 steps)"
            )
        if self.log_every < 1 or self.save_minutes <= 0:
            raise ConfigError(
                f"log_every={self.log_every} and save_minutes={self.save_minutes} must be above zero"
            )
        if self.batch % (self.micro * self.devices):
            raise ConfigError(
                f"batch={self.batch} is not a multiple of micro_batch={self.micro} times devices={self.devices}; "
                "change one of them"
            )

    @property
    def micro(self) -> int:
        """Examples at one time on one device."""
        return self.micro_batch or max(1, self.batch // self.devices)

    @property
    def accumulate(self) -> int:
        """Micro-batches on each device in one update."""
        return self.batch // (self.micro * self.devices)

    def total_steps(self, examples: int | None) -> int | None:
        """Steps at which the run ends, for ``examples`` in an epoch; None when only the clock ends it.

        Raises:
            ConfigError: epochs of data that have no length.
        """
        if self.epochs is None:
            return self.steps
        if examples is None:
            raise ConfigError(
                "epochs need data with a length; this task draws its examples without end: give steps"
            )
        by_epochs = max(1, int(self.epochs * examples / self.batch))
        return by_epochs if self.steps is None else min(self.steps, by_epochs)

    def steps_between_validations(self, examples: int | None) -> int | None:
        """As the class says; None: only at the end."""
        if self.validate_every:
            return self.validate_every
        return max(1, examples // self.batch) if examples else None


def learning_rate(settings: Settings, step: int, total: int | None, seconds: float = 0.0) -> float:
    """The rate of update number ``step`` (from 0): a linear rise from ``start``, half a cosine down to ``floor``.

    ``total`` steps end the run, or its minutes do; ``seconds`` have passed. By steps this is the published schedule of
    Earthformer, where step s of W in the warm-up has the rate s/W, so the first update has none; and with ``start`` 0.1
    that of PreDiff.
    """
    by_clock = seconds / (settings.minutes * 60.0) if settings.minutes else 0.0
    done = min(1.0, max(step / total if total else 0.0, by_clock))
    if settings.warmup >= 1:
        rising, start = step / settings.warmup, (settings.warmup / total if total else 0.0)
    elif total:
        count = round(settings.warmup * total)
        rising, start = (step / count if count else 1.0), count / total
    else:
        start = settings.warmup
        rising = done / start if start else 1.0
    if rising < 1.0:
        return settings.learning_rate * (settings.start + (1.0 - settings.start) * rising)
    fallen = max(0.0, (done - start) / (1.0 - start)) if start < 1.0 else 1.0
    cosine = 0.5 * (1.0 + math.cos(math.pi * fallen))
    return settings.learning_rate * (settings.floor + (1.0 - settings.floor) * cosine)

"""What the engine asks of a task: a network, its batches, its loss, its score."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

Progress = Callable[[str, float], None]
Batch = dict[str, Tensor]


class Task(ABC):
    """One kind of training. The engine holds the loop, the clock, the checkpoints and the devices; a task the rest.

    A batch is a pure function of its number. Then the order of the data and all random numbers of a run are one whole
    number in the checkpoint, whatever the count of workers and devices. Randomness comes from
    ``np.random.default_rng((seed, index))``; what a network draws (dropout) the engine seeds by step.

    A task travels to worker processes: it holds data, not open files.
    """

    name: str
    examples: int | None = None
    """Training examples in an epoch; None when they are drawn without end."""
    validation_batches: int = 0
    """Batches in the validation; 0 when there is none."""
    monitor: str = ""
    """The score, among those of `scores`, by which the best weights are chosen."""
    direction: Literal["max", "min"] = "max"

    @abstractmethod
    def network(self) -> nn.Module:
        """A fresh network; the engine has seeded torch."""

    @abstractmethod
    def batch(self, index: int) -> Batch:
        """Micro-batch number ``index`` of the run, counted over updates, accumulation and devices."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The loss to bring down, a scalar. ``network`` runs under mixed precision where the settings say so."""

    @abstractmethod
    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """What remains when the weights are final (calibration), and the file of weights in ``out`` that it wrote."""

    def parameter_groups(self, network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for AdamW; by default matrices and kernels decay and vectors (bias, norms) do not.

        Groups may have betas of their own, and the name of a ``part`` whose gradient is clipped apart from the others'.
        """
        decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]

    def blocks(self, network: nn.Module) -> list[nn.Module]:
        """The parts whose activations `Settings.recompute` does not keep: by default what lists of modules hold."""
        return listed_blocks(network)

    def validation_batch(self, index: int) -> Batch:
        """Batch ``index`` below ``validation_batches``."""
        raise LookupError(f"the task {self.name} has no validation batches")

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Sums of one validation batch, to be added over batches and devices."""
        raise LookupError(f"the task {self.name} has no validation")

    def scores(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Scores from the added sums of `validate`, among them ``monitor``."""
        raise LookupError(f"the task {self.name} has no scores")

    def facts(self) -> dict[str, Any]:
        """What a model card should say: title, summary, architecture, split (texts) and data (a list of texts)."""
        return {}

    def picture(self, network: nn.Module) -> np.ndarray | None:
        """Sample forecasts to look at, (H, W, 3) uint8; None when the task draws nothing."""
        return None


def listed_blocks(network: nn.Module) -> list[nn.Module]:
    """What the outermost lists of modules of ``network`` hold."""
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and module not in inside:
            parts = [part for child in module for part in _first_blocks(child)]
            found += parts
            inside |= {deep for part in parts for deep in part.modules()}
    return found


def _first_blocks(module: nn.Module) -> list[nn.Module]:
    """``module``, or, where it is a list itself, what the list holds."""
    if isinstance(module, nn.ModuleList):
        return [part for child in module for part in _first_blocks(child)]
    return [module]

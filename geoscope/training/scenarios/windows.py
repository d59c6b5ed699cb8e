"""Windows drawn from cases, and what the denoiser and the alignment network share: noisy latents with conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoscope.diffusion.schedules import make_schedule
from geoscope.errors import ConfigError, DataError
from geoscope.models.scenarios.config import ScenarioConfig
from geoscope.models.scenarios.networks import ScoreAutoencoder
from geoscope.training.augmentation import turn
from geoscope.training.engine import Batch, Settings, Task
from geoscope.training.scenarios.cases import Case

BETAS = (0.9, 0.99)
SYMMETRIES = 8


@dataclass(frozen=True, kw_only=True)
class WindowTable:
    """How windows are drawn. side: in cells. share_large: how often a batch has windows of large_side instead, as many
    fewer as they have more cells."""

    side: int = 16
    large_side: int = 32
    share_large: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.side <= self.large_side:
            raise ConfigError(
                f"side={self.side}, large_side={self.large_side}: expected 1 cell or more, and the larger one second"
            )
        if not 0 <= self.share_large <= 1:
            raise ConfigError(f"share_large={self.share_large}: expected a share, 0 to 1")


class CaseSampler:
    """Draws cases that are at least ``side`` cells high and wide: events by the square root of how many they have."""

    def __init__(self, cases: Sequence[Case], side: int) -> None:
        """Raises DataError: no case is as large."""
        by_event: dict[str, list[Case]] = {}
        for case in cases:
            if min(case.rows, case.columns) >= side:
                by_event.setdefault(case.event, []).append(case)
        if not by_event:
            largest = max((min(case.rows, case.columns) for case in cases), default=0)
            raise DataError(
                f"none of the {len(cases)} cases is {side} x {side} cells: the largest has {largest}; take a smaller "
                "side, or larger events"
            )
        self.groups = [by_event[name] for name in sorted(by_event)]
        weights = np.sqrt([len(group) for group in self.groups])
        self.weights = weights / weights.sum()

    def draw(self, random: np.random.Generator) -> Case:
        """A case."""
        group = self.groups[random.choice(len(self.groups), p=self.weights)]
        return group[random.integers(len(group))]


@dataclass(frozen=True)
class Cut:
    """A square of a case, in cells, and which of the eight symmetries of the square it is shown in."""

    case: Case
    row: int
    column: int
    side: int
    symmetry: int

    def cells(self, name: str) -> np.ndarray:
        """An array of the case that is by cell, (T, side, side, ...)."""
        return self._turned(self._of(name, 1))

    def pixels(self, name: str, cell: int) -> np.ndarray:
        """An array of the case that is by pixel, (T, side * cell, side * cell)."""
        return self._turned(self._of(name, cell))

    def _of(self, name: str, scale: int) -> np.ndarray:
        rows, columns = (slice(scale * at, scale * (at + self.side)) for at in (self.row, self.column))
        return self.case.cut(name, rows, columns)

    def _turned(self, field: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(turn(field, self.symmetry))


class WindowSampler:
    """Squares of one side in cells, the wetter of two places in a case."""

    def __init__(self, cases: Sequence[Case], side: int) -> None:
        self.side, self.cases = side, CaseSampler(cases, side)

    def draw(self, random: np.random.Generator) -> Cut:
        """A square."""
        case = self.cases.draw(random)
        symmetry = int(random.integers(SYMMETRIES))
        places = [
            (
                int(random.integers(case.rows - self.side + 1)),
                int(random.integers(case.columns - self.side + 1)),
            )
            for _ in range(2)
        ]
        wet = [self._wetness(case, *place) for place in places]
        return Cut(case, *places[int(np.argmax(wet))], self.side, symmetry)

    def _wetness(self, case: Case, row: int, column: int) -> float:
        """Where the nowcaster expects rain at the steps ahead: the first feature, the share of 0.1 mm/h."""
        side = slice(row, row + self.side), slice(column, column + self.side)
        return float(case.cut("conditions", *side, steps=slice(1, None))[..., 0].mean())


class NoisyLatentTask(Task):
    """A network on noisy latents of score fields, beside the conditions; what is asked of it is the task's."""

    def __init__(
        self,
        config: ScenarioConfig,
        cases: Sequence[Case],
        encoder: ScoreAutoencoder,
        windows: WindowTable,
        settings: Settings,
    ) -> None:
        """Raises DataError: no case holds a window."""
        self.config, self.settings, self.windows = config, settings, windows
        self.encoder = encoder.eval().requires_grad_(False)
        self.schedule = make_schedule(config.schedule, config.schedule_steps)
        self.small = WindowSampler(cases, windows.side)
        is_large = any(min(case.rows, case.columns) >= windows.large_side for case in cases)
        self.large = WindowSampler(cases, windows.large_side) if is_large else None

    def parameter_groups(self, network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Matrices decay, vectors do not; gradients are remembered for about a hundred steps."""
        return [{**group, "betas": BETAS} for group in super().parameter_groups(network, weight_decay)]

    def drawn(self, index: int) -> tuple[np.random.Generator, WindowSampler, int]:
        """For micro-batch ``index``: its random numbers, what draws its windows, and how many it has."""
        random = np.random.default_rng((self.settings.seed, index))
        micro = self.settings.micro
        if self.large is None or random.random() >= self.windows.share_large:
            return random, self.small, micro
        return random, self.large, max(1, micro * self.small.side**2 // self.large.side**2)

    def example(self, cut: Cut) -> Batch:
        """scores (S, H, W) without NaN, conditions (1 + S, h, w, F) and known (S) of a square."""
        scores = np.nan_to_num(cut.pixels("scores", self.config.cell))
        return {
            "scores": torch.from_numpy(scores),
            "conditions": torch.from_numpy(cut.cells("conditions")),
            "known": torch.tensor(cut.case.known, dtype=torch.float32),
        }

    @torch.no_grad()
    def latents(self, scores: Tensor) -> Tensor:
        """Latents (B, S, h, w, C) of scores (B, S, H, W)."""
        self.encoder.to(scores.device)
        return self.encoder.encode(scores.flatten(0, 1)).unflatten(0, scores.shape[:2])

    def random_steps(self, like: Tensor) -> Tensor:
        """A step of the chain for each of a batch, (B,)."""
        return torch.randint(0, self.schedule.steps, (len(like),), device=like.device)


def stacked(examples: list[Batch]) -> Batch:
    """Examples as one batch."""
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}

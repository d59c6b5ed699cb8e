"""Training the alignment network: the mean rain of a region from noisy latents, so that guidance has what to follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.diffusion.process import q_sample
from geoscope.errors import ConfigError, DataError
from geoscope.models.scenarios.config import ScenarioConfig
from geoscope.models.scenarios.networks import ConditionedNetwork, ScenarioModel, ScoreAutoencoder
from geoscope.models.scenarios.outlook import LEAST_EXPECTED_MM_H, transformed
from geoscope.training.engine import Batch, Progress, Settings
from geoscope.training.scenarios.autoencoder import WEIGHTS, write_weights
from geoscope.training.scenarios.cases import Case
from geoscope.training.scenarios.regions import random_ellipse
from geoscope.training.scenarios.windows import NoisyLatentTask, WindowSampler, WindowTable, stacked

SMALLEST_CELLS = 2.0  # mean diameter of a region
LEAST_WEIGHT = 4.0  # cells times steps with truth in a region
ROBUST = 0.3  # of the transformed mean: beyond it the loss is linear
TRIES = 1000


@dataclass(frozen=True, kw_only=True)
class AlignmentTable(WindowTable):
    """[alignment] beside the engine's settings. share_whole: regions that are the whole window; others are ellipses."""

    share_whole: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share_whole <= 1:
            raise ConfigError(f"share_whole={self.share_whole}: expected a share, 0 to 1")


class AlignmentPart(ScenarioModel):
    """A scenario model of which the alignment network alone is there, and with it `aligned_mean`."""

    def __init__(self, config: ScenarioConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.alignment = ConditionedNetwork(config.alignment, config.latent_channels, 1)


class ScenarioAlignmentTask(NoisyLatentTask):
    """The alignment network on windows of the cases and regions in them."""

    name = "scenario-alignment"

    def __init__(
        self,
        config: ScenarioConfig,
        cases: Sequence[Case],
        encoder: ScoreAutoencoder,
        table: AlignmentTable,
        settings: Settings,
    ) -> None:
        super().__init__(config, cases, encoder, table, settings)
        self.share_whole = table.share_whole

    def network(self) -> nn.Module:
        """The alignment network before training."""
        return AlignmentPart(self.config)

    def batch(self, index: int) -> Batch:
        """Windows of one side, each with a region: ``weights`` (B, S, h, w), ``expected`` and ``rain`` of the cells."""
        random, sampler, count = self.drawn(index)
        return stacked([self._region_example(sampler, random) for _ in range(count)])

    def _region_example(self, sampler: WindowSampler, random: np.random.Generator) -> Batch:
        """A window and a region of it over which the nowcaster expects rain; others are drawn again.

        Raises:
            DataError: no such window in a thousand.
        """
        for _ in range(TRIES):
            cut = sampler.draw(random)
            weights = cut.cells("share") * self._region(sampler.side, random)
            weights *= np.array(cut.case.known, np.float32)[:, None, None]
            expected, total = cut.cells("expected"), weights.sum()
            if total < LEAST_WEIGHT or (expected * weights).sum() < LEAST_EXPECTED_MM_H * total:
                continue
            fields = {"weights": weights, "expected": expected, "rain": cut.cells("rain")}
            return self.example(cut) | {name: torch.from_numpy(field) for name, field in fields.items()}
        raise DataError(
            f"{TRIES} windows with less than {LEAST_EXPECTED_MM_H} mm/h expected over their regions; give events "
            "with more rain"
        )

    def _region(self, side: int, random: np.random.Generator) -> np.ndarray:
        """1 inside, (h, w)."""
        if random.random() < self.share_whole:
            return np.ones((side, side), np.float32)
        region = random_ellipse((side, side), random, smallest=SMALLEST_CELLS, largest=side)
        return region.astype(np.float32)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The error of the transformed mean, squared where it is small."""
        assert isinstance(network, AlignmentPart)
        clean = self.latents(batch["scores"])
        t = self.random_steps(clean)
        state = q_sample(self.schedule, clean, t, torch.randn_like(clean))
        found = network.aligned_mean(state, t, batch["conditions"], batch["expected"], batch["weights"])
        true = (batch["rain"] * batch["weights"]).sum(dim=(1, 2, 3)) / batch["weights"].sum(dim=(1, 2, 3))
        return F.smooth_l1_loss(found, transformed(true), beta=ROBUST)

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "title": "Alignment network of score latents",
            "summary": "The mean rain of a region from noisy latents.",
            "architecture": "geoscope.models.scenarios.networks",
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Write the weights of the alignment network."""
        assert isinstance(network, AlignmentPart)
        progress("writing the weights", 1.0)
        return write_weights(network.alignment, out / WEIGHTS)

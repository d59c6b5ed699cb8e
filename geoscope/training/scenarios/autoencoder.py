"""Training the autoencoder of score fields: likely scores, with a spread of its own where a latent has no room."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.errors import ConfigError
from geoscope.models.scenarios.config import ScenarioConfig
from geoscope.models.scenarios.networks import ScoreAutoencoder
from geoscope.training.augmentation import turn
from geoscope.training.engine import Batch, Progress, Settings, Task
from geoscope.training.scenarios.cases import Case
from geoscope.training.scenarios.stages import write_whole
from geoscope.training.scenarios.windows import BETAS, SYMMETRIES, CaseSampler

WEIGHTS = "model.safetensors"
MEASURED_CASES = 64  # for the mean and variance of latents


@dataclass(frozen=True, kw_only=True)
class AutoencoderTable:
    """[autoencoder] beside the engine's settings. side: of a training window, in cells.

    kl_weight: of the divergence from the standard normal, a latent number. error_weight: of the plain square error
    beside the likelihood, so that the mean is learned where the spread is large as well.
    """

    side: int = 16
    kl_weight: float = 2e-3
    error_weight: float = 2.0

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ConfigError(f"side={self.side}: expected 1 cell or more")
        for name in ("kl_weight", "error_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be below zero")


class ScoreAutoencoderTask(Task):
    """The autoencoder on single score fields of the cases."""

    name = "scenario-autoencoder"

    def __init__(
        self, config: ScenarioConfig, cases: Sequence[Case], table: AutoencoderTable, settings: Settings
    ) -> None:
        """Raises DataError: no case holds a window."""
        self.config, self.cases, self.table, self.settings = config, list(cases), table, settings
        self.sampler = CaseSampler(cases, table.side)

    def network(self) -> nn.Module:
        """The autoencoder before training."""
        return ScoreAutoencoder(self.config)

    def parameter_groups(self, network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Matrices decay, vectors do not; gradients are remembered for about a hundred steps."""
        return [{**group, "betas": BETAS} for group in super().parameter_groups(network, weight_decay)]

    def batch(self, index: int) -> Batch:
        """Score fields (B, H, W) of one step each, NaN where there is no truth."""
        random = np.random.default_rng((self.settings.seed, index))
        return {"scores": torch.stack([self._field(random) for _ in range(self.settings.micro)])}

    def _field(self, random: np.random.Generator) -> Tensor:
        case, side, cell = self.sampler.draw(random), self.table.side, self.config.cell
        step = int(random.choice(np.flatnonzero(case.known)))
        row, column = (
            int(random.integers(cell * (length - side) + 1)) for length in (case.rows, case.columns)
        )
        cut = slice(row, row + side * cell), slice(column, column + side * cell)
        field = case.cut("scores", *cut, steps=slice(step, step + 1))
        turned = turn(field, int(random.integers(SYMMETRIES)))[0]
        return torch.from_numpy(np.ascontiguousarray(turned))

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The negative log likelihood a pixel, the square error and the divergence.

        The likelihood trains the spread; the mean is trained by the error, for a mean that a small spread weighs would
        forget where the scores vary most.
        """
        assert isinstance(network, ScoreAutoencoder)
        scores = batch["scores"]
        known = torch.isfinite(scores)
        folded = F.pixel_unshuffle(torch.nan_to_num(scores)[:, None], network.patch)
        posterior = network.frames.encode(folded)
        mean, spread = network.spread_out(network.frames.decode(posterior.sample()))
        error, spread = (torch.nan_to_num(scores) - mean)[known], spread[known]
        likelihood = torch.log(spread) + 0.5 * (error.detach() / spread).square()
        divergence = posterior.kl().float().sum() / posterior.mean.numel()
        table = self.table
        return likelihood.mean() + table.error_weight * error.square().mean() + table.kl_weight * divergence

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "title": "Autoencoder of score fields",
            "summary": f"Cells of {self.config.cell} pixels as {self.config.latent_channels} numbers, and back.",
            "architecture": "geoscope.models.scenarios.networks",
            "data": sorted({case.event for case in self.cases}),
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Bring the latents to mean 0 and variance 1, and write the weights."""
        assert isinstance(network, ScoreAutoencoder)
        progress("measuring the latents", 1.0)
        step = -(-len(self.cases) // MEASURED_CASES)
        standardise(network, (known_scores(case) for case in self.cases[::step]))
        return write_weights(network, out / WEIGHTS)


def known_scores(case: Case) -> Tensor:
    """The score fields (N, H, W) of the steps with truth, 0 where a pixel has none."""
    scores = case.read("scores")["scores"][np.array(case.known)]
    return torch.from_numpy(np.nan_to_num(scores))


@torch.no_grad()
def standardise(network: ScoreAutoencoder, fields: Iterable[Tensor]) -> None:
    """Set centre and scale of ``network`` so that its latents of ``fields``, each (N, H, W), have unit variance."""
    network.centre.zero_()
    network.scale.fill_(1.0)
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for scores in fields:
        latents = network.encode(scores.to(network.centre.device)).flatten(0, -2).double().cpu()
        count, total = count + len(latents), total + latents.sum(dim=0)
        squares = squares + latents.square().sum(dim=0)
    mean = total / count
    network.centre.copy_(mean)
    network.scale.copy_((squares / count - mean.square()).clamp(min=1e-8).sqrt())


def write_weights(network: nn.Module, path: Path) -> Path:
    """Write the weights of ``network`` to ``path``, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return write_whole(path, lambda beside: save_file(tensors, beside))

"""Training the denoiser of score latents: from noisy latents and conditions to v."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoscope.diffusion.losses import denoising_batch
from geoscope.models.scenarios.networks import ConditionedNetwork
from geoscope.training.engine import Batch, Progress
from geoscope.training.scenarios.autoencoder import WEIGHTS, write_weights
from geoscope.training.scenarios.windows import NoisyLatentTask, stacked


class ScenarioDenoiserTask(NoisyLatentTask):
    """The denoiser on windows of the cases."""

    name = "scenario-denoiser"

    def network(self) -> nn.Module:
        """The denoiser before training."""
        latent = self.config.latent_channels
        return ConditionedNetwork(self.config.denoiser, latent, latent)

    def batch(self, index: int) -> Batch:
        """Windows of one side."""
        random, sampler, count = self.drawn(index)
        return stacked([self.example(sampler.draw(random)) for _ in range(count)])

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The mean square error in v, over the steps with truth."""
        clean = self.latents(batch["scores"])
        t = self.random_steps(clean)
        state, target = denoising_batch(self.schedule, clean, t, torch.randn_like(clean), "v")
        error = (network(state, t, batch["conditions"]).float() - target).square().mean(dim=(2, 3, 4))
        known = batch["known"]
        return (error * known).sum() / known.sum()

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "title": "Denoiser of score latents",
            "summary": "Latents of six steps from noise and from what the nowcaster expects.",
            "architecture": "geoscope.models.scenarios.networks",
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Write the weights."""
        progress("writing the weights", 1.0)
        return write_weights(network, out / WEIGHTS)

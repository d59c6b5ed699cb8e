"""Training PreDiff's denoiser: noisy latents of the future and clean ones of the past in, the noise out.

Source: Gao et al. 2023 and its published training, with the logarithm of the loss's variance learned for each step.
Apart from it: the weight decay of the recipe is the optimizer's, the moving average of the weights is what is validated
and kept, and no storm is on both sides of the split.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoscope.diffusion.losses import Kind, denoising_batch, error_of_each, published_loss
from geoscope.diffusion.schedules import Prediction
from geoscope.errors import ConfigError
from geoscope.models.prediff.config import DenoiserConfig
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.models.prediff.latent_diffusion import LatentDiffusion
from geoscope.models.prediff.weights import save_part
from geoscope.training.contact_sheet import contact_sheet
from geoscope.training.engine import Batch, Progress, Settings
from geoscope.training.frame_splits import FrameData
from geoscope.training.frames import stacked
from geoscope.training.latents import DiffusionTable, Latents, LatentTask
from geoscope.zoo.tables import build

_PICTURE_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class LossTable:
    """[loss] of a recipe. prediction: what the network gives, "eps" as published, "x0" or "v". kind: "l2" or "l1".

    learned_variance: the logarithm of the loss's variance is learned with the network, one for each step (published).
    """

    prediction: Prediction = "eps"
    kind: Kind = "l2"
    learned_variance: bool = True


@dataclass(frozen=True, kw_only=True)
class DenoiserRecipe:
    """The tables of a recipe, and ``autoencoder``, the weights of its run, relative to the recipe."""

    autoencoder: str
    data: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    diffusion: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)


class WithVariance(nn.Module):
    """What is trained: the denoiser and the logarithm of its loss's variance at each step (T,)."""

    def __init__(self, denoiser: LatentDenoiser, steps: int) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.log_variance = nn.Parameter(torch.zeros(steps))


class DenoiserTask(LatentTask):
    """A denoiser of latents on a dataset of frames."""

    name = "denoiser"

    def __init__(
        self,
        model: dict[str, Any],
        latents: Latents,
        diffusion: DiffusionTable,
        loss: LossTable,
        data: FrameData,
        settings: Settings,
        where: str = "[model]",
    ) -> None:
        """``model`` are keys of `DenoiserConfig` but for the shapes, which come from the data.

        Raises:
            ConfigError: keys that are not known or do not fit.
        """
        super().__init__(latents, diffusion, data, settings)
        for name in ("input_shape", "target_shape"):
            if name in model:
                raise ConfigError(f"{where}: {name} comes from the data and the autoencoder; leave it out")
        shapes = {
            name: list(self.latents.shape(frames, self.height, self.width))
            for name, frames in (("input_shape", self.in_frames), ("target_shape", self.out_frames))
        }
        self.config = build(DenoiserConfig, {**model, **shapes}, where)
        self.weights = loss

    def network(self) -> nn.Module:
        """The denoiser before training."""
        return WithVariance(LatentDenoiser(self.config), self.schedule.steps)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The published loss at steps and with noise drawn anew."""
        assert isinstance(network, WithVariance)
        clean, context = self.latents.drawn(batch["target"]), self.latents.mode(batch["input"])
        t = self.random_steps(clean)
        state, target = denoising_batch(
            self.schedule, clean, t, torch.randn_like(clean), self.weights.prediction
        )
        found = network.denoiser(state, t, context).float()
        learned = network.log_variance if self.weights.learned_variance else None
        return published_loss(
            found,
            target,
            t,
            self.schedule,
            log_variance=learned,
            kind=self.weights.kind,
            prediction=self.weights.prediction,
        ).total

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Sums of errors (3,) by third of the chain, at steps and with noise that are always the same."""
        assert isinstance(network, WithVariance)
        clean, context = self.latents.mode(batch["target"]), self.latents.mode(batch["input"])
        noise = self.fixed_noise(batch, 0, tuple(clean.shape[1:]))
        state, target = denoising_batch(self.schedule, clean, batch["t"], noise, self.weights.prediction)
        error = error_of_each(network.denoiser(state, batch["t"], context).float(), target, self.weights.kind)
        third = self.thirds(batch["t"])
        return {"error": error.double() @ third, "windows": third.sum(0)}

    def scores(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """The mean error, and those where little, some and much noise is."""
        error, windows = sums["error"], sums["windows"].clamp(min=1)
        by_third = zip(("low", "middle", "high"), error / windows, strict=True)
        whole = float(error.sum() / sums["windows"].sum())
        return {"loss": whole, **{f"loss_{name}": float(value) for name, value in by_third}}

    @torch.no_grad()
    def picture(self, network: nn.Module) -> np.ndarray:
        """Two windows: past, truth and a forecast drawn in a few steps."""
        assert isinstance(network, WithVariance)
        device = next(network.parameters()).device
        whole = LatentDiffusion(
            self.latents.autoencoder, network.denoiser, self.schedule, prediction=self.weights.prediction
        )
        rows: list[tuple[str, np.ndarray]] = []
        for place in sorted({0, len(self.data.validation) // 2}):
            batch = stacked(self.data.validation, [place])
            forecast = whole.sample(
                batch["input"][0].to(device), steps=min(_PICTURE_STEPS, self.schedule.steps)
            )
            frames = {"past": batch["input"], "truth": batch["target"], "forecast": forecast.clamp(0, 1)}
            rows += [(label, value[0, ..., 0].float().cpu().numpy()) for label, value in frames.items()]
        return contact_sheet(rows)

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "title": "PreDiff denoiser",
            "summary": (
                f"The latents of {self.out_frames} frames from noise and {self.in_frames} frames of the past, "
                f"{self.height} x {self.width} pixels."
            ),
            "architecture": "geoscope.models.prediff.denoiser",
            "data": [self.data.description],
            "split": self.data.split,
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Write the denoiser."""
        assert isinstance(network, WithVariance)
        progress("writing the weights", 1.0)
        about = {**self.about(), "prediction": self.weights.prediction}
        return save_part(network.denoiser, out / "model.safetensors", about)


def open_denoiser(
    recipe: DenoiserRecipe, data: FrameData, settings: Settings, where: str, beside: Path
) -> DenoiserTask:
    """The task of a recipe; ``where`` names it in messages, paths are relative to ``beside``.

    Raises:
        ConfigError: an unknown key, or settings that do not fit each other or the data; DataError, WeightsError: no
            autoencoder.
    """
    diffusion = build(DiffusionTable, recipe.diffusion, f"{where}: [diffusion]")
    loss = build(LossTable, recipe.loss, f"{where}: [loss]")
    latents = Latents.read(beside / recipe.autoencoder, data)
    return DenoiserTask(recipe.model, latents, diffusion, loss, data, settings, f"{where}: [model]")

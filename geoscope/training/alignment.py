"""Training PreDiff's alignment network: from noisy latents of the future to a number of each clean frame.

It is what knowledge control asks where a sample is heading. Source: Gao et al. 2023 and its published training, on the
mean of each frame; here the numbers are brought to mean 0 and spread 1 first, and their mean and spread stay beside
the weights. The energy of N-body digits is the other quantity of the paper; its training code was never published.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from geoscope.data.rain_scale import decode_rain
from geoscope.diffusion.process import q_sample
from geoscope.errors import ConfigError
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.config import AlignmentConfig
from geoscope.models.prediff.weights import save_part
from geoscope.training.engine import Batch, Progress, Settings
from geoscope.training.frame_splits import FrameData
from geoscope.training.frames import sample_places, truth
from geoscope.training.latents import DiffusionTable, Latents, LatentTask
from geoscope.zoo.tables import build

Quantity = Literal["mean", "maximum", "rain", "energy"]
_WINDOWS_MEASURED = 256


def _mean(batch: Batch) -> Tensor:
    return _known_mean(truth(batch))


def _maximum(batch: Batch) -> Tensor:
    return torch.nan_to_num(truth(batch), nan=-torch.inf).amax(dim=(2, 3, 4)).clamp(min=0)


def _rain(batch: Batch) -> Tensor:
    encoded = truth(batch)
    rain = torch.from_numpy(decode_rain(encoded.cpu().numpy())).to(encoded.device)
    return _known_mean(torch.where(torch.isnan(encoded), torch.nan, rain))


def _energy(batch: Batch) -> Tensor:
    return batch["energy"][:, -batch["target"].shape[1] :]


def _known_mean(values: Tensor) -> Tensor:
    return torch.nan_to_num(values.nanmean(dim=(2, 3, 4)))


QUANTITIES: dict[Quantity, Callable[[Batch], Tensor]] = {
    "mean": _mean,
    "maximum": _maximum,
    "rain": _rain,
    "energy": _energy,
}
"""Numbers (B, T') of the target frames: mean and maximum of the network's own numbers over known pixels; mean rain in
mm/h, of data on rain; total energy, of N-body digits."""


@dataclass(frozen=True, kw_only=True)
class TargetTable:
    """[target] of a recipe: the quantity, see `QUANTITIES`."""

    quantity: Quantity = "mean"


@dataclass(frozen=True, kw_only=True)
class AlignmentRecipe:
    """The tables of a recipe, and ``autoencoder``, the weights of its run, relative to the recipe."""

    autoencoder: str
    data: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    diffusion: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)


class AlignmentTask(LatentTask):
    """An alignment network on a dataset of frames."""

    name = "alignment"

    def __init__(
        self,
        model: dict[str, Any],
        latents: Latents,
        diffusion: DiffusionTable,
        target: TargetTable,
        data: FrameData,
        settings: Settings,
        where: str = "[model]",
    ) -> None:
        """``model`` are keys of `AlignmentConfig` but for the shape, which comes from the data.

        Raises:
            ConfigError: keys that are not known or do not fit, or a quantity that the data do not have.
        """
        super().__init__(latents, diffusion, data, settings)
        if "shape" in model:
            raise ConfigError(f"{where}: shape comes from the data and the autoencoder; leave it out")
        self.quantity: Quantity = target.quantity
        if self.quantity == "energy" and "energy" not in data.validation[0]:
            raise ConfigError(
                "[target] quantity = 'energy': these data have none; give [data] kind = 'nbody-mnist' and "
                "energies = true"
            )
        if self.quantity == "rain" and data.encoding != "log rain":
            raise ConfigError(f"[target] quantity = 'rain': these data are {data.encoding!r}; take 'mean'")
        shape = list(self.latents.shape(self.out_frames, self.height, self.width))
        self.config = build(AlignmentConfig, {**model, "shape": shape}, where)
        if self.config.out_channels != 1:
            raise ConfigError(
                f"{where}: out_channels={self.config.out_channels}: expected 1, one quantity is trained"
            )
        self.centre, self.spread = self._measure()

    def _measure(self) -> tuple[float, float]:
        """Mean and standard deviation of the quantity over some training windows, to six digits."""
        count = min(_WINDOWS_MEASURED, self.examples or _WINDOWS_MEASURED)
        samples = (self.data.train[sample_places(index, 1, self.examples, 0)[0]] for index in range(count))
        batches = ({key: torch.from_numpy(value)[None] for key, value in one.items()} for one in samples)
        numbers = torch.cat([QUANTITIES[self.quantity](batch).flatten() for batch in batches]).double()
        spread = float(numbers.std()) if numbers.numel() > 1 else 0.0
        return float(f"{float(numbers.mean()):.6g}"), float(f"{spread:.6g}") or 1.0

    def network(self) -> nn.Module:
        """The network before training."""
        return AlignmentNetwork(self.config)

    def wanted(self, batch: Batch) -> Tensor:
        """What the network should give: numbers (B, T') of each frame, or their mean for a readout of the volume."""
        numbers = (QUANTITIES[self.quantity](batch).float() - self.centre) / self.spread
        return numbers if self.config.readout == "frames" else numbers.mean(dim=1, keepdim=True)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error at steps and with noise drawn anew."""
        clean = self.latents.drawn(batch["target"])
        t = self.random_steps(clean)
        state = q_sample(self.schedule, clean, t, torch.randn_like(clean))
        return (network(state, t).float().flatten(1) - self.wanted(batch)).square().mean()

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Sums of squared errors (3,) by third of the chain, and of the numbers themselves."""
        clean = self.latents.mode(batch["target"])
        state = q_sample(self.schedule, clean, batch["t"], self.fixed_noise(batch, 0, tuple(clean.shape[1:])))
        wanted = self.wanted(batch)
        error = (network(state, batch["t"]).float().flatten(1) - wanted).square().mean(dim=1)
        third = self.thirds(batch["t"])
        return {"error": error.double() @ third, "windows": third.sum(0), "variance": wanted.square().sum()}

    def scores(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """The mean squared error in units of the variance of the training data, and by noise: little, some and much."""
        error, windows = sums["error"], sums["windows"].clamp(min=1)
        by_third = zip(("low", "middle", "high"), error / windows, strict=True)
        whole = float(error.sum() / sums["windows"].sum())
        return {"loss": whole, **{f"loss_{name}": float(value) for name, value in by_third}}

    def picture(self, network: nn.Module) -> np.ndarray | None:
        """None: there is nothing to look at in a number."""
        return None

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "title": f"PreDiff alignment on {self.quantity}",
            "summary": f"The {self.quantity} of each of {self.out_frames} future frames from their noisy latents.",
            "architecture": "geoscope.models.prediff.alignment",
            "data": [self.data.description],
            "split": self.data.split,
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Write the network."""
        progress("writing the weights", 1.0)
        about = {**self.about(), "quantity": self.quantity, "centre": self.centre, "spread": self.spread}
        return save_part(network, out / "model.safetensors", about)


def open_alignment(
    recipe: AlignmentRecipe, data: FrameData, settings: Settings, where: str, beside: Path
) -> AlignmentTask:
    """The task of a recipe; ``where`` names it in messages, paths are relative to ``beside``.

    Raises:
        ConfigError: an unknown key, or settings that do not fit each other or the data; DataError, WeightsError: no
            autoencoder.
    """
    diffusion = build(DiffusionTable, recipe.diffusion, f"{where}: [diffusion]")
    target = build(TargetTable, recipe.target, f"{where}: [target]")
    latents = Latents.read(beside / recipe.autoencoder, data)
    return AlignmentTask(recipe.model, latents, diffusion, target, data, settings, f"{where}: [model]")

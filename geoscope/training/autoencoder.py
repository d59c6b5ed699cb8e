"""Training PreDiff's autoencoder of single frames: absolute error, KL divergence, and where wanted a critic.

Source: Gao et al. 2023 and its published training. As there, sums over the pixels of a frame are averaged over frames,
and the critic joins late. Apart from it: what is written gives latents of unit variance, the critic is kept apart from
the autoencoder (see `adversary`), validation shares no storm with training, and a perceptual network, whose weights
geoscope does not ship, is asked for only where its weight is above 0.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.config import AutoencoderConfig
from geoscope.models.prediff.weights import save_part
from geoscope.training.adversary import (
    PatchCritic,
    adaptive_weight,
    check_side,
    critic_loss,
    deception_loss,
    idle_loss,
)
from geoscope.training.contact_sheet import contact_sheet
from geoscope.training.engine import Batch, Progress, Settings, Task
from geoscope.training.frame_splits import FrameData
from geoscope.training.frames import sample_places, stacked
from geoscope.zoo.tables import build

BETAS = (0.5, 0.9)  # published, for the autoencoder and its critic
DEFAULTS: dict[str, Any] = {"warmup": 0.1, "start": 0.1, "floor": 1e-3}
_FRAMES_MEASURED = 256
Perceptual = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class LossTable:
    """[loss] of a recipe. kl_weight: of the divergence from the standard normal, beside the sum over a frame's pixels.

    adversarial_weight: of the critic, times what balances it (0: none). adversarial_from: updates before it joins.
    perceptual_weight: of a perceptual network that is handed in (0: none).
    """

    kl_weight: float = 1e-6
    adversarial_weight: float = 0.0
    adversarial_from: int = 25_000
    perceptual_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("kl_weight", "adversarial_weight", "adversarial_from", "perceptual_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"[loss] {name}={getattr(self, name)} must not be below zero")


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """The tables of a recipe, and frames_per_window: how many frames of each window a batch takes."""

    data: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    frames_per_window: int = 1

    def __post_init__(self) -> None:
        if self.frames_per_window < 1:
            raise ConfigError(f"frames_per_window={self.frames_per_window}: expected 1 or more")


class WithCritic(nn.Module):
    """What is trained: the autoencoder, and the critic where there is one."""

    def __init__(self, autoencoder: FrameAutoencoder, critic: PatchCritic | None) -> None:
        super().__init__()
        self.autoencoder, self.critic = autoencoder, critic


class AutoencoderTask(Task):
    """An autoencoder on the frames of a dataset of frames."""

    name = "autoencoder"
    monitor, direction = "mae", "min"

    def __init__(
        self,
        config: AutoencoderConfig,
        loss: LossTable,
        data: FrameData,
        settings: Settings,
        *,
        frames_per_window: int = 1,
        perceptual: Perceptual | None = None,
    ) -> None:
        """``perceptual(x, y)`` gives a distance (N,) or (N, 1, 1, 1) of frames (N, C, H, W); it needs its weight.

        Raises:
            ConfigError: frames that do not fit, or a perceptual weight without a network.
        """
        if loss.perceptual_weight and perceptual is None:
            raise ConfigError(
                f"[loss] perceptual_weight={loss.perceptual_weight:g} needs a perceptual network, and geoscope ships "
                "none (LPIPS needs VGG's weights): set it to 0, or hand one in with AutoencoderTask(perceptual=...)"
            )
        self.config, self.weights, self.data, self.settings = config, loss, data, settings
        self.frames_per_window, self.perceptual = frames_per_window, perceptual
        self.examples = None if data.is_endless else len(data.train)
        self.validation_batches = -(-len(data.validation) // settings.micro)
        _, self.height, self.width, channels = data.validation[0]["input"].shape
        if channels != config.channels or channels != config.out_channels:
            raise ConfigError(
                f"[model] channels={config.channels}: the frames of [data] have {channels}; leave it out"
            )
        if self.height % config.factor or self.width % config.factor:
            raise ConfigError(
                f"frames of {self.height} x {self.width} pixels do not divide by {config.factor}, what widths = "
                f"{list(config.widths)} shrink them by; give another size or fewer widths"
            )
        if loss.adversarial_weight:
            check_side(self.height, self.width)

    def network(self) -> nn.Module:
        """Autoencoder and critic before training."""
        autoencoder = FrameAutoencoder(self.config)  # first: it begins alike with and without a critic
        critic = PatchCritic(self.config.channels) if self.weights.adversarial_weight else None
        return WithCritic(autoencoder, critic)

    def parameter_groups(self, network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """As published: vectors decay as matrices do, betas are 0.5 and 0.9; the critic is a part of its own."""
        assert isinstance(network, WithCritic)
        parts: dict[str, nn.Module | None] = {"autoencoder": network.autoencoder, "critic": network.critic}
        return [
            {"params": list(part.parameters()), "betas": BETAS, "weight_decay": weight_decay, "part": name}
            for name, part in parts.items()
            if part is not None
        ]

    def blocks(self, network: nn.Module) -> list[nn.Module]:
        """The levels of encoder and decoder."""
        assert isinstance(network, WithCritic)
        body = network.autoencoder
        return [*body.encoder.levels, *body.decoder.levels]

    def batch(self, index: int) -> Batch:
        """Frames (N, C, H, W), some of each window in the epoch's order, which ones drawn from seed and number."""
        micro, seed = self.settings.micro, self.settings.seed
        windows = self._windows(sample_places(index, micro, self.examples, seed), self.data.train)
        random = np.random.default_rng((seed, 3, index))
        count = min(self.frames_per_window, windows.shape[1])
        chosen = np.argsort(random.random(windows.shape[:2]), axis=1)[:, :count]
        frames = windows[torch.arange(len(windows))[:, None], torch.from_numpy(chosen)]
        update = index // (self.settings.accumulate * self.settings.devices)
        return {"frames": channels_first(frames.flatten(0, 1)), "update": torch.tensor(update)}

    def validation_batch(self, index: int) -> Batch:
        """The middle frame of each window, in their order."""
        first = index * self.settings.micro
        last = min(first + self.settings.micro, len(self.data.validation))
        windows = self._windows(list(range(first, last)), self.data.validation)
        return {"frames": channels_first(windows[:, windows.shape[1] // 2])}

    def _windows(self, places: list[int], samples: Any) -> Tensor:
        batch = stacked(samples, places)
        return torch.cat([batch["input"], batch["target"]], dim=1)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Absolute error and divergence, sums over a frame, mean over frames; then the critic's two losses."""
        assert isinstance(network, WithCritic)
        frames, weights = batch["frames"], self.weights
        posterior = network.autoencoder.encode(frames)
        rebuilt = network.autoencoder.decode(posterior.sample())
        error = (frames - rebuilt.float()).abs()
        if self.perceptual is not None:
            error = error + weights.perceptual_weight * self.perceptual(frames, rebuilt).reshape(-1, 1, 1, 1)
        reconstruction = error.sum() / len(frames)
        total = reconstruction + weights.kl_weight * posterior.kl().float().mean()
        critic = network.critic
        if critic is None:
            return total
        if int(batch["update"]) < weights.adversarial_from:
            return total + idle_loss(critic)
        if torch.is_grad_enabled():
            deception = deception_loss(critic, rebuilt)
            balance = adaptive_weight(reconstruction, deception, network.autoencoder.decoder.last.weight)
            total = total + weights.adversarial_weight * balance * deception
        return total + critic_loss(critic, frames, rebuilt.float())

    @torch.no_grad()
    def validate(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Sums of errors of what comes back from the likeliest latent, and of the divergence."""
        assert isinstance(network, WithCritic)
        posterior = network.autoencoder.encode(batch["frames"])
        error = (network.autoencoder.decode(posterior.mode()).float() - batch["frames"]).double()
        return {
            "absolute": error.abs().sum(),
            "square": error.square().sum(),
            "divergence": posterior.kl().double().sum(),
            "pixels": torch.tensor(error.numel()),
        }

    def scores(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """mae and mse a pixel in the network's own numbers; kl in nats a pixel."""
        pixels = float(sums["pixels"])
        names = {"mae": "absolute", "mse": "square", "kl": "divergence"}
        return {name: float(sums[key]) / pixels for name, key in names.items()}

    @torch.no_grad()
    def picture(self, network: nn.Module) -> np.ndarray:
        """Frames of two windows, and what comes back of them."""
        assert isinstance(network, WithCritic)
        device = next(network.parameters()).device
        rows: list[tuple[str, np.ndarray]] = []
        for place in sorted({0, len(self.data.validation) // 2}):
            frames = channels_first(self._windows([place], self.data.validation)[0])
            rebuilt = network.autoencoder(frames.to(device)).float().cpu()
            rows += [("frames", frames[:, 0].numpy()), ("rebuilt", rebuilt[:, 0].numpy())]
        return contact_sheet(rows)

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        config = self.config
        rows, columns = self.height // config.factor, self.width // config.factor
        return {
            "title": "PreDiff autoencoder",
            "summary": (
                f"Frames of {self.height} x {self.width} pixels as {config.latent_channels} channels of {rows} x "
                f"{columns}, and back."
            ),
            "architecture": "geoscope.models.prediff.autoencoder",
            "data": [self.data.description],
            "split": self.data.split,
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Bring its latents to unit variance and write the autoencoder; the critic has done its part."""
        assert isinstance(network, WithCritic)
        progress("writing the weights", 1.0)
        batches = (
            self.batch(index)["frames"] for index in range(-(-_FRAMES_MEASURED // self.settings.micro))
        )
        scale_latents(network.autoencoder, 1.0 / spread_of_latents(network.autoencoder, batches))
        about = {"encoding": self.data.encoding, "height": self.height, "width": self.width}
        return save_part(network.autoencoder, out / "model.safetensors", about)


@torch.no_grad()
def spread_of_latents(autoencoder: FrameAutoencoder, batches: Iterable[Tensor]) -> float:
    """The root mean square of what is drawn from the posteriors of frames (N, C, H, W), with its variance as a mean."""
    squares, values = 0.0, 0
    for frames in batches:
        posterior = autoencoder.encode(frames.to(autoencoder.to_moments.weight.device))
        squares += float((posterior.mean.double().square() + posterior.var.double()).sum())
        values += posterior.mean.numel()
    return max((squares / max(values, 1)) ** 0.5, 1e-6)


@torch.no_grad()
def scale_latents(autoencoder: FrameAutoencoder, factor: float) -> None:
    """Multiply the latents by ``factor`` above 0, in the weights of the two layers around them.

    Frames come back as before. A diffusion is trained on data of about unit variance; so neither its targets nor its
    context need a scale that training and sampling could disagree on.
    """
    into, out_of = autoencoder.to_moments, autoencoder.from_latent
    assert into.bias is not None
    means = into.out_channels // 2
    into.weight[:means] *= factor
    into.bias[:means] *= factor
    into.bias[means:] += 2 * math.log(factor)  # of the variance
    out_of.weight /= factor


def channels_first(frames: Tensor) -> Tensor:
    """Frames (N, H, W, C) as (N, C, H, W)."""
    return frames.movedim(-1, 1).contiguous()


def open_autoencoder(
    recipe: AutoencoderRecipe,
    data: FrameData,
    settings: Settings,
    where: str,
    perceptual: Perceptual | None = None,
) -> AutoencoderTask:
    """The task of a recipe; ``where`` names it in messages.

    Raises:
        ConfigError: an unknown key, or settings that do not fit each other or the data.
    """
    channels = int(data.validation[0]["input"].shape[-1])
    table = {"channels": channels, "out_channels": channels, **recipe.model}
    config = build(AutoencoderConfig, table, f"{where}: [model]")
    loss = build(LossTable, recipe.loss, f"{where}: [loss]")
    return AutoencoderTask(
        config, loss, data, settings, frames_per_window=recipe.frames_per_window, perceptual=perceptual
    )

"""What training the denoiser and training the alignment network share: frames as latents of a trained autoencoder.

The context is the likeliest latent, the target is drawn from its posterior, as published. Neither is scaled: an
autoencoder of `geoscope train autoencoder` gives latents of unit variance.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from geoscope.diffusion.schedules import Schedule, make_schedule
from geoscope.errors import ConfigError, DataError
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.weights import fingerprint, read_part
from geoscope.training.engine import Batch, Settings, Task
from geoscope.training.frame_splits import FrameData
from geoscope.training.frames import sample_places, stacked

_FRAMES_AT_ONCE = 32  # bounds the autoencoder's memory
DEFAULTS: dict[str, Any] = {"warmup": 0.1, "start": 0.1, "floor": 1e-3}


@dataclass(frozen=True, kw_only=True)
class DiffusionTable:
    """[diffusion] of a recipe: the steps of the chain, and their schedule by geoscope's name (see `make_schedule`).

    latent_scale: latents are multiplied by it; 1 as published, 0 measures what gives them unit variance.
    """

    steps: int = 1000
    schedule: str = "scaled_linear"
    latent_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.latent_scale < 0:
            raise ConfigError(
                f"[diffusion] latent_scale={self.latent_scale} must be above 0, or 0 to measure it"
            )

    def open(self) -> Schedule:
        """The schedule."""
        return make_schedule(self.schedule, self.steps)


class Latents:
    """A frozen autoencoder: frames (B, T, H, W, C) as latents (B, T, h, w, L)."""

    def __init__(self, autoencoder: FrameAutoencoder) -> None:
        self.autoencoder = autoencoder.eval().requires_grad_(False)

    @classmethod
    def read(cls, path: Path, data: FrameData) -> "Latents":
        """From ``model.safetensors`` of a run of geoscope train autoencoder.

        Raises:
            DataError: no such file; WeightsError: no autoencoder in it; ConfigError: it does not fit ``data``.
        """
        if not path.is_file():
            raise DataError(
                f"autoencoder={str(path)!r}: no such file; train one first: geoscope train autoencoder"
            )
        network, about = read_part(path, "autoencoder")
        autoencoder = cast(FrameAutoencoder, network)
        _, height, width, channels = data.validation[0]["input"].shape
        config = autoencoder.config
        if about.get("encoding") != data.encoding or config.channels != channels:
            raise ConfigError(
                f"autoencoder={path.name!r} was trained on {config.channels} channels of {about.get('encoding')!r} "
                f"numbers and [data] has {channels} of {data.encoding!r}; give one trained on such data"
            )
        if height % config.factor or width % config.factor:
            raise ConfigError(
                f"frames of {height} x {width} pixels do not divide by {config.factor}, what the autoencoder shrinks "
                "them by; give another size"
            )
        return cls(autoencoder)

    def shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(T, h, w, L) of the latents of so many frames."""
        config = self.autoencoder.config
        return frames, height // config.factor, width // config.factor, config.latent_channels

    @torch.no_grad()
    def mode(self, frames: Tensor) -> Tensor:
        """The likeliest latents."""
        return self._posterior_latents(frames, is_drawn=False)

    @torch.no_grad()
    def drawn(self, frames: Tensor) -> Tensor:
        """Latents drawn from their posterior."""
        return self._posterior_latents(frames, is_drawn=True)

    def _posterior_latents(self, frames: Tensor, *, is_drawn: bool) -> Tensor:
        self.autoencoder.to(frames.device)
        flat = frames.flatten(0, 1).movedim(-1, 1).contiguous()
        posterior = self.autoencoder.encode(flat, frames_at_once=_FRAMES_AT_ONCE)
        latents = posterior.sample() if is_drawn else posterior.mode()
        return latents.float().movedim(1, -1).unflatten(0, frames.shape[:2])


class LatentTask(Task):
    """A network on noisy latents of windows of frames; what is asked of it is the task's."""

    direction = "min"
    monitor = "loss"

    def __init__(
        self, latents: Latents, diffusion: DiffusionTable, data: FrameData, settings: Settings
    ) -> None:
        self.data, self.settings, self.diffusion = data, settings, diffusion
        self.schedule = diffusion.open()
        self.examples = None if data.is_endless else len(data.train)
        self.validation_batches = -(-len(data.validation) // settings.micro)
        sample = data.validation[0]
        self.in_frames, self.height, self.width, _ = sample["input"].shape
        self.out_frames = len(sample["target"])
        self.latents = latents

    def batch(self, index: int) -> Batch:
        """The next windows of the epoch's order."""
        return stacked(
            self.data.train, sample_places(index, self.settings.micro, self.examples, self.settings.seed)
        )

    def validation_batch(self, index: int) -> Batch:
        """Windows in their order, with a step ``t`` for each, evenly spread, and their numbers."""
        first = index * self.settings.micro
        places = list(range(first, min(first + self.settings.micro, len(self.data.validation))))
        steps = self.schedule.steps
        golden = [(place * 0.6180339887498949 + 0.5) % 1.0 for place in places]
        return {
            **stacked(self.data.validation, places),
            "t": torch.tensor([int(share * steps) for share in golden]),
            "place": torch.tensor(places),
        }

    def random_steps(self, like: Tensor) -> Tensor:
        """A step of the chain for each of a batch, (B,)."""
        return torch.randint(0, self.schedule.steps, (len(like),), device=like.device)

    def fixed_noise(self, batch: Batch, purpose: int, shape: tuple[int, ...]) -> Tensor:
        """Noise of a validation batch, (B, *shape): the same whenever it is asked for."""
        seeds = [1_000_003 * (int(place) + 1) + purpose for place in batch["place"]]
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).to(batch["input"].device)

    def thirds(self, t: Tensor) -> Tensor:
        """Which third of the chain each step is in, (B, 3), from little noise to much."""
        third = (3 * t) // self.schedule.steps
        return nn.functional.one_hot(third, 3).double()

    def about(self) -> dict[str, Any]:
        """What the header of the weights says."""
        return {
            "encoding": self.data.encoding,
            "in_frames": self.in_frames,
            "out_frames": self.out_frames,
            "height": self.height,
            "width": self.width,
            "pixel_km": self.data.kilometres or 0.0,
            "interval_minutes": self.data.minutes or 0.0,
            "steps": self.diffusion.steps,
            "schedule": self.diffusion.schedule,
            "autoencoder": fingerprint(self.latents.autoencoder),
        }

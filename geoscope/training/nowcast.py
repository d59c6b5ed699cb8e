"""Training the compact nowcaster: its data, batches and loss, as a task of the engine."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.errors import DataError
from geoscope.models.nowcaster.checkpoints import save_nowcaster
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.training.calibration import calibrate
from geoscope.training.engine import Batch, Progress, Settings, Task
from geoscope.training.storms import Event, Window, WindowRecipe, WindowSampler, read_event

# What a recipe need not say. The rest are the defaults of `Settings`.
DEFAULTS: dict[str, Any] = {
    "weight_decay": 1e-2,
    "warmup": 200,
    "ema": 0.998,
    "precision": "bfloat16",
    "threads": 2,
}


@dataclass(frozen=True, kw_only=True)
class NowcasterRecipe:
    """What the nowcaster's recipe says beside the engine's settings.

    events: the folder of storm events, relative to the recipe. held_out, censored: beginnings of file names; what is
    held out is not read, what is censored is believed within a range of mm/h. leads: drawn for each batch.
    median_share, calibration_windows: see `geoscope.training.calibration`.
    """

    events: str
    held_out: tuple[str, ...] = ()
    censored: dict[str, tuple[float, float]] = field(default_factory=dict)
    leads: int = 4
    median_share: float = 0.2
    calibration_windows: int = 800
    windows: WindowRecipe = field(default_factory=WindowRecipe)


class NowcasterTask(Task):
    """The compact nowcaster on a folder of storm events."""

    name = "nowcaster"

    def __init__(self, recipe: NowcasterRecipe, settings: Settings, beside: Path) -> None:
        self.recipe, self.settings = recipe, settings
        self.events = read_training_events(recipe, beside)
        self.sampler = WindowSampler(self.events, recipe.windows, settings.seed)

    def network(self) -> nn.Module:
        """The network before training."""
        return LagrangianEarthformer(nowcaster_small())

    def batch(self, index: int) -> Batch:
        """Windows drawn at random from (seed, index), with leads of their own."""
        self.sampler.random = np.random.default_rng((self.settings.seed, index))
        leads = self.sampler.draw_leads(self.recipe.leads)
        return as_batch([self.sampler.draw(leads) for _ in range(self.settings.micro)], leads)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The weighted cross-entropy of exceedance."""
        inputs = (batch["frames"], batch["valid"], batch["motion"], batch["step_minutes"], batch["pixel_km"])
        logits = network(*inputs, [float(lead) for lead in batch["leads"]])
        assert isinstance(network.thresholds, Tensor)
        return exceedance_loss(logits.float(), batch["target"], network.thresholds, batch["range"])

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Choose the decision limits on windows as the radars saw them; write the weights."""
        assert isinstance(network, LagrangianEarthformer)
        progress("choosing the decision limits", 1.0)
        sampler = WindowSampler(self.events, natural(self.recipe.windows), self.settings.seed + 1)
        calibrate(network, sampler, self.recipe.calibration_windows, self.recipe.median_share)
        return save_nowcaster(network, out / "model.safetensors")


def read_training_events(recipe: NowcasterRecipe, beside: Path) -> list[Event]:
    """All events of the recipe's folder but the held-out ones.

    Raises:
        DataError: the folder is not there.
    """
    folder = (beside / recipe.events).resolve()
    if not folder.is_dir():
        raise DataError(
            f"events={recipe.events!r}: {folder} is not a folder; name the one with the storm events"
        )
    paths = [p for p in sorted(folder.iterdir()) if p.suffix in {".npz", ".nc", ".zarr", ".h5"}]
    held_out = recipe.held_out or ("\0",)
    return [read_event(p, recipe.censored) for p in paths if not p.name.startswith(held_out)]


def as_batch(windows: list[Window], leads: list[float]) -> dict[str, Tensor]:
    """Windows as the model takes them: log rain, validity, motion, scale; beside them leads and targets."""
    history = torch.from_numpy(np.stack([w.history for w in windows]))
    valid = torch.isfinite(history).float()
    frames = log_rain(history)
    return {
        "frames": frames,
        "valid": valid,
        "motion": estimate_motion(frames, valid),
        "step_minutes": torch.tensor([w.step_minutes for w in windows], dtype=torch.float32),
        "pixel_km": torch.tensor([w.pixel_km for w in windows], dtype=torch.float32),
        "leads": torch.tensor(leads),
        "target": torch.from_numpy(np.stack([w.target for w in windows])),
        "range": torch.tensor([[w.low_mm_h, w.high_mm_h] for w in windows]),
    }


def exceedance_loss(logits: Tensor, target: Tensor, thresholds: Tensor, reliable: Tensor) -> Tensor:
    """Mean binary cross-entropy of exceeding each threshold, heavier thresholds weighing more.

    ``logits`` (B, L, K, H, W), ``target`` (B, L, H, W) mm/h with NaN where there is no truth, ``reliable`` (B, 2): the
    range of mm/h in which the source can be believed; thresholds outside it do not count.
    """
    known = torch.isfinite(target)[:, :, None]
    believed = (thresholds >= reliable[:, :1]) & (thresholds <= reliable[:, 1:])
    weight = known * believed[:, None, :, None, None] * (1.0 + torch.log2(1.0 + thresholds))[:, None, None]
    truth = (target[:, :, None] >= thresholds[:, None, None]).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def natural(windows: WindowRecipe) -> WindowRecipe:
    """The recipe without what it adds to the events: windows as the radars saw them."""
    return replace(
        windows,
        share_coarse=0.0,
        share_slow=0.0,
        share_accumulated=0.0,
        accumulated_gain=0.0,
        intensity_jitter=0.0,
    )

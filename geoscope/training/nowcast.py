"""Training the compact nowcaster: its data, batches and loss, as a task of the engine."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.metrics.contingency import Contingency, count_events, critical_success_index
from geoscope.models.nowcaster.checkpoints import save_nowcaster
from geoscope.models.nowcaster.decision import LEVELS_MM_H, ExpectedCsi, decide, monotone, probability
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.training.calibration import LogitCounts, fit
from geoscope.training.contact_sheet import contact_sheet
from geoscope.training.engine import Batch, Progress, Settings, Task
from geoscope.training.storms import Event, Window, WindowRecipe, WindowSampler, event_paths, read_event

# What a recipe need not say. The rest are the defaults of `Settings`.
DEFAULTS: dict[str, Any] = {
    "weight_decay": 1e-2,
    "warmup": 200,
    "ema": 0.998,
    "precision": "bfloat16",
    "threads": 2,
}
# How often the rain rate is exceeded in training windows, measured once; see `rarity_weights`.
OFTEN_MM_H = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0)
OFTEN = (0.30, 0.26, 0.20, 0.14, 0.09, 0.065, 0.037, 0.02, 0.013, 0.006, 0.0035, 0.0014, 0.0004)
VALIDATION_LEADS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # model steps: an hour
VALIDATION_MM_H = (0.5, 1.0, 2.0, 5.0, 10.0)
LEAST_PIXELS = 20  # of a window and threshold, below which an overlap says nothing
RAREST_MM_H = 20.0  # above, windows hold too little for an overlap


@dataclass(frozen=True, kw_only=True)
class NowcasterRecipe:
    """What the nowcaster's recipe says beside the engine's settings.

    events: the folder of storm events, relative to the recipe. held_out, censored: beginnings of file names; what is
    held out is not read, what is censored is believed within a range of mm/h. leads: drawn for each batch.
    overlap: weight of the soft Jaccard term beside the cross-entropy. validate_on: beginnings of file names that are
    kept from the weights: on ``validation_windows`` windows of theirs the run is validated, on ``calibration_windows``
    the probabilities are calibrated at the end. Without any there is neither.
    """

    events: str
    held_out: tuple[str, ...] = ()
    validate_on: tuple[str, ...] = ()
    censored: dict[str, tuple[float, float]] = field(default_factory=dict)
    leads: int = 3
    overlap: float = 0.0
    validation_windows: int = 64
    calibration_windows: int = 400
    windows: WindowRecipe = field(default_factory=WindowRecipe)


class NowcasterTask(Task):
    """The compact nowcaster on a folder of storm events."""

    name = "nowcaster"
    monitor = "csi_m"

    def __init__(self, recipe: NowcasterRecipe, settings: Settings, beside: Path) -> None:
        self.recipe, self.settings = recipe, settings
        self.events = read_training_events(recipe, beside, leave_out=recipe.held_out + recipe.validate_on)
        self.unseen: list[Event] = []
        if recipe.validate_on:
            self.unseen = read_training_events(
                recipe, beside, leave_out=recipe.held_out, only=recipe.validate_on
            )
            self.validation_batches = recipe.validation_windows
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
        """The weighted cross-entropy of exceedance, and a share of what the overlap lacks."""
        inputs = (batch["frames"], batch["valid"], batch["motion"], batch["step_minutes"], batch["pixel_km"])
        logits = network(*inputs, [float(lead) for lead in batch["leads"]]).float()
        assert isinstance(network.thresholds, Tensor)
        judged = batch["target"], network.thresholds, batch["range"]
        loss = exceedance_loss(logits, *judged)
        return loss + self.recipe.overlap * overlap_loss(logits, *judged) if self.recipe.overlap else loss

    def validation_batch(self, index: int) -> Batch:
        """One window of the events kept for it, as the radar saw it, with the leads of an hour."""
        sampler = WindowSampler(self.unseen, natural(self.recipe.windows), self.settings.seed + 1)
        sampler.random = np.random.default_rng((self.settings.seed, 1, index))
        return as_batch([sampler.draw(VALIDATION_LEADS)], VALIDATION_LEADS)

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Counts of the decided field against the truth."""
        forecast = torch.from_numpy(_decided(network, batch))
        low, high = batch["range"][0]
        known = torch.isfinite(batch["target"][0].cpu())
        seen = torch.where(known, batch["target"][0].cpu(), torch.nan).clamp(max=float(high))
        counts = count_events(torch.where(known, forecast, torch.nan).numpy(), seen.numpy(), VALIDATION_MM_H)
        believed = torch.tensor([float(low) <= t <= float(high) for t in VALIDATION_MM_H])
        return {name: torch.from_numpy(part) * believed for name, part in counts.parts().items()}

    def scores(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """CSI by threshold over all windows and leads of an hour, and the mean."""
        counts = Contingency(**{name: part.cpu().numpy() for name, part in sums.items()})
        csi = np.nan_to_num(critical_success_index(counts))
        each = {f"csi_{t:g}": float(value) for t, value in zip(VALIDATION_MM_H, csi, strict=True)}
        return {"csi_m": float(csi.mean()), **each}

    @torch.no_grad()
    def picture(self, network: nn.Module) -> np.ndarray | None:
        """Two windows kept for validation: past, truth and forecast."""
        rows: list[tuple[str, np.ndarray]] = []
        for index in range(2 if self.unseen else 0):
            batch = self.validation_batch(index)
            past = 0.2 * (2.0 ** batch["frames"][0].numpy() - 1.0)
            truth = np.nan_to_num(batch["target"][0].numpy())
            rows += [("past", past), ("truth", truth), ("forecast", _decided(network, batch))]
        return contact_sheet([(label, np.log1p(rain)) for label, rain in rows], top=4.0) if rows else None

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "title": "Earthformer nowcast",
            "summary": "Rain for the next one to two hours from radar alone.",
            "architecture": "geoscope.models.nowcaster",
            "data": sorted({event.name for event in self.events}),
            "split": f"events left out by name: {', '.join(self.recipe.held_out + self.recipe.validate_on) or 'none'}",
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Calibrate on the events kept for it, as the radars saw them; write the weights."""
        assert isinstance(network, LagrangianEarthformer)
        if self.unseen:
            progress("calibrating the probabilities", 1.0)
            sampler = WindowSampler(self.unseen, natural(self.recipe.windows), self.settings.seed + 1)
            network.calibration.copy_(fit(count_logits(network, sampler, self.recipe.calibration_windows)))
        return save_nowcaster(network, out / "model.safetensors")


@torch.no_grad()
def _decided(network: nn.Module, batch: Batch) -> np.ndarray:
    """The rain field (L, H, W) in mm/h for a batch of one window, with one cut for all its leads."""
    assert isinstance(network, LagrangianEarthformer)
    device = network.thresholds.device
    inputs = (batch[name].to(device) for name in ("frames", "valid", "motion", "step_minutes", "pixel_km"))
    leads = [float(lead) for lead in batch["leads"]]
    logits = monotone(network(*inputs, leads)[0].float()).cpu()  # (L, K, H, W)
    thresholds, counts = network.thresholds.cpu(), ExpectedCsi(len(LEVELS_MM_H))
    counts.add(torch.stack([probability(logits, thresholds, level).flatten() for level in LEVELS_MM_H]))
    cuts = counts.cuts()
    return torch.stack([decide(each, thresholds, cuts) for each in logits]).numpy()


def read_training_events(
    recipe: NowcasterRecipe, beside: Path, leave_out: tuple[str, ...], only: tuple[str, ...] = ("",)
) -> list[Event]:
    """The events of the recipe's folder whose names begin with one of ``only`` and with none of ``leave_out``.

    Raises:
        DataError: the folder is not there, or nothing is left.
    """
    chosen = event_paths(recipe.events, beside, leave_out=leave_out, only=only)
    return [read_event(p, recipe.censored) for p in chosen]


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


def rarity_weights(thresholds: Tensor) -> Tensor:
    """Weights (K,) that bring the cross-entropies of rare and of frequent thresholds to a like size.

    The entropy of how often a threshold is exceeded, to the power -0.6, 1 at 0.5 mm/h and at most 10.
    """
    often = np.interp(np.log(thresholds.cpu().numpy()), np.log(OFTEN_MM_H), OFTEN)
    entropy = -(often * np.log(often) + (1 - often) * np.log(1 - often))
    weights = np.minimum((0.5 / entropy) ** 0.6, 10.0)
    return torch.as_tensor(weights, dtype=thresholds.dtype, device=thresholds.device)


def _judged(target: Tensor, thresholds: Tensor, reliable: Tensor) -> tuple[Tensor, Tensor]:
    """Truth and weight, both (B, L, K, H, W): what is exceeded, and where and at which thresholds that is known."""
    known = torch.isfinite(target)[:, :, None]
    believed = (thresholds >= reliable[:, :1]) & (thresholds <= reliable[:, 1:])
    weight = (known * believed[:, None, :, None, None]).float()
    return (target[:, :, None] >= thresholds[:, None, None]).float(), weight


def exceedance_loss(logits: Tensor, target: Tensor, thresholds: Tensor, reliable: Tensor) -> Tensor:
    """Mean binary cross-entropy of exceeding each threshold, rarer thresholds weighing more (`rarity_weights`).

    ``logits`` (B, L, K, H, W), ``target`` (B, L, H, W) mm/h with NaN where there is no truth, ``reliable`` (B, 2): the
    range of mm/h in which the source can be believed; thresholds outside it do not count.
    """
    truth, weight = _judged(target, thresholds, reliable)
    weight = weight * rarity_weights(thresholds)[:, None, None]
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def overlap_loss(logits: Tensor, target: Tensor, thresholds: Tensor, reliable: Tensor) -> Tensor:
    """One minus the soft Jaccard index of probability and truth, over all leads of a window, mean over windows and
    thresholds that enough pixels exceed; arguments as in `exceedance_loss`."""
    truth, weight = _judged(target, thresholds, reliable)
    chance, truth = torch.sigmoid(logits) * weight, truth * weight
    both = (chance * truth).sum(dim=(1, 3, 4))
    either = (chance + truth - chance * truth).sum(dim=(1, 3, 4))
    counts = (truth.sum(dim=(1, 3, 4)) >= LEAST_PIXELS) & (thresholds <= RAREST_MM_H)
    missing = (1.0 - both / either.clamp(min=1e-6)) * counts
    return missing.sum() / counts.sum().clamp(min=1)


@torch.inference_mode()
def count_logits(network: LagrangianEarthformer, sampler: WindowSampler, windows: int) -> LogitCounts:
    """Histograms of the uncalibrated logits on ``windows`` windows of ``sampler``, at all whole model steps."""
    counts = LogitCounts.of(network.config)
    leads = [float(lead) for lead in range(1, network.config.reach + 1)]
    for _ in range(windows):
        batch = as_batch([sampler.draw(leads)], leads)
        scale = batch["step_minutes"], batch["pixel_km"]
        encoded = network.encode(batch["frames"], batch["valid"], batch["motion"], *scale)
        by_lead = network.logits_by_lead(encoded, batch["motion"], *scale, leads)
        for step, logits in enumerate(by_lead, start=1):
            target = batch["target"][:, step - 1 : step]
            truth, weight = _judged(target, network.thresholds, batch["range"])
            counts.add(step, monotone(logits)[0], truth[0, 0] > 0, weight[0, 0] > 0)
    return counts


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

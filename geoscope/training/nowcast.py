"""Training the compact nowcaster: loss, loop, checkpoints. A run is a TOML file; see `geoscope/training/recipes`."""

import json
import math
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from geoscope.errors import ConfigError, DataError
from geoscope.models.nowcaster.checkpoints import save_nowcaster
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.training.calibration import calibrate
from geoscope.training.storms import Event, Window, WindowRecipe, WindowSampler, read_event

Progress = Callable[[str, float], None]
SAVE_EVERY_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run. ``held_out`` and ``censored`` match the beginnings of file names."""

    events: str
    held_out: tuple[str, ...] = ()
    censored: dict[str, tuple[float, float]] = field(default_factory=dict)
    minutes: float = 60.0
    steps: int = 20000
    batch: int = 4
    leads: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 200
    ema: float = 0.998
    seed: int = 0
    threads: int = 2
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    median_share: float = 0.2
    calibration_windows: int = 800
    windows: WindowRecipe = field(default_factory=WindowRecipe)

    @classmethod
    def from_toml(cls, path: Path) -> "TrainingConfig":
        """Read a recipe; an unknown key is a ConfigError."""
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path} is not a readable TOML recipe: {error}") from None
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise ConfigError(f"{path.name}: unknown keys {unknown}; known are {sorted(known)}")
        if "events" not in raw:
            raise ConfigError(f"{path.name}: events is missing; name the folder of storm events")
        window_keys = {f.name for f in fields(WindowRecipe)}
        windows = raw.pop("windows", {})
        if set(windows) - window_keys:
            raise ConfigError(f"{path.name}: unknown keys {sorted(set(windows) - window_keys)} in [windows]")
        censored = {name: (float(low), float(high)) for name, (low, high) in raw.pop("censored", {}).items()}
        raw["held_out"] = tuple(raw.get("held_out", ()))
        return cls(**raw, censored=censored, windows=WindowRecipe(**windows))


def read_training_events(config: TrainingConfig, beside: Path) -> list[Event]:
    """All events of the recipe's folder but the held-out ones."""
    folder = (beside / config.events).resolve()
    if not folder.is_dir():
        raise DataError(
            f"events={config.events!r}: {folder} is not a folder; name the one with the storm events"
        )
    paths = [p for p in sorted(folder.iterdir()) if p.suffix in {".npz", ".nc", ".zarr", ".h5"}]
    return [
        read_event(p, config.censored) for p in paths if not p.name.startswith(config.held_out or ("\0",))
    ]


class Windows(IterableDataset[dict[str, Tensor]]):
    """An endless stream of batches."""

    def __init__(self, events: list[Event], config: TrainingConfig, seed: int) -> None:
        self.events, self.config, self.seed = events, config, seed

    def __iter__(self):
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        sampler = WindowSampler(self.events, self.config.windows, self.seed + (worker.id if worker else 0))
        while True:
            leads = sampler.draw_leads(self.config.leads)
            yield as_batch([sampler.draw(leads) for _ in range(self.config.batch)], leads)


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


def learning_rate(step: int, config: TrainingConfig, elapsed: float) -> float:
    """Linear warm-up, then a cosine to 2 % over the run's minutes or steps, whichever runs out first."""
    share = min(1.0, max(step / config.steps, elapsed / (config.minutes * 60.0)))
    return (
        config.learning_rate
        * min(1.0, (step + 1) / config.warmup)
        * (0.51 + 0.49 * math.cos(math.pi * share))
    )


def train_nowcaster(config: TrainingConfig, out: Path, beside: Path, progress: Progress) -> Path:
    """Train and write ``out``/model.safetensors; an interrupted run in the same folder goes on where it stopped."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    model = LagrangianEarthformer(nowcaster_small())
    average = LagrangianEarthformer(nowcaster_small())
    average.load_state_dict(model.state_dict())
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    state = _resume(out / "last.pt", model, average, optimizer)
    step, spent = state["step"], state["seconds"]
    events = read_training_events(config, beside)
    stream = DataLoader(Windows(events, config, config.seed + 1000 * step), batch_size=None, num_workers=1)
    started, saved, smooth = time.monotonic(), time.monotonic(), None
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        for batch in stream:
            elapsed = spent + time.monotonic() - started
            if step >= config.steps or elapsed >= config.minutes * 60:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config, elapsed)
            loss = _train_step(model, optimizer, batch, config.precision)
            _average(average, model, min(config.ema, (1 + step) / (10 + step)))
            smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
            step += 1
            if step % 50 == 0:
                log.write(
                    json.dumps({"step": step, "loss": round(smooth, 5), "seconds": round(elapsed, 1)}) + "\n"
                )
                log.flush()
                progress(f"step {step}, loss {smooth:.4f}", min(1.0, elapsed / (config.minutes * 60)))
            if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                _save(out / "last.pt", model, average, optimizer, step, elapsed)
                save_nowcaster(average, out / "model.safetensors")
                saved = time.monotonic()
    _save(out / "last.pt", model, average, optimizer, step, spent + time.monotonic() - started)
    progress("choosing the decision limits", 1.0)
    sampler = WindowSampler(events, natural(config.windows), config.seed + 1)
    calibrate(average.eval(), sampler, config.calibration_windows, config.median_share)
    return save_nowcaster(average, out / "model.safetensors")


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


def _train_step(
    model: LagrangianEarthformer, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor], precision: str
) -> float:
    model.train()
    inputs = (batch["frames"], batch["valid"], batch["motion"], batch["step_minutes"], batch["pixel_km"])
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(*inputs, [float(lead) for lead in batch["leads"]])
    loss = exceedance_loss(logits.float(), batch["target"], model.thresholds, batch["range"])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if torch.isfinite(norm):
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _average(average: LagrangianEarthformer, model: LagrangianEarthformer, keep: float) -> None:
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - keep)


def _save(
    path: Path,
    model: LagrangianEarthformer,
    average: LagrangianEarthformer,
    optimizer: torch.optim.Optimizer,
    step: int,
    seconds: float,
) -> None:
    state = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    beside.replace(path)


def _resume(
    path: Path, model: LagrangianEarthformer, average: LagrangianEarthformer, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    if not path.exists():
        return {"step": 0, "seconds": 0.0}
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state

"""Training Earthformer and the other networks of frames: past frames in, future frames out, mean squared error.

Source of the recipe: the published training of Earthformer (Gao et al. 2022), see `recipes/earthformer-sevir.toml`.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from geoscope.data.frame_samples import Samples
from geoscope.data.rain_scale import decode_rain
from geoscope.data.sevir_windows import restore_codes
from geoscope.errors import ConfigError
from geoscope.metrics.contingency import Contingency, count_events, critical_success_index
from geoscope.metrics.sevir import SEVIR_THRESHOLDS, SevirCounts, count_sevir, scores_of_counts
from geoscope.models.networks.frames import scheduled_hints
from geoscope.models.networks.weights import NetworkHeader, save_network
from geoscope.training.contact_sheet import contact_sheet
from geoscope.training.engine import Batch, Progress, Settings, Task
from geoscope.training.frame_splits import FrameData

RAIN_THRESHOLDS = (0.5, 1.0, 2.0, 5.0, 10.0)  # mm/h
# What a recipe need not say; the rest are the defaults of `Settings`. The schedule is the published one.
DEFAULTS: dict[str, Any] = {"warmup": 0.2, "floor": 1e-3}


@dataclass(frozen=True, kw_only=True)
class ModelTable:
    """[model] of a recipe: the network's name and size (see `geoscope.models.networks`).

    shown_until: share of the run over which recurrent networks are shown fewer and fewer of the true frames while
        they learn (scheduled sampling); 0 shows none.
    """

    name: str
    size: Literal["small", "published"] = "small"
    shown_until: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.shown_until <= 1:
            raise ConfigError(f"[model] shown_until={self.shown_until}: expected a share from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class FramesRecipe:
    """The tables of a recipe for a network of frames, beside the engine's settings."""

    model: dict[str, Any]
    data: dict[str, Any]


class FramesTask(Task):
    """A network of frames on a dataset of frames."""

    def __init__(self, model: ModelTable, data: FrameData, settings: Settings) -> None:
        self.name = model.name
        self.model, self.data, self.settings = model, data, settings
        self.examples = None if data.is_endless else len(data.train)
        self.validation_batches = -(-len(data.validation) // settings.micro)
        self.monitor, self.direction = ("csi_m", "max") if data.encoding != "unit" else ("mse", "min")
        sample = data.validation[0]
        out_frames = len(sample["target"])
        in_frames, height, width, channels = sample["input"].shape
        self.header = NetworkHeader(
            name=model.name,
            size=model.size,
            in_frames=in_frames,
            out_frames=out_frames,
            height=height,
            width=width,
            channels=channels,
            encoding=data.encoding,
            pixel_km=data.kilometres or 0.0,
            interval_minutes=data.minutes or 0.0,
        )

    def network(self) -> nn.Module:
        """The network before training."""
        return self.header.network()

    def parameter_groups(self, network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """As published: no decay for layer norms and whatever is called bias, the tables of positions too."""
        return published_groups(network, weight_decay)

    def batch(self, index: int) -> Batch:
        """The next samples of the epoch's order, which the seed shuffles anew for each epoch, or of those drawn."""
        places = sample_places(index, self.settings.micro, self.examples, self.settings.seed)
        batch = stacked(self.data.train, places)
        if self.model.shown_until:
            batch["shown"] = torch.tensor(self._share_shown(index))
        return batch

    def _share_shown(self, index: int) -> float:
        total = self.settings.total_steps(self.examples)
        step = index // (self.settings.accumulate * self.settings.devices)
        return max(0.0, 1.0 - step / (self.model.shown_until * total)) if total else 0.0

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error over the pixels with truth, and what the network adds of its own."""
        if "shown" in batch and getattr(network, "takes_hints", False):
            forecast = network(batch["input"], scheduled_hints(batch["target"], float(batch["shown"])))
        else:
            forecast = network(batch["input"])
        extra = network.auxiliary_loss() if hasattr(network, "auxiliary_loss") else 0.0  # type: ignore[operator]
        return squared_error(forecast.float(), truth(batch)) + extra

    def validation_batch(self, index: int) -> Batch:
        """The validation samples in their order."""
        first = index * self.settings.micro
        last = min(first + self.settings.micro, len(self.data.validation))
        return stacked(self.data.validation, list(range(first, last)))

    def validate(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Sums of errors, and counts of events where the data have thresholds."""
        forecast, target = network(batch["input"]).float(), truth(batch)
        known = torch.isfinite(target)
        error = torch.where(known, forecast - target, 0.0).double()
        sums = {"square": error.square().sum(), "absolute": error.abs().sum(), "pixels": known.sum()}
        if self.data.encoding == "vil":
            counts = count_sevir(codes(forecast), codes(target))
            sums |= {name: torch.from_numpy(part) for name, part in counts.parts().items()}
        if self.data.encoding == "log rain":
            rain, seen = (decode_rain(values.cpu().numpy()) for values in (forecast, target))
            counts = count_events(rain, seen, RAIN_THRESHOLDS)
            sums |= {name: torch.from_numpy(part) for name, part in counts.parts().items()}
        return sums

    def scores(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Errors a pixel in the network's own numbers; CSI by SEVIR's or rain's thresholds and their mean."""
        pixels = max(1.0, float(sums["pixels"]))
        scores = {"mse": float(sums["square"]) / pixels, "mae": float(sums["absolute"]) / pixels}
        if self.data.encoding == "vil":
            counts = SevirCounts(*(sums[name].numpy() for name in ("hits", "misses", "false_alarms")))
            found = scores_of_counts(counts)
            scores["csi_m"] = float(found["csi_m"])
            scores |= {f"csi_{level}": float(found["csi"][level]) for level in SEVIR_THRESHOLDS}
        if self.data.encoding == "log rain":
            names = ("hits", "misses", "false_alarms", "correct_negatives")
            csi = critical_success_index(Contingency(*(sums[name].numpy() for name in names)))
            scores["csi_m"] = float(np.nan_to_num(csi).mean())
            scores |= {f"csi_{t:g}": float(value) for t, value in zip(RAIN_THRESHOLDS, csi, strict=True)}
        return scores

    @torch.no_grad()
    def picture(self, network: nn.Module) -> np.ndarray:
        """Two validation samples: past, truth and forecast."""
        device = next(network.parameters()).device
        rows: list[tuple[str, np.ndarray]] = []
        for index in sorted({0, len(self.data.validation) // 2}):
            batch = stacked(self.data.validation, [index])
            forecast = network(batch["input"].to(device)).float().cpu()
            for label, frames in (
                ("past", batch["input"]),
                ("truth", batch["target"]),
                ("forecast", forecast),
            ):
                rows.append((label, frames[0, ..., 0].numpy()))
        return contact_sheet(rows)

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        header = self.header
        return {
            "title": f"{self.model.name} ({self.model.size})",
            "summary": (
                f"{header.out_frames} frames from {header.in_frames}, {header.height} x {header.width} pixels, by "
                f"{self.model.name}."
            ),
            "architecture": f"{self.model.name}, size {self.model.size}, of geoscope.models.networks",
            "data": [self.data.description],
            "split": self.data.split,
        }

    def finish(self, network: nn.Module, out: Path, progress: Progress) -> Path:
        """Write the weights, with a header that says which network they are of."""
        progress("writing the weights", 1.0)
        return save_network(network, self.header, out / "model.safetensors")


@lru_cache(maxsize=4)
def shuffled(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of ``count`` samples in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def sample_places(index: int, micro: int, count: int | None, seed: int) -> list[int]:
    """The ``micro`` samples of batch ``index``: each of ``count`` once an epoch, shuffled; without end as they come."""
    places = list(range(index * micro, (index + 1) * micro))
    if count is None:
        return places
    return [int(shuffled(seed, place // count, count)[place % count]) for place in places]


def stacked(samples: Samples, indices: list[int]) -> Batch:
    """Samples side by side: ``input`` (B, T, H, W, C), ``target`` (B, T', H, W, C) and what else they hold."""
    found = [samples[index] for index in indices]
    return {key: torch.from_numpy(np.stack([one[key] for one in found])) for key in found[0]}


def truth(batch: Batch) -> Tensor:
    """The target, NaN where there is no data."""
    if "known" not in batch:
        return batch["target"]
    return torch.where(batch["known"], batch["target"], torch.nan)


def squared_error(forecast: Tensor, target: Tensor) -> Tensor:
    """Mean squared error where ``target`` is a number; 0 where it is none anywhere."""
    known = torch.isfinite(target)
    error = torch.where(known, forecast - torch.where(known, target, 0.0), 0.0)
    return error.square().sum() / known.sum().clamp(min=1)


def codes(values: Tensor) -> np.ndarray:
    """Numbers in [0, 1] as SEVIR's codes 0-255, whole ones exactly."""
    return restore_codes(values.cpu().numpy())


def published_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups as published for Earthformer: layer norms and all parameters called bias do not decay.

    Weights of group norms and embeddings do. Our tables of relative positions are called ``bias_table``.
    """
    plain = {
        id(parameter)
        for module in network.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, nn.LayerNorm) or "bias" in name
    }
    learned = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if id(p) not in plain], "weight_decay": weight_decay},
        {"params": [p for p in learned if id(p) in plain], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]

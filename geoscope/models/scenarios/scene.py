"""The context of a set of scenarios, worked out once: the nowcaster's distributions, motion, features, outlook."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geoscope.errors import DataError
from geoscope.models.nowcaster.forecast import EarthformerNowcaster, choose_history, model_stride
from geoscope.models.scenarios.conditions import by_cell, condition_features
from geoscope.models.scenarios.config import STEPS
from geoscope.models.scenarios.control import EDGE_PX
from geoscope.models.scenarios.marginals import Marginals
from geoscope.models.scenarios.networks import ScenarioModel
from geoscope.models.scenarios.outlook import (
    LEAST_EXPECTED_MM_H,
    Expectation,
    expected_maps,
    region_features,
)
from geoscope.nn.advection import backward_positions, sample_at
from geoscope.nn.motion import gaussian_blur

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Scene:
    """What all members share. L frames are asked for, S = 6 steps are drawn; H and W are filled up to whole cells.

    leads: of the frames, in model steps. motion: (1, 2, H, W), pixels per step. steps: marginals (S, K, H, W); frames:
    (L, K, H, W). conditions: (1, 1 + S, h, w, F). expected: mean rain of the steps by cell, (S, h, w). region, weight:
    (H, W), over what a mean is taken and where control acts. known: (H, W), where a past frame has data. mean: what the
    nowcaster expects over the region and the steps that count, mm/h. outlook: see `expectation`.
    """

    leads: tuple[float, ...]
    motion: Tensor
    steps: Marginals
    frames: Marginals
    conditions: Tensor
    expected: Tensor
    region: Tensor
    weight: Tensor
    known: Tensor
    mean: float
    outlook: Expectation

    @property
    def has_rain(self) -> bool:
        """Whether the nowcaster expects enough rain over the region for mu and sigma to mean something."""
        return self.mean >= LEAST_EXPECTED_MM_H

    @property
    def expectation(self) -> Expectation:
        """mu and sigma of the mean rain over the region and the steps.

        Raises:
            DataError: the nowcaster expects no rain there, so that they mean nothing.
        """
        if not self.has_rain:
            raise DataError(
                f"{self.mean:.3f} mm/h are expected over the region, less than {LEAST_EXPECTED_MM_H} mm/h: mu and "
                "sigma are undefined without rain; choose another issue time or region, or take gs.nowcast"
            )
        return self.outlook

    @property
    def last_step(self) -> int:
        """How many of the steps the frames reach, at least one."""
        return min(STEPS, max(1, int(np.ceil(self.leads[-1] - 1e-6))))

    def cells(self, cell: int) -> Tensor:
        """The region by cell for the steps that count, (1, S, h, w)."""
        weights = by_cell(self.region[None], cell).expand(STEPS, -1, -1).clone()
        weights[self.last_step :] = 0.0
        return weights[None]

    def scores_of_frames(self, scores: Tensor) -> Tensor:
        """Scores at the frames, (L, H, W), from those at the steps, (S, H, W), carried along the motion between them.

        Two fields of one step's distance have little in common, so their mean is brought back to their variance.
        """
        return torch.stack([self._at(scores, lead) for lead in self.leads])

    def _at(self, scores: Tensor, lead: float) -> Tensor:
        place = min(max(lead, 1.0), float(len(scores))) - 1.0
        low = int(place)
        share = place - low
        forward, back = lead - (low + 1), (low + 2) - lead
        if abs(forward) < 1e-6:
            return scores[low]
        earlier = self._carried(scores[low], forward)
        if lead < 1.0 or low + 1 >= len(scores):
            return earlier
        later = self._carried(scores[low + 1], -back)
        mixed = torch.lerp(earlier, later, share)
        wanted = torch.lerp(earlier.var(), later.var(), share)
        return mixed * (wanted / mixed.var().clamp(min=1e-6)).sqrt().clamp(1.0, 1.5)

    def _carried(self, field: Tensor, steps: float) -> Tensor:
        motion = self.motion if steps > 0 else -self.motion
        positions = next(iter(backward_positions(motion, [abs(steps)])))
        return sample_at(field[None, None], positions)[0, 0]


def _filled(field: np.ndarray, multiple: int, value: float) -> np.ndarray:
    height, width = field.shape[-2:]
    filling = [(0, 0)] * (field.ndim - 2) + [(0, -height % multiple), (0, -width % multiple)]
    return np.pad(field, filling, constant_values=value)


@torch.no_grad()
def open_scene(
    model: ScenarioModel,
    nowcaster: EarthformerNowcaster,
    past: np.ndarray,
    *,
    interval_minutes: float,
    pixel_km: float,
    lead_steps: int,
    region: np.ndarray | None,
    progress: Progress,
) -> Scene:
    """The scene of ``past`` (T, H, W) in mm/h, NaN = no data; ``region`` (H, W) from 0 to 1, None = all of it."""
    device, multiple = nowcaster.device, model.config.multiple
    past = _filled(np.asarray(past, dtype=np.float32), multiple, np.nan)
    known = np.isfinite(past).any(axis=0)
    inside = np.ones(past.shape[1:], np.float32) if region is None else _filled(region, multiple, 0.0)
    stride = model_stride(interval_minutes)
    leads = tuple(frame / stride for frame in range(1, lead_steps + 1))
    wanted = sorted({*leads, *map(float, range(1, STEPS + 1))})
    ahead = nowcaster.look_ahead(
        past,
        interval_minutes=interval_minutes,
        pixel_km=pixel_km,
        leads=wanted,
        progress=lambda stage, share: progress(stage, 0.9 * share),
    )
    steps = Marginals.of(torch.stack([ahead.logits[float(s)] for s in range(1, STEPS + 1)]), ahead.thresholds)
    frames = Marginals.of(torch.stack([ahead.logits[lead] for lead in leads]), ahead.thresholds)
    seen = torch.from_numpy(known).to(device)
    weights = torch.from_numpy(inside.astype(np.float32)).to(device) * seen
    maps = expected_maps(steps)
    history = torch.from_numpy(choose_history(past, stride, nowcaster.model.config.history)).to(device)
    history = history[torch.isfinite(history).flatten(1).any(dim=1)]
    step_minutes = stride * interval_minutes
    count = min(STEPS, max(1, int(np.ceil(leads[-1] - 1e-6))))
    until = type(maps)(*(getattr(maps, name)[:count] for name in ("rain", "wet", "moderate", "heavy")))
    mean = float((until.rain.mean(dim=0) * weights).sum() / weights.sum().clamp(min=1e-6))
    features = region_features(until, history, weights, step_minutes, pixel_km)
    cell = model.config.cell
    conditions = condition_features(steps, maps, history[-1], step_minutes, pixel_km, cell)
    progress("mu and sigma", 1.0)
    return Scene(
        leads=leads,
        motion=ahead.motion,
        steps=steps,
        frames=frames,
        conditions=conditions[None],
        expected=by_cell(maps.rain, cell),
        region=weights,
        weight=_faded(weights) if region is not None else torch.ones_like(weights),
        known=seen,
        mean=mean,
        outlook=model.outlook.expectation(features),
    )


def _faded(region: Tensor) -> Tensor:
    """1 inside the region, falling to 0 over some pixels outside."""
    blurred = gaussian_blur(region[None, None], EDGE_PX)[0, 0]
    return torch.maximum(region, (2.0 * blurred).clamp(max=1.0))

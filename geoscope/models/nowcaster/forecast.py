"""Running the compact nowcaster on a field: choosing frames, padding, and the decision rule."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from geoscope.models.nowcaster.decision import decide
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.zoo.cards import ModelCard

STEP_MINUTES = 10.0  # the model's own step where frames come at least that often


def model_stride(interval_minutes: float) -> int:
    """Frames in one model step: about 10 minutes where frames come more often, else one frame."""
    return max(1, round(STEP_MINUTES / interval_minutes))


def choose_history(past: np.ndarray, stride: int, count: int) -> np.ndarray:
    """The last ``count`` frames of ``past`` (T, H, W), ``stride`` apart and ending at the issue time.

    Frames that ``past`` does not reach back to are NaN.
    """
    indices = len(past) - 1 - stride * np.arange(count - 1, -1, -1)
    history = np.full((count, *past.shape[1:]), np.nan, dtype=np.float32)
    known = indices >= 0
    history[known] = past[indices[known]]
    return history


def limits_at(limits: Tensor, lead: float) -> Tensor:
    """The decision limits (K,) at ``lead`` steps from the table (S, K) at steps 1, 2, ..., S."""
    place = min(max(lead - 1.0, 0.0), len(limits) - 1.0)
    low = int(place)
    return torch.lerp(limits[low], limits[min(low + 1, len(limits) - 1)], place - low)


class EarthformerNowcaster:
    """A `LagrangianEarthformer` with its card: what `geoscope.load_model("earthformer-nowcast")` returns."""

    min_frames = 2

    def __init__(self, model: LagrangianEarthformer, card: ModelCard, device: str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.card = card
        self.device = torch.device(device)

    def max_lead_steps(self, interval_minutes: float) -> int:
        """The longest lead in frames ``interval_minutes`` apart."""
        return self.model.config.reach * model_stride(interval_minutes)

    def _motion(self, past: np.ndarray, frames: Tensor, valid: Tensor, stride: int) -> Tensor:
        """Motion per model step; where the past holds fewer than two steps, from its own frames instead."""
        if len(past) > stride:
            return estimate_motion(frames, valid)
        rain = torch.as_tensor(past, dtype=torch.float32, device=self.device)[None]
        return stride * estimate_motion(log_rain(rain), torch.isfinite(rain).float())

    @torch.inference_mode()
    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """Rain (lead_steps, H, W) in mm/h from ``past`` (T, H, W); NaN where no past frame has data."""
        stride = model_stride(interval_minutes)
        history = choose_history(past, stride, self.model.config.history)
        rain = torch.as_tensor(history, device=self.device)[None]
        valid = torch.isfinite(rain).float()
        progress("motion of the rain", 0.0)
        frames = log_rain(rain)
        motion = self._motion(past, frames, valid, stride)
        progress("Earthformer", 0.1)
        step = torch.tensor([stride * interval_minutes], device=self.device)
        pixel = torch.tensor([pixel_km], device=self.device)
        leads = [lead / stride for lead in range(1, lead_steps + 1)]
        result = np.empty((lead_steps, *past.shape[1:]), dtype=np.float32)
        by_lead = self.model.logits_by_lead(frames, valid, motion, step, pixel, leads)
        for index, logits in enumerate(by_lead):
            limits = limits_at(self.model.limits, leads[index])
            result[index] = decide(logits, self.model.thresholds, limits)[0].cpu().numpy()
            progress("reading out the leads", 0.4 + 0.6 * (index + 1) / lead_steps)
        result[:, ~np.isfinite(history).any(axis=0)] = np.nan
        return result

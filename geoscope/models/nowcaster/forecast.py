"""Running the compact nowcaster on a field: choosing frames, hours of lead, and the decision rule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from geoscope.models.nowcaster.decision import LEVELS_MM_H, ExpectedCsi, calibrated, decide, probability
from geoscope.models.nowcaster.model import Encoded, LagrangianEarthformer
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.zoo.cards import ModelCard

Progress = Callable[[str, float], None]

STEP_MINUTES = 10.0  # the model's own step where frames come at least that often
HOUR = 60.0  # minutes of lead that share one cut
SMALLEST = 64  # pixels; smaller fields are filled up to this with "no data"


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


@dataclass(frozen=True)
class Hour:
    """Leads that share one cut: ``frames`` ahead that are asked for, and the ``steps`` that the cut is chosen on.

    The steps are the whole model steps of the hour, whatever is asked for: a longer forecast begins like a shorter.
    """

    frames: tuple[int, ...]
    steps: tuple[int, ...]


def hours(lead_steps: int, stride: int, step_minutes: float, reach: int) -> list[Hour]:
    """The hours of a forecast of ``lead_steps`` frames, ``stride`` frames to a model step; at least 3 steps each."""
    length = max(3, round(HOUR / step_minutes))
    found: list[Hour] = []
    for start in range(0, reach, length):
        end = min(start + length, reach)
        frames = range(start * stride + 1, min(end * stride, lead_steps) + 1)
        if frames:
            found.append(Hour(tuple(frames), tuple(range(start + 1, end + 1))))
    return found


@dataclass(frozen=True)
class LookAhead:
    """``motion`` (1, 2, H, W) in pixels per step, and by lead the logits (K, H, W) of exceeding ``thresholds`` (K,)."""

    motion: Tensor
    logits: dict[float, Tensor]
    thresholds: Tensor


@dataclass(frozen=True)
class _EncodedPast:
    encoded: Encoded
    motion: Tensor
    step: Tensor
    pixel: Tensor


class EarthformerNowcaster:
    """A `LagrangianEarthformer` with its card: what `geoscope.load_model("earthformer-nowcast")` returns.

    precision: "auto" is bfloat16 on CPUs that multiply it in hardware, where it is twice as fast, else float32.
    """

    min_frames = 2

    def __init__(
        self,
        model: LagrangianEarthformer,
        card: ModelCard,
        device: str = "cpu",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> None:
        self.model = model.to(device).eval()
        self.card = card
        self.device = torch.device(device)
        multiplies_half = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # no public name yet
        is_fast = self.device.type == "cpu" and multiplies_half()
        self.is_half = precision == "bfloat16" or (precision == "auto" and is_fast)

    def max_lead_steps(self, interval_minutes: float) -> int:
        """The longest lead in frames ``interval_minutes`` apart."""
        return self.model.config.reach * model_stride(interval_minutes)

    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Progress,
    ) -> np.ndarray:
        """Rain (lead_steps, H, W) in mm/h from ``past`` (T, H, W); NaN where no past frame has data."""
        rain, _ = self.forecast_probabilities(
            past,
            interval_minutes=interval_minutes,
            pixel_km=pixel_km,
            lead_steps=lead_steps,
            thresholds_mm_h=(),
            progress=progress,
        )
        return rain

    @torch.inference_mode()
    def forecast_probabilities(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        thresholds_mm_h: Sequence[float],
        progress: Progress,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rain (lead_steps, H, W) in mm/h, and P(rain >= threshold) (thresholds, lead_steps, H, W).

        ``past`` (T, H, W) is in mm/h, NaN = no data; the results are NaN where no past frame has data.
        """
        height, width = past.shape[1:]
        filling = ((0, 0), (0, max(0, SMALLEST - height)), (0, max(0, SMALLEST - width)))
        past = np.pad(past, filling, constant_values=np.nan)
        stride = model_stride(interval_minutes)
        step_minutes = stride * interval_minutes
        plan = hours(lead_steps, stride, step_minutes, self.model.config.reach)
        known = torch.from_numpy(np.isfinite(past).any(axis=0)).to(self.device)
        rain = np.full((lead_steps, *past.shape[1:]), np.nan, dtype=np.float32)
        probabilities = np.full((len(thresholds_mm_h), *rain.shape), np.nan, dtype=np.float32)
        thresholds = self.model.thresholds
        leads = [[*{*(f / stride for f in hour.frames), *map(float, hour.steps)}] for hour in plan]
        encoded = self._encode(past, stride, step_minutes, pixel_km, progress)
        by_lead = self._logits(encoded, [sorted(each) for each in leads], progress)
        for hour in plan:
            counts, kept = ExpectedCsi(len(LEVELS_MM_H)), {}
            for lead, logits in next(by_lead):
                if lead in hour.steps:
                    of_level = [probability(logits, thresholds, level)[known] for level in LEVELS_MM_H]
                    counts.add(torch.stack(of_level))
                if (frame := round(lead * stride)) in hour.frames:
                    kept[frame] = logits.half()
            cuts = counts.cuts()
            for frame, logits in kept.items():
                logits = logits.float()
                rain[frame - 1] = (
                    decide(logits, thresholds, cuts).masked_fill(~known, torch.nan).cpu().numpy()
                )
                for index, level in enumerate(thresholds_mm_h):
                    chance = probability(logits, thresholds, level).masked_fill(~known, torch.nan)
                    probabilities[index, frame - 1] = chance.cpu().numpy()
        return rain[:, :height, :width], probabilities[:, :, :height, :width]

    @torch.no_grad()  # not inference_mode: guidance differentiates through what it gives
    def look_ahead(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        leads: Sequence[float],
        progress: Progress,
    ) -> LookAhead:
        """The distributions of rain at ``leads`` (rising, in model steps, see `model_stride`), and the motion.

        ``past`` (T, H, W) is in mm/h, NaN = no data, at least `SMALLEST` pixels high and wide.
        """
        stride = model_stride(interval_minutes)
        encoded = self._encode(past, stride, stride * interval_minutes, pixel_km, progress)
        by_lead = self._logits(encoded, [list(leads)], progress)
        logits = dict(next(by_lead))
        return LookAhead(encoded.motion, logits, self.model.thresholds)

    def _encode(
        self, past: np.ndarray, stride: int, step_minutes: float, pixel_km: float, progress: Progress
    ) -> _EncodedPast:
        model = self.model
        history = choose_history(past, stride, model.config.history)
        rain = torch.as_tensor(history, device=self.device)[None]
        valid = torch.isfinite(rain).float()
        progress("motion of the rain", 0.0)
        frames = log_rain(rain)
        motion = self._motion(past, frames, valid, stride)
        step = torch.tensor([step_minutes], device=self.device)
        pixel = torch.tensor([pixel_km], device=self.device)
        progress("Earthformer", 0.1)
        with self._precision():
            encoded = model.encode(frames, valid, motion, step, pixel)
        return _EncodedPast(encoded, motion, step, pixel)

    def _logits(
        self, past: _EncodedPast, leads: list[list[float]], progress: Progress
    ) -> Iterator[Iterator[tuple[float, Tensor]]]:
        """For each hour of ``leads`` (rising, in steps) an iterator over (lead, calibrated logits (K, H, W))."""
        model = self.model
        flat = [lead for hour in leads for lead in hour]
        by_lead = model.logits_by_lead(past.encoded, past.motion, past.step, past.pixel, flat)
        done = 0

        def of_hour(hour: list[float]) -> Iterator[tuple[float, Tensor]]:
            nonlocal done
            for lead in hour:
                with self._precision():
                    logits = next(by_lead)
                done += 1
                progress("reading out the leads", 0.4 + 0.6 * done / len(flat))
                yield lead, calibrated(logits[0].float(), model.calibration, lead)

        for hour in leads:
            yield of_hour(hour)

    def _motion(self, past: np.ndarray, frames: Tensor, valid: Tensor, stride: int) -> Tensor:
        """Motion per model step; where the past holds fewer than two steps, from its own frames instead."""
        if len(past) > stride:
            return estimate_motion(frames, valid)
        rain = torch.as_tensor(past, dtype=torch.float32, device=self.device)[None]
        return stride * estimate_motion(log_rain(rain), torch.isfinite(rain).float())

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_half)

"""Lagrangian extrapolation: the last frame carried along the motion of the last few.

The motion is `geoscope.nn.motion.estimate_motion`, the transport the backward semi-Lagrangian scheme of
`geoscope.nn.advection` (Germann and Zawadzki 2002), as in the classical nowcasting systems.
"""

from collections.abc import Callable

import numpy as np
import torch

from geoscope.nn.advection import advect, backward_positions
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.zoo.cards import ModelCard

HISTORY_MINUTES = 30.0  # older motion misleads more than it steadies


class Extrapolation:
    """The last frame carried along a dense, steady motion field; NaN flows in from outside the picture."""

    min_frames = 2

    def __init__(self, card: ModelCard, device: torch.device | str = "cpu") -> None:
        self.card = card
        self.device = torch.device(device)

    @torch.no_grad()
    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """Rain (lead_steps, H, W) from ``past`` (T, H, W); what flows in from outside is NaN."""
        frames = torch.as_tensor(past, dtype=torch.float32, device=self.device)
        count = min(len(frames), max(3, 1 + round(HISTORY_MINUTES / interval_minutes)))
        progress("motion", 0.0)
        motion = estimate_motion(log_rain(frames[-count:])[None])
        result = np.empty((lead_steps, *past.shape[1:]), dtype=np.float32)
        last = frames[-1][None, None]
        for index, positions in enumerate(backward_positions(motion, range(1, lead_steps + 1))):
            progress("extrapolation", (index + 1) / lead_steps)
            result[index] = advect(last, positions)[0, 0].cpu().numpy()
        return result

"""Lagrangian extrapolation: the last frame carried along the motion of the last few.

The motion is `geoscope.nn.motion.estimate_motion`, the transport the backward semi-Lagrangian scheme of
`geoscope.nn.advection` (Germann and Zawadzki 2002), as in the classical nowcasting systems.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from geoscope.nn.advection import advect, backward_positions
from geoscope.nn.motion import estimate_motion, log_rain
from geoscope.zoo.cards import ModelCard

HISTORY_MINUTES = 30.0  # older motion misleads more than it steadies


def frames_for_motion(interval_minutes: float, available: int) -> int:
    """How many of the last frames tell the motion: half an hour of them, at least three, as far as there are."""
    return min(available, max(3, 1 + round(HISTORY_MINUTES / interval_minutes)))


@torch.no_grad()
def extrapolate(rain: Tensor, leads: Sequence[float]) -> Iterator[Tensor]:
    """The last of the frames ``rain`` (B, T, H, W) carried to each of ``leads``: one (B, H, W) field for each.

    Every sequence of the batch has a motion of its own, from all T frames; rain is in mm/h with NaN = no data, leads
    are in frames, rise and need not be whole. What flows in from outside or from missing pixels is NaN. The result
    stays on the device of ``rain``.
    """
    motion = estimate_motion(
        log_rain(rain)
    )  # masking missing pixels here measured no better than reading them as dry
    last = rain[:, -1:]
    for positions in backward_positions(motion, leads):
        yield advect(last, positions)[:, 0]


class Extrapolation:
    """The last frame carried along a dense, steady motion field; NaN flows in from outside the picture."""

    min_frames = 2

    def __init__(self, card: ModelCard, device: torch.device | str = "cpu") -> None:
        self.card = card
        self.device = torch.device(device)

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
        count = frames_for_motion(interval_minutes, len(past))
        frames = torch.as_tensor(past[-count:], dtype=torch.float32, device=self.device)
        progress("motion", 0.0)
        result = np.empty((lead_steps, *past.shape[1:]), dtype=np.float32)
        for index, field in enumerate(extrapolate(frames[None], range(1, lead_steps + 1))):
            progress("extrapolation", (index + 1) / lead_steps)
            result[index] = field[0].cpu().numpy()
        return result

"""Persistence: the last frame, unchanged."""

from collections.abc import Callable

import numpy as np

from geoscope.zoo.cards import ModelCard


class Persistence:
    """The last observed frame held for every lead."""

    min_frames = 1

    def __init__(self, card: ModelCard, device: object = "cpu") -> None:
        self.card = card  # the device does not matter: nothing is computed

    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """The last frame of ``past`` (T, H, W), repeated: (lead_steps, H, W), same units, NaN kept."""
        progress("persistence", 1.0)
        return np.repeat(past[-1:], lead_steps, axis=0)

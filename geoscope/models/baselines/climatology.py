"""Climatology of the event: the mean of the frames seen so far, for every lead."""

from collections.abc import Callable

import numpy as np

from geoscope.models.baselines.field_mean import mean_of_fields
from geoscope.zoo.cards import ModelCard


class Climatology:
    """At every pixel and lead the mean of the past frames: what an event is like on average, without any motion.

    It is the climatology of the event and not of the place: it knows no season and no other day. All frames that are
    handed over count the same (`geoscope.nowcast` hands over 64 at most), missing ones are left out.
    """

    min_frames = 1

    def __init__(self, card: ModelCard, device: object = "cpu") -> None:
        self.card = card  # the device does not matter: it is one mean

    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """The mean of ``past`` (T, H, W) over time, repeated: (lead_steps, H, W); NaN where no frame has data."""
        mean = mean_of_fields(past)
        progress("climatology", 1.0)
        return np.repeat(mean[None], lead_steps, axis=0)

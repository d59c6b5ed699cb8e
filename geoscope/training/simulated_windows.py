"""Windows of simulated storms without end: training before, or without, any observation."""

from collections.abc import Callable

import numpy as np

from geoscope.data.frame_samples import SPLITS, Split, check_request, check_split
from geoscope.errors import ConfigError
from geoscope.training.augmentation import simulated_rain
from geoscope.training.event_windows import EventWindowConfig, as_sample

_DEFAULT_MINUTES = 5.0
_LEAST_WET = 0.01
_TRIES = 20


class SimulatedWindows:
    """Simulated rain as a map-style dataset of `input`, `target` and `known`.

    Sample i is a function of the seed, the split and i. Wind, cells and bands differ from window to window, see
    `geoscope.data.storms`; dry windows are drawn again.
    """

    source = "storms simulated by geoscope, not an observation"

    def __init__(
        self,
        config: EventWindowConfig | None = None,
        split: Split = "train",
        *,
        pixel_km: float = 1.0,
        count: int = 10_000,
        seed: int = 0,
        simulate: Callable[..., np.ndarray] = simulated_rain,
    ) -> None:
        """Frames are ``config.interval_minutes`` apart, 5 minutes where it is None.

        Raises:
            ConfigError: no such split, no sample asked for, a negative seed, pixels without size or a square below 16
                pixels.
        """
        check_split(split)
        self.config = config or EventWindowConfig()
        check_request(count, seed)
        self.split: Split = split
        if not pixel_km > 0:
            raise ConfigError(f"pixel_km={pixel_km}: expected more than zero")
        if self.config.size < 16:
            raise ConfigError(f"size={self.config.size}: expected 16 pixels or more for simulated storms")
        self.pixel_km, self.count, self.seed, self.simulate = pixel_km, count, seed, simulate

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < self.count:
            raise IndexError(f"window {index} of {self.count}")
        config, random = self.config, np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        shape = (config.frames, config.size, config.size)
        interval = config.interval_minutes or _DEFAULT_MINUTES
        rain = self.simulate(shape, interval, self.pixel_km, random)
        for _ in range(_TRIES):
            if (rain[config.in_frames - 1] > 0).mean() >= _LEAST_WET:
                break
            rain = self.simulate(shape, interval, self.pixel_km, random)
        return as_sample(rain, config.in_frames)

"""The classical nowcasts of pysteps that give a single field: extrapolation, S-PROG and ANVIL.

Settings are those of pysteps' own examples. Shapes: ``past`` (T, H, W) in mm/h, forecasts (L, H, W). Pixels without
data count as dry while pysteps works; what flows in from them, or from outside the picture, is NaN in the forecast.
"""

from abc import ABC, abstractmethod

import numpy as np

from geoscope.models.baselines.pysteps_run import DRY_DB, Progress, PystepsNowcaster, db_to_rain, rain_to_db


class _Single(PystepsNowcaster, ABC):
    """A nowcast of one field: a subclass says how pysteps makes it."""

    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Progress,
    ) -> np.ndarray:
        """Rain (lead_steps, H, W) in mm/h from ``past`` (T, H, W), NaN = no data in both.

        Raises:
            DataError: a history or a field that pysteps cannot work with.
        """
        known = np.nan_to_num(past)
        shape = (lead_steps, *past.shape[1:])
        return self.run(past, shape, progress, lambda velocity: self._compute(known, velocity, lead_steps))

    @abstractmethod
    def _compute(self, past: np.ndarray, velocity: np.ndarray, lead_steps: int) -> np.ndarray:
        """What pysteps makes of ``past`` (T, H, W), free of NaN, and the motion: rain (lead_steps, H, W) in mm/h."""


class PystepsExtrapolation(_Single):
    """The last frame along pysteps' Lucas-Kanade motion. Source: Germann and Zawadzki 2002."""

    min_frames = 2
    needs_memory = False
    stage = "pysteps extrapolation"

    def _compute(self, past: np.ndarray, velocity: np.ndarray, lead_steps: int) -> np.ndarray:
        from pysteps import nowcasts

        return nowcasts.get_method("extrapolation")(past[-1], velocity, lead_steps)


class PystepsSprog(_Single):
    """Spectral prognosis: scales fade as they lose their predictability. Source: Seed 2003."""

    stage = "S-PROG"

    def _compute(self, past: np.ndarray, velocity: np.ndarray, lead_steps: int) -> np.ndarray:
        from pysteps import nowcasts

        decibel = rain_to_db(past[-3:])
        method = nowcasts.get_method("sprog")
        forecast = method(decibel, velocity, lead_steps, n_cascade_levels=6, precip_thr=DRY_DB)
        return db_to_rain(np.asarray(forecast, dtype=np.float64))


class PystepsAnvil(_Single):
    """Local growth and decay from the change of rain, scale by scale. Source: Pulkkinen et al. 2020.

    Given rain rates, with the window (25 pixels) and the motion on their logarithm of pysteps' example. Negative rain,
    which the integrated model can give, is 0.
    """

    min_frames = 4
    stage = "ANVIL"

    def _compute(self, past: np.ndarray, velocity: np.ndarray, lead_steps: int) -> np.ndarray:
        from pysteps import nowcasts

        method = nowcasts.get_method("anvil")
        forecast = method(past[-4:].astype(np.float64), velocity, lead_steps, ar_window_radius=25, ar_order=2)
        return np.maximum(forecast, 0.0)

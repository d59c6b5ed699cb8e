"""The nowcasts of pysteps that give members: STEPS, and LINDA with its deterministic form.

Settings are those of pysteps' own examples. Shapes: ``past`` (T, H, W) in mm/h, members (M, L, H, W). Pixels without
data count as dry while pysteps works; what flows in from them, or from outside the picture, is NaN in the forecast.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from geoscope.models.baselines.field_mean import mean_of_fields
from geoscope.models.baselines.pysteps_run import DRY_DB, Progress, PystepsNowcaster, db_to_rain, rain_to_db


class PystepsSteps(PystepsNowcaster):
    """Noise with the texture of the rain where small scales have lost their predictability.

    Its single field is the mean of `default_members` members. Source: Bowler, Pierce and Seed 2006.
    """

    stage = "STEPS"
    default_members = 20

    def forecast(self, past: np.ndarray, **options: Any) -> np.ndarray:
        """The mean (L, H, W) of `default_members` members, seed 0; options as for `forecast_ensemble`."""
        return mean_of_fields(self.forecast_ensemble(past, members=self.default_members, seed=0, **options))

    def forecast_ensemble(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        members: int,
        seed: int,
        progress: Progress,
    ) -> np.ndarray:
        """Rain (members, lead_steps, H, W) in mm/h; the same for the same ``seed``.

        Raises:
            DataError: a history or a field that pysteps cannot work with.
        """

        def compute(velocity: np.ndarray) -> np.ndarray:
            from pysteps import nowcasts

            forecast = nowcasts.get_method("steps")(
                rain_to_db(past[-3:]),
                velocity,
                lead_steps,
                n_ens_members=members,
                n_cascade_levels=6,
                precip_thr=DRY_DB,
                kmperpixel=pixel_km,
                timestep=interval_minutes,
                noise_method="nonparametric",
                vel_pert_method="bps",
                mask_method="incremental",
                seed=seed,
            )
            return db_to_rain(np.asarray(forecast, dtype=np.float64))

        return self.run(past, (members, lead_steps, *past.shape[1:]), progress, compute)


class PystepsLinda(PystepsNowcaster):
    """Integro-difference equations around detected cells. Source: Pulkkinen, Chandrasekar and Niemi 2021.

    Its single field is the deterministic LINDA-D; members are LINDA-P, with perturbations fitted to the errors of a
    forecast from one frame earlier.
    """

    stage = "LINDA"

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
            DataError: a history or a field that pysteps cannot work with, for instance without cells to follow.
        """
        shape = (lead_steps, *past.shape[1:])
        return self.run(past, shape, progress, self._linda(past, shape, add_perturbations=False))

    def forecast_ensemble(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        members: int,
        seed: int,
        progress: Progress,
    ) -> np.ndarray:
        """Rain (members, lead_steps, H, W) in mm/h; the same for the same ``seed``. Errors as for `forecast`."""
        shape = (members, lead_steps, *past.shape[1:])
        options = {
            "n_ens_members": members,
            "kmperpixel": pixel_km,
            "timestep": interval_minutes,
            "seed": seed,
        }
        return self.run(past, shape, progress, self._linda(past, shape, **options))

    def _linda(
        self, past: np.ndarray, shape: tuple[int, ...], **options: Any
    ) -> Callable[[np.ndarray], np.ndarray]:
        def compute(velocity: np.ndarray) -> np.ndarray:
            from pysteps import nowcasts

            rain = np.nan_to_num(past[-3:]).astype(np.float64)
            made = nowcasts.get_method("linda")(rain, velocity, shape[-3], max_num_features=15, **options)
            return np.maximum(made, 0.0).reshape(shape)

        return compute

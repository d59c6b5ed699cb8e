"""The nowcasts of pysteps that give members: STEPS, and LINDA with its deterministic form.

Settings are those of pysteps' own examples. Shapes: ``past`` (T, H, W) in mm/h, members (M, L, H, W). Pixels without
data count as dry while pysteps works; what flows in from them, or from outside the picture, is NaN in the forecast.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from geoscope.models.baselines import pysteps_run
from geoscope.models.baselines.field_mean import mean_of_fields
from geoscope.zoo.cards import ModelCard

Progress = Callable[[str, float], None]


class PystepsSteps:
    """Noise with the texture of the rain where small scales have lost their predictability.

    Its single field is the mean of `default_members` members. Source: Bowler, Pierce and Seed 2006.
    """

    min_frames = 3
    default_members = 20

    def __init__(self, card: ModelCard, device: object = "cpu") -> None:
        pysteps_run.require_pysteps(card.name)
        self.card = card  # the device does not matter: pysteps runs on the CPU

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
        pysteps_run.check_frames(self.card.name, past, needs_memory=True)
        if pysteps_run.is_dry(past[-1]):
            return pysteps_run.dry_forecast((members, lead_steps, *past.shape[1:]), past[-1])

        def work() -> np.ndarray:
            from pysteps import nowcasts

            decibel = pysteps_run.rain_to_db(past[-pysteps_run.MOTION_FRAMES :])
            velocity = pysteps_run.motion_of(decibel)
            forecast = nowcasts.get_method("steps")(
                decibel[-3:],
                velocity,
                lead_steps,
                n_ens_members=members,
                n_cascade_levels=6,
                precip_thr=pysteps_run.DRY_DB,
                kmperpixel=pixel_km,
                timestep=interval_minutes,
                noise_method="nonparametric",
                vel_pert_method="bps",
                mask_method="incremental",
                seed=seed,
            )
            rain = pysteps_run.db_to_rain(np.asarray(forecast, dtype=np.float64))
            return pysteps_run.carry_missing(rain, past[-1], velocity)

        return pysteps_run.run(self.card.name, "STEPS", lead_steps, progress, work).astype(np.float32)


class PystepsLinda:
    """Integro-difference equations around detected cells. Source: Pulkkinen, Chandrasekar and Niemi 2021.

    Its single field is the deterministic LINDA-D; members are LINDA-P, with perturbations fitted to the errors of a
    forecast from one frame earlier.
    """

    min_frames = 3

    def __init__(self, card: ModelCard, device: object = "cpu") -> None:
        pysteps_run.require_pysteps(card.name)
        self.card = card  # the device does not matter: pysteps runs on the CPU

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
        return self._run(past, lead_steps, progress, add_perturbations=False)

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
        made = self._run(
            past,
            lead_steps,
            progress,
            n_ens_members=members,
            kmperpixel=pixel_km,
            timestep=interval_minutes,
            seed=seed,
        )
        return np.array(np.broadcast_to(made, (members, *made.shape[-3:])))  # a dry forecast is one field

    def _run(self, past: np.ndarray, lead_steps: int, progress: Progress, **options: Any) -> np.ndarray:
        pysteps_run.check_frames(self.card.name, past, needs_memory=True)
        if pysteps_run.is_dry(past[-1]):
            return pysteps_run.dry_forecast((lead_steps, *past.shape[1:]), past[-1])

        def work() -> np.ndarray:
            from pysteps import nowcasts

            rain = np.nan_to_num(past[-pysteps_run.MOTION_FRAMES :]).astype(np.float64)
            velocity = pysteps_run.motion_of(pysteps_run.rain_to_db(past[-pysteps_run.MOTION_FRAMES :]))
            method = nowcasts.get_method("linda")
            made = method(rain[-3:], velocity, lead_steps, max_num_features=15, **options)
            return pysteps_run.carry_missing(np.maximum(made, 0.0), past[-1], velocity)

        return pysteps_run.run(self.card.name, "LINDA", lead_steps, progress, work).astype(np.float32)

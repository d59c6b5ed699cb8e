"""Drawing scenarios: members of the diffusion model, guided to asked mean rain, and plain ensembles."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from geoscope.diffusion.guidance import guide_by_noisy_network
from geoscope.diffusion.levels import Denoise, levels_of
from geoscope.diffusion.noise import member_noise
from geoscope.diffusion.process import as_denoise
from geoscope.diffusion.samplers.dpm_solver import sample_dpm_solver_2m
from geoscope.diffusion.timesteps import even_timesteps
from geoscope.models.baselines.field_mean import mean_of_fields
from geoscope.models.nowcaster.forecast import EarthformerNowcaster, model_stride
from geoscope.models.scenarios.config import STEPS
from geoscope.models.scenarios.control import region_mean, shift_to_mean
from geoscope.models.scenarios.networks import ScenarioModel
from geoscope.models.scenarios.outlook import drawn_sigmas
from geoscope.models.scenarios.scene import Progress, Scene, open_scene
from geoscope.models.scenarios.texture import coloured
from geoscope.zoo.cards import ModelCard

SAMPLER_STEPS = 10
AT_ONCE = 10  # trajectories that share a batch, so that memory does not grow with their number
TEXTURE_DRAW = (
    1_000_000  # the step number under which a member's small scales are drawn: no sampler comes so far
)
LARGEST_PLAUSIBLE_SHIFT = 1.0  # of all scores of a region at once, in standard deviations
TOLERANCE = 0.25  # sigmas about the target that guidance aims within; the exact part follows


@dataclass(frozen=True)
class Member:
    """One scenario of one member: ``rain`` (L, H, W) in mm/h, NaN = no data, as the field is.

    number: of the member. sigmas: asked, or its own; None for a member in weather without rain. asked_mean,
    achieved_mean: mm/h over the region and frames. shift: what was added to its scores at the end, in standard
    deviations. is_plausible: whether what was asked, and the shift, lie within what training has seen.
    """

    number: int
    sigmas: float | None
    asked_mean: float | None
    achieved_mean: float
    shift: float
    is_plausible: bool
    rain: np.ndarray


@dataclass(frozen=True)
class _Order:
    """One member at one n; None leaves its mean as it comes."""

    number: int
    sigmas: float | None


class ScenarioForecaster:
    """A `ScenarioModel` with the nowcaster whose distributions it draws from, and its card.

    What ``geoscope.load_model("prediff-nowcast")`` returns; also an ensemble model for `geoscope.nowcast`.
    """

    min_frames = 2
    default_members = 20

    def __init__(
        self,
        model: ScenarioModel,
        nowcaster: EarthformerNowcaster,
        card: ModelCard,
        precision: Literal["auto", "float32"] = "auto",
    ) -> None:
        self.model = model.to(nowcaster.device).eval()
        self.nowcaster = nowcaster
        self.card = card
        self.device = nowcaster.device
        self.is_half = precision == "auto" and nowcaster.is_half

    def max_lead_steps(self, interval_minutes: float) -> int:
        """The longest lead in frames ``interval_minutes`` apart."""
        return STEPS * model_stride(interval_minutes)

    def open(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        region: np.ndarray | None = None,
        progress: Progress,
    ) -> Scene:
        """The scene of ``past``, worked out once for all members; see `open_scene`."""
        return open_scene(
            self.model,
            self.nowcaster,
            past,
            interval_minutes=interval_minutes,
            pixel_km=pixel_km,
            lead_steps=lead_steps,
            region=region,
            progress=progress,
        )

    def draw(
        self,
        scene: Scene,
        *,
        members: Sequence[int],
        sigmas: Sequence[float] | None,
        steps: int = SAMPLER_STEPS,
        seed: int = 0,
        shape: tuple[int, int],
        progress: Progress,
    ) -> Iterator[Member]:
        """Every member at every one of ``sigmas``, member by member, as they get ready.

        Without sigmas each member gets its own, drawn from the outlook's distribution, and no guidance; where the
        outlook means nothing, for want of rain, its mean is left as it comes.
        The noise of a member is a function of ``seed`` and its number, the same for all sigmas, so that scenarios of a
        member differ in what is asked and in nothing else. ``shape`` (H, W) is that of the field.
        """
        if sigmas is None:
            orders = [_Order(number, self._own_sigmas(scene, seed, number)) for number in members]
        else:
            orders = [_Order(number, each) for number in members for each in sigmas]
        for start in range(0, len(orders), AT_ONCE):
            part = orders[start : start + AT_ONCE]

            def of_part(stage: str, share: float, start: int = start, count: int = len(part)) -> None:
                progress(stage, (start + 0.8 * share * count) / len(orders))

            latents = self._latents(scene, part, steps, seed, sigmas is not None, of_part)
            for index, order in enumerate(part):
                progress("rain of the members", (start + 0.8 * len(part) + 0.2 * index) / len(orders))
                yield self._finished(scene, order, latents[index], seed, shape)

    @torch.no_grad()
    def _latents(
        self,
        scene: Scene,
        orders: Sequence[_Order],
        steps: int,
        seed: int,
        is_guided: bool,
        progress: Progress,
    ) -> Tensor:
        """Clean latents (B, S, h, w, C)."""
        cells = scene.conditions.shape[2:4]
        shape = (STEPS, *cells, self.model.config.latent_channels)
        noise = torch.cat([member_noise(seed, [order.number], shape).first() for order in orders]).to(
            self.device
        )
        schedule = self.model.schedule
        levels = levels_of(schedule, even_timesteps(schedule.steps, steps))
        denoise = as_denoise(self._network(scene), schedule.at, "v")
        if is_guided:
            denoise = self._guided(denoise, scene, orders)
        return sample_dpm_solver_2m(
            denoise,
            levels.first_state(noise),
            levels,
            progress=lambda _, share: progress("drawing members", share),
        )

    @staticmethod
    def _own_sigmas(scene: Scene, seed: int, number: int) -> float | None:
        return drawn_sigmas(seed, number, scene.outlook.freedom) if scene.has_rain else None

    def _network(self, scene: Scene) -> Denoise:
        def predict(x: Tensor, t: Tensor) -> Tensor:
            with self._precision():
                return self.model.denoiser(x, t, scene.conditions).float()

        return predict

    def _guided(self, denoise: Denoise, scene: Scene, orders: Sequence[_Order]) -> Denoise:
        expectation = scene.expectation
        targets = [expectation.location + (order.sigmas or 0.0) * expectation.scale for order in orders]
        weights = scene.cells(self.model.config.cell)

        def quantity(x: Tensor, t: Tensor) -> Tensor:
            with self._precision():
                return self.model.aligned_mean(x, t, scene.conditions, scene.expected, weights)

        return guide_by_noisy_network(
            denoise,
            self.model.schedule.at,
            quantity,
            torch.tensor(targets, dtype=torch.float32, device=self.device),
            tolerance=TOLERANCE * expectation.scale,
        )

    @torch.inference_mode()
    def _finished(
        self, scene: Scene, order: _Order, latents: Tensor, seed: int, shape: tuple[int, int]
    ) -> Member:
        """One member's rain from its latents (S, h, w, C)."""
        with self._precision():
            mean, spread = self.model.autoencoder.decode(latents)
        white = member_noise(seed, [order.number], mean.shape)(TEXTURE_DRAW)[0].to(self.device)
        drawn = self.model.rescored(mean + spread * coloured(white, self.model.texture))
        scores = scene.scores_of_frames(drawn)
        if order.sigmas is None:
            rain, asked, shift = scene.frames.rain(scores), None, 0.0
            reached = float(region_mean(rain, scene.region))
        else:
            asked = scene.expectation.mean_at(order.sigmas)
            shifted = shift_to_mean(scene.frames, scores, scene.region, scene.weight, asked)
            rain, reached, shift = shifted.rain, shifted.mean, shifted.shift
        rain = rain.masked_fill(~scene.known, torch.nan)[:, : shape[0], : shape[1]]
        low, high = self.model.seen_sigmas.tolist()
        is_plausible = abs(shift) <= LARGEST_PLAUSIBLE_SHIFT and low <= (order.sigmas or 0.0) <= high
        return Member(order.number, order.sigmas, asked, reached, shift, is_plausible, rain.cpu().numpy())

    def forecast(self, past: np.ndarray, **scene: Any) -> np.ndarray:
        """The mean (L, H, W) of `default_members` members, seed 0; ``scene`` as for `forecast_ensemble`."""
        return mean_of_fields(self.forecast_ensemble(past, members=self.default_members, seed=0, **scene))

    def forecast_ensemble(
        self,
        past: np.ndarray,
        *,
        members: int,
        seed: int,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """Freely drawn members (M, L, H, W) in mm/h."""
        scene = self.open(
            past,
            interval_minutes=interval_minutes,
            pixel_km=pixel_km,
            lead_steps=lead_steps,
            progress=lambda stage, share: progress(stage, 0.2 * share),
        )
        drawn = self.draw(
            scene,
            members=range(members),
            sigmas=None,
            seed=seed,
            shape=(past.shape[1], past.shape[2]),
            progress=lambda stage, share: progress(stage, 0.2 + 0.8 * share),
        )
        return np.stack([member.rain for member in drawn])

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_half)

"""PreDiff as one object: autoencoder, denoiser, schedule and, for control, an alignment network.

Source: Gao et al. 2023 (PreDiff), section 3, and the facts about its published code. Shape letters: B batch,
M members, T frames of the context, T' of the future, H rows, W columns, C channels; h, w, c those of latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from geoscope.diffusion.guidance import (
    Quantity,
    guide_by_noisy_network,
    guide_through_denoiser,
    guide_through_estimate,
)
from geoscope.diffusion.levels import Denoise, Progress, StepNoise, levels_of
from geoscope.diffusion.losses import Kind, PublishedLoss, denoising_batch, min_snr_weights, published_loss
from geoscope.diffusion.noise import member_noise
from geoscope.diffusion.process import as_denoise
from geoscope.diffusion.published_guidance import batch_coupled_shift
from geoscope.diffusion.samplers.ancestral import sample_ddpm
from geoscope.diffusion.samplers.choice import sample
from geoscope.diffusion.schedules import Prediction, Schedule, make_schedule
from geoscope.diffusion.timesteps import even_timesteps
from geoscope.errors import ConfigError, ShapeError
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.denoiser import LatentDenoiser

Way = Literal["alignment", "denoiser", "estimate"]

SAMPLING_SHARE = 0.9  # of the time of a run; the rest is decoding


@dataclass(frozen=True, kw_only=True, eq=False)
class Guidance:
    """What the members shall be guided to; see `geoscope.diffusion.guidance` for the three ways.

    target: a number, (M,) or (M, K): one or K numbers for each member.
    quantity: (B,) or (B, K) of the clean latents (B, T', h, w, c); `LatentDiffusion.of_frames` makes one from a
        quantity of frames. None: the mean over the frames of what the alignment network says.
    way: through the "denoiser" (accurate, about three times the work), through its "estimate" (cheap), or by the
        "alignment" network's reading of the noisy state.
    tolerance: standard deviation about the target. strength: multiplies the move.
    """

    target: Tensor | float
    quantity: Quantity | None = None
    way: Way = "denoiser"
    tolerance: float = 0.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.way not in ("alignment", "denoiser", "estimate"):
            raise ConfigError(f"guidance way={self.way!r}: choose 'alignment', 'denoiser' or 'estimate'")
        if (self.quantity is None) != (self.way == "alignment"):
            raise ConfigError(
                f"guidance way={self.way!r} with quantity {'missing' if self.quantity is None else 'given'}: "
                "'alignment' takes none, the others need one"
            )

    def of(self, members: slice) -> "Guidance":
        """The same for some of the members."""
        if isinstance(self.target, Tensor) and self.target.ndim:
            return replace(self, target=self.target[members])
        return self


class LatentDiffusion(nn.Module):
    """A latent diffusion of future frames given past ones.

    prediction: what the denoiser was trained to say. latent_scale: what latents of the targets are multiplied by
    before they are noised; as published, those of the context are not. learned_log_variance: train a log variance for
    each step beside the denoiser (`published_loss`), as published.

    Raises:
        ConfigError: ``latent_scale`` is not above 0, or a prediction of the noise on a schedule whose last step has no
            signal.
    """

    def __init__(
        self,
        autoencoder: FrameAutoencoder,
        denoiser: LatentDenoiser,
        schedule: Schedule | None = None,
        *,
        alignment: AlignmentNetwork | None = None,
        prediction: Prediction = "eps",
        latent_scale: float = 1.0,
        learned_log_variance: bool = False,
    ) -> None:
        super().__init__()
        self.schedule = schedule or make_schedule()
        if not latent_scale > 0:
            raise ConfigError(f"latent_scale={latent_scale} must be above 0 (published: 1)")
        if prediction == "eps" and float(self.schedule.alpha[-1]) == 0.0:
            raise ConfigError(
                "prediction='eps' says nothing where the schedule's last step has no signal: train 'v' or 'x0'"
            )
        self.autoencoder, self.denoiser, self.alignment = autoencoder, denoiser, alignment
        self.prediction: Prediction = prediction
        self.latent_scale = latent_scale
        zeros = torch.zeros(self.schedule.steps) if learned_log_variance else None
        self.log_variance = None if zeros is None else nn.Parameter(zeros)

    def encode_context(self, frames: Tensor) -> Tensor:
        """Latents (B, T, h, w, c) of past ``frames`` (B, T, H, W, C): the posterior's mode, not scaled."""
        return self._posterior_latents(frames, None)

    def encode_targets(self, frames: Tensor, noise: Tensor) -> Tensor:
        """Latents of the future to be noised: a draw of the posterior with ``noise`` (B, T', h, w, c), scaled."""
        return self.latent_scale * self._posterior_latents(frames, noise)

    def decode(self, latents: Tensor) -> Tensor:
        """Frames (B, T', H, W, C) of ``latents`` (B, T', h, w, c), one frame at a time to bound memory; not clamped."""
        frames = rearrange(latents / self.latent_scale, "b t h w c -> (b t) c h w")
        decoded = self.autoencoder.decode(frames, frames_at_once=1)
        return rearrange(decoded, "(b t) c h w -> b t h w c", b=len(latents))

    def of_frames(self, quantity: Quantity) -> Quantity:
        """A quantity of decoded frames (B, T', H, W, C) as one of latents, for `Guidance`, through the decoder."""
        return lambda latents: quantity(self.decode(latents))

    def denoise(self, context: Tensor) -> Denoise:
        """The estimate of clean latents given the latents of the ``context`` (1, T, h, w, c) or (B, T, h, w, c)."""

        def network(x: Tensor, t: Tensor) -> Tensor:
            shared = len(context) == 1
            return self.denoiser(x, t, context.expand(len(x), *context.shape[1:]) if shared else context)

        return as_denoise(network, self.schedule.at, self.prediction)

    def training_loss(
        self,
        targets: Tensor,
        context: Tensor,
        t: Tensor,
        noise: Tensor,
        *,
        kind: Kind = "l2",
        elbo_weight: float = 0.0,
        snr_limit: float | None = None,
    ) -> PublishedLoss:
        """The published loss on latents at the steps ``t`` (B,).

        ``targets`` and ``noise`` are (B, T', h, w, c), ``context`` is (B, T, h, w, c). ``snr_limit``, not published,
        weighs samples by `min_snr_weights`; 5 is usual.
        """
        x, wanted = denoising_batch(self.schedule, targets, t, noise, self.prediction)
        weights = None
        if snr_limit is not None:
            weights = min_snr_weights(self.schedule, t, self.prediction, snr_limit)
        return published_loss(
            self.denoiser(x, t, context),
            wanted,
            t,
            self.schedule,
            log_variance=self.log_variance,
            weights=weights,
            kind=kind,
            prediction=self.prediction,
            elbo_weight=elbo_weight,
        )

    def guided(self, denoise: Denoise, guidance: Guidance) -> Denoise:
        """``denoise`` with guidance.

        Raises:
            ConfigError: the way is "alignment" and there is no alignment network.
        """
        if guidance.quantity is None:
            alignment = self._alignment()
            return guide_by_noisy_network(
                denoise,
                self.schedule.at,
                lambda x, t: alignment(x, t).mean(1),
                guidance.target,
                tolerance=guidance.tolerance,
                strength=guidance.strength,
            )
        guide = guide_through_denoiser if guidance.way == "denoiser" else guide_through_estimate
        return guide(
            denoise,
            self.schedule.at,
            guidance.quantity,
            guidance.target,
            tolerance=guidance.tolerance,
            strength=guidance.strength,
        )

    @torch.no_grad()
    def sample(
        self,
        context: Tensor,
        members: int | Sequence[int] = 1,
        *,
        sampler: str = "dpm++2m",
        steps: int = 20,
        seed: int = 0,
        eta: float = 0.0,
        guidance: Guidance | None = None,
        members_at_once: int | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Members (M, T', H, W, C) of the future of one ``context`` (T, H, W, C), which is encoded once.

        A member's noise depends on ``seed`` and its number alone: whatever else is in the batch, it is the same to
        rounding. ``members`` lists numbers where not the first so many are wanted; a number that comes twice has the
        same noise twice, as for scenarios that differ in what they are guided to. ``steps`` of the schedule are
        visited, evenly, from its last on. ``members_at_once`` bounds memory. ``sampler`` and ``eta`` as in
        `geoscope.diffusion.samplers.choice.sample`.

        Raises:
            ShapeError: the context is not (T, H, W, C) or does not fit the networks.
            ConfigError: no member, no step, an unknown sampler, or guidance that does not fit.
            Cancelled: ``progress`` asked to stop.
        """
        numbers = tuple(range(members)) if isinstance(members, int) else tuple(members)
        if not numbers:
            raise ConfigError(f"members={members} must be 1 or more, or a list of numbers")
        count = len(numbers) if members_at_once is None else members_at_once
        if count < 1:
            raise ConfigError(f"members_at_once={members_at_once} must be 1 or more, or None for all")
        if context.ndim != 4:
            raise ShapeError(f"context has shape {tuple(context.shape)}: expected one event (T, H, W, C)")
        levels = levels_of(self.schedule, even_timesteps(self.schedule.steps, steps))
        report = progress or (lambda stage, share: None)
        report("encoding the past", 0.0)
        latents = self.encode_context(context[None])
        parts = [slice(start, start + count) for start in range(0, len(numbers), count)]
        done: list[Tensor] = []
        for place, part in enumerate(parts):
            within = _within(report, place / len(parts), 1 / len(parts))
            denoise = self.denoise(latents)
            if guidance is not None:
                denoise = self.guided(denoise, guidance.of(part))
            noise = member_noise(seed, numbers[part], self._latent_shape(latents), latents)
            sampling = _within(within, 0.0, SAMPLING_SHARE)
            end = sample(
                sampler, denoise, noise.first(), levels, step_noise=noise, eta=eta, progress=sampling
            )
            done.append(self._decoded(end, _within(within, SAMPLING_SHARE, 1 - SAMPLING_SHARE)))
        report("sampled", 1.0)
        return torch.cat(done)

    @torch.no_grad()
    def sample_as_published(
        self,
        context: Tensor,
        start: Tensor,
        step_noise: StepNoise,
        *,
        target: Tensor | float | None = None,
        strength: float = 50.0,
        first_step: int | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """The future (B, T', H, W, C) of a batch of contexts (B, T, H, W, C) as the published code samples it.

        Every step of the schedule by DDPM, from the state ``start`` (B, T', h, w, c) at the last of them, or at
        ``first_step`` - 1. ``target`` (B, 1) switches on the published knowledge alignment, in which the samples of a
        batch pull at one another (`geoscope.diffusion.published_guidance`).

        Raises:
            ConfigError: a target without an alignment network, or ``first_step`` is not from 1 to the schedule's steps.
            Cancelled: ``progress`` asked to stop.
        """
        steps = self.schedule.steps if first_step is None else first_step
        if not 1 <= steps <= self.schedule.steps:
            raise ConfigError(f"first_step={first_step} must be from 1 to {self.schedule.steps}")
        latents = sample_ddpm(
            self.denoise(self.encode_context(context)),
            start,
            levels_of(self.schedule, torch.arange(steps)),
            step_noise,
            variance_mix=self.schedule.variance_mix,
            shift=None if target is None else batch_coupled_shift(self._alignment(), target, strength),
            progress=progress,
        )
        return self.decode(latents)

    def _posterior_latents(self, frames: Tensor, noise: Tensor | None) -> Tensor:
        if frames.ndim != 5:
            raise ShapeError(f"frames have shape {tuple(frames.shape)}: expected (B, T, H, W, C)")
        posterior = self.autoencoder.encode(rearrange(frames, "b t h w c -> (b t) c h w"))
        drawn = posterior.mode()
        if noise is not None:
            drawn = posterior.sample(rearrange(noise, "b t h w c -> (b t) c h w"))
        return rearrange(drawn, "(b t) c h w -> b t h w c", b=len(frames))

    def _latent_shape(self, context: Tensor) -> tuple[int, ...]:
        return (self.denoiser.config.target_shape[0], *context.shape[2:])

    def _alignment(self) -> AlignmentNetwork:
        if self.alignment is None:
            raise ConfigError(
                "guidance by the alignment network, and there is none: give the LatentDiffusion an alignment, or "
                "guide a quantity through the denoiser"
            )
        return self.alignment

    def _decoded(self, latents: Tensor, report: Progress) -> Tensor:
        frames: list[Tensor] = []
        for step in range(latents.shape[1]):
            report("decoding", step / latents.shape[1])
            frames.append(self.decode(latents[:, step : step + 1]))
        return torch.cat(frames, dim=1)


def _within(report: Progress, start: float, length: float) -> Progress:
    """``report`` for a part of the work that begins at the share ``start`` and takes ``length`` of it."""
    return lambda stage, share: report(stage, start + length * share)

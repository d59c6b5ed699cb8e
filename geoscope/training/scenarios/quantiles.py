"""The quantiles of scores that members draw beside those of the truth: what is left of the distance is mapped away."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geoscope.diffusion.levels import levels_of
from geoscope.diffusion.process import as_denoise
from geoscope.diffusion.samplers.dpm_solver import sample_dpm_solver_2m
from geoscope.diffusion.timesteps import even_timesteps
from geoscope.models.scenarios.config import STEPS
from geoscope.models.scenarios.forecast import SAMPLER_STEPS
from geoscope.models.scenarios.networks import ScenarioModel
from geoscope.models.scenarios.texture import coloured
from geoscope.training.scenarios.cases import Case

LEVELS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
LARGEST_CELLS = 20  # of the part of a case that is drawn
LEAST_PIXELS = 2000  # of a case with likely rain
MOST_PIXELS = 20_000
LIKELY = 0.5
TOLD_MM_H = (0.1, 1.0, 5.0)  # the shares that conditions begin with


@torch.no_grad()
def drawn_and_seen(model: ScenarioModel, cases: Sequence[Case], seed: int) -> tuple[Tensor, Tensor] | None:
    """Quantiles at `LEVELS` of freely drawn scores and of true ones, in cells where rain is likely, of a case an event.

    Likely is what the source can tell: rain above its lowest believed rate. None where no case has enough of it.
    """
    by_event: dict[str, list[Case]] = {}
    for case in cases:
        by_event.setdefault(case.event, []).append(case)
    drawn, seen = [], []
    for number, event in enumerate(sorted(by_event)):
        random = np.random.default_rng((seed, number))
        group = by_event[event]
        found = _of_case(model, group[random.integers(len(group))], random)
        if found is not None:
            drawn.append(found[0])
            seen.append(found[1])
    if not drawn:
        return None
    first, second = (np.quantile(np.concatenate(values), LEVELS) for values in (drawn, seen))
    return torch.from_numpy(first).float(), torch.from_numpy(second).float()


def _of_case(
    model: ScenarioModel, case: Case, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    config, device = model.config, model.texture.device
    even = config.multiple // config.cell
    rows, columns = (min(LARGEST_CELLS, length) // even * even for length in (case.rows, case.columns))
    conditions = case.cut("conditions", slice(rows), slice(columns))
    scores = case.cut("scores", slice(rows * config.cell), slice(columns * config.cell))
    told = next((place for place, rate in enumerate(TOLD_MM_H) if rate >= case.low_mm_h), len(TOLD_MM_H) - 1)
    likely = conditions[1:, ..., told] > LIKELY
    counts = np.isfinite(scores) & likely.repeat(config.cell, axis=1).repeat(config.cell, axis=2)
    if counts.sum() < LEAST_PIXELS:
        return None
    noise = random.standard_normal((1, STEPS, rows, columns, config.latent_channels), dtype=np.float32)
    latents = _latents(
        model, torch.from_numpy(conditions)[None].to(device), torch.from_numpy(noise).to(device)
    )
    mean, spread = model.autoencoder.decode(latents)
    white = torch.from_numpy(random.standard_normal(scores.shape, dtype=np.float32)).to(device)
    members = (mean + spread * coloured(white, model.texture)).cpu().numpy()
    chosen = random.permutation(int(counts.sum()))[:MOST_PIXELS]
    return members[counts][chosen], scores[counts][chosen]


def _latents(model: ScenarioModel, conditions: Tensor, noise: Tensor) -> Tensor:
    """Of one member, (S, h, w, C), without guidance."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        return model.denoiser(x, t, conditions).float()

    schedule = model.schedule
    levels = levels_of(schedule, even_timesteps(schedule.steps, SAMPLER_STEPS))
    return sample_dpm_solver_2m(as_denoise(network, schedule.at, "v"), levels.first_state(noise), levels)[0]

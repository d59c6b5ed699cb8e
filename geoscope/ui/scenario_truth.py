"""What happened, held against the scenarios: where it lies in the forecast distribution, and which n was closest."""

from dataclasses import dataclass

import numpy as np

from geoscope.inference.scenarios import ScenarioSource
from geoscope.metrics.continuous import mean_absolute_error, sum_errors
from geoscope.metrics.ensemble import crps, sum_ensemble
from geoscope.ui.places import region_mask
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.viz.scenario_outlook import density

REACH, POINTS = 12.0, 4001  # of the integral over n


@dataclass(frozen=True, eq=False)
class Truth:
    """The observed frames (L, H, W) of the leads, their mean in mm/h over the region, and the n at which it lies."""

    rain: np.ndarray
    mask: np.ndarray
    mean: float
    sigma: float


@dataclass(frozen=True)
class Verdict:
    """Scores of the members at one n against what happened, pixel by pixel over the region, mm/h."""

    sigma: float
    members: int
    achieved: float
    error: float
    crps: float


def truth_of(desk: ScenarioDesk) -> Truth | None:
    """What happened over the leads of the case; None while it is hidden, or where a frame was not observed."""
    case, field = desk.case, desk.field
    if case is None or field is None or not desk.state.shows_truth:
        return None
    asked = case.question
    if asked.data != field.digest or asked.issue_index + asked.lead_steps >= field.frames:
        return None
    rain = field.rain.values[asked.issue_index + 1 : asked.issue_index + 1 + asked.lead_steps]
    mask = region_mask(field, asked.area)
    mask = np.ones(rain.shape[1:], dtype=bool) if mask is None else mask
    inside = rain[:, mask]
    if not np.isfinite(inside).any():
        return None
    mean = float(np.nanmean(inside))
    return Truth(rain, mask, mean, case.source.sigma_of(mean))


def verdicts(desk: ScenarioDesk, truth: Truth) -> list[Verdict]:
    """Scores of every n whose members are all there, by n."""
    case, state = desk.case, desk.state
    found = []
    seen = truth.rain[:, truth.mask]
    for sigma in case.sigmas(state.steps):
        members = case.refined(sigma, state.members, state.steps)
        if len(members) < state.members:
            continue
        rain = np.stack([one.rain[:, truth.mask] for one in members])
        error = mean_absolute_error(sum_errors(rain.mean(axis=0), seen))
        score = crps(sum_ensemble(rain, seen))
        achieved = float(np.mean([one.achieved_mean for one in members]))
        found.append(Verdict(sigma, len(members), achieved, float(error), float(score)))
    return found


def outlook_crps(source: ScenarioSource, truth_mean: float) -> float:
    """CRPS in mm/h of the forecast distribution of the mean rain against the mean that fell."""
    sigmas = np.linspace(-REACH, REACH, POINTS)
    weights = density(sigmas, source.expectation.freedom)
    below = np.cumsum(weights) / weights.sum()
    means = 0.1 * np.expm1(np.maximum(source.expectation.location + sigmas * source.expectation.scale, 0.0))
    gaps = (below - (means >= truth_mean)) ** 2
    tail = max(truth_mean - float(means[-1]), 0.0)
    return float(np.sum(0.5 * (gaps[1:] + gaps[:-1]) * np.diff(means))) + tail

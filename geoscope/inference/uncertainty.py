"""Members and probabilities: what `geoscope.nowcast` gives beyond one field.

Shape letters: M members, L leads, K thresholds, H rows, W columns. NaN is no data throughout.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from geoscope.errors import ConfigError
from geoscope.models.baselines.field_mean import mean_of_fields

THRESHOLDS_MM_H = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
MOST_SEED = 2**32 - 1  # what numpy's and torch's generators both take
MOST_BYTES = 8e9  # of a forecast held in memory

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Asked:
    """What the caller wants: members or None, the seed, rising thresholds in mm/h or None for no probabilities."""

    members: int | None
    seed: int
    thresholds: tuple[float, ...] | None


@dataclass(frozen=True)
class Given:
    """What the model gave: ``rain`` (L, H, W) or (M, L, H, W), ``probability`` (K, L, H, W) or None.

    ``drawn`` counts the members behind it and ``seed`` is theirs; None where no random number was drawn.
    """

    rain: np.ndarray
    probability: np.ndarray | None = None
    drawn: int | None = None
    seed: int | None = None


def read_request(
    members: int | None, seed: int, probabilities: bool | Sequence[float], shape: tuple[int, int, int]
) -> Asked:
    """The checked request for a forecast of ``shape`` (L, H, W).

    Raises:
        ConfigError: members, a seed or thresholds that cannot be used, or more frames than memory should hold.
    """
    if members is not None and not is_whole(members, 1):
        raise ConfigError(
            f"members={members!r} must be a whole number, 1 or more, or None for a single field"
        )
    most = int(MOST_BYTES // (4 * shape[1] * shape[2]))  # frames
    if shape[0] > most:
        raise ConfigError(
            f"lead_steps={shape[0]} of {shape[1]} x {shape[2]} pixels do not fit in {MOST_BYTES / 1e9:g} GB: "
            f"ask for at most {most}, or for a smaller cut"
        )
    if members is not None and members > most // shape[0]:
        raise ConfigError(
            f"members={members} of {shape[0]} frames of {shape[1]} x {shape[2]} pixels do not fit in "
            f"{MOST_BYTES / 1e9:g} GB: ask for at most {most // shape[0]}, for fewer leads or for a smaller cut"
        )
    if not is_whole(seed, 0) or seed > MOST_SEED:
        raise ConfigError(f"seed={seed!r} must be a whole number from 0 to {MOST_SEED}")
    return Asked(None if members is None else int(members), int(seed), _thresholds(probabilities))


def _thresholds(probabilities: bool | Sequence[float]) -> tuple[float, ...] | None:
    if isinstance(probabilities, bool | np.bool_):
        return THRESHOLDS_MM_H if probabilities else None
    try:
        levels = tuple(float(level) for level in probabilities)
    except (TypeError, ValueError):
        levels = ()
    is_rising = all(low < high for low, high in pairwise((0.0, *levels)))
    if not levels or not is_rising or not np.isfinite(levels).all():
        raise ConfigError(
            f"probabilities={probabilities!r} must be True or rising rain rates above 0 in mm/h, such as "
            "[0.5, 1, 5]"
        )
    return levels


def run(runner: Any, past: np.ndarray, asked: Asked, progress: Progress, **scene: Any) -> Given:
    """Have ``runner`` forecast what was ``asked``; ``scene`` is the interval, the pixel size and the leads.

    Members come from `forecast_ensemble`. Probabilities come from `forecast_probabilities`, else they are the share
    of the members. An ensemble model (one with `default_members`) that is asked for one field gives the mean of its
    members, over those with data at a pixel.

    Raises:
        ConfigError: the model has neither members nor probabilities, and is asked for them.
    """
    count = asked.members
    default: int | None = getattr(runner, "default_members", None)
    is_calibrated = hasattr(runner, "forecast_probabilities")
    if count is None and (asked.thresholds is None or not is_calibrated):
        count = default
    if count is None:
        if asked.thresholds is None:
            return Given(runner.forecast(past, progress=progress, **scene))
        if not is_calibrated:
            raise ConfigError(_refusal(runner, "probabilities"))
        rain, probability = runner.forecast_probabilities(
            past, thresholds_mm_h=asked.thresholds, progress=progress, **scene
        )
        return Given(rain, np.clip(probability, 0.0, 1.0))
    if not hasattr(runner, "forecast_ensemble"):
        raise ConfigError(_refusal(runner, "members"))
    rain = np.asarray(
        runner.forecast_ensemble(past, members=count, seed=asked.seed, progress=progress, **scene)
    )
    probability = None if asked.thresholds is None else share_of_members(rain, asked.thresholds)
    if asked.members is None:
        rain = mean_of_fields(rain)
    return Given(rain, probability, count, asked.seed)


def is_whole(value: Any, least: int) -> bool:
    """Whether ``value`` is a whole number, ``least`` or more; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return float(value) >= least and float(value) % 1 == 0


def _refusal(runner: Any, what: str) -> str:
    if what == "probabilities" and hasattr(runner, "forecast_ensemble"):
        return (
            f"{runner.card.name} gives no probabilities without members: ask for members, such as members=20"
        )
    return f"{runner.card.name} gives no {what}: use an ensemble such as model='pysteps-steps', or leave {what} out"


def share_of_members(rain: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """The share (K, L, H, W) of members (M, L, H, W) at or above each threshold; NaN where no member has data."""
    count = np.isfinite(rain).sum(axis=0)
    shares = np.empty((len(thresholds), *rain.shape[1:]), np.float32)
    for index, level in enumerate(thresholds):
        hits = (rain >= np.float32(level)).sum(axis=0)
        shares[index] = np.where(count > 0, hits / np.maximum(count, 1), np.nan)
    return shares

"""Models held against each other on real events: the same frames, pixels, issue times and leads for all.

At each issue time every model sees the same past and is scored on the same pixels of the same frames. A pixel where a
model says nothing (what flows in from outside) counts as dry, as a user would read it, so that all answer for the same
pixels; pixels without truth do not count. An issue time that one model refuses is left out for all.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.data.events import EventSource
from geoscope.errors import ConfigError, DataError
from geoscope.inference.loading import Nowcaster, choose_device, load_model
from geoscope.inference.nowcast import nowcast
from geoscope.inference.peak_memory import peak_memory
from geoscope.inference.uncertainty import is_whole
from geoscope.metrics.accumulate import Verification

Progress = Callable[[str, float], None]
LEAST_MINUTES, SPARSE_MINUTES, SPARSE_FRAMES = 60.0, 30.0, 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a benchmark is run.

    minutes: the furthest lead; None is one hour, or three frames where frames are half an hour apart or more.
    every: minutes between issue times. history: past frames that a model may see; events with fewer start with less.
    size: the middle so many pixels a side, None the whole field. members: draw so many and score them as an ensemble.
    """

    minutes: float | None = None
    every: float = 30.0
    history: int = 13
    thresholds: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    scales: tuple[int, ...] = (1, 4, 16)
    size: int | None = None
    members: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ConfigError(f"{name}={value!r} must be a number of minutes above 0")
        for name, least in (("history", 1), ("size", 8), ("members", 1)):
            value = getattr(self, name)
            if value is not None and not is_whole(value, least):
                raise ConfigError(f"{name}={value!r} must be a whole number, {least} or more")


@dataclass
class EventScores:
    """What was counted on one event: for each model one verification and the wall time for each issue time."""

    name: str
    interval_minutes: float
    pixel_km: float
    leads: int
    by_model: dict[str, list[Verification]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def issues(self) -> int:
        """Issue times that all models forecast."""
        return min((len(each) for each in self.by_model.values()), default=0)


@dataclass
class Benchmark:
    """The outcome: events in the order given, the most memory (MB) while each model ran, and what was left out."""

    settings: Settings
    models: tuple[str, ...]
    events: list[EventScores]
    memory_mb: dict[str, float]
    notes: list[str]


def run(
    sources: Sequence[EventSource],
    models: Sequence[str],
    settings: Settings | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Benchmark:
    """Hold ``models``, names of nowcasters, against each other on the events of ``sources``.

    ``progress(stage, share)`` is called as often as the models do and may raise `Cancelled`.

    Raises:
        ConfigError: no model, one twice, an unknown one or a bare network; an option that cannot work, members of
            models that give none among them.
        DataError: no event that all models could forecast; the message says what was in the way.
    """
    settings = settings or Settings()
    report = progress or (lambda stage, share: None)
    if not sources or not models or len(set(models)) != len(models):
        raise ConfigError(
            f"a benchmark needs events and different models, got {len(sources)} and {list(models)}"
        )
    device = choose_device(device)
    runners: dict[str, Nowcaster] = {name: load_model(name, device) for name in models}
    for name, runner in runners.items():
        if not hasattr(runner, "forecast"):
            raise ConfigError(f"model {name!r} is a bare network, not a nowcaster: see geoscope models")
    if settings.members is not None and not any(
        hasattr(one, "forecast_ensemble") for one in runners.values()
    ):
        raise ConfigError(
            f"members={settings.members}: none of {', '.join(models)} gives members; add an ensemble such as "
            "pysteps-steps, or leave members out"
        )
    Verification(settings.thresholds, scales=settings.scales)  # refuses thresholds before any work
    outcome = Benchmark(settings, tuple(models), [], dict.fromkeys(models, 0.0), [])
    for index, source in enumerate(sources):

        def tell(stage: str, share: float, index: int = index, name: str = source.name) -> None:
            report(f"{name}: {stage}", (index + share) / len(sources))

        tell("reading", 0.0)
        scores = _score_event(source, runners, outcome, tell)
        if scores is not None:
            outcome.events.append(scores)
    if not outcome.events:
        raise DataError("no event could be forecast by all models: " + "; ".join(outcome.notes))
    report("done", 1.0)
    return outcome


def _score_event(
    source: EventSource, runners: dict[str, Nowcaster], outcome: Benchmark, tell: Progress
) -> EventScores | None:
    settings = outcome.settings
    rain = _middle(source.open(), settings.size)
    step = grids.interval_minutes(rain)
    leads = _lead_steps(settings.minutes, step)
    needed = max(runner.min_frames for runner in runners.values())
    issues = issue_indices(len(rain), leads, step, settings, needed)
    if not issues:
        outcome.notes.append(
            f"{source.name} is too short: it has {len(rain)} frames for {needed} of the past and {leads} leads"
        )
        return None
    scores = EventScores(source.name, step, float(np.mean(grids.pixel_size_km(rain))), leads)
    refused: dict[str, int] = {}
    for place, issue in enumerate(issues):

        def part(stage: str, share: float, place: int = place) -> None:
            tell(stage, (place + share) / len(issues))

        past = rain.isel(time=slice(max(0, issue - settings.history), issue))
        try:
            made = dict(_forecasts(past, leads, runners, outcome, part))
        except DataError as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
            continue
        truth = rain.isel(time=slice(issue, issue + leads)).values
        for name, (forecast, seconds) in made.items():
            scores.by_model.setdefault(name, []).append(_count(forecast, truth, settings))
            scores.seconds.setdefault(name, []).append(seconds)
    for message, count in refused.items():
        outcome.notes.append(
            f"{source.name}: {count} of {len(issues)} issue times left out for all: {message}"
        )
    return scores if scores.by_model else None


def _middle(rain: xr.DataArray, size: int | None) -> xr.DataArray:
    """The middle ``size`` pixels of a field, in memory."""
    if size is not None:
        top, left = (max((length - size) // 2, 0) for length in rain.shape[1:])
        rain = rain.isel(y=slice(top, top + size), x=slice(left, left + size))
    return rain.load()


def _lead_steps(minutes: float | None, step: float) -> int:
    if minutes is None:
        return SPARSE_FRAMES if step >= SPARSE_MINUTES else max(1, round(LEAST_MINUTES / step))
    return max(1, int(minutes / step + 1e-6))


def issue_indices(frames: int, leads: int, step: float, settings: Settings, needed: int) -> range:
    """How many frames are past at each issue time, `settings.every` apart, so that all leads have their truth.

    The first has the whole history, or in an event too short for that as much as the leads leave, but no fewer than
    ``needed``.
    """
    first = max(needed, min(settings.history, frames - leads))
    return range(first, frames - leads + 1, max(1, round(settings.every / step)))


def _forecasts(
    past: xr.DataArray, leads: int, runners: dict[str, Nowcaster], outcome: Benchmark, tell: Progress
) -> Iterator[tuple[str, tuple[xr.DataArray | xr.Dataset, float]]]:
    settings = outcome.settings
    for place, (name, runner) in enumerate(runners.items()):

        def part(stage: str, share: float, place: int = place, name: str = name) -> None:
            tell(f"{name}: {stage}", (place + share) / len(runners))

        members = settings.members if hasattr(runner, "forecast_ensemble") else None
        chances = settings.thresholds if hasattr(runner, "forecast_probabilities") else False
        started = time.perf_counter()
        with peak_memory() as peak:
            forecast = nowcast(
                past,
                runner,
                lead_steps=leads,
                members=members,
                seed=settings.seed,
                progress=part,
                probabilities=chances,
            )
        seconds = time.perf_counter() - started
        outcome.memory_mb[name] = max(outcome.memory_mb[name], peak.megabytes)
        yield name, (forecast, seconds)


def _count(made: xr.DataArray | xr.Dataset, truth: np.ndarray, settings: Settings) -> Verification:
    counted = Verification(settings.thresholds, scales=settings.scales)
    if isinstance(made, xr.Dataset):
        chance = made["exceedance_probability"]
        counted.update_probabilities(chance.values, truth, chance["lead_time"].values)
        forecast = made[next(name for name in made.data_vars if name != chance.name)]
    else:
        forecast = made
    leads = forecast["lead_time"].values
    said = np.nan_to_num(forecast.values, copy=False)
    if "member" in forecast.dims:
        return counted.update_ensemble(said, truth, leads)
    return counted.update(said, truth, leads)

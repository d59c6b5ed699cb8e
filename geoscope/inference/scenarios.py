"""`geoscope.scenarios`: what if it rains n sigma more, or less, than the past lets expect?"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.errors import ConfigError, DataError
from geoscope.inference.field_request import (
    MAX_HISTORY,
    as_field,
    check_against_card,
    lead_frames,
    past_frames,
    pixel_size,
    run_card,
)
from geoscope.inference.loading import load_model
from geoscope.inference.regions import Region, region_weights
from geoscope.inference.uncertainty import MOST_BYTES, MOST_SEED, is_whole

Progress = Callable[[str, float], None]
MOST_SIGMAS = 6.0  # beyond it nothing that a model has seen says what the weather would be
MOST_STEPS = 1000
DEFAULT_SIGMAS = (-4.0, -2.0, 0.0, 2.0, 4.0)


@dataclass(frozen=True)
class Scenario:
    """One member of one scenario: ``rain`` (time, y, x) in the field's units, and what was asked and achieved."""

    sigma: float
    member: int
    asked_mean: float
    achieved_mean: float
    shift: float
    is_plausible: bool
    rain: np.ndarray


class ScenarioSource:
    """The context of scenarios, worked out once; draws any of them at any time. Made by `prepare_scenarios`.

    mu: the mean rain in mm/h over region and frames that lies in the middle of the forecast distribution.
    """

    def __init__(
        self, runner: Any, scene: Any, rain: xr.DataArray, past: xr.DataArray, step: float, leads: int
    ) -> None:
        self.runner, self.scene = runner, scene
        self.rain, self.past, self.step, self.leads = rain, past, step, leads
        self.expectation = scene.expectation

    @property
    def mu(self) -> float:
        """What is asked at n = 0, in mm/h."""
        return self.asked_mean(0.0)

    def asked_mean(self, sigma: float) -> float:
        """The mean rain in mm/h that n = ``sigma`` asks for."""
        return float(self.expectation.mean_at(sigma))

    def sigma_of(self, mean_mm_h: float) -> float:
        """The n at which a mean rain stands."""
        return float(self.expectation.sigmas_of(mean_mm_h))

    def probability_beyond(self, sigma: float) -> float:
        """The probability of more rain than at n = ``sigma`` (of less where it is negative), from the fitted tail."""
        return float(self.expectation.probability_beyond(sigma))

    def draw(
        self,
        sigmas: Sequence[float],
        members: int | Sequence[int] = 1,
        *,
        steps: int = 10,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Iterator[Scenario]:
        """Scenarios as they get ready, member by member and within it by sigma, as these are listed.

        ``members`` is a count, or the numbers of members. Arguments and errors as in `scenarios`.
        """
        asked = check_sigmas(sigmas)
        numbers = list(range(members)) if isinstance(members, int) else list(members)
        check_counts(len(numbers), steps, seed)
        drawn = self.runner.draw(
            self.scene,
            members=numbers,
            sigmas=asked,
            steps=steps,
            seed=seed,
            shape=self.past.shape[1:],
            progress=progress or (lambda stage, share: None),
        )
        for member in drawn:
            yield Scenario(
                member.sigmas,
                member.number,
                member.asked_mean,
                member.achieved_mean,
                member.shift,
                member.is_plausible,
                member.rain,
            )

    def field(self, drawn: Sequence[Scenario], **told: Any) -> xr.DataArray:
        """Scenarios as one field (sigma, member, time, y, x); see `scenarios`. ``told`` goes to the run card.

        Raises:
            ConfigError: a combination of sigma and member is missing.
        """
        sigmas = sorted({each.sigma for each in drawn})
        members = sorted({each.member for each in drawn})
        by_key = {(each.sigma, each.member): each for each in drawn}
        if len(by_key) != len(sigmas) * len(members):
            raise ConfigError(
                f"{len(by_key)} scenarios do not make a table of {len(sigmas)} sigmas by {len(members)} members: "
                "draw every member at every sigma"
            )
        table = [[by_key[sigma, member] for member in members] for sigma in sigmas]
        values = np.stack([np.stack([each.rain for each in row]) for row in table])
        result = as_field(values, self.rain, self.past, self.step, self.leads)
        units = str(self.rain.attrs.get("units", "mm/h"))

        def of_each(name: str) -> tuple[tuple[str, str], np.ndarray]:
            return ("sigma", "member"), np.array([[getattr(each, name) for each in row] for row in table])

        result = result.assign_coords(
            sigma=("sigma", np.array(sigmas), {"long_name": "asked departure from the expected mean rain"}),
            member=("member", np.array(members), {"standard_name": "realization"}),
            asked_mean=("sigma", np.array([row[0].asked_mean for row in table]), {"units": units}),
            probability=(
                "sigma",
                np.array([self.probability_beyond(sigma) for sigma in sigmas]),
                {"long_name": "probability of a mean rain beyond the asked one", "units": "1"},
            ),
            achieved_mean=(*of_each("achieved_mean"), {"units": units}),
            shift=(
                *of_each("shift"),
                {"long_name": "what the exact part of the control added to the scores"},
            ),
            plausible=(*of_each("is_plausible"), {"long_name": "within what training has seen"}),
            mu=((), self.mu, {"units": units, "long_name": "expected mean rain over the region"}),
        )
        expectation = self.expectation
        result.attrs["model"] = self.runner.card.name
        result.attrs["outlook"] = json.dumps(
            {
                "space": "log(1 + mean rain / 0.1 mm/h)",
                "location": expectation.location,
                "scale": expectation.scale,
                "degrees_of_freedom": expectation.freedom,
            },
            sort_keys=True,
        )
        result.attrs["run_card"] = json.dumps(told, sort_keys=True)
        return result


def prepare_scenarios(
    rain: xr.DataArray,
    model: Any = "prediff-nowcast",
    issue_time: np.datetime64 | str | None = None,
    lead_steps: int | None = None,
    *,
    region: Region = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> ScenarioSource:
    """What all scenarios of a case share, worked out once: the nowcaster's distributions, mu and sigma.

    Arguments and errors as in `scenarios`.
    """
    report = progress or (lambda stage, share: None)
    report("reading the field", 0.0)
    past = past_frames(rain, issue_time)
    step = grids.interval_minutes(rain)
    pixel = float(np.mean(pixel_size(rain)))
    leads = lead_frames(lead_steps, step)
    if not (np.nan_to_num(past.values[-1]) > 0).any():
        raise DataError(
            f"the frame at {str(past['time'].values[-1])[:16]} UTC is dry: mu and sigma are undefined without rain; "
            "choose another issue time, or take gs.nowcast"
        )
    weights = region_weights(rain, region)
    report("loading the model", 0.05)
    runner = load_model(model, device) if isinstance(model, str) else model
    if not hasattr(runner, "draw"):
        raise ConfigError(f"{runner.card.name} draws no scenarios: take model='prediff-nowcast'")
    check_against_card(runner, past, step, pixel, leads)
    scene = runner.open(
        np.ascontiguousarray(past.values[-MAX_HISTORY:], dtype=np.float32),
        interval_minutes=step,
        pixel_km=pixel,
        lead_steps=leads,
        region=weights,
        progress=lambda stage, share: report(stage, 0.1 + 0.9 * share),
    )
    return ScenarioSource(runner, scene, rain, past, step, leads)


def scenarios(
    rain: xr.DataArray,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    members: int = 4,
    steps: int = 10,
    seed: int = 0,
    model: Any = "prediff-nowcast",
    issue_time: np.datetime64 | str | None = None,
    lead_steps: int | None = None,
    *,
    region: Region = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> xr.DataArray:
    """Members of ``rain``'s future whose mean rain lies n = ``sigmas`` from the expected one.

    mu and sigma are those of a forecast of the mean rain over ``region`` (all of the field where it is None) and over
    the frames ahead, made from the frames up to ``issue_time`` alone, in a transformed space in which its errors are
    alike: no n asks for negative rain. For each n every member is drawn from the same noise, so that scenarios of a
    member differ in what was asked only. ``steps`` are those of the sampler.

    The result is (sigma, member, time, y, x) in the units of ``rain``, with the coordinates asked_mean and probability
    (sigma), achieved_mean, shift and plausible (sigma, member), mu, lead_time and forecast_reference_time, and a run
    card. ``region`` is a mask or weights (y, x), a polygon [(x, y), ...] in the field's own coordinates, or a GeoJSON
    mapping in degrees. Same ``seed``, same members, whatever else is asked beside them.

    Raises:
        ConfigError: sigmas that are no numbers or beyond 6, members or steps below 1, a seed that is none, a region
            outside the field, a model that draws no scenarios, or more than memory should hold.
        DataError: a field that the model cannot take, or one without rain: mu and sigma are undefined there.
        WeightsError: the weights are missing or fail their self-check. Cancelled: ``progress`` asked to stop.
    """
    started = time.perf_counter()
    asked = check_sigmas(sigmas)
    check_counts(members, steps, seed)
    step = grids.interval_minutes(rain)
    check_memory(len(asked) * members, lead_frames(lead_steps, step), rain.shape[-2:])
    report = progress or (lambda stage, share: None)
    source = prepare_scenarios(
        rain,
        model,
        issue_time,
        lead_steps,
        region=region,
        device=device,
        progress=lambda stage, share: report(stage, 0.2 * share),
    )
    drawn = source.draw(
        asked,
        members,
        steps=steps,
        seed=seed,
        progress=lambda stage, share: report(stage, 0.2 + 0.8 * share),
    )
    result = source.field(list(drawn))
    pixel = float(np.mean(pixel_size(rain)))
    card = run_card(source.runner, source.past, step, pixel, device, time.perf_counter() - started)
    result.attrs["run_card"] = json.dumps(card | {"seed": seed, "steps": steps}, sort_keys=True)
    report("done", 1.0)
    return result


def check_sigmas(sigmas: Sequence[float]) -> tuple[float, ...]:
    """The sigmas as rising numbers, each once.

    Raises:
        ConfigError: none, one that is no number, or one beyond `MOST_SIGMAS`.
    """
    try:
        numbers = tuple(sorted({float(each) for each in sigmas}))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(math.isfinite(each) and abs(each) <= MOST_SIGMAS for each in numbers):
        raise ConfigError(
            f"sigmas={sigmas!r} must be one or more numbers from {-MOST_SIGMAS:g} to {MOST_SIGMAS:g}, such as "
            "(-2, 0, 2)"
        )
    return numbers


def check_counts(members: int, steps: int, seed: int) -> None:
    """Refuse a number of members or sampler steps below 1, or a seed that is none, with ConfigError."""
    if not is_whole(members, 1):
        raise ConfigError(f"members={members!r} must be a whole number, 1 or more")
    if not is_whole(steps, 1) or steps > MOST_STEPS:
        raise ConfigError(f"steps={steps!r} must be a whole number from 1 to {MOST_STEPS}; 10 are usual")
    if not is_whole(seed, 0) or seed > MOST_SEED:
        raise ConfigError(f"seed={seed!r} must be a whole number from 0 to {MOST_SEED}")


def check_memory(count: int, frames: int, shape: tuple[int, ...]) -> None:
    """Refuse ``count`` scenarios of ``frames`` (H, W) that would not fit in memory, with ConfigError."""
    needed = 4.0 * count * frames * shape[0] * shape[1]
    if needed > MOST_BYTES:
        most = int(MOST_BYTES // (needed / count))
        raise ConfigError(
            f"{count} scenarios of {frames} frames of {shape[0]} x {shape[1]} pixels need {needed / 1e9:.1f} GB, more "
            f"than {MOST_BYTES / 1e9:g} GB: ask for at most {most}, for fewer leads or for a smaller cut"
        )

"""`geoscope.nowcast`: the one door from a rain field to a forecast."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Literal, overload

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.errors import ConfigError
from geoscope.inference import uncertainty
from geoscope.inference.field_request import (
    MAX_HISTORY,
    as_field,
    check_against_card,
    lead_frames,
    past_frames,
    pixel_size,
    run_card,
)
from geoscope.inference.loading import Nowcaster, load_model

Progress = Callable[[str, float], None]


@overload
def nowcast(
    rain: xr.DataArray,
    model: str | Nowcaster = ...,
    issue_time: np.datetime64 | str | None = ...,
    lead_steps: int | None = ...,
    device: str = ...,
    progress: Progress | None = ...,
    *,
    members: int | None = ...,
    seed: int = ...,
    probabilities: Literal[False] = ...,
) -> xr.DataArray: ...
@overload
def nowcast(
    rain: xr.DataArray,
    model: str | Nowcaster = ...,
    issue_time: np.datetime64 | str | None = ...,
    lead_steps: int | None = ...,
    device: str = ...,
    progress: Progress | None = ...,
    *,
    members: int | None = ...,
    seed: int = ...,
    probabilities: Literal[True] | Sequence[float],
) -> xr.Dataset: ...
def nowcast(
    rain: xr.DataArray,
    model: str | Nowcaster = "earthformer-nowcast",
    issue_time: np.datetime64 | str | None = None,
    lead_steps: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    *,
    members: int | None = None,
    seed: int = 0,
    probabilities: bool | Sequence[float] = False,
) -> xr.DataArray | xr.Dataset:
    """The forecast of ``rain`` (time, y, x) for the ``lead_steps`` frames after ``issue_time``.

    The result has the grid, name and units of ``rain``; its ``time`` holds valid times, beside ``lead_time``
    (timedelta64) and the scalar ``forecast_reference_time``; attribute ``run_card`` is a JSON text that says what made
    it. Frames after the issue time are never shown to the model. ``lead_steps`` defaults to one hour, or to three
    steps where frames are 30 minutes apart or more. ``progress(stage, share)`` is called between steps and may raise
    `Cancelled` to stop.

    ``members`` asks an ensemble model for that many fields: (member, time, y, x), the same ones for the same ``seed``.
    Without it an ensemble model gives the mean of its members. ``probabilities``, True or rising rain rates in mm/h,
    asks for a Dataset: the rain field under its name and ``exceedance_probability`` (threshold, time, y, x) in [0, 1],
    the chance of rain at or above each threshold, from the model's own probabilities or the share of its members.

    Raises:
        DataError: the field is not a rain field that the model can take (too few frames, uneven, all missing,
            another quantity, interval or pixel size outside what its card names).
        ConfigError: unknown model, issue time or device, a lead that the model does not reach, or members or
            probabilities of a model that has none.
        MissingExtraError: the model's packages are not installed.
        WeightsError: the weights are missing or fail their self-check.
        Cancelled: ``progress`` asked to stop.
    """
    report = progress or (lambda stage, share: None)
    started = time.perf_counter()
    report("reading the field", 0.0)
    past = past_frames(rain, issue_time)
    step = grids.interval_minutes(rain)
    pixel = float(np.mean(pixel_size(rain)))
    leads = lead_frames(lead_steps, step)
    asked = uncertainty.read_request(members, seed, probabilities, (leads, past.shape[1], past.shape[2]))
    report("loading the model", 0.02)
    runner: Nowcaster = load_model(model, device) if isinstance(model, str) else model
    if not hasattr(runner, "forecast"):
        raise ConfigError(
            f"model {model!r} is a bare network, not a nowcaster: see geoscope models for nowcasters"
        )
    check_against_card(runner, past, step, pixel, leads)
    given = uncertainty.run(
        runner,
        np.ascontiguousarray(past.values[-MAX_HISTORY:], dtype=np.float32),
        asked,
        lambda stage, share: report(stage, 0.05 + 0.95 * share),
        interval_minutes=step,
        pixel_km=pixel,
        lead_steps=leads,
    )
    result = as_field(given.rain, rain, past, step, leads)
    made_by = run_card(runner, past, step, pixel, device, time.perf_counter() - started)
    made_by |= {"seed": given.seed, "members": given.drawn}
    result.attrs["model"] = runner.card.name
    result.attrs["run_card"] = json.dumps(made_by, sort_keys=True)
    report("done", 1.0)
    if given.probability is None or asked.thresholds is None:
        return result
    return _with_probability(result, given.probability, asked.thresholds)


def _with_probability(
    result: xr.DataArray, probability: np.ndarray, thresholds: Sequence[float]
) -> xr.Dataset:
    """The forecast and its probabilities side by side; both, and the Dataset, carry the run card."""
    made_by = {name: result.attrs[name] for name in ("model", "run_card")}
    frame = result.isel(member=0, drop=True) if "member" in result.dims else result
    chance = xr.DataArray(
        np.asarray(probability, dtype=np.float32),
        dims=("threshold", *frame.dims),
        coords=frame.coords,
        name="exceedance_probability",
        attrs={"long_name": "probability of at least the threshold", "units": "1", **made_by},
    )
    units = str(result.attrs.get("units", "mm/h"))
    levels = ("threshold", np.asarray(thresholds, np.float64), {"units": units, "long_name": "threshold"})
    chance = chance.assign_coords(threshold=levels)
    return xr.Dataset({str(result.name): result, "exceedance_probability": chance}, attrs=made_by)

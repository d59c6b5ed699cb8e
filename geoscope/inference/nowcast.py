"""`geoscope.nowcast`: the one door from a rain field to a forecast."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, overload

import numpy as np
import xarray as xr

import geoscope
from geoscope import grids
from geoscope.errors import ConfigError, DataError
from geoscope.inference import uncertainty
from geoscope.inference.loading import Nowcaster, choose_device, load_model
from geoscope.zoo.cards import ModelCard

Progress = Callable[[str, float], None]
MAX_HISTORY = 64  # frames handed to a model at most; each takes what it needs from the end
DEFAULT_LEAD_MINUTES = 60.0


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
    past = _past_frames(rain, issue_time)
    step = grids.interval_minutes(rain)
    pixel = float(np.mean(_pixel_size(rain)))
    leads = _lead_steps(lead_steps, step)
    asked = uncertainty.read_request(members, seed, probabilities, (leads, past.shape[1], past.shape[2]))
    report("loading the model", 0.02)
    runner: Nowcaster = load_model(model, device) if isinstance(model, str) else model
    if not hasattr(runner, "forecast"):
        raise ConfigError(
            f"model {model!r} is a bare network, not a nowcaster: see geoscope models for nowcasters"
        )
    _check_against_card(runner, past, step, pixel, leads)
    given = uncertainty.run(
        runner,
        np.ascontiguousarray(past.values[-MAX_HISTORY:], dtype=np.float32),
        asked,
        lambda stage, share: report(stage, 0.05 + 0.95 * share),
        interval_minutes=step,
        pixel_km=pixel,
        lead_steps=leads,
    )
    result = _as_field(given.rain, rain, past, step, leads)
    run_card = _run_card(runner, past, step, pixel, device, time.perf_counter() - started)
    run_card |= {"seed": given.seed, "members": given.drawn}
    result.attrs["model"] = runner.card.name
    result.attrs["run_card"] = json.dumps(run_card, sort_keys=True)
    report("done", 1.0)
    if given.probability is None or asked.thresholds is None:
        return result
    return _with_probability(result, given.probability, asked.thresholds)


def _past_frames(rain: xr.DataArray, issue_time: np.datetime64 | str | None) -> xr.DataArray:
    if rain.dims != ("time", "y", "x"):
        raise DataError(
            f"a nowcast needs a field with dimensions (time, y, x), got {rain.dims}; see gs.open_radar"
        )
    past = rain
    if issue_time is not None:
        try:
            wanted = np.datetime64(str(issue_time).removesuffix("Z"), "ns")
        except ValueError:
            raise ConfigError(
                f"issue_time={issue_time!r} is not a time: write it as 2018-09-14T05:00"
            ) from None
        times = rain["time"].values.astype("datetime64[ns]")
        match = np.flatnonzero(times == wanted)
        if not len(match):
            raise ConfigError(
                f"issue_time={str(wanted)[:19]} is not the time of a frame: choose one of the {len(times)} from "
                f"{str(times[0])[:16]} to {str(times[-1])[:16]} UTC"
            )
        past = rain.isel(time=slice(0, int(match[0]) + 1))
    if not np.isfinite(past.values[-1]).any():
        raise DataError(
            f"the frame at {str(past['time'].values[-1])[:16]} UTC has no data: choose another issue time"
        )
    return past


def _pixel_size(rain: xr.DataArray) -> tuple[float, float]:
    height, width = grids.pixel_size_km(rain)
    if not (np.isfinite(height) and np.isfinite(width) and height > 0 and width > 0):
        raise DataError(
            f"pixel size {height:g} x {width:g} km makes no sense: check the x and y of the field"
        )
    if max(height, width) > 1.5 * min(height, width):
        raise DataError(
            f"pixels are {height:.3g} x {width:.3g} km, too far from square: reproject the field first, "
            "for instance with field.rio.reproject to a local projection"
        )
    return height, width


def _lead_steps(lead_steps: int | None, step: float) -> int:
    if lead_steps is None:
        return max(3, round(DEFAULT_LEAD_MINUTES / step))
    if isinstance(lead_steps, bool) or int(lead_steps) != lead_steps or lead_steps < 1:
        raise ConfigError(f"lead_steps={lead_steps!r} must be a whole number of frames, 1 or more")
    return int(lead_steps)


def _check_against_card(runner: Nowcaster, past: xr.DataArray, step: float, pixel: float, leads: int) -> None:
    """Refuse what the card does not name; never adapt in silence."""
    model_card: ModelCard = runner.card
    if len(past) < runner.min_frames:
        raise DataError(
            f"{model_card.name} needs {runner.min_frames} frames up to the issue time, got {len(past)}: "
            "choose a later issue time or give more frames"
        )
    limits: Any = model_card.input
    if limits is None:
        return
    units = past.attrs.get("units")
    if limits.units and units is not None and units != limits.units:
        raise DataError(
            f"{model_card.name} takes {limits.quantity} in {limits.units}, the field is in {units!r}"
        )
    for label, value, bounds, unit in (
        ("interval", step, limits.interval_minutes, "minutes"),
        ("pixel size", pixel, limits.pixel_km, "km"),
    ):
        if bounds and not bounds[0] * 0.97 <= value <= bounds[1] * 1.03:
            raise DataError(
                f"{model_card.name} takes an {label} from {bounds[0]:g} to {bounds[1]:g} {unit}, the field has "
                f"{value:.3g}; resample it first or use model='extrapolation'"
            )
    if limits.grid and min(past.shape[1:]) < limits.grid[0]:
        raise DataError(
            f"{model_card.name} takes grids of at least {limits.grid[0]} pixels a side, the field has "
            f"{past.shape[1]} x {past.shape[2]}; take a larger cut or use model='extrapolation'"
        )
    reach = getattr(runner, "max_lead_steps", None)
    if reach is not None and leads > reach(step):
        raise ConfigError(
            f"lead_steps={leads} is beyond the reach of {model_card.name}: it takes at most {reach(step)} "
            f"where frames are {step:g} minutes apart"
        )


def _as_field(
    values: np.ndarray, rain: xr.DataArray, past: xr.DataArray, step: float, leads: int
) -> xr.DataArray:
    issue = past["time"].values[-1].astype("datetime64[ns]")
    lead_time = (
        (np.arange(1, leads + 1) * round(step * 60)).astype("timedelta64[s]").astype("timedelta64[ns]")
    )
    coords = {
        name: coord for name, coord in rain.coords.items() if "time" not in coord.dims and name != "time"
    }
    dims = ("time", "y", "x") if np.ndim(values) == 3 else ("member", "time", "y", "x")
    result = xr.DataArray(
        np.asarray(values, dtype=np.float32), dims=dims, coords=coords, name=rain.name or "rain_rate"
    )
    if "member" in dims:
        result = result.assign_coords(
            member=("member", np.arange(len(values)), {"standard_name": "realization"})
        )
    result = result.assign_coords(
        time=("time", issue + lead_time), lead_time=("time", lead_time), forecast_reference_time=issue
    )
    result.attrs = dict(rain.attrs)
    return result


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


def _run_card(
    runner: Nowcaster, past: xr.DataArray, step: float, pixel: float, device: str, seconds: float
) -> dict[str, Any]:
    import torch

    weights = runner.card.weights
    return {
        "model": runner.card.name,
        "weights_sha256": weights.sha256 if weights is not None else None,
        "input_sha256": hashlib.sha256(np.ascontiguousarray(past.values).tobytes()).hexdigest(),
        "input_source": past.attrs.get("source"),
        "input_frames": len(past),
        "issue_time": str(past["time"].values[-1])[:19] + "Z",
        "interval_minutes": round(step, 3),
        "pixel_km": round(pixel, 4),
        "device": choose_device(device),
        "seconds": round(seconds, 3),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "geoscope": geoscope.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

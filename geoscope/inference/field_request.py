"""Between a field and a model: the frames up to the issue time, what the card allows, the result as a field again."""

import hashlib
import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr

import geoscope
from geoscope import grids
from geoscope.errors import ConfigError, DataError
from geoscope.inference.loading import Nowcaster, choose_device
from geoscope.zoo.cards import ModelCard

MAX_HISTORY = 64  # frames handed to a model at most; each takes what it needs from the end
DEFAULT_LEAD_MINUTES = 60.0


def past_frames(rain: xr.DataArray, issue_time: np.datetime64 | str | None) -> xr.DataArray:
    """The frames of ``rain`` (time, y, x) up to ``issue_time``, or all of them.

    Raises:
        DataError: other dimensions, or a newest frame without data. ConfigError: no frame at that time.
    """
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


def pixel_size(rain: xr.DataArray) -> tuple[float, float]:
    """Height and width of a pixel in km.

    Raises:
        DataError: pixels without a size, or far from square.
    """
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


def lead_frames(lead_steps: int | None, step: float) -> int:
    """How many frames ahead: ``lead_steps``, or one hour, or three frames ``step`` minutes apart where that is more.

    Raises:
        ConfigError: not a whole number from 1 on.
    """
    if lead_steps is None:
        return max(3, round(DEFAULT_LEAD_MINUTES / step))
    if isinstance(lead_steps, bool) or int(lead_steps) != lead_steps or lead_steps < 1:
        raise ConfigError(f"lead_steps={lead_steps!r} must be a whole number of frames, 1 or more")
    return int(lead_steps)


def check_against_card(runner: Nowcaster, past: xr.DataArray, step: float, pixel: float, leads: int) -> None:
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


def as_field(
    values: np.ndarray, rain: xr.DataArray, past: xr.DataArray, step: float, leads: int
) -> xr.DataArray:
    """``values`` (..., time, y, x) on the grid of ``rain``, with valid times, lead times and the issue time.

    Three dimensions are (time, y, x), four (member, time, y, x), five (sigma, member, time, y, x).
    """
    issue = past["time"].values[-1].astype("datetime64[ns]")
    lead_time = (
        (np.arange(1, leads + 1) * round(step * 60)).astype("timedelta64[s]").astype("timedelta64[ns]")
    )
    coords = {
        name: coord for name, coord in rain.coords.items() if "time" not in coord.dims and name != "time"
    }
    dims = ("sigma", "member", "time", "y", "x")[5 - np.ndim(values) :]
    result = xr.DataArray(
        np.asarray(values, dtype=np.float32), dims=dims, coords=coords, name=rain.name or "rain_rate"
    )
    if "member" in dims:
        result = result.assign_coords(
            member=("member", np.arange(values.shape[-4]), {"standard_name": "realization"})
        )
    result = result.assign_coords(
        time=("time", issue + lead_time), lead_time=("time", lead_time), forecast_reference_time=issue
    )
    result.attrs = dict(rain.attrs)
    return result


def run_card(
    runner: Nowcaster, past: xr.DataArray, step: float, pixel: float, device: str, seconds: float
) -> dict[str, Any]:
    """What made a forecast: model and hash of its weights, input and its hash, versions, time."""
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

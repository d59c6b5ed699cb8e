"""The forecasts in a field: one for each issue time, frame by frame with valid times and leads."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from geoscope.errors import ConfigError, DataError
from geoscope.metrics.alignment import check_field

PROBABILITY = "exceedance_probability"


@dataclass(frozen=True)
class Case:
    """One issue time: its field (time, y, x) or (member, time, y, x), valid times and leads of the frames."""

    field: xr.DataArray
    valid: np.ndarray  # datetime64[ns]
    leads: np.ndarray  # timedelta64[ns]
    note: str = ""

    def frame(self, number: int) -> np.ndarray:
        """Values (y, x) or (member, y, x) of a frame.

        Raises:
            DataError: a value is infinite.
        """
        values = self.field.isel(time=number).values
        if np.isinf(values).any():
            raise DataError(
                f"the forecast holds infinite values at {self.valid[number].astype('datetime64[s]')}Z: "
                "NaN stands for no data"
            )
        return values


def rain_and_chances(forecast: xr.DataArray | xr.Dataset) -> tuple[xr.DataArray, xr.DataArray | None]:
    """The field of a forecast, and its probabilities (threshold, time, y, x) where it is a Dataset with them.

    Raises:
        DataError: a Dataset without exactly one field and `exceedance_probability` with its thresholds.
    """
    if isinstance(forecast, xr.DataArray):
        return forecast, None
    others = [
        name for name in forecast.data_vars if name != PROBABILITY and {"y", "x"} <= set(forecast[name].dims)
    ]
    if PROBABILITY not in forecast or len(others) != 1:
        raise DataError(
            f"the forecast Dataset holds {', '.join(map(str, forecast.data_vars)) or 'nothing'}; expected one field "
            f"and {PROBABILITY}, as gs.nowcast(..., probabilities=True) gives them"
        )
    chances = forecast[PROBABILITY]
    if chances.dims != ("threshold", "time", "y", "x") or "threshold" not in chances.coords:
        raise DataError(
            f"{PROBABILITY} has dimensions {chances.dims}, expected ('threshold', 'time', 'y', 'x') with a "
            "coordinate threshold"
        )
    return forecast[others[0]], chances


def cases_of(rain: xr.DataArray) -> list[Case]:
    """A forecast, or an archive of them with dimensions issue_time and lead_time, as a list of cases.

    Raises:
        DataError: other dimensions, no valid times, or no lead times where they cannot be supposed.
    """
    if "issue_time" not in rain.dims:
        has_members = "member" in rain.dims
        check_field(rain, "forecast", ("member", "time", "y", "x") if has_members else ("time", "y", "x"))
        if not rain.size:
            raise DataError(f"forecast of shape {rain.shape} holds no frame: nothing to verify")
        valid = rain["time"].values.astype("datetime64[ns]")
        leads, note = _leads(rain, valid)
        return [Case(rain, valid, leads, note)]
    inner = ["member"] if "member" in rain.dims else []
    if set(rain.dims) != {"issue_time", "lead_time", "y", "x", *inner}:
        raise DataError(
            f"forecast has dimensions {rain.dims}, expected ('issue_time', 'lead_time', 'y', 'x') and perhaps 'member'"
        )
    if "issue_time" not in rain.coords or "lead_time" not in rain.coords:
        raise DataError(
            "forecast has no coordinates issue_time and lead_time: frames are matched by their valid time"
        )
    if not rain.size:
        raise DataError(f"forecast of shape {rain.shape} holds no frame: nothing to verify")
    rain = rain.transpose("issue_time", *inner, "lead_time", "y", "x")
    leads = rain["lead_time"].values.astype("timedelta64[ns]")
    issued = rain["issue_time"].values.astype("datetime64[ns]")
    plain = rain.drop_vars([name for name in ("time", "valid_time") if name in rain.coords])
    return [
        Case(plain.isel(issue_time=i).rename(lead_time="time"), at + leads, leads)
        for i, at in enumerate(issued)
    ]


def _leads(forecast: xr.DataArray, valid: np.ndarray) -> tuple[np.ndarray, str]:
    """Lead of each forecast frame (timedelta64[ns]), and a note where it had to be supposed."""
    if "lead_time" in forecast.coords and forecast["lead_time"].dims == ("time",):
        return forecast["lead_time"].values.astype("timedelta64[ns]"), ""
    if "forecast_reference_time" in forecast.coords:
        return valid - forecast["forecast_reference_time"].values.astype("datetime64[ns]"), ""
    if len(valid) < 2:
        raise DataError(
            "the forecast says neither lead_time nor forecast_reference_time, and one frame has no interval: "
            "assign_coords(forecast_reference_time=...) the time it was issued"
        )
    issued = valid[0] - (valid[1] - valid[0])
    return valid - issued, "issue time taken as one interval before the first frame"


def chances_at(chances: xr.DataArray, thresholds: tuple[float, ...]) -> xr.DataArray:
    """Probabilities at the thresholds (threshold, time, y, x); NaN at those that the forecast does not have.

    Raises:
        ConfigError: it has none of them.
    """
    given = chances["threshold"].values.astype(np.float64)
    places = [np.flatnonzero(np.isclose(given, level, rtol=1e-6)) for level in thresholds]
    if not any(place.size for place in places):
        raise ConfigError(
            f"thresholds={thresholds}: the forecast has probabilities at {tuple(given.tolist())} only; "
            "choose some of these"
        )
    blank = xr.full_like(chances.isel(threshold=0), np.nan, dtype=np.float64)
    rows = [chances.isel(threshold=int(place[0])) if place.size else blank for place in places]
    return xr.concat([row.drop_vars("threshold", errors="ignore") for row in rows], "threshold")

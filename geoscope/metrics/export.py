"""Scores in the forms that files hold: plain lists for JSON, rows for CSV, a dataset for NetCDF."""

import math
from typing import Any

import numpy as np
import xarray as xr

COLUMNS = ("score", "lead_minutes", "threshold")  # then the other dimensions, value, low, high


def lead_minutes(scores: xr.Dataset) -> list[float]:
    """The lead times in minutes."""
    return (scores["lead_time"].values.astype("timedelta64[s]").astype(float) / 60).tolist()


def as_plain(scores: xr.Dataset) -> dict[str, Any]:
    """The scores as plain lists and numbers for JSON; lead times in minutes, undefined scores null."""
    coordinates = {
        str(name): _finite(scores[name].values.tolist())
        for name in scores.dims
        if name not in ("lead_time", "threshold") and name in scores.coords
    }
    return {
        "lead_minutes": lead_minutes(scores),
        "threshold_mm_h" if _is_rain(scores) else "threshold": [float(v) for v in scores["threshold"].values],
        **coordinates,
        "scores": {
            str(name): _finite(values.values.tolist())
            for name, values in scores.data_vars.items()
            if values.dtype.kind in "iuf"
        },
        "pooled": {
            key: _finite(value) for key, value in scores.attrs.items() if isinstance(value, int | float)
        },
        "about": {key: value for key, value in scores.attrs.items() if isinstance(value, str)},
    }


def as_rows(scores: xr.Dataset) -> list[list[Any]]:
    """The scores as a table with one number a row, its header first: easy to filter, whatever the dimensions.

    The column lead_minutes is "all" where leads were added up; columns of dimensions that a score does not have
    are empty, and so is the value of an undefined score. The columns low and high hold intervals where there are any.
    """
    extra = [str(name) for name in scores.dims if name not in ("lead_time", "threshold")]
    rows: list[list[Any]] = [[*COLUMNS, *extra, "value", "low", "high"]]
    minutes = lead_minutes(scores)
    for name, values in scores.data_vars.items():
        name = str(name)
        if name.endswith(("_low", "_high")) or values.dtype.kind not in "iuf":
            continue
        low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
        for place in np.ndindex(values.shape):
            at = dict(zip(map(str, values.dims), place, strict=True))
            rows.append(
                [
                    name.removesuffix("_pooled"),
                    minutes[at["lead_time"]] if "lead_time" in at else "all",
                    _cell(scores["threshold"].values[at["threshold"]]) if "threshold" in at else "",
                    *(_coordinate(scores, dim, at[dim]) if dim in at else "" for dim in extra),
                    _cell(values.values[place]),
                    "" if low is None else _cell(low.values[place]),
                    "" if high is None else _cell(high.values[place]),
                ]
            )
    for key, value in scores.attrs.items():
        if isinstance(value, int | float) and not key.endswith(("_low", "_high")):
            ends = [
                _cell(scores.attrs[k]) if (k := f"{key}_{end}") in scores.attrs else ""
                for end in ("low", "high")
            ]
            rows.append([key, "all", *("" for _ in ("threshold", *extra)), _cell(value), *ends])
    return rows


def for_netcdf(scores: xr.Dataset) -> xr.Dataset:
    """A copy with the encodings of time and attributes that NetCDF can hold."""
    plain = scores.copy()
    plain.attrs = {k: v for k, v in scores.attrs.items() if isinstance(v, str | int | float)}
    plain["lead_time"].encoding = {"dtype": "int64", "units": "seconds"}
    for name in ("time", "issue_time"):
        if name in plain.coords:
            plain[name].encoding = {"dtype": "int64", "units": "seconds since 1970-01-01"}
    return plain


def _is_rain(scores: xr.Dataset) -> bool:
    return scores.attrs.get("units", "") in ("mm/h", "")


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    number = value.item() if isinstance(value, np.generic) else value
    return "" if isinstance(number, float) and not math.isfinite(number) else number


def _coordinate(scores: xr.Dataset, name: str, place: int) -> Any:
    return _cell(scores[name].values[place]) if name in scores.coords else place

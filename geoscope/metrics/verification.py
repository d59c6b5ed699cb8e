"""A forecast held against what was observed, by lead time and threshold."""

import numpy as np
import xarray as xr

from geoscope.errors import DataError
from geoscope.grids import crs_of
from geoscope.metrics import contingency, continuous

_SAME_UNITS: dict[str, str] = dict.fromkeys(("mm h-1", "mm/hr", "mm hr-1", "mm h**-1", "kg m-2 h-1"), "mm/h")


def verify(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    thresholds: tuple[float, ...] = (0.5, 1, 2, 5, 10),
) -> xr.Dataset:
    """Scores of a forecast (time, y, x) against observations on the same grid, matched by valid time.

    Frames without a partner are left out, and so is every pixel that is NaN in either field. An event is a
    value at or above a threshold, in the fields' own unit (mm/h for rain).

    The result has dimensions (lead_time, threshold): counts `hits`, `misses`, `false_alarms`,
    `correct_negatives` and scores `csi`, `pod`, `far`, `success_ratio`, `frequency_bias`; by lead_time
    `mae`, `rmse`, `mean_error`, `pixels`; by threshold `csi_pooled` and `frequency_bias_pooled`, from counts
    added over the lead times. attrs: `csi_mean` (mean over thresholds of csi_pooled, thresholds without any
    event left out), `mae`, `rmse`, `mean_error` over all pixels, `units`, `frames`, and the forecast's
    `model` and `run_card`. A score with nothing to divide by is NaN.

    Raises:
        ConfigError: thresholds that cannot be used.
        DataError: other dimensions, grids or units; no common valid time; no pixel known in both.
    """
    levels = contingency.rising_thresholds(thresholds)
    _check_fields(forecast, observed)
    lead_times, note = _lead_times(forecast)
    valid = forecast["time"].values.astype("datetime64[ns]")
    _, of_forecast, of_observed = np.intersect1d(
        valid, observed["time"].values.astype("datetime64[ns]"), return_indices=True
    )
    if not len(of_forecast):
        raise DataError(
            f"no valid time is in both fields: the forecast covers {_span(forecast)}, the observations "
            f"{_span(observed)}; open the observations of the forecast's period"
        )
    counts, sums = [], []
    for i, j in zip(of_forecast, of_observed, strict=True):
        predicted, seen = forecast[i].values, observed[j].values
        counts.append(contingency.count_events(predicted, seen, tuple(levels)))
        sums.append(continuous.sum_errors(predicted, seen))
    total = sum(sums, continuous.ErrorSums())
    if not total.pixels:
        raise DataError(
            "no pixel is known in both the forecast and the observations at their common times: "
            "all of them are NaN in one or the other"
        )
    table = contingency.stack(counts)
    scores = _dataset(table, sums, levels, lead_times[of_forecast], valid[of_forecast])
    pooled_csi = scores["csi_pooled"].values
    known = ~np.isnan(pooled_csi)
    scores.attrs = {
        "csi_mean": float(pooled_csi[known].mean()) if known.any() else float("nan"),
        "mae": continuous.mean_absolute_error(total),
        "rmse": continuous.root_mean_square_error(total),
        "mean_error": continuous.mean_error(total),
        "units": _units(forecast) or _units(observed),
        "frames": len(of_forecast),
        **({"lead_time_note": note} if note else {}),
        **{name: forecast.attrs[name] for name in ("model", "run_card") if name in forecast.attrs},
    }
    return scores


def _dataset(
    table: contingency.Contingency,
    sums: list[continuous.ErrorSums],
    levels: np.ndarray,
    lead_times: np.ndarray,
    valid: np.ndarray,
) -> xr.Dataset:
    both, lead, level = ("lead_time", "threshold"), ("lead_time",), ("threshold",)
    pool = table.pooled(0)
    return xr.Dataset(
        {
            "hits": (both, table.hits),
            "misses": (both, table.misses),
            "false_alarms": (both, table.false_alarms),
            "correct_negatives": (both, table.correct_negatives),
            "csi": (both, contingency.critical_success_index(table)),
            "pod": (both, contingency.probability_of_detection(table)),
            "far": (both, contingency.false_alarm_ratio(table)),
            "success_ratio": (both, contingency.success_ratio(table)),
            "frequency_bias": (both, contingency.frequency_bias(table)),
            "csi_pooled": (level, contingency.critical_success_index(pool)),
            "frequency_bias_pooled": (level, contingency.frequency_bias(pool)),
            "mae": (lead, np.array([continuous.mean_absolute_error(s) for s in sums])),
            "rmse": (lead, np.array([continuous.root_mean_square_error(s) for s in sums])),
            "mean_error": (lead, np.array([continuous.mean_error(s) for s in sums])),
            "pixels": (lead, np.array([s.pixels for s in sums], np.int64)),
        },
        coords={"lead_time": lead_times, "threshold": levels, "time": (lead, valid)},
    )


def _check_fields(forecast: xr.DataArray, observed: xr.DataArray) -> None:
    for name, field in (("forecast", forecast), ("observed", observed)):
        if field.dims != ("time", "y", "x"):
            raise DataError(f"{name} has dimensions {field.dims}, expected ('time', 'y', 'x'): transpose it")
        if "time" not in field.coords:
            raise DataError(f"{name} has no coordinate time: frames are matched by their valid time")
        if len(np.unique(field["time"].values)) != field.sizes["time"]:
            raise DataError(f"{name} holds one valid time twice: give a single forecast or sequence")
    if forecast.shape[1:] != observed.shape[1:]:
        raise DataError(
            f"the grids differ: forecast {forecast.shape[1:]} and observed {observed.shape[1:]} pixels; "
            "bring one onto the other's grid first, for example with rio.reproject_match"
        )
    for name in ("x", "y", "lon", "lat"):
        if name in forecast.coords and name in observed.coords:
            one, other = (np.asarray(f[name].values, np.float64) for f in (forecast, observed))
            pixel = np.nanmean(np.abs(np.diff(one))) if one.shape[-1] > 1 else 1.0
            if one.shape != other.shape or not np.allclose(
                one, other, rtol=0, atol=0.05 * pixel, equal_nan=True
            ):
                raise DataError(
                    f"the grids differ: coordinate {name} of the forecast is not that of the observations; "
                    "bring one onto the other's grid first, for example with rio.reproject_match"
                )
    here, there = crs_of(forecast), crs_of(observed)
    if here is not None and there is not None and here != there:
        raise DataError(f"the grids differ: forecast in {here.name}, observed in {there.name}; reproject one")
    if _units(forecast) and _units(observed) and _units(forecast) != _units(observed):
        raise DataError(
            f"units differ: forecast {_units(forecast)!r}, observed {_units(observed)!r}; convert one of them"
        )


def _units(field: xr.DataArray) -> str:
    text = str(field.attrs.get("units", "")).strip()
    return _SAME_UNITS.get(text.lower(), text)


def _span(field: xr.DataArray) -> str:
    times = field["time"].values.astype("datetime64[m]")
    return f"{times.min()}Z to {times.max()}Z"


def _lead_times(forecast: xr.DataArray) -> tuple[np.ndarray, str]:
    """Lead of each forecast frame (timedelta64[ns]), and a note where it had to be supposed."""
    valid = forecast["time"].values.astype("datetime64[ns]")
    if "lead_time" in forecast.coords and forecast["lead_time"].dims == ("time",):
        return forecast["lead_time"].values.astype("timedelta64[ns]"), ""
    if "forecast_reference_time" in forecast.coords:
        return valid - forecast["forecast_reference_time"].values.astype("datetime64[ns]"), ""
    if len(valid) < 2:
        raise DataError(
            "the forecast says neither lead_time nor forecast_reference_time, and one frame has no interval: "
            "assign_coords(forecast_reference_time=...) the time it was issued"
        )
    return valid - (
        valid[0] - (valid[1] - valid[0])
    ), "issue time taken as one interval before the first frame"

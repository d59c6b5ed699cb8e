"""Scores of places over time: the peak, when it comes, and how much water falls in all.

Time is the first axis. A frame takes part at a point when forecast and observation are both known there, so that
both series have the same gaps; a point without any such frame is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.metrics import alignment
from geoscope.metrics.cases import cases_of
from geoscope.metrics.sums import Sums, known_pair, ratio


@dataclass(frozen=True, eq=False)
class PointSums(Sums):
    """Sums over points of errors (forecast less observed): peaks in mm/h, times in minutes, depths in mm.

    `timed` points had a peak worth the name in both series; only those have an error in time.
    """

    points: Any = 0
    timed: Any = 0
    peak_error: Any = 0.0
    peak_absolute: Any = 0.0
    time_error: Any = 0.0
    time_absolute: Any = 0.0
    depth_error: Any = 0.0
    depth_absolute: Any = 0.0
    observed_depth: Any = 0.0


def peak(rates: np.ndarray) -> np.ndarray:
    """The largest known value over time, (T, ...) to (...); NaN where nothing is known."""
    filled = np.where(np.isnan(rates), -np.inf, rates).max(axis=0)
    return np.where(np.isinf(filled), np.nan, filled)


def time_to_peak(rates: np.ndarray, minutes: np.ndarray) -> np.ndarray:
    """The first minute of the largest known value, (T, ...) and (T,) to (...); NaN where nothing is known."""
    first = np.where(np.isnan(rates), -np.inf, rates).argmax(axis=0)
    return np.where(np.isnan(rates).all(axis=0), np.nan, np.asarray(minutes, np.float64)[first])


def accumulated_depth(rates: np.ndarray, interval_minutes: float) -> np.ndarray:
    """Water depth in mm of rates in mm/h, each standing for one interval; unknown frames add nothing.

    (T, ...) to (...); NaN where nothing is known.
    """
    depth = np.nansum(rates, axis=0, dtype=np.float64) * interval_minutes / 60
    return np.where(np.isnan(rates).all(axis=0), np.nan, depth)


def sum_points(
    forecast: Any,
    observed: Any,
    minutes: Sequence[float] | np.ndarray,
    *,
    interval_minutes: float,
    smallest: float = 0.1,
) -> PointSums:
    """Sums over all points of series (T, ...) in mm/h at ``minutes`` (T,).

    The time of a peak counts where both peaks reach ``smallest`` mm/h.

    Raises:
        ShapeError: shapes that do not belong together.
    """
    forecast, observed, known = known_pair(forecast, observed)
    times = np.asarray(minutes, np.float64)
    if not forecast.ndim or times.shape != forecast.shape[:1]:
        raise ShapeError(f"series {forecast.shape} do not fit {times.shape} minutes: time is the first axis")
    series = [np.where(known, values, np.nan) for values in (forecast, observed)]
    here = known.any(axis=0)
    peaks = [peak(values)[here] for values in series]
    depths = [accumulated_depth(values, interval_minutes)[here] for values in series]
    moments = [time_to_peak(values, times)[here] for values in series]
    is_timed = (peaks[0] >= smallest) & (peaks[1] >= smallest)
    late = (moments[0] - moments[1])[is_timed]
    return PointSums(
        points=int(here.sum()),
        timed=int(is_timed.sum()),
        peak_error=float((peaks[0] - peaks[1]).sum()),
        peak_absolute=float(np.abs(peaks[0] - peaks[1]).sum()),
        time_error=float(late.sum()),
        time_absolute=float(np.abs(late).sum()),
        depth_error=float((depths[0] - depths[1]).sum()),
        depth_absolute=float(np.abs(depths[0] - depths[1]).sum()),
        observed_depth=float(depths[1].sum()),
    )


def point_scores(sums: PointSums) -> dict[str, np.ndarray]:
    """Mean and mean absolute errors of peak (mm/h), time to peak (minutes) and depth (mm), and the ratio of depths."""
    return {
        "peak_error": ratio(sums.peak_error, sums.points),
        "peak_mae": ratio(sums.peak_absolute, sums.points),
        "time_to_peak_error": ratio(sums.time_error, sums.timed),
        "time_to_peak_mae": ratio(sums.time_absolute, sums.timed),
        "depth_error": ratio(sums.depth_error, sums.points),
        "depth_mae": ratio(sums.depth_absolute, sums.points),
        "depth_ratio": ratio(np.asarray(sums.depth_error) + sums.observed_depth, sums.observed_depth),
    }


def verify_points(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    points: Sequence[tuple[float, float]],
    *,
    align: str | None = None,
) -> xr.Dataset:
    """Peak, time to peak and depth of a rain forecast (time, y, x) at places (x, y) in its own coordinates.

    The result has the dimension point, with coordinates x and y of the pixels that hold the points, and for forecast
    and observation `peak_*` (mm/h), `time_to_peak_*` (minutes after the issue time) and `depth_*` (mm), from the
    frames that both know; attrs hold `point_scores` over all points. ``align`` as in `gs.verify`.

    Raises:
        ConfigError: no points, or not pairs of numbers.
        DataError: a point outside the grid, fewer than two common times, or as `gs.verify`.
    """
    places = np.asarray(points, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise ConfigError(f"points={points} must be one or more pairs (x, y) in the forecast's coordinates")
    alignment.check_align(align)
    alignment.check_field(forecast, "forecast", ("time", "y", "x"))
    alignment.check_field(observed, "observed", ("time", "y", "x"))
    (case,) = cases_of(forecast)
    alignment.check_units(forecast, observed, None, False)
    pixels = alignment.match_pixels(forecast, observed, align, None)
    x, y = (
        np.asarray(forecast[name].values, np.float64)[kept]
        for name, kept in (("x", pixels.columns), ("y", pixels.rows))
    )
    columns = alignment.places_on_axis(places[:, 0], x)
    rows = alignment.places_on_axis(places[:, 1], y)
    outside = np.flatnonzero((rows < 0) | (columns < 0))
    if outside.size:
        raise DataError(
            f"point {tuple(places[outside[0]])} lies outside the grid: {alignment.say_extent(forecast)}"
        )
    times = observed["time"].values.astype("datetime64[ns]")
    of_forecast, of_observed = alignment.match_times(case.valid, times, align)
    if len(of_forecast) < 2:
        raise DataError(
            "one common time has no interval: points need at least two frames of forecast and observation"
        )
    minutes = case.leads[of_forecast].astype("timedelta64[s]").astype(np.float64) / 60
    interval = float(np.median(np.diff(minutes)))
    predicted = np.stack([pixels.of_forecast(case.frame(int(i)))[rows, columns] for i in of_forecast])
    seen = np.stack([pixels.of_observed(observed[int(j)].values)[rows, columns] for j in of_observed])
    series = [values.astype(np.float64) for values in (predicted, seen)]
    known = ~np.isnan(series[0]) & ~np.isnan(series[1])
    variables: dict[str, Any] = {}
    for name, values in zip(("forecast", "observed"), series, strict=True):
        values = np.where(known, values, np.nan)
        variables[f"peak_{name}"] = ("point", peak(values))
        variables[f"time_to_peak_{name}"] = ("point", time_to_peak(values, minutes))
        variables[f"depth_{name}"] = ("point", accumulated_depth(values, interval))
    sums = sum_points(series[0], series[1], minutes, interval_minutes=interval)
    at = {"x": ("point", x[columns]), "y": ("point", y[rows])}
    attributes = {name: float(value) for name, value in point_scores(sums).items()}
    return xr.Dataset(
        variables, coords=at, attrs={**attributes, "points": sums.points, "interval_minutes": interval}
    )

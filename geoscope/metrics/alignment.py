"""Which frame and pixel of the observations belongs to which of the forecast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.errors import ConfigError, DataError
from geoscope.reprojection import MercatorTable, to_mercator

ALIGN = ("common", "nearest")
_SAME_UNITS: dict[str, str] = dict.fromkeys(("mm h-1", "mm/hr", "mm hr-1", "mm h**-1", "kg m-2 h-1"), "mm/h")
_OFFER = (
    "give align='common' to compare the pixels that both have, align='nearest' for the observed pixel around each "
    "forecast one, or bring one onto the other's grid first"
)


@dataclass(frozen=True)
class Pixels:
    """The pixels that are compared: a window of the forecast, and the observed pixel of each (-1 for none)."""

    rows: np.ndarray
    columns: np.ndarray
    observed: np.ndarray | None  # flat index (H, W) into an observed frame; None where the grids are one
    inside: np.ndarray | None  # (H, W) of the region, None for all

    def of_forecast(self, values: np.ndarray) -> np.ndarray:
        """The window of forecast values (..., H, W)."""
        return values[..., self.rows[:, None], self.columns]

    def of_observed(self, values: np.ndarray) -> np.ndarray:
        """The observed values (H, W) that belong to that window, NaN where there are none and outside the region."""
        if self.observed is None:
            window = values[self.rows[:, None], self.columns]
        else:
            whole = values.astype(np.result_type(values, np.float32))
            window = np.append(whole.ravel(), np.nan)[self.observed].astype(whole.dtype)
        return window if self.inside is None else np.where(self.inside, window, np.nan)


def check_align(align: str | None) -> None:
    """Refuse an unknown way to align.

    Raises:
        ConfigError: neither None nor one of ALIGN.
    """
    if align is not None and align not in ALIGN:
        raise ConfigError(f"align={align!r} must be None, {' or '.join(map(repr, ALIGN))}")


def match_pixels(forecast: xr.DataArray, observed: xr.DataArray, align: str | None, region: Any) -> Pixels:
    """The pixels to compare of two fields whose last dimensions are (y, x).

    ``region`` is None, a box (x_min, y_min, x_max, y_max) in the forecast's own x and y, or a mask (y, x).

    Raises:
        DataError: the grids differ and ``align`` does not say what to do, or they have no pixel in common.
        ConfigError: a region that is neither a box nor a mask of the grid.
    """
    height, width = forecast.shape[-2:]
    rows, columns, index = np.arange(height), np.arange(width), None
    difference = grid_difference(forecast, observed)
    if difference:
        if align is None:
            raise DataError(f"the grids differ: {difference}; {_OFFER}")
        if align == "common":
            rows, columns, index = _common(forecast, observed, difference)
        else:
            index = _nearest(forecast, observed, difference)
    inside = _region(forecast, region)
    if inside is None:
        return Pixels(rows, columns, index, None)
    inside = inside[rows[:, None], columns]
    if not inside.any():
        raise DataError(f"region={_say_region(region)} holds no pixel of the grid: {say_extent(forecast)}")
    wanted_rows, wanted_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    window = (
        slice(wanted_rows[0], wanted_rows[-1] + 1),
        slice(wanted_columns[0], wanted_columns[-1] + 1),
    )
    within = inside[window]
    return Pixels(
        rows[window[0]],
        columns[window[1]],
        None if index is None else index[window],
        None if within.all() else within,
    )


def grid_difference(forecast: xr.DataArray, observed: xr.DataArray) -> str:
    """In what the two grids differ, in words; empty when they are one (to 5 % of a pixel)."""
    if forecast.shape[-2:] != observed.shape[-2:]:
        return f"forecast {forecast.shape[-2:]} and observed {observed.shape[-2:]} pixels"
    here, there = grids.crs_of(forecast), grids.crs_of(observed)
    if here is not None and there is not None and here != there:
        return f"forecast in {here.name}, observed in {there.name}"
    for name in ("x", "y", "lon", "lat"):
        if name in forecast.coords and name in observed.coords:
            one, other = _numbers(forecast, name), _numbers(observed, name)
            pixel = np.nanmean(np.abs(np.diff(one))) if one.shape[-1] > 1 else 1.0
            if one.shape != other.shape or not np.allclose(
                one, other, rtol=0, atol=0.05 * pixel, equal_nan=True
            ):
                return f"coordinate {name} of the forecast is not that of the observations"
    return ""


def _numbers(field: xr.DataArray, name: str) -> np.ndarray:
    return np.asarray(field[name].values, np.float64)


def say_extent(field: xr.DataArray) -> str:
    """The range of x and y in words."""
    if "x" not in field.coords or "y" not in field.coords:
        return f"{field.shape[-2]} x {field.shape[-1]} pixels without x and y"
    x, y = _numbers(field, "x"), _numbers(field, "y")
    return f"x from {x.min():g} to {x.max():g}, y from {y.min():g} to {y.max():g}"


def _axes(forecast: xr.DataArray, observed: xr.DataArray) -> bool:
    """Whether x and y of both can be compared number by number."""
    here, there = grids.crs_of(forecast), grids.crs_of(observed)
    is_one_plane = here == there or (here is None) != (there is None)
    return is_one_plane and all(
        name in field.coords and field[name].ndim == 1
        for field in (forecast, observed)
        for name in ("x", "y")
    )


def _places(wanted: np.ndarray, there: np.ndarray, share_of_pixel: float) -> np.ndarray:
    """Index into ``there`` of the value nearest to each wanted one; -1 further away than that share of a pixel."""
    order = np.argsort(there)
    ranked = there[order]
    right = np.clip(np.searchsorted(ranked, wanted), 1, max(len(ranked) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(ranked) - 1)
    nearest = np.where(np.abs(wanted - ranked[left]) <= np.abs(ranked[right] - wanted), left, right)
    pixel = float(np.median(np.abs(np.diff(ranked)))) if len(ranked) > 1 else np.inf
    is_near = np.abs(ranked[nearest] - wanted) <= share_of_pixel * pixel * (1 + 1e-9)
    return np.where(is_near, order[nearest], -1)


def places_on_axis(wanted: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Index of the pixel of a 1-D axis that holds each wanted coordinate; -1 outside."""
    return _places(wanted, axis, 0.5)


def _common(
    forecast: xr.DataArray, observed: xr.DataArray, difference: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not _axes(forecast, observed):
        raise DataError(f"the grids have no pixels in common: {difference}; give align='nearest' instead")
    places = [_places(_numbers(forecast, n), _numbers(observed, n), 0.05) for n in ("y", "x")]
    rows, columns = (np.flatnonzero(place >= 0) for place in places)
    if not rows.size or not columns.size:
        raise DataError(
            f"no pixel is in both grids: forecast {say_extent(forecast)}; observed {say_extent(observed)}; "
            "align='nearest' compares grids that overlap between each other's pixels"
        )
    at_rows, at_columns = places[0][rows], places[1][columns]
    return rows, columns, at_rows[:, None] * observed.shape[-1] + at_columns


def _nearest(forecast: xr.DataArray, observed: xr.DataArray, difference: str) -> np.ndarray:
    if _axes(forecast, observed):
        row, column = np.meshgrid(
            *(_places(_numbers(forecast, n), _numbers(observed, n), 0.5) for n in ("y", "x")), indexing="ij"
        )
    elif grids.has_place(forecast) and grids.has_place(observed):
        mx, my = to_mercator(*grids.lonlat(forecast))
        row, column = MercatorTable.for_field(observed).pixels_at(mx, my)
    else:
        raise DataError(
            f"the grids differ ({difference}) and do not both say where they are: give both x and y or a CRS"
        )
    is_found = (row >= 0) & (column >= 0)
    if not is_found.any():
        raise DataError(
            f"the grids do not overlap: forecast {say_extent(forecast)}; observed {say_extent(observed)}"
        )
    return np.where(is_found, row * observed.shape[-1] + column, -1)


def _region(field: xr.DataArray, region: Any) -> np.ndarray | None:
    if region is None:
        return None
    shape = field.shape[-2:]
    mask = np.asarray(region)
    if mask.dtype == bool and mask.shape == shape:
        return mask
    is_box = mask.shape == (4,) and mask.dtype.kind in "iuf" and bool(np.isfinite(mask).all())
    if not is_box or "x" not in field.coords or "y" not in field.coords:
        raise ConfigError(
            f"region={_say_region(region)} must be a box (x_min, y_min, x_max, y_max) in the forecast's x and y, or a "
            f"mask of true and false of its {shape} pixels"
        )
    x_min, y_min, x_max, y_max = mask.astype(np.float64)
    x, y = _numbers(field, "x"), _numbers(field, "y")
    return ((y >= y_min) & (y <= y_max))[:, None] & ((x >= x_min) & (x <= x_max))


def _say_region(region: Any) -> str:
    return str(region) if np.size(region) <= 4 else f"mask of shape {np.shape(region)}"


def match_times(valid: np.ndarray, observed: np.ndarray, align: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Indices of forecast frames and of the observed frames at the same valid times (datetime64[ns]).

    With ``align`` "nearest" a forecast frame takes the observation nearest in time, up to half an interval away.

    Raises:
        DataError: no frame has a partner.
    """
    _, of_forecast, of_observed = np.intersect1d(valid, observed, return_indices=True)
    if align == "nearest":
        wanted, there = (values.astype("datetime64[s]").astype(np.float64) for values in (valid, observed))
        places = _places(wanted, there, 0.5)
        of_forecast = np.flatnonzero(places >= 0)
        of_observed = places[of_forecast]
    if not len(of_forecast):
        do_overlap = valid.min() <= observed.max() and observed.min() <= valid.max()
        cure = (
            "they lie between each other: give align='nearest' to take the nearest observation"
            if do_overlap and align != "nearest"
            else "open the observations of the forecast's period"
        )
        raise DataError(
            f"no valid time is in both fields: the forecast covers {_span(valid)}, the observations "
            f"{_span(observed)}; {cure}"
        )
    order = np.argsort(of_forecast)
    return of_forecast[order], of_observed[order]


def _span(times: np.ndarray) -> str:
    minutes = times.astype("datetime64[m]")
    return f"{minutes.min()}Z to {minutes.max()}Z"


def units_of(field: xr.DataArray) -> str:
    """The field's unit, with every way to write mm/h as mm/h; empty when it says none."""
    text = str(field.attrs.get("units", "")).strip()
    return _SAME_UNITS.get(text.lower(), text)


def check_units(
    forecast: xr.DataArray, observed: xr.DataArray, threshold_units: str | None, is_default: bool
) -> str:
    """The unit of both fields and of the thresholds.

    Raises:
        DataError: the fields have different units.
        ConfigError: thresholds in another unit than the fields.
    """
    here, there = units_of(forecast), units_of(observed)
    if here and there and here != there:
        raise DataError(f"units differ: forecast {here!r}, observed {there!r}; convert one of them")
    units = here or there
    if threshold_units is None and not is_default:
        return units
    wanted = "mm/h" if threshold_units is None else _SAME_UNITS.get(threshold_units.lower(), threshold_units)
    if units and wanted != units:
        what = "the default thresholds are" if is_default else "thresholds are"
        raise ConfigError(
            f"{what} in {wanted!r}, but the fields are in {units!r}: give thresholds=... in {units!r}, or convert "
            "the fields"
        )
    return units


def check_field(field: xr.DataArray, name: str, dimensions: Sequence[str]) -> None:
    """Refuse a field that cannot be matched frame by frame.

    Raises:
        DataError: other dimensions, no valid times, or one of them twice.
    """
    if field.dims != tuple(dimensions):
        raise DataError(f"{name} has dimensions {field.dims}, expected {tuple(dimensions)}: transpose it")
    if "time" not in field.coords:
        raise DataError(f"{name} has no coordinate time: frames are matched by their valid time")
    if len(np.unique(field["time"].values)) != field.sizes["time"]:
        raise DataError(f"{name} holds one valid time twice: give a single forecast or sequence")

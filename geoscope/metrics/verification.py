"""A forecast held against what was observed, by lead time and threshold."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import xarray as xr

from geoscope.errors import DataError
from geoscope.metrics import alignment, bootstrap
from geoscope.metrics.accumulate import Verification
from geoscope.metrics.cases import Case, cases_of, chances_at, rain_and_chances
from geoscope.metrics.contingency import Contingency

DEFAULT_THRESHOLDS = (0.5, 1, 2, 5, 10)
Progress = Callable[[str, float], None]
Forecast = xr.DataArray | xr.Dataset


def verify(
    forecast: Forecast | Sequence[Forecast],
    observed: xr.DataArray,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    *,
    scales: Sequence[int] = (),
    pools: Sequence[int] = (),
    tolerances: Sequence[int] = (),
    log_error: bool = False,
    spectrum: bool = False,
    similarity_range: float | None = None,
    sal: bool = False,
    align: str | None = None,
    region: Any = None,
    threshold_units: str | None = None,
    draws: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Scores of a forecast against observations (time, y, x) on the same grid, matched by valid time.

    ``forecast`` is (time, y, x); an ensemble (member, time, y, x); an archive (issue_time, lead_time, y, x), with or
    without member before y; or the Dataset of `gs.nowcast(..., probabilities=True)`. Frames without a partner are left
    out, and so is every pixel that is NaN in either field. An event is a value at or above a threshold, in the
    fields' own unit (mm/h for rain; say ``threshold_units`` to have that checked).

    ``scales``, ``pools``, ``tolerances`` (pixels), ``log_error``, ``spectrum``, ``similarity_range`` and ``sal`` add
    families of scores, see `geoscope.metrics.families.Settings`. ``region`` keeps to a box (x_min, y_min, x_max, y_max)
    in the forecast's x and y, or to a mask (y, x). ``align`` is for grids or times that differ: "common" keeps the
    pixels that both have, "nearest" takes the observed pixel around each forecast one and the nearest time.
    ``draws`` above 0 adds 95 % intervals of `csi_mean`, `mae` and `csi_pooled` where there are several issue times.

    The result has dimensions (lead_time, threshold): counts `hits`, `misses`, `false_alarms`,
    `correct_negatives` and scores `csi`, `pod`, `far`, `success_ratio`, `frequency_bias`, `hss`, `ets`, `f1`; by
    lead_time `mae`, `rmse`, `mean_error`, `correlation`, `pixels`; NAME_pooled by threshold, from counts added over
    the lead times; and what the families add (`geoscope.metrics.tables.dataset`). An ensemble is scored by its mean,
    and adds CRPS, spread, ranks and, from the share of members, the scores of probabilities. attrs: `csi_mean` (mean
    over thresholds of csi_pooled, thresholds without any event left out), `mae`, `rmse`, `mean_error` over all
    pixels, `units`, `frames`, `issue_times`, and the forecast's `model` and `run_card`. A score with nothing to divide
    by is NaN.

    Raises:
        ConfigError: thresholds, families, ``align`` or ``region`` that cannot be used; thresholds in another unit.
        DataError: other dimensions, grids or units; no common valid time; no pixel known in both; infinite values.
        Cancelled: ``progress(stage, share)`` asked to stop.
    """
    each, about = _verify_each(
        forecast,
        observed,
        thresholds,
        align=align,
        region=region,
        threshold_units=threshold_units,
        progress=progress,
        scales=tuple(scales),
        pools=tuple(pools),
        tolerances=tuple(tolerances),
        log_error=log_error,
        spectrum=spectrum,
        similarity_range=similarity_range,
        sal=sal,
    )
    together = sum(each[1:], each[0])
    scores = together.to_dataset().assign_attrs(issue_times=len(each), **about.attributes)
    if about.valid is not None:
        scores = scores.assign_coords(time=("lead_time", about.valid))
    return with_intervals(scores, each, draws=draws) if draws else scores


def verify_each(
    forecast: Forecast | Sequence[Forecast],
    observed: xr.DataArray,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    **options: Any,
) -> list[Verification]:
    """One `Verification` for each issue time that has observations: what `bootstrap.interval` draws from.

    The arguments are those of `verify`, without ``draws``.

    Raises:
        ConfigError, DataError, Cancelled: as `verify`.
    """
    return _verify_each(forecast, observed, thresholds, **options)[0]


def with_intervals(
    scores: xr.Dataset, each: Sequence[Verification], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Scores with NAME_low and NAME_high beside csi_mean, mae (attributes) and csi_pooled (variables).

    The intervals are over the issue times or events in ``each``; one alone leaves the scores as they are. Issue times
    of one storm are not independent: their interval says how the scores vary within it, and is too narrow for others.

    Raises:
        ConfigError: as `bootstrap.intervals`.
    """
    if len(each) < 2:
        return scores
    found = bootstrap.intervals(each, ("csi_mean", "mae", "csi"), draws=draws, level=level, seed=seed)
    attributes: dict[str, Any] = {
        "interval_level": level,
        "interval_draws": draws,
        "interval_over": len(each),
    }
    for name in ("csi_mean", "mae"):
        attributes[f"{name}_low"], attributes[f"{name}_high"] = found[name]
    low, high = found["csi"]
    return scores.assign(csi_pooled_low=("threshold", low), csi_pooled_high=("threshold", high)).assign_attrs(
        attributes
    )


@dataclass(frozen=True)
class _About:
    attributes: dict[str, Any]
    valid: np.ndarray | None  # of the only issue time


def _verify_each(
    forecast: Forecast | Sequence[Forecast],
    observed: xr.DataArray,
    thresholds: Sequence[float],
    *,
    align: str | None = None,
    region: Any = None,
    threshold_units: str | None = None,
    progress: Progress | None = None,
    **families: Any,
) -> tuple[list[Verification], _About]:
    report = progress or (lambda stage, share: None)
    empty = Verification(thresholds, **families)
    alignment.check_align(align)
    alignment.check_field(observed, "observed", ("time", "y", "x"))
    forecasts = [forecast] if isinstance(forecast, xr.DataArray | xr.Dataset) else list(forecast)
    if not forecasts:
        raise DataError("no forecast to verify: give one or more")
    times = observed["time"].values.astype("datetime64[ns]")
    each: list[Verification] = []
    valid: list[np.ndarray] = []
    units, cases, unmatched = "", [], None
    for order, single in enumerate(forecasts):
        rain, chances = rain_and_chances(single)
        cases = cases_of(rain)
        units = alignment.check_units(rain, observed, threshold_units, thresholds is DEFAULT_THRESHOLDS)
        pixels = alignment.match_pixels(cases[0].field, observed, align, region)
        chances = None if chances is None else chances_at(chances, empty.settings.thresholds)
        try:
            matched = list(_with_partners(cases, times, align))
        except DataError as error:
            matched, unmatched = [], error
        for number, (case, pairs) in enumerate(matched):
            one = empty.empty()
            for share, (i, j) in enumerate(pairs):
                done = (number + share / len(pairs)) / len(matched)
                report("verifying", (order + done) / len(forecasts))
                _count(one, case, i, observed[j], pixels, chances)
            if one.overall("mae") == one.overall("mae"):  # NaN when no pixel was known in both
                each.append(one)
                matched_frames = [i for i, _ in pairs]
                valid.append(case.valid[matched_frames][np.argsort(case.leads[matched_frames])])
    if not each:
        if unmatched is not None:
            raise unmatched
        _refuse_blank(forecasts, observed)
    attributes = {
        "units": units,
        **_notes(each, units, cases[0].note, align),
        **{name: forecasts[0].attrs[name] for name in ("model", "run_card") if name in forecasts[0].attrs},
    }
    return each, _About(attributes, valid[0] if len(valid) == 1 else None)


def _with_partners(
    cases: list[Case], times: np.ndarray, align: str | None
) -> Iterator[tuple[Case, list[tuple[int, int]]]]:
    """The cases that have observations, each with its pairs of forecast and observed frame."""
    every = np.concatenate([case.valid for case in cases])
    alignment.match_times(every, times, align)  # refuses when nothing at all matches
    for case in cases:
        try:
            matched = alignment.match_times(case.valid, times, align)
        except DataError:
            continue  # an issue time whose leads reach past the observations
        yield case, [(int(i), int(j)) for i, j in zip(*matched, strict=True)]


def _count(
    one: Verification,
    case: Case,
    number: int,
    seen: xr.DataArray,
    pixels: alignment.Pixels,
    chances: xr.DataArray | None,
) -> None:
    """Count one frame of a case against an observed frame."""
    truth = seen.values
    if np.isinf(truth).any():
        raise DataError(
            f"observed holds infinite values at {seen['time'].values.astype('datetime64[s]')}Z: NaN stands for no data"
        )
    truth, values = pixels.of_observed(truth), pixels.of_forecast(case.frame(number))
    lead = case.leads[number]
    if values.ndim == 3:
        one.update_ensemble(values, truth, lead)
    else:
        one.update(values, truth, lead)
    if chances is not None:
        one.update_probabilities(pixels.of_forecast(chances.isel(time=number).values), truth, lead)


def _refuse_blank(forecasts: Sequence[Forecast], observed: xr.DataArray) -> NoReturn:
    fields = [rain_and_chances(single)[0] for single in forecasts]
    blank = ["forecast"] if not any(bool(field.notnull().any()) for field in fields) else []
    if not observed.notnull().any():
        blank.append("observed")
    why = f"all of {' and '.join(blank)} is missing" if blank else "where one is known the other is not"
    raise DataError(
        f"no pixel is known in both the forecast and the observations at their common times: {why}"
    )


def _notes(each: list[Verification], units: str, lead_note: str, align: str | None) -> dict[str, str]:
    notes: dict[str, str] = {}
    if lead_note:
        notes["lead_time_note"] = lead_note
    if align:
        notes["align"] = align
    events = sum(each[1:], each[0]).total("events")
    assert isinstance(events, Contingency)  # every verification counts events
    if not (events.hits + events.misses + events.false_alarms)[0]:
        lowest = each[0].settings.thresholds[0]
        notes["threshold_note"] = (
            f"no value of either field reaches the lowest threshold, {lowest:g} {units}".rstrip()
            + ": a dry case, or thresholds in another unit"
        )
    return notes

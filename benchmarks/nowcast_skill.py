"""Skill of nowcasts on real events: one table, every model on the same frames, pixels and leads.

    python benchmarks/nowcast_skill.py EVENTS [--models persistence extrapolation earthformer-nowcast]
        [--only mch_20160711 opera_20180824 ...] [--minutes 60] [--every 30] [--size 256] [--json scores.json]

EVENTS is a folder of event files (see geoscope.training.storms) or the name of a sample. Every model sees the same past
frames (at most 13) and is scored on its central SIZE x SIZE pixels at every lead up to MINUTES; issue times are EVERY
minutes apart. The CSI is that of the counts pooled over issue times and leads; "CSI mean" is its mean over the
thresholds. Pixels without truth do not count; where a model says nothing it counts as dry.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

import geoscope as gs
from geoscope import grids
from geoscope.metrics.contingency import Contingency, count_events, critical_success_index
from geoscope.metrics.continuous import ErrorSums, mean_absolute_error, mean_error, sum_errors
from geoscope.training.storms import read_event

THRESHOLDS_MM_H = (0.5, 1.0, 2.0, 5.0, 10.0)
HISTORY = 13


def event_field(path: Path, size: int) -> xr.DataArray:
    """The central ``size`` pixels of an event file as a rain field in mm/h, with x and y in metres."""
    event = read_event(path)
    height, width = event.rain.shape[1:]
    top, left = max((height - size) // 2, 0), max((width - size) // 2, 0)
    rain = event.frames(slice(None), slice(top, top + size), slice(left, left + size))
    start = np.datetime64("2000-01-01", "ns")
    step = np.timedelta64(round(event.interval_minutes * 60), "s")
    metres = event.pixel_km * 1000.0
    coords = {
        "time": start + np.arange(len(rain)) * step,
        "y": -np.arange(rain.shape[1]) * metres,
        "x": np.arange(rain.shape[2]) * metres,
    }
    return xr.DataArray(
        rain, dims=("time", "y", "x"), coords=coords, name="rain_rate", attrs={"units": "mm/h"}
    )


def issue_indices(frames: int, interval: float, minutes: float, every: float) -> tuple[range, int]:
    """Numbers of past frames at each issue time, and frames of lead; short events start with a shorter past."""
    leads = max(1, round(minutes / interval))
    first = min(HISTORY, max(2, frames - leads))
    return range(first, frames - leads + 1, max(1, round(every / interval))), leads


def score(
    field: xr.DataArray, models: list[str], minutes: float, every: float
) -> dict[str, dict[str, float]]:
    """Scores of every model on one event."""
    interval = grids.interval_minutes(field)
    issues, leads = issue_indices(len(field), interval, minutes, every)
    result: dict[str, dict[str, float]] = {}
    for model in models:
        counts: Contingency | None = None
        errors, seconds = ErrorSums(), 0.0
        for issue in issues:
            past = field.isel(time=slice(max(0, issue - HISTORY), issue))
            truth = field.values[issue : issue + leads]
            started = time.perf_counter()
            forecast = np.nan_to_num(gs.nowcast(past, model=model, lead_steps=leads).values)
            seconds += time.perf_counter() - started
            each = count_events(forecast, truth, THRESHOLDS_MM_H)
            counts = each if counts is None else counts + each
            errors = errors + sum_errors(forecast, truth)
        if counts is None:
            continue
        csi = np.nan_to_num(critical_success_index(counts))
        result[model] = {
            "issues": len(issues),
            "csi_mean": float(csi.mean()),
            **{f"csi_{t:g}": float(c) for t, c in zip(THRESHOLDS_MM_H, csi, strict=True)},
            "mae": mean_absolute_error(errors),
            "mean_error": mean_error(errors),
            "seconds": seconds / len(issues),
        }
    return result


def events(source: str, only: list[str], size: int) -> Iterator[tuple[str, xr.DataArray]]:
    """Names and fields of what is to be scored."""
    folder = Path(source)
    if not folder.is_dir():
        yield source, gs.sample(source)
        return
    for path in sorted(folder.glob("*.npz")):
        if not only or path.name.startswith(tuple(only)):
            yield path.stem, event_field(path, size)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events")
    parser.add_argument(
        "--models", nargs="+", default=["persistence", "extrapolation", "earthformer-nowcast"]
    )
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=30)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'event':28s} {'model':22s} {'n':>3s} {'CSI mean':>9s} {'MAE':>7s} {'bias':>7s} {'s':>6s}")
    for name, field in events(options.events, options.only, options.size):
        table[name] = score(field, options.models, options.minutes, options.every)
        for model, row in table[name].items():
            print(
                f"{name:28s} {model:22s} {row['issues']:3d} {row['csi_mean']:9.4f} {row['mae']:7.3f} "
                f"{row['mean_error']:+7.3f} {row['seconds']:6.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Extrapolation against pysteps: the same frames, pixels and leads, and the time both take in one run.

    taskset -c 1 python benchmarks/extrapolation_skill.py EVENTS [--minutes 60] [--every 30] [--size 256] [--json F]

EVENTS is a folder of `.npz` event files (geoscope.data.events). Both methods see the same past frames (at most 13) of
the central SIZE x SIZE pixels. "ours" is geoscope's model `extrapolation`; "pysteps" is Lucas-Kanade on the last four
frames in dB with semi-Lagrangian extrapolation, called directly. Where a method says nothing it counts as dry; pixels
without truth do not count. CSI mean is over 0.5, 1, 2, 5 and 10 mm/h of counts pooled over issue times and leads. A
file too short for four past frames and MINUTES of leads is scored on the leads it has. Seconds are CPU seconds a
forecast, methods in turn.
"""

import argparse
import contextlib
import io
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import geoscope as gs
from geoscope import grids
from geoscope.data.events import open_event_file
from geoscope.metrics.contingency import Contingency, count_events, critical_success_index

THRESHOLDS_MM_H = (0.5, 1.0, 2.0, 5.0, 10.0)
HISTORY, LEAST_PAST = 13, 4
DRY_DB, ZERO_DB = -10.0, -15.0


def ours(past: xr.DataArray, leads: int) -> np.ndarray:
    """geoscope's extrapolation through its own model, without the door's checks: both methods get bare arrays."""
    return gs.load_model("extrapolation", "cpu").forecast(
        past.values, interval_minutes=grids.interval_minutes(past), pixel_km=1.0, lead_steps=leads,
        progress=lambda stage, share: None,
    )  # fmt: skip


def pysteps_extrapolation(past: xr.DataArray, leads: int) -> np.ndarray:
    """pysteps' Lucas-Kanade and semi-Lagrangian extrapolation, missing pixels dry."""
    rain = np.nan_to_num(past.values)
    with contextlib.redirect_stdout(io.StringIO()), np.errstate(divide="ignore"):
        from pysteps import motion, nowcasts

        decibel = np.where(rain[-4:] < 0.1, ZERO_DB, 10 * np.log10(rain[-4:])).astype(rain.dtype)
        velocity = motion.get_method("LK")(decibel)
        return nowcasts.get_method("extrapolation")(rain[-1], velocity, leads)


METHODS = {"ours": ours, "pysteps": pysteps_extrapolation}


def centre(field: xr.DataArray, size: int) -> xr.DataArray:
    """The central ``size`` pixels."""
    top, left = (max((length - size) // 2, 0) for length in field.shape[1:])
    return field.isel(y=slice(top, top + size), x=slice(left, left + size))


def score(field: xr.DataArray, minutes: float, every: float) -> dict[str, tuple[float, float, int]]:
    """CSI mean, CPU seconds a forecast and number of forecasts of both methods on one event."""
    step = grids.interval_minutes(field)
    leads = min(round(minutes / step), len(field) - LEAST_PAST)
    first = min(HISTORY, len(field) - leads)
    issues = range(first, len(field) - leads + 1, max(1, round(every / step)))
    counts: dict[str, Contingency] = {}
    seconds = dict.fromkeys(METHODS, 0.0)
    for issue in issues:
        past = field.isel(time=slice(max(0, issue - HISTORY), issue))
        truth = field.values[issue : issue + leads]
        for name, method in METHODS.items():
            started = time.process_time()
            forecast = method(past, leads)
            seconds[name] += time.process_time() - started
            each = count_events(np.nan_to_num(forecast).astype(np.float32), truth, THRESHOLDS_MM_H)
            counts[name] = counts[name] + each if name in counts else each
    means = {name: np.nan_to_num(critical_success_index(counts[name])).mean() for name in METHODS}
    return {name: (float(means[name]), seconds[name] / len(issues), len(issues)) for name in METHODS}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=30)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table: dict[str, dict[str, float]] = {}
    print(f"{'event':32s} {'n':>3s} {'ours':>7s} {'pysteps':>8s} {'CSI ratio':>9s} {'time ratio':>10s}")
    paths = sorted(options.events.glob("*.npz"))
    warm_up = centre(open_event_file(paths[0]), 64)
    for method in METHODS.values():  # imports and first calls are not what is compared
        method(warm_up.isel(time=slice(0, 5)), 2)
    for path in paths:
        both = score(centre(open_event_file(path), options.size), options.minutes, options.every)
        (csi, seconds, n), (csi_pysteps, seconds_pysteps, _) = both["ours"], both["pysteps"]
        table[path.stem] = {
            "issues": n, "csi_mean": csi, "csi_mean_pysteps": csi_pysteps,
            "seconds": seconds, "seconds_pysteps": seconds_pysteps,
        }  # fmt: skip
        ratio = csi / csi_pysteps if csi_pysteps else float("nan")
        print(
            f"{path.stem:32s} {n:3d} {csi:7.4f} {csi_pysteps:8.4f} {ratio:9.3f} {seconds / seconds_pysteps:10.2f}",
            flush=True,
        )
    mean = {key: float(np.mean([row[key] for row in table.values()])) for key in next(iter(table.values()))}
    print(
        f"{'mean of the events':32s} {'':3s} {mean['csi_mean']:7.4f} {mean['csi_mean_pysteps']:8.4f} "
        f"{mean['csi_mean'] / mean['csi_mean_pysteps']:9.3f} {mean['seconds'] / mean['seconds_pysteps']:10.2f}"
    )
    if options.json:
        options.json.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

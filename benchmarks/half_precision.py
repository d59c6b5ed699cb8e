"""What bfloat16 changes in the scores of a trained Earthformer, on real sequences.

    python -m benchmarks.half_precision EVENTS [--only sevir_] [--leads 12] [--every 15] [--json FILE]

EVENTS is a folder of `.npz` event files (geoscope.data.events), of which those are taken whose name begins with one of
ONLY. The shipped nowcaster forecasts each of them three times from the same past frames:
    float32;
    bfloat16: mixed precision in all of the network, as it runs on processors that multiply bfloat16;
    prepared: float32 around the Earthformer, the Earthformer in the bfloat16 form of `Earthformer.prepare`.
CSI is of counts pooled over sequences, issue times and leads, at the rain rates that stand for SEVIR's thresholds of
vertically integrated liquid (16 to 219 on its scale of 0 to 255) in these files: their rain was made from it. What is
quoted is how far CSI moves from that of float32; the goal is 0.002 at most. Nothing is timed.
"""

import argparse
import copy
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import geoscope as gs
from geoscope import grids
from geoscope.data.events import open_event_file
from geoscope.metrics.contingency import Contingency, count_events, critical_success_index
from geoscope.metrics.sevir import SEVIR_THRESHOLDS
from geoscope.models.nowcaster.forecast import EarthformerNowcaster

LIMIT = 0.002
PAST = 13  # frames that a forecast may see, as in SEVIR's benchmark


def liquid(code: float) -> float:
    """Vertically integrated liquid, kg/m2, of a SEVIR code above 18, else of the linear part. Veillette et al. 2020."""
    if code <= 5:
        return 0.0
    return (code - 2.0) / 90.66 if code <= 18 else float(np.exp((code - 83.9) / 38.9))


def rain_of_code(code: float) -> float:
    """Rain, mm/h, of a SEVIR code as the event files have it: liquid in a column of 5 km, Marshall and Palmer."""
    reflectivity = (liquid(code) / (3.44e-3 * 5.0)) ** (7.0 / 4.0)
    return (reflectivity / 200.0) ** (1.0 / 1.6)


def variants() -> dict[str, EarthformerNowcaster]:
    """The shipped model three times; see the module's docstring."""
    shipped = gs.load_model("earthformer-nowcast", "cpu")
    full = EarthformerNowcaster(shipped.model, shipped.card, "cpu", precision="float32")
    half = EarthformerNowcaster(shipped.model, shipped.card, "cpu", precision="bfloat16")
    prepared = EarthformerNowcaster(copy.deepcopy(shipped.model), shipped.card, "cpu", precision="float32")
    prepared.model.body = prepared.model.body.prepare(torch.bfloat16)  # type: ignore[assignment]
    return {"float32": full, "bfloat16": half, "prepared": prepared}


def counts_of(
    field: xr.DataArray,
    runners: dict[str, EarthformerNowcaster],
    leads: int,
    every: float,
    levels: list[float],
) -> dict[str, Contingency]:
    """The counts of one sequence by variant, over all issue times and leads."""
    minutes = grids.interval_minutes(field)
    pixel_km = float(abs(field.x[1] - field.x[0])) / 1000.0
    found: dict[str, Contingency] = {}
    first = min(PAST, len(field) - leads)
    for issue in range(first, len(field) - leads + 1, max(1, round(every / minutes))):
        past, truth = field.values[max(0, issue - PAST) : issue], field.values[issue : issue + leads]
        for name, runner in runners.items():
            forecast = runner.forecast(
                past,
                interval_minutes=minutes,
                pixel_km=pixel_km,
                lead_steps=leads,
                progress=lambda stage, share: None,
            )
            counts = count_events(forecast, truth, levels)
            found[name] = found[name] + counts if name in found else counts
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", type=Path)
    parser.add_argument("--only", nargs="+", default=["sevir_"])
    parser.add_argument("--leads", type=int, default=12, help="frames ahead")
    parser.add_argument("--every", type=float, default=15, help="minutes from one issue time to the next")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    paths = sorted(path for path in options.events.glob("*.npz") if path.name.startswith(tuple(options.only)))
    if not paths:
        print(
            f"half_precision: no file in {options.events} begins with {' or '.join(options.only)}: give --only",
            file=sys.stderr,
        )
        return 2
    levels = [rain_of_code(code) for code in SEVIR_THRESHOLDS]
    runners, total, worst = variants(), {}, dict.fromkeys(("bfloat16", "prepared"), 0.0)
    for path in paths:
        own = counts_of(open_event_file(path), runners, options.leads, options.every, levels)
        total = {name: total[name] + counts if total else counts for name, counts in own.items()}
        moved = {name: difference(own[name], own["float32"]).max() for name in worst}
        worst = {name: max(worst[name], float(moved[name])) for name in worst}
        print(
            f"{path.stem:<28}" + "".join(f"{name} {value:.4f}  " for name, value in moved.items()), flush=True
        )
    rows = {name: np.nan_to_num(critical_success_index(counts)) for name, counts in total.items()}
    print(f"\n{'VIL':>5}{'mm/h':>8}" + "".join(f"{name:>10}" for name in rows) + f"{'moved by':>20}")
    for place, code in enumerate(SEVIR_THRESHOLDS):
        moved = "".join(f"{abs(rows[name][place] - rows['float32'][place]):>10.4f}" for name in worst)
        print(
            f"{code:>5}{levels[place]:>8.2f}"
            + "".join(f"{row[place]:>10.4f}" for row in rows.values())
            + moved
        )
    pooled = {name: float(difference(total[name], total["float32"]).max()) for name in worst}
    print(
        f"largest difference of CSI: {pooled} pooled (goal {LIMIT}), {worst} in one sequence; {len(paths)} sequences, "
        f"{platform.machine()}, torch {torch.__version__}"
    )
    if options.json:
        table = {
            "levels_mm_h": levels,
            "csi": {k: v.tolist() for k, v in rows.items()},
            "pooled": pooled,
            "worst": worst,
        }
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return int(max(pooled.values()) > LIMIT)


def difference(one: Contingency, other: Contingency) -> np.ndarray:
    """How far CSI is apart at each threshold; 0 where nothing was forecast or seen in either."""
    return np.abs(np.nan_to_num(critical_success_index(one)) - np.nan_to_num(critical_success_index(other)))


if __name__ == "__main__":
    sys.exit(main())

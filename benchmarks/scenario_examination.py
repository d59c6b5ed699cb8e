"""Examine scenarios on events that they never saw: the free ensemble beside STEPS, and what the control achieves.

    python -m benchmarks.scenario_examination EVENTS --only mch_20160711 opera_20180824 ... [--model NAME]
        [--members 20] [--issues 2] [--minutes 60] [--size 256] [--sigmas -4 -2 0 2 4] [--controlled 2] [--json F]

EVENTS is a folder of event files. Of each event the central pixels and evenly spread issue times are taken. First
table, means over events: CRPS (for single fields the MAE), spread over skill, share of the truth outside all members
(that of a perfect ensemble of M members is 2 / (M + 1)), CSI mean of the mean field, and the slope of the spectrum
between 8 and 64 pixels over the observed one, of a member at the last lead. Second table: how far the achieved mean
lies from the asked one in sigmas, whether it rises with n in every member, spectrum slope, wet share and maximum at
each n. Third: where the truth stood in the outlook (mean, spread, coverage). Only frames up to the issue time are shown
to any model.
"""

import argparse
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import geoscope as gs
from geoscope.data.events import find_events
from geoscope.errors import DataError
from geoscope.inference.loading import load_model
from geoscope.inference.scenarios import prepare_scenarios
from geoscope.metrics.contingency import count_events, critical_success_index
from geoscope.metrics.ensemble import (
    count_ranks,
    crps,
    rank_histogram,
    spread_skill_ratio,
    sum_ensemble,
)
from geoscope.metrics.spectrum import radial_power, wavelengths

THRESHOLDS = (0.5, 1.0, 2.0, 5.0, 10.0)
ENSEMBLES = ("pysteps-steps",)
SINGLE = ("pysteps-sprog", "earthformer-nowcast")
SLOPE_PX = (8.0, 64.0)


@dataclass
class Sums:
    """What is added up over the cases of one event for one model."""

    ensemble: Any = None
    ranks: Any = None
    counts: Any = None
    slopes: list[float] = field(default_factory=list)

    def add(self, members: np.ndarray, truth: np.ndarray) -> None:
        """One case: ``members`` (M, L, H, W) and ``truth`` (L, H, W)."""
        self.ensemble = _plus(self.ensemble, sum_ensemble(members, truth))
        self.ranks = _plus(self.ranks, count_ranks(members, truth, smallest=0.1))
        self.counts = _plus(self.counts, count_events(members.mean(axis=0), truth, THRESHOLDS))
        self.slopes.append(spectral_slope(members[0, -1]) / spectral_slope(truth[-1]))

    def row(self) -> dict[str, float]:
        histogram = rank_histogram(self.ranks)
        return {
            "crps": float(crps(self.ensemble)),
            "spread_skill": float(spread_skill_ratio(self.ensemble)),
            "outside": float(histogram[0] + histogram[-1]),
            "csi_mean": float(np.nanmean(critical_success_index(self.counts))),
            "slope_ratio": float(np.mean(self.slopes)),
        }


def _plus(total: Any, more: Any) -> Any:
    return more if total is None else total + more


def spectral_slope(rain: np.ndarray) -> float:
    """The slope of log power over log wavenumber of one field (H, W), between the wavelengths `SLOPE_PX`."""
    power = radial_power(np.nan_to_num(rain))
    lengths = wavelengths(*rain.shape)
    count = min(len(power), len(lengths))
    power, lengths = power[:count], lengths[:count]
    kept = (lengths >= SLOPE_PX[0]) & (lengths <= SLOPE_PX[1]) & (power > 0)
    return float(np.polyfit(-np.log(lengths[kept]), np.log(power[kept]), 1)[0])


@dataclass(frozen=True)
class Case:
    """One event cut at one issue time."""

    event: str
    past: xr.DataArray
    truth: np.ndarray
    lead_steps: int


def cases_of(source: Any, issues: int, minutes: float, size: int) -> list[Case]:
    """The cases of an event: central pixels, ``issues`` issue times, evenly spread over those with a full truth."""
    rain = source.open()
    height, width = rain.shape[1:]
    top, left = max(0, (height - size) // 2), max(0, (width - size) // 2)
    rain = rain[:, top : top + size, left : left + size]
    interval = float(np.diff(rain["time"].values[:2])[0] / np.timedelta64(1, "m"))
    leads = max(1, int(minutes // interval))
    first = min(12, len(rain) - leads - 1)
    last = len(rain) - leads - 1
    if first < 3:
        raise DataError(
            f"{source.name}: {len(rain)} frames are too few for {leads} leads after 4 frames of past"
        )
    chosen = sorted({int(np.rint(place)) for place in np.linspace(first, last, issues)})
    return [
        Case(source.name, rain[: at + 1], rain.values[at + 1 : at + 1 + leads], leads)
        for at in chosen
        if np.nanmean(rain.values[at]) > 0.02
    ]


def examine(case: Case, model: Any, options: argparse.Namespace, sums: dict[str, Sums]) -> dict[str, Any]:
    """Add the ensembles of a case to ``sums``; give what its control achieved and where the truth stood."""
    for name in (options.name, *options.ensembles):
        runner = model if name == options.name else name
        members = gs.nowcast(case.past, runner, lead_steps=case.lead_steps, members=options.members, seed=1)
        sums.setdefault(name, Sums()).add(members.values, case.truth)
    for name in options.singles:
        field_of = gs.nowcast(case.past, name, lead_steps=case.lead_steps).values
        sums.setdefault(name, Sums()).add(field_of[None], case.truth)
    source = prepare_scenarios(case.past, model, lead_steps=case.lead_steps)
    drawn = list(source.draw(options.sigmas, options.controlled, seed=2))
    known = np.isfinite(case.truth) & np.isfinite(drawn[0].rain)
    stood = source.sigma_of(float(case.truth[known].mean()))
    rows = [
        {
            "sigma": each.sigma,
            "member": each.member,
            "off": abs(source.sigma_of(each.achieved_mean) - each.sigma),
            "achieved": each.achieved_mean,
            "slope_ratio": spectral_slope(each.rain[-1]) / spectral_slope(case.truth[-1]),
            "wet": float(np.nanmean(each.rain >= 0.1)),
            "most": float(np.nanmax(each.rain)),
            "least": float(np.nanmin(each.rain)),
            "shift": each.shift,
            "plausible": each.is_plausible,
        }
        for each in drawn
    ]
    return {
        "event": case.event,
        "stood": stood,
        "wet_seen": float(np.nanmean(case.truth >= 0.1)),
        "control": rows,
    }


def control_table(cases: list[dict[str, Any]]) -> list[dict[str, float]]:
    """By n: the largest and the mean distance from what was asked, slope, wet share, maximum."""
    rows = [row for case in cases for row in case["control"]]
    table = []
    for sigma in sorted({row["sigma"] for row in rows}):
        of_sigma = [row for row in rows if row["sigma"] == sigma]
        table.append(
            {
                "sigma": sigma,
                "off_mean": float(np.mean([row["off"] for row in of_sigma])),
                "off_largest": float(np.max([row["off"] for row in of_sigma])),
                "slope_ratio": float(np.mean([row["slope_ratio"] for row in of_sigma])),
                "wet": float(np.mean([row["wet"] for row in of_sigma])),
                "most": float(np.max([row["most"] for row in of_sigma])),
                "shift": float(np.mean([row["shift"] for row in of_sigma])),
                "plausible": float(np.mean([row["plausible"] for row in of_sigma])),
            }
        )
    return table


def rises(cases: list[dict[str, Any]]) -> bool:
    """Whether the achieved mean rises strictly with n in every member of every case."""
    for case in cases:
        for member in {row["member"] for row in case["control"]}:
            means = [row["achieved"] for row in case["control"] if row["member"] == member]
            if not all(low < high for low, high in pairwise(means)):
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", type=Path)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--model", default="prediff-nowcast")
    parser.add_argument("--ensembles", nargs="*", default=list(ENSEMBLES))
    parser.add_argument("--singles", nargs="*", default=list(SINGLE))
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--issues", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--sigmas", type=float, nargs="+", default=[-4, -2, 0, 2, 4])
    parser.add_argument("--controlled", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    options.name = model.card.name
    events: dict[str, dict[str, dict[str, float]]] = {}
    cases: list[dict[str, Any]] = []
    for source in find_events(str(options.events)):
        if not source.name.startswith(tuple(options.only)):
            continue
        sums: dict[str, Sums] = {}
        try:
            for case in cases_of(source, options.issues, options.minutes, options.size):
                cases.append(examine(case, model, options, sums))
        except DataError as error:
            print(f"{source.name}: {error}")
            continue
        events[source.name] = {name: each.row() for name, each in sums.items()}
        cells = " | ".join(
            f"{name} crps {row['crps']:.3f} ss {row['spread_skill']:.2f} csi {row['csi_mean']:.3f}"
            for name, row in events[source.name].items()
        )
        print(f"{source.name}: {cells}", flush=True)
    print(report(events, cases))
    if options.json:
        made = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "members": options.members}
        options.json.write_text(json.dumps({**made, "events": events, "cases": cases}, indent=1) + "\n")


def report(events: dict[str, dict[str, dict[str, float]]], cases: list[dict[str, Any]]) -> str:
    """The three tables as text."""
    names = list(next(iter(events.values())))
    lines = ["model                 CRPS  spread/skill  outside  CSI mean  slope"]
    for name in names:
        mean = {
            key: np.mean([row[name][key] for row in events.values()])
            for key in events[next(iter(events))][name]
        }
        lines.append(
            f"{name:20s} {mean['crps']:.3f}  {mean['spread_skill']:12.2f}  {mean['outside']:7.3f}  "
            f"{mean['csi_mean']:8.3f}  {mean['slope_ratio']:.2f}"
        )
    lines.append("   n  off mean  off largest  slope   wet  maximum  shift  plausible")
    lines += [
        f"{row['sigma']:4g}  {row['off_mean']:8.3f}  {row['off_largest']:11.3f}  {row['slope_ratio']:5.2f} "
        f"{row['wet']:5.2f}  {row['most']:7.1f}  {row['shift']:5.2f}  {row['plausible']:9.2f}"
        for row in control_table(cases)
    ]
    stood = np.array([case["stood"] for case in cases])
    lines.append(f"rises with n in every member: {'yes' if rises(cases) else 'no'}")
    lines.append(
        f"where the truth stood: mean {stood.mean():.2f}, spread {np.sqrt((stood**2).mean()):.2f}, within 1 "
        f"{(abs(stood) < 1).mean():.2f}, within 2 {(abs(stood) < 2).mean():.2f} of {len(stood)} cases"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

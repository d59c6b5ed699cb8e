"""A tiny scenario model, simple storms, and a stand-in for the nowcaster: for tests of the training of scenarios."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from geoscope.models.nowcaster.forecast import LookAhead
from geoscope.models.nowcaster.presets import THRESHOLDS_MM_H
from geoscope.models.prediff.config import AutoencoderConfig
from geoscope.models.scenarios.config import ScenarioConfig, scenarios_small
from geoscope.training.scenarios.cases import CaseTable, Cutter, cut_cases

SILENT = lambda stage, share: None  # noqa: E731
TABLE = CaseTable(per_event=3, size=96, regions=4)


def tiny_scenarios() -> ScenarioConfig:
    """Some thousand weights."""
    small = scenarios_small(latent=2, width=8, alignment_width=8, preset="tiny")
    folded = AutoencoderConfig(
        channels=16, out_channels=32, widths=(8, 8), blocks=1, latent_channels=2, groups=4
    )
    return replace(small, autoencoder=folded, schedule_steps=20)


class ByHand:
    """Expects the newest frame, ever less surely: logits 2 (log(R + 0.05) - log threshold) / lead."""

    device = torch.device("cpu")
    model = SimpleNamespace(config=SimpleNamespace(history=5))

    def __init__(self):
        self.calls = 0

    def look_ahead(self, past, *, interval_minutes, pixel_km, leads, progress):
        self.calls += 1
        thresholds = torch.tensor(THRESHOLDS_MM_H)
        rain = torch.from_numpy(np.nan_to_num(past[-1]))
        distance = torch.log(rain + 0.05) - torch.log(thresholds)[:, None, None]
        return LookAhead(
            torch.zeros(1, 2, *rain.shape), {lead: 2 * distance / lead for lead in leads}, thresholds
        )


def rain_of(seed: int, frames: int = 20, height: int = 72, width: int = 104) -> np.ndarray:
    """Some round showers that move and a little noise, mm/h."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    rain = np.zeros((frames, height, width))
    for _ in range(8):
        row, column, speed = random.uniform(0, height), random.uniform(0, width), random.uniform(-2, 2, 2)
        for t in range(frames):
            distance = (rows - row - speed[0] * t) ** 2 + (columns - column - speed[1] * t) ** 2
            rain[t] += random.uniform(4, 16) * np.exp(-distance / 80)
    return np.where(rain < 0.05, 0, rain)


def write_event(path, seed: int = 0, **size) -> None:
    """An event file of `rain_of`, 10 minutes and 1 km."""
    meta = json.dumps({"dt_minutes": 10, "pixel_km": 1})
    np.savez(path, rain=(rain_of(seed, **size) * 100).astype(np.uint16), meta=meta)


def write_events(folder, *names: str) -> None:
    """Events of these names in ``folder``."""
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        write_event(folder / f"{name}.npz", seed)


def some_cases(folder, names=("storm_a", "storm_b")):
    """Cases of small events, cut by the stand-in."""
    write_events(folder / "events", *names)
    cutter = Cutter(ByHand(), TABLE, 8, seed=3)
    return cut_cases(cutter, sorted((folder / "events").iterdir()), {}, folder / "cases", SILENT)

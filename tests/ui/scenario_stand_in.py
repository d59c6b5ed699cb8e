"""A model of scenarios for tests: persistence, scaled so that its mean is what is asked."""

from dataclasses import dataclass

import numpy as np

import geoscope as gs
from geoscope.models.scenarios.forecast import Member
from geoscope.models.scenarios.outlook import Expectation


@dataclass(frozen=True)
class StandInScene:
    """The newest frame, how often it is repeated, and the outlook."""

    newest: np.ndarray
    leads: int
    region: np.ndarray
    expectation: Expectation


class StandInRunner:
    """Has what `geoscope.inference.scenarios` asks of a model; `drawn` lists the members that were drawn."""

    min_frames = 2
    steps_reported = 3

    def __init__(self):
        self.card = next(card for card in gs.list_models() if card.name == "persistence")
        self.drawn = []

    def open(self, past, *, interval_minutes, pixel_km, lead_steps, region=None, progress):
        progress("opening", 0.5)
        newest = past[-1]
        weights = np.isfinite(newest) * (np.ones_like(newest) if region is None else region)
        mean = float((np.nan_to_num(newest) * weights).sum() / weights.sum())
        return StandInScene(newest, lead_steps, weights, Expectation(float(np.log1p(mean / 0.1)), 0.5, 5.0))

    def draw(self, scene, *, members, sigmas, steps, seed, shape, progress):
        mean = scene.expectation.mean_at(0.0)
        for number in members:
            grain = np.random.default_rng([seed, number]).uniform(0.8, 1.2, (scene.leads, *shape))
            for sigma in sigmas:
                for step in range(self.steps_reported):
                    progress("drawing members", step / self.steps_reported)
                asked = scene.expectation.mean_at(sigma)
                rain = (scene.newest * grain).astype(np.float32)
                got = (np.nan_to_num(rain).mean(axis=0) * scene.region).sum() / scene.region.sum()
                rain *= np.float32(asked / max(got, 1e-6))
                self.drawn.append((sigma, number))
                yield Member(number, sigma, asked, asked if mean else 0.0, 0.0, abs(sigma) < 3.5, rain)

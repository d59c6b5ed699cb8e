"""A small untrained scenario model over a nowcaster that says what a test wants it to say."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geoscope.models.nowcaster.forecast import LookAhead
from geoscope.models.prediff.config import AutoencoderConfig
from geoscope.models.scenarios.config import FEATURES, ScenarioConfig, _on_latents
from geoscope.models.scenarios.forecast import ScenarioForecaster
from geoscope.models.scenarios.networks import ScenarioModel

THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


class StubNowcaster:
    """Expects at every step what the newest frame shows, ever less surely."""

    def __init__(self) -> None:
        thresholds = torch.tensor(THRESHOLDS)
        self.device, self.is_half = torch.device("cpu"), False
        self.model = SimpleNamespace(thresholds=thresholds, config=SimpleNamespace(history=3))

    def look_ahead(self, past, *, interval_minutes, pixel_km, leads, progress):
        progress("looking ahead", 1.0)
        newest = torch.nan_to_num(torch.from_numpy(past[-1]))
        away = torch.log(newest.clamp(min=0.02)) - torch.log(self.model.thresholds)[:, None, None]
        logits = {lead: 4.0 * away / (1.0 + 0.2 * lead) for lead in leads}
        return LookAhead(torch.zeros(1, 2, *newest.shape), logits, self.model.thresholds)


def tiny_config() -> ScenarioConfig:
    return ScenarioConfig(
        preset="tiny",
        nowcaster="stub",
        autoencoder=AutoencoderConfig(
            channels=16, out_channels=32, widths=(8, 16), blocks=1, latent_channels=2, groups=4
        ),
        denoiser=replace(_on_latents(16, 2 + FEATURES), heads=2),
        alignment=replace(_on_latents(8, 2 + FEATURES), heads=2),
    )


@pytest.fixture
def model() -> ScenarioModel:
    torch.manual_seed(0)
    network = ScenarioModel(tiny_config())
    with torch.no_grad():  # untrained networks begin with zeros at many ends; here something must come out
        for name, value in network.named_parameters():
            if not name.startswith("outlook") and (value.abs().max() == 0 or "decoder" in name):
                value.normal_(0.0, 0.1)
    return network.eval()


@pytest.fixture
def forecaster(model) -> ScenarioForecaster:
    return ScenarioForecaster(model, StubNowcaster(), SimpleNamespace(name="tiny"))


@pytest.fixture
def past() -> np.ndarray:
    """Four frames (72, 88), not whole cells, with a band of rain, and pixels without data."""
    frames = np.zeros((4, 72, 88), np.float32)
    frames[:, 20:50, 10:70] = 2.0
    frames[:, 30:40, 30:50] = 12.0
    frames[:, :, :3] = np.nan
    return frames

"""Trained weights with a card as a model: nowcaster, scenarios, networks of frames. Written by `inference.export`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoscope.errors import WeightsError
from geoscope.inference.frame_nowcaster import FrameNowcaster
from geoscope.models.networks import weights as frame_weights
from geoscope.models.nowcaster import checkpoints as nowcaster_weights
from geoscope.models.nowcaster.forecast import EarthformerNowcaster
from geoscope.models.scenarios import checkpoints as scenario_weights
from geoscope.models.scenarios.forecast import ScenarioForecaster
from geoscope.zoo.cards import ModelCard
from geoscope.zoo.self_check import check

_BLOCK = 8  # pixels: self-checks of bare networks hold every eighth


def load_own(card: ModelCard, device: str) -> Any:
    """The model of a card with weights in a file; its self-check is done.

    A network on pictures or on SEVIR's codes comes as `torch.nn.Module` in evaluation mode with the attribute
    ``card``; what takes rain follows `geoscope.inference.loading.Nowcaster`.

    Raises:
        WeightsError: weights missing or damaged, of an unknown kind, or another answer than the stored one.
    """
    path = card.weights_path()
    if path is None:
        raise WeightsError(f"{card.name} has no weights on its card; choose another model (geoscope models)")
    if frame_weights.file_format(path) not in (frame_weights.FORMAT, scenario_weights.FORMAT):
        return nowcaster_weights.load_nowcaster(card, device)
    model = open_weights(path, card, device)
    check(card, lambda inputs: answer(model, inputs))
    return model


def open_weights(path: Path, card: ModelCard, device: str) -> Any:
    """The model whose weights are in ``path``, without a self-check.

    Raises:
        WeightsError: not weights that geoscope wrote.
    """
    kind = frame_weights.file_format(path)
    if kind == scenario_weights.FORMAT:
        from geoscope.inference.loading import load_model

        scenarios = scenario_weights.read_scenarios(path)
        return ScenarioForecaster(scenarios, load_model(scenarios.config.nowcaster, device), card)
    if kind != frame_weights.FORMAT:
        return EarthformerNowcaster(nowcaster_weights.read_nowcaster(path), card, device)
    network, header = frame_weights.read_network(path)
    if header.encoding == "log rain" and header.channels == 1:
        return FrameNowcaster(network, header, card, device)
    network = network.to(device)
    setattr(network, "card", card)  # noqa: B010 - torch's Module declares no such attribute
    return network


@torch.no_grad()
def answer(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What ``model`` makes of the inputs of a self-check.

    Nowcasters: ``past`` (T, H, W) with one-element ``interval_minutes``, ``pixel_km`` and ``lead_steps``; of scenarios
    the mean of two members is taken. Networks: ``blocks`` (T, h, w, C), of which each stands for 8 x 8 pixels; of the
    answer every eighth pixel is given.
    """
    if isinstance(model, EarthformerNowcaster):
        return nowcaster_weights.self_check_answer(model, inputs)
    if isinstance(model, ScenarioForecaster):
        return _smooth_mean(model, inputs)
    if isinstance(model, FrameNowcaster):
        return np.asarray(
            model.forecast(
                inputs["past"],
                interval_minutes=float(inputs["interval_minutes"].item()),
                pixel_km=float(inputs["pixel_km"].item()),
                lead_steps=int(inputs["lead_steps"].item()),
                progress=lambda stage, share: None,
            )
        )
    device = next(model.parameters()).device
    frames = model.frames
    x = inputs["blocks"].repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)[:, : frames.height, : frames.width]
    forecast = model(torch.from_numpy(np.ascontiguousarray(x))[None].to(device))
    return forecast[0, :, ::_BLOCK, ::_BLOCK].float().cpu().numpy()


def _smooth_mean(model: ScenarioForecaster, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """log(1 + rain) of the mean of two members over blocks, in float32: what rounding moves is small there."""
    nowcaster = EarthformerNowcaster(
        model.nowcaster.model, model.nowcaster.card, str(model.device), precision="float32"
    )
    exact = ScenarioForecaster(model.model, nowcaster, model.card, precision="float32")
    rain = exact.forecast_ensemble(
        inputs["past"],
        members=2,
        seed=0,
        interval_minutes=float(inputs["interval_minutes"].item()),
        pixel_km=float(inputs["pixel_km"].item()),
        lead_steps=int(inputs["lead_steps"].item()),
        progress=lambda stage, share: None,
    ).mean(axis=0)
    rows, columns = (side // _BLOCK for side in rain.shape[1:])
    cut = rain[:, : rows * _BLOCK, : columns * _BLOCK].reshape(-1, rows, _BLOCK, columns, _BLOCK)
    return np.log1p(cut.mean(axis=(2, 4)))


def self_check_inputs(model: Any) -> dict[str, np.ndarray]:
    """A small stored case for ``model``: a simulated storm for nowcasters, smooth blocks for networks."""
    if hasattr(model, "forecast"):
        from geoscope.data.storms import StormConfig, simulate_storms

        header = getattr(model, "header", None)
        interval = (header.interval_minutes if header else 0.0) or 10.0
        frames = header.in_frames if header else 5
        storm = simulate_storms(StormConfig(frames=frames, height=64, width=64, interval_minutes=interval))
        return {
            "past": np.ascontiguousarray(storm.values, dtype=np.float32),
            "interval_minutes": np.array([interval]),
            "pixel_km": np.array([(header.pixel_km if header else 0.0) or 1.0]),
            "lead_steps": np.array([min(3, header.out_frames if header else 3)]),
        }
    f = model.frames
    shape = (f.in_frames, -(-f.height // _BLOCK), -(-f.width // _BLOCK), f.channels)
    return {"blocks": np.random.default_rng(0).random(shape, dtype=np.float32)}

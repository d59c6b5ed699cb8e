"""From the name of a model to something that forecasts."""

import json
import pickle
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from geoscope.errors import ConfigError, WeightsError
from geoscope.zoo.cards import CARDS, ModelCard, card, is_path

# Where the maker of each baseline is: called with its card and a torch device, and imported only then.
BASELINES: dict[str, tuple[str, str]] = {
    "persistence": ("geoscope.models.baselines.persistence", "Persistence"),
    "climatology": ("geoscope.models.baselines.climatology", "Climatology"),
    "extrapolation": ("geoscope.models.baselines.extrapolation", "Extrapolation"),
    "pysteps-extrapolation": ("geoscope.models.baselines.pysteps_single", "PystepsExtrapolation"),
    "pysteps-sprog": ("geoscope.models.baselines.pysteps_single", "PystepsSprog"),
    "pysteps-anvil": ("geoscope.models.baselines.pysteps_single", "PystepsAnvil"),
    "pysteps-steps": ("geoscope.models.baselines.pysteps_ensemble", "PystepsSteps"),
    "pysteps-linda": ("geoscope.models.baselines.pysteps_ensemble", "PystepsLinda"),
}


class Nowcaster(Protocol):
    """What `geoscope.nowcast` asks of a model: a card, and a forecast from past frames.

    A model may have more, with the same arguments: `forecast_ensemble` (also ``members`` and ``seed``) giving
    (M, L, H, W), with `default_members` where its single field is the mean of so many; `forecast_probabilities`
    (also ``thresholds_mm_h``) giving rain (L, H, W) and probability (K, L, H, W); and `max_lead_steps(interval)`.
    """

    card: ModelCard
    min_frames: int

    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """Rain (lead_steps, H, W) in mm/h from ``past`` (T, H, W), NaN = no data in both."""
        ...


def choose_device(device: str = "auto") -> str:
    """The torch device for ``device``: "auto" takes a GPU where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"device={device!r} is not available here ({reason}); use 'auto' or 'cpu'"
        ) from None
    return device


def load_model(name: str, device: str = "auto") -> Any:
    """The model called ``name``, ready to run on ``device``; the same object for the same arguments.

    ``name`` may be the path of a card of your own, as `geoscope export` writes it: "models/my-radar.toml".

    Models for nowcasts follow `Nowcaster`. Published networks (kind "published") come as `torch.nn.Module` in
    evaluation mode, with the attribute ``card``.

    Raises:
        ConfigError: no model of that name, or no such device.
        WeightsError: its weights are missing, damaged, or fail the self-check.
        MissingExtraError: its packages are not installed.
    """
    written = 0
    if is_path(str(name)) and Path(name).is_file():  # a card of one's own may be written again
        name, written = str(Path(name).resolve()), Path(name).stat().st_mtime_ns
    return _load(str(name), choose_device(device), written)


@lru_cache(maxsize=8)
def _load(name: str, device: str, written: int = 0) -> Any:
    model_card = card(name)
    if model_card.own_folder is not None and model_card.kind != "learned":
        raise ConfigError(
            f"{name} is of kind {model_card.kind!r}: only learned models of your own are loaded from a card; "
            "others go by their names"
        )
    return _MAKERS[model_card.kind](model_card, device)


def _load_baseline(model_card: ModelCard, device: str) -> Nowcaster:
    module, maker = BASELINES[model_card.name]
    return getattr(import_module(module), maker)(model_card, device)


def _load_learned(model_card: ModelCard, device: str) -> Any:
    from geoscope.inference.own_models import load_own

    return load_own(model_card, device)


def _load_published(model_card: ModelCard, device: str) -> Any:
    """The network of a published checkpoint, with its card as attribute ``card``."""
    from geoscope.models.earthformer.checkpoints import from_published

    path, weights = model_card.weights_path(), model_card.weights
    if path is None or weights is None:
        raise WeightsError(
            f"{model_card.name} has no weights on its card; choose another model (geoscope models)"
        )
    kwargs = json.loads((CARDS / weights.kwargs).read_text(encoding="utf-8"))
    if weights.parts:
        states = {part.name: _read_state(path / part.file, model_card) for part in weights.parts}
        network = _prediff(kwargs, states).to(device)
    else:
        network = from_published(kwargs, _read_state(path, model_card)).to(device)
    setattr(network, "card", model_card)  # noqa: B010 - torch's Module declares no such attribute
    return network


def _read_state(path: Path, model_card: ModelCard) -> Any:
    """The state dict in a fetched file."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:120]
        raise WeightsError(
            f"{path.name} is not a readable PyTorch state dict ({reason}); delete it and run "
            f"geoscope fetch {model_card.name}"
        ) from None


def _prediff(kwargs: dict[str, Any], states: dict[str, Any]) -> Any:
    """PreDiff's three networks as one `LatentDiffusion`."""
    from geoscope.models.prediff import checkpoints
    from geoscope.models.prediff.latent_diffusion import LatentDiffusion

    return LatentDiffusion(
        checkpoints.autoencoder_from_published(kwargs["autoencoder"], states["autoencoder"]),
        checkpoints.denoiser_from_published(kwargs["denoiser"], states["denoiser"]),
        alignment=checkpoints.alignment_from_published(kwargs["alignment"], states["alignment"]),
    ).eval()


_MAKERS: dict[str, Callable[[ModelCard, str], Any]] = {
    "baseline": _load_baseline,
    "learned": _load_learned,
    "published": _load_published,
}

"""Reading and writing the compact nowcaster's weights: safetensors, with the preset's name in the header."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file

from geoscope.errors import WeightsError
from geoscope.models.nowcaster import presets
from geoscope.models.nowcaster.forecast import EarthformerNowcaster
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.zoo.cards import ModelCard
from geoscope.zoo.safetensors_header import read_header
from geoscope.zoo.self_check import check

FORMAT = "geoscope-nowcaster"


def save_nowcaster(model: LagrangianEarthformer, path: Path) -> Path:
    """Write the weights beside ``path`` and move them there."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    beside = path.with_suffix(".part")
    save_file(tensors, beside, metadata={"format": FORMAT, "preset": model.config.preset})
    beside.replace(path)
    return path


def read_nowcaster(path: Path) -> LagrangianEarthformer:
    """The network whose weights are in ``path``.

    Raises:
        WeightsError: not a nowcaster's weights, or they do not fit the preset that they name.
    """
    header, tensors = read_header(path, "fetch or train it again"), load_file(path)
    build = presets.PRESETS.get(header.get("preset", ""))
    if header.get("format") != FORMAT or build is None:
        raise WeightsError(
            f"{path.name} does not hold a nowcaster: its header says {header}, expected format={FORMAT!r} and a "
            f"preset of {sorted(presets.PRESETS)}"
        )
    model = LagrangianEarthformer(build())
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # a tensor of another shape: torch says so in many lines
        reason = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(
            f"{path.name} does not fit {header['preset']}: {reason}; train it again, or use the geoscope that wrote it"
        ) from None
    if missing or unexpected:
        raise WeightsError(
            f"{path.name} does not fit {header['preset']}: missing {missing}, unexpected {unexpected}"
        )
    return model.eval()


def load_nowcaster(card: ModelCard, device: str) -> EarthformerNowcaster:
    """The nowcaster of ``card``, its weights' sha256 and its self-check verified.

    Raises:
        WeightsError: weights missing or damaged, or another answer than the stored one.
    """
    path = card.weights_path()
    if path is None:
        raise WeightsError(f"{card.name} has no weights on its card; choose another model (geoscope models)")
    nowcaster = EarthformerNowcaster(read_nowcaster(path), card, device)
    if card.self_check is not None:
        check(card, lambda inputs: self_check_answer(nowcaster, inputs))
    return nowcaster


def self_check_answer(nowcaster: EarthformerNowcaster, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """P(rain >= 0.5, 2 and 10 mm/h) for the stored case: ``past`` (T, H, W), one-element ``interval_minutes``,
    ``pixel_km`` and ``lead_steps``.

    In float32 on any machine, and probabilities rather than rain: what rounding moves across a cut would jump.
    """
    exact = EarthformerNowcaster(nowcaster.model, nowcaster.card, str(nowcaster.device), precision="float32")
    _, chance = exact.forecast_probabilities(
        inputs["past"],
        interval_minutes=float(inputs["interval_minutes"].item()),
        pixel_km=float(inputs["pixel_km"].item()),
        lead_steps=int(inputs["lead_steps"].item()),
        thresholds_mm_h=(0.5, 2.0, 10.0),
        progress=lambda stage, share: None,
    )
    return chance

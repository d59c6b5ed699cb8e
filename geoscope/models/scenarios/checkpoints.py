"""Reading and writing the scenario model's weights: one safetensors file, half precision, presets in the header."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from geoscope.errors import WeightsError
from geoscope.models.scenarios.config import PRESETS
from geoscope.models.scenarios.networks import ScenarioModel
from geoscope.zoo.safetensors_header import read_header

FORMAT = "geoscope-scenarios"
KEPT_IN_FULL = ("outlook.", "texture", "seen_", "drawn_", "autoencoder.centre", "autoencoder.scale")


def save_scenarios(model: ScenarioModel, path: Path) -> Path:
    """Write the weights beside ``path`` and move them there; networks in float16, the rest in float32."""
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        is_halved = value.is_floating_point() and not name.startswith(KEPT_IN_FULL)
        tensors[name] = value.detach().cpu().to(torch.float16 if is_halved else value.dtype).contiguous()
    header = {"format": FORMAT, "preset": model.config.preset, "nowcaster": model.config.nowcaster}
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata=header)
    beside.replace(path)
    return path


def read_scenarios(path: Path) -> ScenarioModel:
    """The scenario model whose weights are in ``path``, in float32.

    Raises:
        WeightsError: not a scenario model's weights, or they do not fit the preset that they name.
    """
    header, tensors = read_header(path, "fetch or train it again"), load_file(path)
    build = PRESETS.get(header.get("preset", ""))
    if header.get("format") != FORMAT or build is None:
        raise WeightsError(
            f"{path.name} does not hold a scenario model: its header says {header}, expected format={FORMAT!r} and a "
            f"preset of {sorted(PRESETS)}"
        )
    model = ScenarioModel(build())
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != found:
        odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise WeightsError(
            f"{path.name} does not fit {header['preset']}: {len(odd)} tensors differ, the first is {odd[0]} (expected "
            f"{wanted.get(odd[0])}, got {found.get(odd[0])}); train it again, or use the geoscope that wrote it"
        )
    full = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    model.load_state_dict(full)
    return model.eval()

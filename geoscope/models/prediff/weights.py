"""Weights of one of PreDiff's networks in a safetensors file whose header holds its config and what it was trained for.

What `geoscope train autoencoder`, `denoiser` and `alignment` write. Published checkpoints are `checkpoints`' business.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors.torch import load_file, save_file
from torch import nn

from geoscope.diffusion.schedules import make_schedule
from geoscope.errors import ConfigError, WeightsError
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.config import AlignmentConfig, AutoencoderConfig, DenoiserConfig
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.models.prediff.latent_diffusion import LatentDiffusion
from geoscope.zoo.safetensors_header import read_header
from geoscope.zoo.tables import build

FORMAT = "geoscope-prediff"
Part = Literal["autoencoder", "denoiser", "alignment"]
_PARTS: dict[Part, tuple[type[Any], type[nn.Module]]] = {
    "autoencoder": (AutoencoderConfig, FrameAutoencoder),
    "denoiser": (DenoiserConfig, LatentDenoiser),
    "alignment": (AlignmentConfig, AlignmentNetwork),
}


def save_part(network: nn.Module, path: Path, about: dict[str, Any]) -> Path:
    """Write ``network``, one of the three, beside ``path`` and move it there; ``about`` is kept as JSON.

    Raises:
        ConfigError: its config lists cuboids one by one, which a header does not hold.
    """
    part = next(name for name, (_, kind) in _PARTS.items() if isinstance(network, kind))
    config = {key: value for key, value in asdict(network.config).items() if value is not None}  # type: ignore[call-overload]
    if not isinstance(config.get("attention", ""), str):
        raise ConfigError(
            "attention is a list of cuboids: weights are saved for patterns with a name, such as 'axial'"
        )
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    beside = path.with_name(path.name + ".part")
    header = {"format": FORMAT, "part": part, "config": json.dumps(config), "about": json.dumps(about)}
    save_file(tensors, beside, metadata=header)
    beside.replace(path)
    return path


def read_part(path: Path, part: Part | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """The network in ``path``, in evaluation mode, and what its header says about it.

    ``about`` has, beside what was saved, ``part``, which of the three it is. With the argument ``part`` any other is
    refused.

    Raises:
        WeightsError: no such file, another part, or weights that do not fit the config in its header.
    """
    header = read_header(path, "give the model.safetensors of a run")
    found = next((name for name in get_args(Part) if name == header.get("part")), None)
    if header.get("format") != FORMAT or found is None:
        raise WeightsError(
            f"{path.name} does not hold a network of PreDiff: its header has format {header.get('format')!r}; "
            f"expected {FORMAT!r}, as geoscope train writes it"
        )
    if part is not None and found != part:
        raise WeightsError(
            f"{path.name} holds {_named(found)}, expected {_named(part)}: give the file of that run"
        )
    config, kind = _PARTS[found]
    try:
        network = kind(build(config, json.loads(header["config"]), path.name))
        network.load_state_dict(load_file(path))
        about: dict[str, Any] = json.loads(header["about"])
    except (ConfigError, RuntimeError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path.name} does not fit the config in its own header ({str(error).splitlines()[0][:120]}); train or "
            "export it again"
        ) from None
    return network.eval(), {**about, "part": found}


def read_latent_diffusion(
    autoencoder: Path, denoiser: Path, alignment: Path | None = None
) -> tuple[LatentDiffusion, dict[str, dict[str, Any]]]:
    """The model of two or three trained parts, in evaluation mode, and what each header says, by part.

    Raises:
        WeightsError: no such file, another part, or parts that were not trained on this autoencoder or schedule.
    """
    paths: dict[Part, Path | None] = {
        "autoencoder": autoencoder,
        "denoiser": denoiser,
        "alignment": alignment,
    }
    networks: dict[str, Any] = {}
    about: dict[str, dict[str, Any]] = {}
    for part, path in paths.items():
        if path is not None:
            networks[part], about[part] = read_part(path, part)
    expected = {"autoencoder": fingerprint(networks["autoencoder"])}
    expected |= {key: about["denoiser"].get(key) for key in ("steps", "schedule")}
    for part in list(about)[1:]:
        for key, value in expected.items():
            if about[part].get(key) != value:
                told = (
                    "on another autoencoder"
                    if key == "autoencoder"
                    else f"with {key} {about[part].get(key)!r}"
                )
                raise WeightsError(
                    f"the {part} was trained {told}, not with what the other parts have; train it again, or give "
                    "parts that belong together"
                )
    try:
        schedule = make_schedule(str(expected["schedule"]), int(expected["steps"] or 0))
        model = LatentDiffusion(
            networks["autoencoder"],
            networks["denoiser"],
            schedule,
            alignment=networks.get("alignment"),
            prediction=about["denoiser"]["prediction"],
        )
    except (ConfigError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{denoiser.name}: its header cannot be used ({error}); train or export it again"
        ) from None
    return model.eval(), about


def fingerprint(network: nn.Module) -> str:
    """The sha256 of all weights by name: by it a denoiser knows the autoencoder whose latents it was trained on."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _named(part: str) -> str:
    return f"an {part}" if part[0] == "a" else f"a {part}"

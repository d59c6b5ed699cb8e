"""Knowledge control on N-body digits: errors of the energy in forecasts with and without it.

    python benchmarks/nbody_energy.py --out runs/nbody [--size small] [--minutes 10] [--sequences 32] [--members 2]
        [--steps 20] [--strength 1] [--json table.json]

Trains an autoencoder, a denoiser and an alignment network on energies, each by its recipe prediff-*-small (--minutes
for each of the three; without it as many steps as the recipe says; a run that was stopped goes on). Then draws members
for sequences of the test split, whose digits were never seen: free, and guided to the energy that the last frames of
the past have, since the total energy is nearly conserved. Energies are read from frames by the tracker of
`geoscope.data.nbody_tracker`, alike for all rows.

Rows: the true frames (what the tracker itself errs), the last seen energy kept (what conservation is worth), the two
forecasts. e_mse and e_mae: against the true energy of each frame, in the units of `geoscope.data.nbody_energy`, which
are not those of the paper; mse and mae: a pixel, as sums over a frame, of the members' mean. --size tiny only shows
that all of it runs.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoscope.data.nbody_energy import NBodyEnergies, film_energy
from geoscope.data.nbody_mnist import Film, NBodyConfig
from geoscope.data.nbody_tracker import read_energy
from geoscope.errors import GeoscopeError
from geoscope.metrics.energy import EnergySums, energy_scores, sum_energy
from geoscope.models.prediff.latent_diffusion import Guidance, LatentDiffusion
from geoscope.models.prediff.weights import read_latent_diffusion
from geoscope.training import recipe, tasks
from geoscope.zoo.card_text import to_toml

RECIPES = Path(tasks.__file__).parent / "recipes"
PARTS = ("autoencoder", "denoiser", "alignment")
TINY: dict[str, dict[str, Any]] = {
    "": {"steps": 2, "batch": 2, "workers": 0, "validate_every": 2, "pictures": False, "estimate": False},
    "autoencoder": {"widths": [8, 8, 8], "groups": 4},
    "denoiser": {"base_width": 8, "heads": 2, "depth": [1]},
    "alignment": {"base_width": 8, "heads": 2, "depth": [1]},
    "data": {"in_frames": 3, "out_frames": 3, "count": 4, "validation_count": 2},
}


def train(out: Path, size: str, minutes: float | None) -> dict[str, Path]:
    """The weights of the three parts, trained in ``out`` or found there."""
    files: dict[str, Path] = {}
    for part in PARTS:
        table = recipe.read(RECIPES / f"prediff-{part}-small.toml")
        if part != "autoencoder":
            table["autoencoder"] = "autoencoder/model.safetensors"
        if size == "tiny":
            table |= TINY[""]
            table["model"] |= TINY[part]
            table["data"] |= TINY["data"]
        if minutes is not None:
            table = {"minutes": minutes, **{key: value for key, value in table.items() if key != "steps"}}
        path = out / f"{part}.toml"
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(to_toml(table), encoding="utf-8")
        tasks.TASKS[part](path, out / part, lambda stage, share, part=part: _say(f"{part}: {stage}", share))
        files[part] = out / part / "model.safetensors"
    return files


def _say(stage: str, share: float) -> None:
    print(f"\r{stage} ({share:.0%})".ljust(78), end="", file=sys.stderr)


def forecasts(
    model: LatentDiffusion, film: Film, config: NBodyConfig, target: float, options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Members (M, T', H, W) in [0, 1], free and guided to ``target``, the standardised energy; with the same noise."""
    past = torch.from_numpy(film.frames[: config.in_frames, ..., None])
    guided = Guidance(target=target, way="alignment", strength=options.strength)
    drawn = {
        name: model.sample(past, options.members, steps=options.steps, seed=0, guidance=guidance)
        for name, guidance in (("free", None), ("controlled", guided))
    }
    return {name: frames[..., 0].clamp(0, 1).numpy() for name, frames in drawn.items()}


def score(model: LatentDiffusion, about: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the table."""
    config = NBodyConfig(in_frames=about["in_frames"], out_frames=about["out_frames"], size=about["height"])
    films = NBodyEnergies(count=options.sequences, seed=1, split="test", config=config)
    sums: dict[str, EnergySums] = {}
    pixels: dict[str, list[tuple[float, float]]] = {}
    for index in range(options.sequences):
        _say(f"sequence {index + 1} of {options.sequences}", index / options.sequences)
        film = films.film_of(index)
        past, future = film.positions[: config.in_frames], film.frames[config.in_frames :]
        truth = film_energy(film, config)
        last, truth = truth[config.in_frames - 1], truth[config.in_frames :]
        found = {"true frames": future[None], "last energy kept": None}
        found |= forecasts(model, film, config, (last - about["centre"]) / about["spread"], options)
        for name, members in found.items():
            if members is None:
                energies = np.full((1, len(truth)), last)
            else:
                energies = np.stack([read_energy(one, film.digits, past, config) for one in members])
                error = members.mean(axis=0) - future
                pixels.setdefault(name, []).append((_by_frame(error**2), _by_frame(np.abs(error))))
            added = sum_energy(energies, np.broadcast_to(truth, energies.shape))
            sums[name] = sums[name] + added if name in sums else added
    rows = []
    for name, one in sums.items():
        scores = {key: energy_scores(one)[key] for key in ("e_mse", "e_mae", "e_bias")}
        mse, mae = np.mean(pixels.get(name, [(np.nan, np.nan)]), axis=0)
        rows.append({"forecast": name, **scores, "mse": float(mse), "mae": float(mae)})
    return rows


def _by_frame(values: np.ndarray) -> float:
    """The sum over a frame, mean over frames."""
    return float(values.sum(axis=(1, 2)).mean())


def main(arguments: list[str] | None = None) -> int:
    """Train, draw, print the table; 2 for what cannot be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("runs/nbody-energy"))
    parser.add_argument("--size", choices=("small", "tiny"), default="small")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    try:
        files = train(options.out, options.size, options.minutes)
        model, about = read_latent_diffusion(**files)
        rows = score(model, about["alignment"], options)
    except GeoscopeError as error:
        print(f"nbody_energy: {error}", file=sys.stderr)
        return 2
    print(file=sys.stderr)
    print(f"{'forecast':<18}{'e_mse':>9}{'e_mae':>9}{'e_bias':>9}{'mse':>9}{'mae':>9}")
    for row in rows:
        print(f"{row['forecast']:<18}" + "".join(f"{row[key]:9.3f}" for key in list(row)[1:]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Put a trained nowcaster into the zoo: weights, self-check, and the figures of its card.

    python benchmarks/ship_nowcaster.py RUN/model.safetensors --scores held_out.json florence.json

Copies the weights to geoscope/zoo/weights, stores a self-check on a simulated storm, and rewrites in the card
geoscope/zoo/cards/earthformer-nowcast.toml the sha256, the size, the number of parameters and, between the markers, the
scores that benchmarks/nowcast_skill.py wrote. Everything else on the card is written by hand.
"""

import argparse
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np

from geoscope.data.storms import StormConfig, simulate_storms
from geoscope.models.nowcaster.checkpoints import read_nowcaster, self_check_answer
from geoscope.models.nowcaster.forecast import EarthformerNowcaster
from geoscope.zoo.cards import CARDS, WEIGHTS, card, read_card
from geoscope.zoo.self_check import write

NAME = "earthformer-nowcast"
BEGIN, END = "# scores: begin", "# scores: end"
SHORT = {"persistence": "persistence", "extrapolation": "extrapolation", NAME: "model"}
COLUMNS = {"csi_mean": "CSI mean", "csi_10": "CSI 10", "mae": "MAE"}


def self_check_case() -> dict[str, np.ndarray]:
    """Five frames of a simulated storm, 64 x 64, ten minutes apart."""
    rain = simulate_storms(StormConfig(frames=9, height=64, width=64)).values[::2]
    return {
        "past": np.ascontiguousarray(rain, dtype=np.float32),
        "interval_minutes": np.array([10.0]),
        "pixel_km": np.array([1.0]),
        "lead_steps": np.array([3]),
    }


def score_rows(paths: list[Path]) -> str:
    """The [[scores]] tables of the card: one row an event, the models side by side; a mean under several events."""
    blocks = []
    for path in paths:
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = {event: score_row(models) for event, models in table.items()}
        if len(rows) > 1:
            keys = list(next(iter(rows.values())))
            rows["mean of the events"] = {
                key: float(np.mean([row[key] for row in rows.values()])) for key in keys[1:]
            }
        for event, row in rows.items():
            cells = "\n".join(
                f'"{key}" = {value:.3f}' if isinstance(value, float) else f'"{key}" = {value}'
                for key, value in row.items()
            )
            blocks.append(f'[[scores]]\ntable = "{path.stem}"\nevent = "{event}"\n{cells}\n')
    return "\n".join(blocks)


def score_row(models: dict[str, dict[str, float]]) -> dict[str, float]:
    """One event's figures, every score beside the same score of the baselines."""
    row: dict[str, float] = {"issues": int(models[NAME]["issues"])}
    for key, label in COLUMNS.items():
        row |= {f"{label} {short}": models[model][key] for model, short in SHORT.items()}
    return row | {"bias model": models[NAME]["mean_error"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--scores", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    shipped = WEIGHTS / f"{NAME}.safetensors"
    if options.weights.resolve() != shipped.resolve():
        shutil.copyfile(options.weights, shipped)
    network = read_nowcaster(shipped)
    path = CARDS / f"{NAME}.toml"
    text = path.read_text(encoding="utf-8")
    parameters = sum(p.numel() for p in network.parameters())
    for key, value in {
        "sha256": f'"{hashlib.sha256(shipped.read_bytes()).hexdigest()}"',
        "bytes": str(shipped.stat().st_size),
        "parameters": str(parameters),
    }.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
    if options.scores:
        head, rest = text.split(BEGIN)
        text = f"{head}{BEGIN}\n{score_rows(options.scores)}{END}{rest.split(END)[1]}"
    path.write_text(text, encoding="utf-8")
    read_card.cache_clear()
    inputs = self_check_case()
    stored = write(card(NAME), inputs, self_check_answer(EarthformerNowcaster(network, card(NAME)), inputs))
    stored.chmod(0o644)
    print(
        f"{shipped.name}: {shipped.stat().st_size} bytes, {parameters} parameters; card and self-check written"
    )


if __name__ == "__main__":
    main()

"""Put a trained nowcaster into the zoo: weights, self-check, and the figures of its card.

    python -m benchmarks.ship_nowcaster [RUN/model.safetensors] [--cross-validation table.json] [--scores florence.json]

Gives the card geoscope/zoo/cards/earthformer-nowcast.toml the weights, their sha256, size, number of parameters and
self-check and, between the markers, the means of a cross-validation (benchmarks/cross_validation.py; each event goes
into docs/cross-validation.md) and the scores that `geoscope benchmark EVENTS --models persistence extrapolation
pysteps-sprog earthformer-nowcast --json FILE` wrote, a table named after each file. Everything else on the card is
written by hand.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cross_validation_tables import card_rows, event_rows, markdown
from geoscope.inference.export import refresh_entry
from geoscope.zoo.cards import CARDS

NAME = "earthformer-nowcast"
BEGIN, END = "# scores: begin", "# scores: end"
SHORT = {
    "persistence": "persistence",
    "extrapolation": "extrapolation",
    "pysteps-sprog": "S-PROG",
    NAME: "model",
}
PAGE = Path(__file__).parent.parent / "docs" / "cross-validation.md"
PAGE_BEGIN, PAGE_END = "<!-- begin events -->", "<!-- end events -->"
LEFT_OUT = "all events, pooled"  # wet and long events would count more; the card shows each and their mean


def title(path: Path) -> str:
    """What the table of a file is called."""
    return path.stem.replace("_", " ")


def score_rows(path: Path) -> str:
    """The [[scores]] tables of one file: a row for each event, the models side by side."""
    by_event: dict[str, dict[str, Any]] = {}
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        if row["event"] != LEFT_OUT:
            by_event.setdefault(row["event"], {})[row["model"]] = row
    blocks = []
    for event, models in by_event.items():
        cells: dict[str, Any] = {"issues": models[NAME]["cases"]}
        cells |= {
            f"CSI mean {short}": models[name]["csi_mean"] for name, short in SHORT.items() if name in models
        }
        for threshold in ("5", "10"):
            for name in ("extrapolation", NAME):
                cells[f"CSI {threshold} {SHORT[name]}"] = models[name]["csi"][threshold]
        fair = "pysteps-sprog" if "pysteps-sprog" in models else "extrapolation"
        cells |= {f"MAE {SHORT[name]}": models[name]["mae"] for name in (fair, NAME)}
        cells["rain ratio model"] = models[NAME]["rain_ratio"]
        lines = "\n".join(
            f'"{key}" = {value:.3f}' if isinstance(value, float) else f'"{key}" = {value}'
            for key, value in cells.items()
            if value is not None
        )
        blocks.append(f'[[scores]]\ntable = "{title(path)}"\nevent = "{event}"\n{lines}\n')
    return "\n".join(blocks)


def cross_validation_rows(found: dict[str, Any]) -> str:
    """The [[scores]] tables of a cross-validation: means by source, by fold and over all storms."""
    blocks = []
    for row in card_rows(found["events"]):
        lines = [f'"{key}" = {value:.3f}' for key, value in row.items() if isinstance(value, float)]
        head = f'[[scores]]\ntable = "cross-validation"\n"left out" = "{row["left out"]}"\nstorms = {row["storms"]}'
        blocks.append("\n".join([head, *lines]) + "\n")
    return "\n".join(blocks)


def write_between(path: Path, begin: str, end: str, inside: str) -> None:
    """Put ``inside`` between two markers of a text file."""
    head, rest = path.read_text(encoding="utf-8").split(begin)
    path.write_text(f"{head}{begin}\n{inside}{end}{rest.split(end)[1]}", encoding="utf-8")


def probability_rows(path: Path) -> str:
    """Brier skill of the model's probabilities by threshold, all events pooled, and how often it rained as it said."""
    content = json.loads(path.read_text(encoding="utf-8"))
    own = [row for row in content["rows"] if row["model"] == NAME]
    pooled = next((row for row in own if row["event"] == LEFT_OUT), own[0])
    blocks = []
    for curve in content["reliability"]:
        if curve["model"] != NAME:
            continue
        said, seen, pixels = (
            np.array([0.0 if value is None else value for value in curve[key]], dtype=float)
            for key in ("probability", "frequency", "pixels")
        )
        cells = {
            "Brier skill": pooled["brier_skill"][f"{curve['threshold']:g}"],
            "mean probability": (said * pixels).sum() / pixels.sum(),
            "frequency": (seen * pixels).sum() / pixels.sum(),
        }
        for low in range(0, 10, 2):  # five coarse bins
            chosen = slice(low * len(pixels) // 10, (low + 2) * len(pixels) // 10)
            count = pixels[chosen].sum()
            if count:
                cells[f"seen at {low * 10}-{low * 10 + 20} %"] = (seen[chosen] * pixels[chosen]).sum() / count
        lines = "\n".join(f'"{key}" = {value:.3f}' for key, value in cells.items())
        blocks.append(
            f'[[scores]]\ntable = "probabilities, {title(path)}"\nevent = "{curve["threshold"]:g} mm/h"\n{lines}\n'
        )
    return "\n".join(blocks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--cross-validation", type=Path)
    parser.add_argument("--scores", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    path = CARDS / f"{NAME}.toml"
    if options.weights:
        shipped = refresh_entry(path, options.weights)
        print(f"{shipped.name}: {shipped.stat().st_size} bytes; self-check written")
    tables: list[str] = []
    if options.cross_validation:
        found = json.loads(options.cross_validation.read_text(encoding="utf-8"))
        tables.append(cross_validation_rows(found))
        write_between(PAGE, PAGE_BEGIN, PAGE_END, f"\n{markdown(event_rows(found['events']))}\n\n")
    for each in options.scores:
        tables += [part for part in (score_rows(each), probability_rows(each)) if part]
    if tables:
        write_between(path, BEGIN, END, "\n".join(tables))
        print(f"{path.name}: {len(tables)} tables written; run python docs/make_tables.py for README.md")


if __name__ == "__main__":
    main()

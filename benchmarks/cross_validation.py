"""Train the nowcaster with whole sources left out, fold by fold, and score each fold on what it never saw.

    python -m benchmarks.cross_validation EVENTS --out runs/folds [--folds 3] [--only 0 2] [--recipe F.toml]
        [--models persistence extrapolation pysteps-sprog] [--json table.json]

EVENTS is a folder of event files; benchmarks/radar_events_groups.toml says which of them show one storm and where they
come from. Sources are left out whole. For each fold the recipe (default: that of the shipped weights) is trained with
the fold's events held out, in OUT/fold_N; a run that was stopped goes on, a finished one is kept. Then all events of
the fold are forecast: the central 256 x 256 pixels, 13 past frames at most, an issue time every 30 minutes, leads to
60 minutes; events too short for that are scored on leads to 30 minutes. The scores are kept in OUT/fold_N/scores.json.
The table gives every event, the best baseline of each, and means in which a storm in several cuts counts once.
`python -m benchmarks.ship_nowcaster --cross-validation table.json` puts it on the card and into the documentation.
"""

import argparse
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import geoscope
from benchmarks.cross_validation_tables import MODEL, summary
from geoscope.data.events import EventSource, find_events, read_event
from geoscope.errors import DataError
from geoscope.inference.benchmark import Settings, run
from geoscope.inference.benchmark_table import rows
from geoscope.inference.export import export_run
from geoscope.training.recipe import read
from geoscope.training.splits import Fold, GroupRule, leave_groups_out, read_group_rule
from geoscope.training.tasks import TASKS
from geoscope.zoo.card_text import to_toml

RECIPE = Path(geoscope.__file__).parent / "training" / "recipes" / "earthformer-nowcast.toml"
BASELINES = ("persistence", "extrapolation", "pysteps-sprog")
WINDOW = Settings(minutes=60, every=30, history=13, size=256)
SHORT = replace(WINDOW, minutes=30)


def folds_of(events: Path, rule: GroupRule, count: int, seed: int) -> list[Fold]:
    """The folds: whole sources, about the same number of pixels in each."""
    sizes = {path.stem: float(np.sqrt(read_event(path).rain.size)) for path in sorted(events.glob("*.npz"))}
    return leave_groups_out(
        {name: rule.group_of(name) for name in sizes},
        count,
        seed,
        sizes=sizes,
        sources={name: rule.source_of(name) for name in sizes},
    )


def train_fold(recipe: dict[str, Any], events: Path, fold: Fold, out: Path) -> Path:
    """The card of the model of a fold, trained where it is not there yet."""
    card = out / "model" / f"{MODEL}.toml"
    if card.exists():
        return card
    out.mkdir(parents=True, exist_ok=True)
    path = out / "fold.toml"
    held_out = [f"{name}." for name in fold.test]
    path.write_text(
        to_toml({**recipe, "events": str(events.resolve()), "held_out": held_out}), encoding="utf-8"
    )
    TASKS["nowcast"](path, out, lambda stage, share: print(f"  {share:4.0%} {stage}", flush=True))
    return export_run(out, MODEL, out / "model")


def score_events(sources: list[EventSource], models: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """event -> model -> its row of the benchmark, as plain numbers."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for source in sources:
        for settings in (WINDOW, SHORT):
            try:
                outcome = run([source], models, settings)
            except DataError as error:
                print(f"  {source.name}: {error}")
                continue
            for row in rows(outcome):
                if row.event != source.name:
                    continue
                table.setdefault(source.name, {})[label(row.model)] = {
                    "issues": row.cases,
                    "minutes": settings.minutes,
                    "csi_mean": row.csi_mean,
                    "csi": row.csi,
                    "mae": row.mae,
                    "rain_ratio": row.rain_ratio,
                    "brier_skill": row.brier_skill,
                    "seconds": row.seconds,
                }
            break
    return table


def label(model: str) -> str:
    """The model's name in the table: that of a fold's own model is the same in every fold."""
    return MODEL if model.endswith(".toml") else model


def fold_scores(fold: Fold, sources: dict[str, EventSource], models: list[str], card: Path) -> dict[str, Any]:
    """event -> model -> row for one fold, from its folder where it has been scored with these models."""
    path = card.parent.parent / "scores.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if all(set(kept.get(name, {})) == {*models, MODEL} for name in fold.test):
            return kept
    scored = score_events([sources[name] for name in fold.test], [*models, str(card)])
    path.write_text(json.dumps(scored, indent=1) + "\n", encoding="utf-8")
    return scored


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--models", nargs="+", default=list(BASELINES))
    parser.add_argument("--groups", type=Path, default=Path(__file__).with_name("radar_events_groups.toml"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe, rule = read(options.recipe), read_group_rule(options.groups)
    sources = {source.name: source for source in find_events(str(options.events))}
    events: dict[str, dict[str, Any]] = {}
    for number, fold in enumerate(folds_of(options.events, rule, options.folds, options.seed)):
        if options.only is not None and number not in options.only:
            continue
        print(f"fold {number}: {len(fold.train)} events to train on, left out {', '.join(fold.test)}")
        card = train_fold(recipe, options.events, fold, options.out / f"fold_{number}")
        for name, models in fold_scores(fold, sources, options.models, card).items():
            cells = " ".join(f"{m} {row['csi_mean']:.3f}/{row['mae']:.2f}" for m, row in models.items())
            print(f"  {name:32s} {cells}", flush=True)
            place = {"fold": number, "source": rule.source_of(name), "storm": rule.group_of(name)}
            events[name] = {**place, "models": models}
    total = summary(events)
    print(json.dumps(total, indent=1))
    if options.json:
        made = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "folds": options.folds, "seed": options.seed}
        options.json.write_text(json.dumps({**made, "summary": total, "events": events}, indent=1) + "\n")


if __name__ == "__main__":
    main()

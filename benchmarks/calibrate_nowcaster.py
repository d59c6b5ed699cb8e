"""Calibrate the nowcaster's probabilities on the storms that the folds of a cross-validation left out.

    python benchmarks/calibrate_nowcaster.py runs/folds [--windows 300] [--weights IN.safetensors --out OUT.safetensors]

For each OUT/fold_N that benchmarks/cross_validation.py has finished, the logits of that fold's model are counted on
windows of the events that it never saw, as the radars saw them. The table says what calibration is worth: the Brier
skill on each fold as its model gives the probabilities, and after scaling and shifting the logits by what the other
folds alone would have them (`geoscope.training.calibration`). With --weights the table fitted to all folds is written
into a copy of these weights.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from geoscope.inference.loading import load_model
from geoscope.metrics.probability import base_rate, brier_skill_score
from geoscope.models.nowcaster.checkpoints import read_nowcaster, save_nowcaster
from geoscope.models.nowcaster.presets import THRESHOLDS_MM_H
from geoscope.training import recipe
from geoscope.training.calibration import LogitCounts, fit, probability_table
from geoscope.training.nowcast import DEFAULTS, NowcasterRecipe, count_logits, natural, read_training_events
from geoscope.training.storms import WindowSampler

SHOWN_MM_H = (0.5, 1.0, 2.0, 5.0, 10.0)


def count_fold(fold: Path, windows: int, seed: int) -> LogitCounts:
    """The logits of a fold's model on ``windows`` windows of what it never saw."""
    _, settings = recipe.split(recipe.read(fold / "fold.toml"), NowcasterRecipe, "fold.toml", DEFAULTS)
    unseen = read_training_events(settings, fold, leave_out=(), only=settings.held_out)
    [card] = (fold / "model").glob("*.toml")
    model: Any = load_model(str(card), device="cpu")
    return count_logits(model.model, WindowSampler(unseen, natural(settings.windows), seed), windows)


def skills(counts: LogitCounts, calibration: torch.Tensor) -> np.ndarray:
    """Brier skill at `SHOWN_MM_H`, all leads together."""
    shown = [THRESHOLDS_MM_H.index(threshold) for threshold in SHOWN_MM_H]
    return brier_skill_score(probability_table(counts, calibration))[shown]


def worth(counts: dict[str, LogitCounts]) -> Table:
    """Brier skill of each fold as its model gives the probabilities, and calibrated on the other folds."""
    table = Table(title="Brier skill on what the fold never saw")
    for name in ("fold", "probabilities", *(f"{threshold:g} mm/h" for threshold in SHOWN_MM_H)):
        table.add_column(name)
    for name, own in counts.items():
        others = [each for other, each in counts.items() if other != name]
        as_given = torch.tensor([1.0, 0.0]).expand(own.steps, own.thresholds, 2)
        calibrations = {"as given": as_given}
        if others:
            calibrations["calibrated on the other folds"] = fit(sum(others[1:], start=others[0]))
        for label, calibration in calibrations.items():
            table.add_row(name, label, *(f"{skill:.3f}" for skill in skills(own, calibration)))
        rates = base_rate(probability_table(own, as_given))
        rates = [rates[THRESHOLDS_MM_H.index(threshold)] for threshold in SHOWN_MM_H]
        table.add_row(name, "seen", *(f"{rate:.1%}" for rate in rates), end_section=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folds", type=Path)
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if (options.weights is None) != (options.out is None):
        parser.error("--weights and --out belong together: the weights to calibrate, and where to write them")
    folds = sorted(path.parent for path in options.folds.glob("fold_*/model"))
    if not folds:
        parser.error(
            f"{options.folds} holds no finished fold_N/model: run benchmarks/cross_validation.py first"
        )
    counts = {fold.name: count_fold(fold, options.windows, options.seed) for fold in folds}
    Console().print(worth(counts))
    if options.out:
        model = read_nowcaster(options.weights)
        each = list(counts.values())
        model.calibration.copy_(fit(sum(each[1:], start=each[0])))
        print(f"wrote {save_nowcaster(model, options.out)}")


if __name__ == "__main__":
    main()

"""Fitting the outlook: the mean rain of regions from what the nowcaster expects, and how far to trust it.

A handful of long events would outvote all others, so rows are drawn by storm. The scale is then widened to what sources
show that were left out of a fit: a cross-validation, source by source.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geoscope.errors import ConfigError, DataError
from geoscope.models.scenarios.outlook import (
    FEATURES,
    LEAST_EXPECTED_MM_H,
    Outlook,
    negative_log_likelihood,
    student_tail,
    transformed,
)
from geoscope.training.scenarios.autoencoder import WEIGHTS, write_weights
from geoscope.training.scenarios.cases import Case
from geoscope.training.splits import GroupRule

CALIBRATION = "calibration.json"
NAMING_THE_SOURCE = ("step", "pixel", "steps")  # there are so few sources that these tell which it is
LEAST_SPREAD = 0.02  # of a feature
UNUSED_SPREAD = 1e9  # leaves a feature without effect
SELDOM = 1e-3  # of what was seen lies further out than what counts as seen
STORM_POWER = 0.7  # 1: all storms count alike; 0: all rows


@dataclass(frozen=True, kw_only=True)
class OutlookTable:
    """[outlook] of a recipe: steps of ``batch`` rows, their rate, the decay of the lines, and the tail's freedom."""

    steps: int = 400
    batch: int = 512
    learning_rate: float = 1e-2
    weight_decay: float = 0.3
    freedom: float = 5.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"[outlook] {name}={getattr(self, name)} must be above zero")
        if self.weight_decay < 0:
            raise ConfigError(f"[outlook] weight_decay={self.weight_decay} must not be below zero")
        if not self.freedom > 2:
            raise ConfigError(
                f"[outlook] freedom={self.freedom}: expected more than 2, for a spread to exist"
            )


@dataclass(frozen=True)
class Rows:
    """Regions with rain expected: ``features`` (N, F), the ``truth`` (N,) transformed, each one's storm and source."""

    features: Tensor
    truth: Tensor
    storms: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def where(self, kept: np.ndarray) -> "Rows":
        """Those where ``kept`` (N,) is true."""
        chosen = torch.from_numpy(kept)
        return Rows(self.features[chosen], self.truth[chosen], self.storms[kept], self.sources[kept])


def rows_of(cases: Sequence[Case], rule: GroupRule) -> Rows:
    """The regions of all cases over which at least `LEAST_EXPECTED_MM_H` is expected.

    Raises:
        DataError: there is none.
    """
    features, means, storms, sources = [], [], [], []
    least = float(transformed(torch.tensor(LEAST_EXPECTED_MM_H)))
    for case in cases:
        arrays = case.read("features", "means")
        kept = arrays["features"][:, 0] >= least
        features.append(arrays["features"][kept])
        means.append(arrays["means"][kept])
        storms += [rule.group_of(case.event)] * int(kept.sum())
        sources += [rule.source_of(case.event)] * int(kept.sum())
    if not storms:
        raise DataError(
            f"in {len(cases)} cases no region has {LEAST_EXPECTED_MM_H} mm/h expected and its truth known; give events "
            "with more rain"
        )
    return Rows(
        torch.from_numpy(np.concatenate(features)),
        transformed(torch.from_numpy(np.concatenate(means))),
        np.array(storms),
        np.array(sources),
    )


def fit_lines(rows: Rows, table: OutlookTable, seed: int) -> Outlook:
    """The outlook of the greatest likelihood of ``rows``, not widened."""
    outlook = Outlook()
    is_used = torch.tensor([name not in NAMING_THE_SOURCE for name in FEATURES])
    spread = rows.features.std(dim=0, correction=0).clamp(min=LEAST_SPREAD)
    outlook.centre.copy_(rows.features.mean(dim=0))
    outlook.spread.copy_(torch.where(is_used, spread, UNUSED_SPREAD))
    outlook.freedom.fill_(table.freedom)
    _, place, counts = np.unique(rows.storms, return_inverse=True, return_counts=True)
    weights = torch.from_numpy(counts[place] ** -STORM_POWER)
    generator = torch.Generator().manual_seed(seed)
    lines = outlook.lines
    optimiser = torch.optim.AdamW(
        [
            {"params": [lines.weight], "weight_decay": table.weight_decay},
            {"params": [lines.bias], "weight_decay": 0.0},
        ],
        lr=table.learning_rate,
    )
    for step in range(table.steps):
        for group in optimiser.param_groups:
            group["lr"] = table.learning_rate * (1.0 - step / table.steps)
        drawn = torch.multinomial(weights, table.batch, replacement=True, generator=generator)
        location, scale = outlook(rows.features[drawn])
        loss = negative_log_likelihood(location, scale, table.freedom, rows.truth[drawn])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return outlook.eval()


@torch.no_grad()
def standardised(outlook: Outlook, rows: Rows) -> np.ndarray:
    """How many scales each truth lies from its location, (N,)."""
    location, scale = outlook(rows.features)
    return ((rows.truth - location) / scale).numpy()


@dataclass(frozen=True)
class Calibration:
    """Standardised truths of events that were not fitted: what they should show, and what they do.

    spread: root of the mean square, 1 where the scale is right; bias: the mean. within_one, within_two: how many lie
    within so many sigma; the tail with the fitted freedom has expected_within_one and _two. All weighted by storm.
    lowest, highest: between which all but a thousandth of the rows lie.
    """

    rows: int
    storms: int
    bias: float
    spread: float
    within_one: float
    within_two: float
    expected_within_one: float
    expected_within_two: float
    lowest: float
    highest: float


def calibration_of(standard: np.ndarray, storms: np.ndarray, freedom: float) -> Calibration:
    """The calibration of standardised truths (N,), each storm counting alike."""
    names, place, counts = np.unique(storms, return_inverse=True, return_counts=True)
    weights = 1.0 / (counts[place] * len(names))

    def mean(values: np.ndarray) -> float:
        return float((weights * values).sum())

    return Calibration(
        rows=len(standard),
        storms=len(names),
        bias=mean(standard),
        spread=mean(standard**2) ** 0.5,
        within_one=mean(np.abs(standard) < 1.0),
        within_two=mean(np.abs(standard) < 2.0),
        expected_within_one=1.0 - 2.0 * student_tail(1.0, freedom),
        expected_within_two=1.0 - 2.0 * student_tail(2.0, freedom),
        lowest=float(np.quantile(standard, 0.5 * SELDOM)),
        highest=float(np.quantile(standard, 1.0 - 0.5 * SELDOM)),
    )


def cross_validated(rows: Rows, table: OutlookTable, seed: int) -> np.ndarray | None:
    """The standardised truths (N,), each from a fit without its source; None where there is one storm alone.

    Where there is one source, storms are left out instead.
    """
    units = rows.sources if len(set(rows.sources)) > 1 else rows.storms
    if len(set(units)) < 2:
        return None
    result = np.zeros(len(rows), np.float64)
    for out in _left_out(units):
        result[out] = standardised(fit_lines(rows.where(~out), table, seed), rows.where(out))
    return result


def _left_out(units: np.ndarray) -> Iterator[np.ndarray]:
    for unit in sorted(set(units)):
        yield units == unit


def fit_outlook(rows: Rows, table: OutlookTable, seed: int) -> tuple[Outlook, Calibration | None]:
    """The outlook of all rows, its scale widened to what left-out sources show, and their calibration after that.

    With one storm alone nothing can be left out: no widening and no calibration.
    """
    outlook = fit_lines(rows, table, seed)
    standard = cross_validated(rows, table, seed)
    if standard is None:
        return outlook, None
    widening = calibration_of(standard, rows.storms, table.freedom).spread
    outlook.widening.fill_(widening)
    return outlook, calibration_of(standard / widening, rows.storms, table.freedom)


def seen_sigmas(folder: Path) -> tuple[float, float] | None:
    """Between which the truths of left-out sources lay, from ``calibration.json``; None where nothing was left out."""
    about = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
    return (about["lowest"], about["highest"]) if "lowest" in about else None


def write_outlook(outlook: Outlook, calibration: Calibration | None, folder: Path) -> Path:
    """Write weights and ``calibration.json`` to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"widening": float(outlook.widening), **(asdict(calibration) if calibration else {})}
    (folder / CALIBRATION).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return write_weights(outlook, folder / WEIGHTS)

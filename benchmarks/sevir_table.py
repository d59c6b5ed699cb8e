"""The SEVIR table of the Earthformer paper: what geoscope computes beside what was published.

    python benchmarks/sevir_table.py SEVIR --weights earthformer_sevir.pt [--kwargs kwargs.json]
        [--split test] [--every 1] [--batch 1] [--device auto] [--json table.json]
    python benchmarks/sevir_table.py SEVIR --persistence-only

SEVIR is the folder with CATALOG.csv and data/vil (from s3://sevir, open without an account). The weights are a state
dict or a Lightning checkpoint of the published code; --kwargs holds the constructor arguments that belong to them, by
default those of the released SEVIR configuration. Windows of 13 + 12 frames start every 12, as published; SEVIR-LR
(7 + 6 every 6) is recognised by the arguments. Scores follow the published code in mode 0: counts over all windows,
leads and pixels, then CSI by threshold, then the mean. MSE is on the scale 0-1. FLOP count a multiplication and an
addition as two, one forecast; how the published ones were counted is not known. --every 20 takes every 20th window,
for a first look: the whole test split is some 12,000 windows.
"""

import argparse
import json
import pickle
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoscope.data.sevir_windows import SevirWindows, restore_codes
from geoscope.errors import ConfigError, GeoscopeError, WeightsError
from geoscope.inference.loading import choose_device
from geoscope.metrics.sevir import SEVIR_THRESHOLDS, SevirCounts, count_sevir, scores_of_counts
from geoscope.models.earthformer.checkpoints import from_published
from geoscope.zoo.cards import CARDS

PUBLISHED = Path(__file__).with_name("sevir_published.toml")
RELEASED = CARDS / "earthformer-sevir.kwargs.json"
LEVELS = tuple(reversed(SEVIR_THRESHOLDS))  # heavy first, as in the paper
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table; what is not known is None. `csi` by threshold."""

    model: str
    origin: str
    csi_m: float
    csi: dict[int, float]
    mse_thousandths: float
    parameters_millions: float | None = None
    gflops: float | None = None
    windows: int | None = None


def published_rows() -> list[Row]:
    """The published results, quoted."""
    table = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    return [
        Row(
            model=row["model"],
            origin="published",
            csi_m=row["csi_m"],
            csi=dict(zip(table["thresholds"], row["csi"], strict=True)),
            mse_thousandths=row["mse_thousandths"],
            parameters_millions=row.get("parameters_millions"),
            gflops=row.get("gflops"),
        )
        for row in table["rows"]
    ]


def open_windows(root: Path, kwargs: dict[str, Any], split: str) -> SevirWindows:
    """The windows that the arguments of a model ask for.

    Raises:
        ConfigError: shapes that are neither SEVIR's nor SEVIR-LR's.
        DataError: SEVIR is not there, or not whole.
    """
    past, height, width, _ = kwargs["input_shape"]
    ahead = kwargs["target_shape"][0]
    windows = {
        (13, 12): lambda: SevirWindows(root, split),
        (7, 6): lambda: SevirWindows.low_resolution(root, split),
    }.get((past, ahead))
    if windows is None:
        raise ConfigError(
            f"--kwargs: {past} frames in and {ahead} out; the table is of 13 and 12, or of 7 and 6 (LR)"
        )
    found = windows()
    if found.event_shape[:2] != (height, width):
        raise ConfigError(
            f"--kwargs: the model takes {height} x {width} pixels, the events in {root} have "
            f"{found.event_shape[0]} x {found.event_shape[1]}"
        )
    return found


def read_kwargs(path: Path) -> dict[str, Any]:
    """The constructor arguments of the published model.

    Raises:
        ConfigError: no such file, or not JSON with the shapes.
    """
    try:
        kwargs = json.loads(path.read_text(encoding="utf-8"))
        _ = kwargs["input_shape"][3], kwargs["target_shape"][3]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"--kwargs {path}: expected JSON with input_shape and target_shape, got {error!r}"
        ) from None
    return kwargs


def load_network(path: Path, kwargs: dict[str, Any], device: str) -> torch.nn.Module:
    """The published network with its weights.

    Raises:
        WeightsError: not there, not a checkpoint, or one of another configuration.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(
            f"--weights {path}: expected a PyTorch checkpoint of tensors only ({reason})"
        ) from None
    if not isinstance(state, dict):
        raise WeightsError(f"--weights {path}: expected a state dict, found a {type(state).__name__}")
    return from_published(kwargs, state).to(device).requires_grad_(False)  # the FLOP counter needs it so


def persistence(leads: int) -> Predict:
    """The last frame of (B, T, H, W, 1), repeated."""
    return lambda past: np.repeat(past[:, -1:], leads, axis=1)


def by_network(network: torch.nn.Module, device: str) -> Predict:
    """What the network gives for (B, T, H, W, 1)."""

    def predict(past: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(past).to(device)).float().cpu().numpy()

    return predict


def giga_flop(network: torch.nn.Module, shape: Sequence[int], device: str) -> float:
    """10^9 floating point operations of one forecast."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape, device=device))
    return counter.get_total_flops() / 1e9


def batches(windows: SevirWindows, every: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(input, target) of every ``every``-th window, in batches; the last one may be smaller."""
    places = range(0, len(windows), every)
    for start in range(0, len(places), size):
        chosen = [windows[place] for place in places[start : start + size]]
        yield np.stack([one["input"] for one in chosen]), np.stack([one["target"] for one in chosen])


def score(
    model: str, predict: Predict, windows: SevirWindows, *, every: int = 1, size: int = 1, **about: Any
) -> Row:
    """The row of one model over the windows."""
    counts: SevirCounts | None = None
    squares, values, seen, total = 0.0, 0, 0, len(range(0, len(windows), every))
    for past, target in batches(windows, every, size):
        prediction = predict(past)
        new = count_sevir(restore_codes(prediction), restore_codes(target))
        counts = new if counts is None else counts + new
        squares += float(np.square(prediction.astype(np.float64) - target).sum())
        values += target.size
        seen += len(past)
        if sys.stderr.isatty():
            print(f"\r{model}: {seen} of {total} windows", end="" if seen < total else "\n", file=sys.stderr)
    assert counts is not None, "a split without windows is refused when it is opened"
    scores = scores_of_counts(counts)
    csi = {level: scores["csi"][level] for level in LEVELS}
    return Row(
        model=model, origin="computed", csi_m=scores["csi_m"], csi=csi, windows=seen,
        mse_thousandths=1000 * squares / values, **about,
    )  # fmt: skip


def render(rows: list[Row]) -> str:
    """The table as text: computed rows, then the published."""
    head = ["model", "", "params M", "GFLOP", "CSI-M", *(f"CSI-{level}" for level in LEVELS), "MSE 1e-3"]
    lines = [head]
    for row in rows:
        csi = [_cell(row.csi.get(level), ".4f") for level in LEVELS]
        numbers = [
            _cell(row.parameters_millions, ".2f"),
            _cell(row.gflops, ".4g"),
            _cell(row.csi_m, ".4f"),
            *csi,
        ]
        lines.append([row.model, row.origin, *numbers, _cell(row.mse_thousandths, ".4f")])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def compute(options: argparse.Namespace) -> list[Row]:
    """The rows that the options ask for."""
    kwargs = read_kwargs(options.kwargs)
    windows = open_windows(options.sevir, kwargs, options.split)
    how = {"every": options.every, "size": options.batch}
    rows = [score("Persistence", persistence(windows.out_frames), windows, **how)]
    if not options.persistence_only:
        device = choose_device(options.device)
        network = load_network(options.weights, kwargs, device)
        about = {
            "parameters_millions": sum(weight.numel() for weight in network.parameters()) / 1e6,
            "gflops": giga_flop(network, kwargs["input_shape"], device),
        }
        rows.append(score("Earthformer", by_network(network, device), windows, **how, **about))
    return rows


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sevir", type=Path, help="folder with CATALOG.csv")
    parser.add_argument("--weights", type=Path, help="published checkpoint")
    parser.add_argument("--kwargs", type=Path, default=RELEASED, help="constructor arguments, JSON")
    parser.add_argument("--persistence-only", action="store_true")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th window")
    parser.add_argument("--batch", type=int, default=1, help="windows at a time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(words)
    if min(options.every, options.batch) < 1:
        parser.error("--every and --batch must be 1 or more")
    if options.weights is None and not options.persistence_only:
        parser.error("give --weights FILE, or --persistence-only")
    return options


def main(words: list[str] | None = None) -> int:
    options = parse(words)
    try:
        rows = compute(options)
    except GeoscopeError as error:
        print(f"sevir_table: {error}", file=sys.stderr)
        return 2
    everything = [*rows, *published_rows()]
    print(f"SEVIR, split {options.split}, {rows[0].windows} windows computed here")
    print(render(everything))
    print(
        f"published: {tomllib.loads(PUBLISHED.read_text(encoding='utf-8'))['source']}; its Earthformer has 15.1 M"
    )
    print(
        "parameters, the released weights have 8.66 M, so that a computed row need not equal a published one."
    )
    if options.json is not None:
        options.json.write_text(
            json.dumps([vars(row) for row in everything], indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

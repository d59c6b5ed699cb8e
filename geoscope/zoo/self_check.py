"""The self-check: a stored input and its output travel with the weights, and loading repeats the sum.

It catches what a hash cannot: weights in order, and a library (or a processor) that computes something else.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from geoscope.errors import WeightsError
from geoscope.zoo import cards
from geoscope.zoo.weights_files import reinstall

FORMAT = "geoscope-self-check"
OUTPUT = "output"
Run = Callable[[dict[str, np.ndarray]], np.ndarray]


def check(card: "cards.ModelCard", run: Run) -> float:
    """Largest difference of ``run(inputs)`` from the stored output; 0.0 when the card has no self-check.

    A pixel that is NaN in one must be NaN in the other.

    Raises:
        WeightsError: the stored file is missing or damaged, or the answer differs by more than the card
            allows.
    """
    if card.self_check is None:
        return 0.0
    inputs, stored = read(card.folder / card.self_check.file)
    found = np.asarray(run(inputs))
    where = f"{card.name} does not give its stored answer"
    cure = f"{reinstall(card)}, or report it with your processor and version of torch"
    if found.shape != stored.shape:
        raise WeightsError(f"{where}: shape {found.shape}, expected {stored.shape}; {cure}")
    if not np.array_equal(np.isnan(found), np.isnan(stored)):
        raise WeightsError(f"{where}: other pixels have no data; {cure}")
    difference = float(np.nanmax(np.abs(found.astype(np.float64) - stored), initial=0.0))
    if not math.isfinite(difference) or difference > card.self_check.tolerance:
        raise WeightsError(
            f"{where}: off by {difference:.3g}, at most {card.self_check.tolerance:.3g} is allowed; {cure}"
        )
    return difference


def write(target: "cards.ModelCard | Path", inputs: Mapping[str, np.ndarray], output: np.ndarray) -> Path:
    """Store ``inputs`` and their ``output`` for `check`, at a path or where the card says; returns the path.

    Raises:
        WeightsError: the card has no self-check, or an input has the name that the output is stored under.
    """
    if not isinstance(target, Path):
        if target.self_check is None:
            raise WeightsError(f"{target.name} has no [self_check] on its card: add file and tolerance first")
        target = target.folder / target.self_check.file
    if OUTPUT in inputs:
        raise WeightsError(f"a self-check's input cannot be called {OUTPUT!r}: rename it")
    arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
    beside = target.with_name(target.name + ".part")
    save_file({**arrays, OUTPUT: np.ascontiguousarray(output)}, beside, metadata={"format": FORMAT})
    beside.replace(target)
    return target


def read(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The stored inputs and output of a self-check.

    Raises:
        WeightsError: missing, or not a file that `write` made.
    """
    try:
        with safe_open(path, framework="np") as archive:
            header = archive.metadata() or {}
            arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise WeightsError(
            f"the self-check {path.name} is not in this installation; install geoscope again"
        ) from None
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"the self-check {path.name} cannot be read ({error}); install geoscope again"
        ) from None
    if header.get("format") != FORMAT or OUTPUT not in arrays:
        raise WeightsError(
            f"{path.name} is not a self-check: its header says {header}, expected format {FORMAT!r} "
            f"and an array {OUTPUT!r}; write it with geoscope.zoo.self_check.write"
        )
    return {name: value for name, value in arrays.items() if name != OUTPUT}, arrays[OUTPUT]

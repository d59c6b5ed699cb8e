"""Cases computed once with PreDiff's published code: how they are read, built and compared.

A case holds constructor arguments, weights, inputs, outputs, and mostly gradients of sum(out * grad_w) as norms. All
numbers are float32, so that a network in float64 differs from them by the error of the published float32 run.
"""

import ast
import os
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY / "tests" / "golden" / "prediff"

# Measured over all cases: outputs, activations and gradients of inputs differ by at most 4.1e-6 of the largest value,
# in float32 as in float64; norms of parameter gradients by 6.6e-6 of themselves, beside 1e-7 of the largest norm.
TOLERANCE = 1e-5
NORM_TOLERANCE = (2e-5, 2e-7)


def oracle_folder() -> Path:
    folder = Path(os.environ.get("GEOSCOPE_TEST_DATA") or REPOSITORY.parent / "shared")
    return folder / "oracle" / "prediff"


def case_names(pattern: str) -> list[str]:
    """The cases that lie beside the repository, for parametrising; without them one name that is skipped."""
    return sorted(path.stem for path in oracle_folder().glob(pattern)) or ["none"]


def read_oracle(shared: Path, name: str) -> dict:
    return torch.load(shared / "oracle" / "prediff" / f"{name}.pt", weights_only=True)


def read_golden(name: str) -> dict:
    """A case that ships: its weights lie end to end in ``flat``, named and shaped by ``layout``."""
    case = torch.load(GOLDEN / f"{name}.pt", weights_only=True)
    pieces = case.pop("flat").split([prod(shape) for _, shape in case["layout"]])
    named = zip(case.pop("layout"), pieces, strict=True)
    case["state_dict"] = {key: piece.view(shape) for (key, shape), piece in named}
    return case


def read_keys(path: Path) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """(name, shape, dtype) of each line of a key file."""
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, shape, dtype = line.split("\t")
            yield name, ast.literal_eval(shape), dtype


def assert_agrees(
    actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE, what: str = "output"
) -> None:
    """Equal to within ``tolerance`` of the largest expected value."""
    assert actual.shape == expected.shape, what
    error = (actual.detach().double() - expected.double()).abs().max().item()
    scale = expected.abs().max().item()
    assert error <= tolerance * max(scale, 1e-12), f"{what}: off by {error:.2e} of {scale:.2e}"


def assert_gradient_norms_agree(
    model: nn.Module, published_name: Callable[[str], str], norms: dict[str, float | None]
) -> None:
    """The norm of each parameter's gradient; None is a parameter that never got one."""
    relative, absolute = NORM_TOLERANCE
    largest = max(norm for norm in norms.values() if norm is not None)
    found = {published_name(name): parameter.grad for name, parameter in model.named_parameters()}
    assert found.keys() == norms.keys()
    for name, expected in norms.items():
        norm = 0.0 if found[name] is None else found[name].double().norm().item()
        if expected is None:
            assert norm == 0.0, name
        else:
            error = abs(norm - expected)
            assert error <= relative * expected + absolute * largest, f"{name}: {norm} is not {expected}"


def activations_of(
    model: nn.Module, names: dict[str, str], run: Callable[[nn.Module], object]
) -> dict[str, Tensor]:
    """What the modules ``names`` (ours, by published name) give when they are first called.

    A module that is called again gives the same once more: so did the hooks by which the oracle was recorded, which
    shows in what comes after the residual block that a level shares.
    """
    found: dict[str, Any] = {}

    def keep(name: str) -> Callable:
        return lambda _module, _inputs, output: found.setdefault(name, output)

    handles = [
        model.get_submodule(ours).register_forward_hook(keep(theirs)) for theirs, ours in names.items()
    ]
    with torch.no_grad():
        run(model)
    for handle in handles:
        handle.remove()
    return {name: each[0] if isinstance(each, tuple) else each for name, each in found.items()}

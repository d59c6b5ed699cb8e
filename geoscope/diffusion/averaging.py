"""The moving average of weights that samples better than the weights themselves (Ho et al. 2020, appendix B)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from geoscope.errors import ConfigError


def warmed_up_keep(updates: int, keep: float = 0.9999) -> float:
    """How much of the average update number ``updates`` (from 1 on) keeps: min(keep, (1 + n) / (10 + n)).

    As published with PreDiff, where a young average follows quickly.

    Raises:
        ConfigError: ``updates`` is below 1, or ``keep`` is not from 0 to below 1.
    """
    if updates < 1 or not 0 <= keep < 1:
        raise ConfigError(f"updates={updates} must be 1 or more and keep={keep} at least 0 and below 1")
    return min(keep, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], keep: float) -> None:
    """Draw each tensor of ``average`` towards the one of the same name in ``weights``, in place.

    Raises:
        ConfigError: the names differ.
    """
    if set(average) != set(weights):
        name = sorted(set(average) ^ set(weights))[0]
        raise ConfigError(f"the average and the weights do not have the same names: {name!r} is in one only")
    for name, value in average.items():
        value.lerp_(weights[name].to(value.dtype), 1.0 - keep)

"""Blocks that keep no activations in training and compute them again for the gradient: less memory, more time.

Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(blocks: Iterable[nn.Module]) -> None:
    """Let these blocks forget their activations in training and compute them again in the backward pass.

    Gradients are the same, random numbers (dropout) included. Outside training, and without gradients, nothing
    changes. A copy of a block does the same by itself; asking twice changes nothing.
    """
    for block in blocks:
        block.forward = _Recomputed(block)  # type: ignore[method-assign]


class _Recomputed:
    """In place of the method ``forward`` of ``block``; an object, so that a deep copy belongs to the copied block."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __call__(self, *args: Any, **options: Any) -> Any:
        if not (self.block.training and torch.is_grad_enabled()):
            return self._plain(*args, **options)
        return checkpoint(self._plain, *args, use_reentrant=False, **options)

    def _plain(self, *args: Any, **options: Any) -> Any:
        return type(self.block).forward(self.block, *args, **options)

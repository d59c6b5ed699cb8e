"""Filling up the last patch of a space-time volume."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: Sequence[int]) -> Tensor:
    """``x`` (B, T, H, W, C) with zeros after its last step, row and column, up to multiples of (t, h, w)."""
    missing = [-length % step for length, step in zip(x.shape[1:4], multiple, strict=True)]
    if not any(missing):
        return x
    dt, dh, dw = missing
    return F.pad(x, (0, 0, 0, dw, 0, dh, 0, dt))

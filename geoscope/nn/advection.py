"""Carrying a field along a steady motion: the backward semi-Lagrangian scheme.

Shape letters: B batch, C channels, H rows, W columns. A motion or position field is (B, 2, H, W) with the row
component first, in pixels; motion is in pixels per step, positive to the south and to the east.
Source: Germann and Zawadzki 2002, "Scale-dependence of the predictability of precipitation", section 3.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

INNER_STEPS = 2  # parts that one step of the trajectory is cut into


def pixel_positions(height: int, width: int, like: Tensor) -> Tensor:
    """Each pixel's own (row, column): (1, 2, H, W), dtype and device of ``like``."""
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


def _sampling_grid(positions: Tensor, height: int, width: int) -> Tensor:
    rows = positions[:, 0] * (2.0 / max(height - 1, 1)) - 1.0
    columns = positions[:, 1] * (2.0 / max(width - 1, 1)) - 1.0
    return torch.stack((columns, rows), dim=-1)  # (B, H, W, 2), x before y as grid_sample wants


def sample_at(field: Tensor, positions: Tensor) -> Tensor:
    """``field`` (B, C, h, w) at fractional (row, column) ``positions`` (B, 2, H, W), bilinear: (B, C, H, W).

    Positions outside the field take the value of the nearest edge. A single batch entry of either is shared.
    """
    height, width = field.shape[-2:]
    grid = _sampling_grid(positions, height, width)
    if len(grid) != len(field):
        batch = max(len(grid), len(field))
        grid, field = grid.expand(batch, -1, -1, -1), field.expand(batch, -1, -1, -1)
    return F.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=True)


def is_inside(positions: Tensor, height: int, width: int) -> Tensor:
    """Whether each of ``positions`` (B, 2, H, W) lies in a picture of that size: bool (B, 1, H, W)."""
    rows, columns = positions[:, :1], positions[:, 1:]
    tolerance = 1e-3  # a resting field must not lose its rim to rounding
    return (
        (rows >= -tolerance)
        & (rows <= height - 1 + tolerance)
        & (columns >= -tolerance)
        & (columns <= width - 1 + tolerance)
    )


def distance_outside(positions: Tensor, height: int, width: int) -> Tensor:
    """How many pixels ``positions`` (B, 2, H, W) lie outside a picture of that size, (B, 1, H, W); 0 inside."""
    rows, columns = positions[:, :1], positions[:, 1:]
    above_or_below = (-rows).clamp(min=0.0) + (rows - (height - 1)).clamp(min=0.0)
    beside = (-columns).clamp(min=0.0) + (columns - (width - 1)).clamp(min=0.0)
    return torch.hypot(above_or_below, beside)


def backward_positions(motion: Tensor, leads: Iterable[float]) -> Iterator[Tensor]:
    """Where the air that will be at each pixel comes from, one (B, 2, H, W) field of (row, column) for each lead.

    ``leads`` are in steps of ``motion``, rising, and need not be whole. Each step is cut into parts; in each the
    speed at the middle of the part is used, found by one fixed-point iteration.
    """
    height, width = motion.shape[-2:]
    positions = pixel_positions(height, width, motion).expand(len(motion), -1, -1, -1)
    reached = 0.0
    for lead in leads:
        if lead < reached:
            raise ValueError(f"leads must rise: {lead:g} comes after {reached:g}")
        parts = max(1, round((lead - reached) * INNER_STEPS))
        length = (lead - reached) / parts
        for _ in range(parts if lead > reached else 0):
            middle = positions - 0.5 * length * sample_at(motion, positions)
            positions = positions - length * sample_at(motion, middle)
        reached = lead
        yield positions


def advect(field: Tensor, positions: Tensor) -> Tensor:
    """``field`` (B, C, H, W) carried to where ``positions`` say it goes; NaN outside, and NaN spreads from NaN."""
    carried = sample_at(torch.nan_to_num(field), positions)
    missing = torch.isnan(field)
    if missing.any():
        carried = carried.masked_fill(sample_at(missing.to(field.dtype), positions) > 0.5, torch.nan)
    return carried.masked_fill(~is_inside(positions, *field.shape[-2:]), torch.nan)

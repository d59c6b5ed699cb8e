"""Dense motion of rain from a few frames: hierarchical Lucas-Kanade with a prior from the larger scale.

At each level of a pyramid, coarse to fine, every pair of following frames gives the linear equations of Lucas and
Kanade (1981), summed in Gaussian windows and over the pairs (later pairs weigh more). Where rain is sparse the
equations say little; there the solution leans on the one of a four times larger window, and that on the mean of the
whole picture, so the field is dense and smooth without interpolation between corners.

Shape letters: B batch, T time, H rows, W columns; motion (B, 2, H, W), row component first, pixels per step.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from geoscope.nn.advection import pixel_positions, sample_at

DRY_MM_H = 0.1
WINDOW = 3.0  # standard deviation of the finest window, in pixels of its level
LEVELS = (16, 8, 4, 2)  # the finest level works on half the resolution
ITERATIONS = 3
PRIOR = 0.02  # strength of the larger scale, in units of the mean squared gradient


def log_rain(rain: Tensor) -> Tensor:
    """log2(1 + R / 0.2), R in mm/h; NaN (no data) reads as dry. About 0.6 at 0.1 mm/h, 2.6 at 1, 9 at 100."""
    return torch.log2(1.0 + torch.nan_to_num(rain).clamp(min=0.0) / 0.2)


def gaussian_blur(field: Tensor, sigma: float) -> Tensor:
    """``field`` (B, C, H, W) under a Gaussian of ``sigma`` pixels; at the rim the window is cut and renormalised."""
    radius = max(1, min(math.ceil(3 * sigma), max(field.shape[-2:])))
    offsets = torch.arange(-radius, radius + 1, dtype=field.dtype, device=field.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = field.shape[1]
    for axis, size in ((2, field.shape[2]), (3, field.shape[3])):
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        padding = (radius, 0) if axis == 2 else (0, radius)
        weight = kernel.view(shape)
        blurred = F.conv2d(field.reshape(-1, 1, *field.shape[2:]), weight, padding=padding)
        ones = torch.ones(1, 1, size, dtype=field.dtype, device=field.device)
        share = F.conv1d(ones, kernel.view(1, 1, -1), padding=radius)
        blurred = blurred / share.view(shape)
        field = blurred.reshape(-1, channels, *blurred.shape[2:])
    return field


def estimate_motion(frames: Tensor, valid: Tensor | None = None) -> Tensor:
    """Motion (B, 2, H, W) in pixels per step, row first, of ``frames`` (B, T, H, W) of log rain, T >= 2.

    ``valid`` (B, T, H, W), 1 or 0, says where a frame has data; all of it when None. One frame, or no rain, gives 0.
    """
    batch, count, height, width = frames.shape
    if count < 2:
        return frames.new_zeros(batch, 2, height, width)
    motion = frames.new_zeros(batch, 2, 1, 1)
    finest = None
    for factor in LEVELS:
        if min(height, width) / factor < 6 and factor != LEVELS[-1]:
            continue
        scaled = F.avg_pool2d(frames, factor, ceil_mode=True, count_include_pad=False)
        weight = (
            None if valid is None else F.avg_pool2d(valid, factor, ceil_mode=True, count_include_pad=False)
        )
        size = scaled.shape[-2:]
        if finest is not None:
            motion = F.interpolate(
                motion * (finest / factor), size=size, mode="bilinear", align_corners=False
            )
        else:
            motion = motion.expand(-1, -1, *size)
        scaled = gaussian_blur(scaled, 1.0)
        for _ in range(ITERATIONS):
            motion = _refine(scaled, weight, motion)
        finest = factor
    return F.interpolate(motion * LEVELS[-1], size=(height, width), mode="bilinear", align_corners=False)


def _refine(frames: Tensor, valid: Tensor | None, motion: Tensor) -> Tensor:
    """One Lucas-Kanade step at one level, solved from the largest window down."""
    batch, count, height, width = frames.shape
    own = pixel_positions(height, width, frames)
    ahead, behind = own + 0.5 * motion, own - 0.5 * motion
    moments: Tensor = frames.new_zeros(batch, 5, height, width)
    for pair in range(count - 1):
        first = sample_at(frames[:, pair : pair + 1], behind)
        second = sample_at(frames[:, pair + 1 : pair + 2], ahead)
        middle = 0.5 * (first + second)
        down, across = _gradient(middle)
        change = second - first
        confidence = 1.0 / (1.0 + change.square())  # rain that is born or dies misleads: weigh it less
        if valid is not None:
            confidence = confidence * sample_at(valid[:, pair : pair + 1], behind)
            confidence = confidence * sample_at(valid[:, pair + 1 : pair + 2], ahead)
        confidence = confidence * (pair + 1) / count
        terms = (down * down, down * across, across * across, down * change, across * change)
        moments = moments + torch.cat(terms, dim=1) * confidence
    energy = (moments[:, :1] + moments[:, 2:3]).mean(dim=(2, 3), keepdim=True)
    ridge = PRIOR * energy + 1e-6
    estimate = _solve(
        moments.mean(dim=(2, 3), keepdim=True), motion.mean(dim=(2, 3), keepdim=True), ridge, motion
    )
    for scale in (4.0, 1.0):
        if WINDOW * scale < max(height, width):
            estimate = _solve(gaussian_blur(moments, WINDOW * scale), estimate, ridge, motion)
    return gaussian_blur(estimate.expand(-1, -1, height, width), WINDOW)


def _gradient(field: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(field, (1, 1, 1, 1), mode="replicate")
    down = 0.5 * (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1])
    across = 0.5 * (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2])
    return down, across


def _solve(moments: Tensor, prior: Tensor, ridge: Tensor, motion: Tensor) -> Tensor:
    """Motion v that minimises the windowed residual of ``motion`` + dv plus ``ridge`` |v - prior|^2, in closed form."""
    yy, yx, xx, yt, xt = moments.split(1, dim=1)
    vy, vx = motion.split(1, dim=1)
    py, px = prior.split(1, dim=1)
    right_y = yy * vy + yx * vx - yt + ridge * py
    right_x = yx * vy + xx * vx - xt + ridge * px
    a, c = yy + ridge, xx + ridge
    determinant = (a * c - yx * yx).clamp(min=1e-12)
    return torch.cat(((c * right_y - yx * right_x), (a * right_x - yx * right_y)), dim=1) / determinant

"""The small scales of a member: Gaussian noise with the spectrum of what the autoencoder leaves out.

The autoencoder keeps the structures that a latent has room for and says how large the rest is, pixel by pixel. Of the
rest nothing is known but how fast it forgets along the ground: its power at wavenumber k (cycles per pixel) is a sum of
Gaussians, sum over i of v_i exp(-(2 pi s_i k)^2), blurs of white noise over the scales s_i, fitted to events.
"""

import math

import torch
from torch import Tensor

from geoscope.errors import ShapeError

SCALES_PX = (0.0, 0.7, 1.5, 3.0, 6.0)  # standard deviations of the blurs


def spectral_shapes(height: int, width: int) -> Tensor:
    """The power of each of `SCALES_PX` on the frequencies of `torch.fft.rfft2`, (S, H, W // 2 + 1), of mean 1."""
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    columns = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
    squared = rows**2 + columns**2
    shapes = torch.stack([torch.exp(-((2 * math.pi * scale) ** 2) * squared) for scale in SCALES_PX])
    return shapes / _mean_over_all(shapes, width)[:, None, None]


def _mean_over_all(power: Tensor, width: int) -> Tensor:
    """The mean over all frequencies of a power on the half that `rfft2` keeps, (S,)."""
    weights = torch.full((power.shape[-1],), 2.0, dtype=power.dtype)
    weights[0] = 1.0
    if width % 2 == 0:
        weights[-1] = 1.0
    return (power * weights).sum(dim=(-2, -1)) / (power.shape[-2] * width)


def coloured(white: Tensor, variances: Tensor) -> Tensor:
    """``white`` unit noise (..., H, W) with the spectrum of ``variances`` (S,), whose sum is 1: variance 1, periodic.

    Raises:
        ShapeError: the variances are not one for each of `SCALES_PX`.
    """
    if variances.shape != (len(SCALES_PX),):
        raise ShapeError(
            f"variances of shape {tuple(variances.shape)}: give {len(SCALES_PX)}, one for each scale"
        )
    height, width = white.shape[-2:]
    power = torch.einsum("s,shw->hw", variances.double().cpu(), spectral_shapes(height, width))
    amplitude = power.clamp(min=0.0).sqrt().to(white.device, white.dtype)
    return torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(height, width))


def fit_variances(residuals: Tensor) -> Tensor:
    """The variances (S,), of sum 1, whose spectrum is nearest in shape to that of ``residuals`` (N, H, W).

    Nearest in the mean square of the logarithm of power, averaged over rings of wavenumber first.
    """
    height, width = residuals.shape[-2:]
    window = torch.hann_window(height, periodic=False)[:, None] * torch.hann_window(width, periodic=False)
    power = torch.fft.rfft2((residuals - residuals.mean(dim=(-2, -1), keepdim=True)) * window).abs() ** 2
    seen = (power.mean(dim=0) / (window**2).sum()).double()
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    columns = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
    ring = (torch.hypot(rows, columns) * 64).round().long().clamp(max=32).flatten()
    count = torch.zeros(33, dtype=torch.float64).index_add_(
        0, ring, torch.ones_like(ring, dtype=torch.float64)
    )

    def rings(values: Tensor) -> Tensor:
        return torch.zeros(33, dtype=torch.float64).index_add_(0, ring, values.flatten()) / count

    target = rings(seen)
    shapes = torch.stack([rings(shape) for shape in spectral_shapes(height, width)])
    logs = torch.zeros(len(SCALES_PX), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logs], lr=0.05)
    for _ in range(1500):
        model = torch.exp(logs) @ shapes
        loss = (torch.log(model[1:] + 1e-9) - torch.log(target[1:] + 1e-9)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.softmax(logs.detach(), 0).float()

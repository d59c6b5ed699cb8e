"""Knowledge alignment as PreDiff published it, quirks included; `geoscope.diffusion.guidance` is the one to use.

The published code moves the mean of each DDPM step by -sigma_t * strength * dU/dz_t, where
U = || mean over time of U_phi(z_t, t) - target ||_2 is taken over the whole batch. So the samples of a batch pull at
one another; the gradient has the length that one unit of U gives, however near the target is; and the shift is that of
one step among 1000, too small for a sampler of few steps. Source: Gao et al. 2023 (PreDiff), section 3.2, with the
published code's departures from it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from geoscope.diffusion.samplers.ancestral import MeanShift

Alignment = Callable[[Tensor, Tensor], Tensor]
"""``alignment(z_t, t)`` estimates the quantity of each frame of the clean sample, (B, T, 1)."""


def batch_coupled_gradient(
    alignment: Alignment, x: Tensor, t: Tensor, target: Tensor | float, strength: float = 50.0
) -> Tensor:
    """``strength`` * d || mean_T alignment(x, t) - target ||_2 / dx, like ``x`` (B, ...), the norm over the batch.

    ``target`` is (B, 1) or one number for all.
    """
    with torch.enable_grad():
        state = x.detach().requires_grad_()
        departure = torch.linalg.vector_norm(alignment(state, t).mean(1) - target)
        (gradient,) = torch.autograd.grad(departure, state)
    return strength * gradient


def batch_coupled_shift(alignment: Alignment, target: Tensor | float, strength: float = 50.0) -> MeanShift:
    """The ``shift`` of `sample_ddpm` that is the published guidance; 50 is the published strength."""
    return lambda x, t: batch_coupled_gradient(alignment, x, t, target, strength)

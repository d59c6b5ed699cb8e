"""Guidance: samples whose chosen quantity takes an asked value, for samplers of any number of steps.

Wanted is a sample of p(x_0 | u(x_0) = target +- tolerance) with u a scalar, or a few numbers, of the clean sample. The
score of that at x_t is the score of the model plus the gradient of log p(target | x_t), so the estimate of x_0 moves by
(sigma^2 / alpha) * that gradient. If u given x_t is normal about m(x_t) with covariance C_t, the move is

    (sigma^2 / alpha) * grad m * (tolerance^2 + C_t)^-1 (target - m).

C_t is what keeps the move in scale at every noise level. It is not a setting: for an exact denoiser
Cov(x_0 | x_t) = (sigma^2 / alpha) d x_0_hat / d x_t (Tweedie's formula of second order; Boys et al. 2023), hence
C_t = (sigma^2 / alpha) <grad u at x_0_hat, grad m> from gradients that are at hand. The moved estimate then meets the
target to first order whatever the level, where tolerance is 0, and for Gaussian data and a linear u all of it is exact.

Each function takes a ``denoise`` and gives a guided one, which every sampler accepts. Samples never influence each
other, provided that ``denoise`` and the quantity keep them apart.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from geoscope.diffusion.levels import Denoise, Path
from geoscope.errors import ConfigError

Quantity = Callable[[Tensor], Tensor]
"""``quantity(x_0)`` (B,) or (B, K) of clean samples (B, ...), differentiable, each sample by itself."""
NoisyQuantity = Callable[[Tensor, Tensor], Tensor]
"""``quantity(x, t)`` (B,) or (B, K): what a network expects of the clean sample when it sees the state x at t."""

SMALLEST_COSINE = 0.1  # between the quantity's gradient and the move; see `_move`
SMALLEST_VARIANCE = 1e-30  # where the quantity does not feel the sample at all, the move is 0 and not 0 / 0


def guide_through_denoiser(
    denoise: Denoise,
    path: Path,
    quantity: Quantity,
    target: Tensor | float,
    *,
    tolerance: float = 0.0,
    strength: float = 1.0,
) -> Denoise:
    """``denoise`` guided to ``quantity`` = ``target``, with gradients through the denoiser: the accurate way.

    It needs no network but the denoiser and costs about three evaluations instead of one. ``target`` (B,), (B, K) or a
    number, ``tolerance`` the standard deviation about it. ``strength`` multiplies the move: 1 is the conditional
    distribution, 0 none.

    Raises:
        ConfigError: ``tolerance`` or ``strength`` is negative; from the guided denoiser: the quantity is not (B,) or
            (B, K) or has no gradient, the target does not fit it, or no gradient comes through ``denoise``.
    """
    _check(tolerance, strength)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = path(t, x)
        with torch.enable_grad():
            state = x.detach().requires_grad_()
            clean = denoise(state, t)
            if not clean.requires_grad:
                raise ConfigError(
                    "guide_through_denoiser: the denoiser gives an estimate without a gradient; let it record one, "
                    "or take guide_through_estimate"
                )
            value, at_clean = _felt(quantity, clean)
            # Of the quantity's own graph (a decoder, say) only the gradient goes on, back through the denoiser.
            at_state = torch.stack(
                [
                    torch.autograd.grad(
                        clean, state, each.reshape(clean.shape), retain_graph=True, materialize_grads=True
                    )[0]
                    for each in at_clean
                ]
            ).flatten(2)
        reach = _reach(sigma, alpha)
        covariance = reach[:, :, None] * torch.einsum("kbn,lbn->bkl", at_clean, at_state)
        lengths = reach * (at_clean.norm(dim=-1) * at_state.norm(dim=-1)).mT
        move = _move(at_state, covariance, SMALLEST_COSINE * lengths, value, target, tolerance)
        return clean.detach() + strength * (reach * move).reshape(x.shape)

    return guided


def guide_through_estimate(
    denoise: Denoise,
    path: Path,
    quantity: Quantity,
    target: Tensor | float,
    *,
    tolerance: float = 0.0,
    strength: float = 1.0,
    prior_variance: float = 1.0,
) -> Denoise:
    """``denoise`` guided to ``quantity`` = ``target`` along the quantity's own gradient at the estimate: the cheap way.

    No gradient passes through the denoiser. Its derivative is taken to be that of white data of ``prior_variance``:
    exact for such data, elsewhere the target is still met to first order, but the move is spread over the sample as
    grad u is, not as the data would have it. Arguments as in `guide_through_denoiser`.

    Raises:
        ConfigError: ``prior_variance`` is not above 0; others as in `guide_through_denoiser`.
    """
    _check(tolerance, strength)
    if not prior_variance > 0:
        raise ConfigError(f"prior_variance={prior_variance} must be above 0: the variance of a value of x_0")

    def guided(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (_column(part) for part in path(t, x))
        remaining = prior_variance * sigma**2 / (prior_variance * alpha**2 + sigma**2)  # Var(x_0 | x_t)
        clean = denoise(x, t).detach()
        value, at_clean = _felt(quantity, clean)
        covariance = remaining[:, :, None] * torch.einsum("kbn,lbn->bkl", at_clean, at_clean)
        move = _move(at_clean, covariance, torch.zeros_like(value), value, target, tolerance)
        return clean + strength * (remaining * move).reshape(x.shape)

    return guided


def guide_by_noisy_network(
    denoise: Denoise,
    path: Path,
    quantity: NoisyQuantity,
    target: Tensor | float,
    *,
    tolerance: float = 0.0,
    strength: float = 1.0,
) -> Denoise:
    """``denoise`` guided to ``target`` by a network that reads the quantity off noisy states, as PreDiff's alignment.

    m(x_t) = ``quantity(x_t, t)``. Its covariance given x_t is taken from the network's own gradient, supposing data of
    unit variance: (sigma / alpha)^2 <grad m, grad m>, which leaves the move alpha * grad m (target - m) / |grad m|^2
    where tolerance is 0. In eps form the move is eps' = eps + sigma * gradient of (m - target)^2 / (2 s_t^2), with that
    s_t^2. Arguments as in `guide_through_denoiser`.
    """
    _check(tolerance, strength)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (_column(part) for part in path(t, x))
        clean = denoise(x, t).detach()
        value, at_state = _felt(lambda state: quantity(state, t), x)
        # Multiplied through by alpha^2 / sigma^2, so that nothing is divided by an alpha of 0.
        products = torch.einsum("kbn,lbn->bkl", at_state, at_state)
        softened = tolerance * alpha / sigma
        move = _move(at_state, products, torch.zeros_like(value), value, target, softened[:, :, None])
        return clean + strength * (alpha * move).reshape(x.shape)

    return guided


def meet_target(
    clean: Tensor, quantity: Quantity, target: Tensor | float, *, within: float = 0.0, iterations: int = 10
) -> Tensor:
    """``clean`` (B, ...) moved a short way so that ``quantity`` meets ``target``: for what guidance leaves over.

    Gauss-Newton steps, each the shortest that would meet the target if the quantity were linear; a step that leads
    further off is taken back and tried at half its length. A sample stops where it is ``within`` the target in every
    number, or after ``iterations`` evaluations, at the best that was found: ask ``quantity`` how near that is.

    Raises:
        ConfigError: ``within`` is negative, ``iterations`` is below 1, or as in `guide_through_denoiser`.
    """
    if not within >= 0 or iterations < 1:
        raise ConfigError(f"within={within} must be 0 or more and iterations={iterations} 1 or more")
    best = clean.detach()
    tried, share = best, _column(best.new_ones(len(best)))
    least = torch.full_like(share, torch.inf)
    move = torch.zeros_like(best.flatten(1))
    for _ in range(iterations):
        value, gradients = _felt(quantity, tried)
        products = torch.einsum("kbn,lbn->bkl", gradients, gradients)
        newton = _move(gradients, products, torch.zeros_like(value), value, target, 0.0)
        departure = _column((_wanted(target, value) - value).abs().amax(1))
        is_better = departure < least
        share = torch.where(is_better, (2 * share).clamp(max=1.0), share / 2)
        best = torch.where(is_better, tried.flatten(1), best.flatten(1)).reshape(best.shape)
        move, least = torch.where(is_better, newton, move), torch.where(is_better, departure, least)
        if bool((least <= within).all()):
            break
        step = torch.where(least <= within, 0.0, share) * move
        tried = best + step.reshape(best.shape)
    return best


def _check(tolerance: float, strength: float) -> None:
    if not tolerance >= 0 or not strength >= 0:
        raise ConfigError(f"tolerance={tolerance} and strength={strength} must be 0 or more")


def _column(part: Tensor) -> Tensor:
    return part.reshape(-1, 1)


def _reach(sigma: Tensor, alpha: Tensor) -> Tensor:
    """sigma^2 / alpha, (B, 1); the gradient that it multiplies vanishes with alpha, so a floor does no harm."""
    return _column(sigma**2 / alpha.clamp(min=torch.finfo(alpha.dtype).eps))


def _felt(quantity: Quantity, x: Tensor) -> tuple[Tensor, Tensor]:
    """The quantity of ``x`` as (B, K), and its gradient, sample by sample, as (K, B, N)."""
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = quantity(leaf)
        if value.ndim not in (1, 2) or len(value) != len(x):
            raise ConfigError(
                f"the guided quantity has shape {tuple(value.shape)}; it must be (B,) or (B, K) for B={len(x)} "
                "samples"
            )
        if not value.requires_grad:
            raise ConfigError(
                "the guided quantity has no gradient: count softly (a sigmoid about the threshold) where it counts"
            )
        value = value[:, None] if value.ndim == 1 else value
        each = [
            torch.autograd.grad(column.sum(), leaf, retain_graph=True, materialize_grads=True)[0]
            for column in value.unbind(1)
        ]
    return value.detach(), torch.stack(each).flatten(2)


def _wanted(target: Tensor | float, value: Tensor) -> Tensor:
    """The target in a shape that broadcasts to the quantity's (B, K)."""
    count = value.shape[1]
    wanted = torch.as_tensor(target, dtype=value.dtype, device=value.device)
    wanted = wanted[:, None] if wanted.ndim == 1 and count == 1 else wanted
    if wanted.ndim and wanted.shape not in ((len(value), count), (count,)):
        raise ConfigError(
            f"target has shape {tuple(wanted.shape)}; it must be a number or {(len(value), count)} like the quantity"
        )
    return wanted


def _move(
    gradients: Tensor,
    covariance: Tensor,
    least: Tensor,
    value: Tensor,
    target: Tensor | float,
    tolerance: float | Tensor,
) -> Tensor:
    """sum over k of grad m_k [(tolerance^2 + C)^-1 (target - m)]_k, (B, N).

    C is made symmetric, and its diagonal at least ``least`` (B, K). A trained denoiser's derivative is neither
    symmetric nor positive where the network is wrong: a move along it may have hardly anything to do with the
    quantity, and to meet the target would be many times as long as the shortest move that does. Beyond ten times it
    is cut short.
    """
    wanted = _wanted(target, value)
    symmetric = (covariance + covariance.mT) / 2
    diagonal = symmetric.diagonal(dim1=-2, dim2=-1)
    lifted = (least.detach() + SMALLEST_VARIANCE - diagonal).clamp(min=0.0)
    identity = torch.eye(value.shape[1], dtype=value.dtype, device=value.device)
    whole = symmetric + torch.diag_embed(lifted) + tolerance**2 * identity
    push = torch.linalg.solve(whole, (wanted - value)[..., None])[..., 0]  # (B, K)
    return torch.einsum("kbn,bk->bn", gradients, push)

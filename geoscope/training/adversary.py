"""A critic that tells frames from reconstructions patch by patch, trained beside an autoencoder.

Both losses go into one backward pass and stay apart all the same: the critic's sees the reconstruction without its
history, the autoencoder's sees the critic's weights as constants. In the published training the autoencoder's gradient
leaks into the critic's. Source: Isola et al. 2017 (patches), Esser et al. 2021 (adaptive weight), Gao et al. 2023.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from geoscope.errors import ConfigError

LEAST_SIDE = 24  # pixels: below it no patch is left
_GROUPS = 8
_LARGEST_WEIGHT = 1e4


class PatchCritic(nn.Module):
    """Frames (N, C, H, W) -> scores (N, 1, H/8 - 2, W/8 - 2), high where a patch looks observed.

    Three strided convolutions and two more, as published, with group norms: the published batch norms say nothing in
    the small batches of a small machine.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for place, (inner, out) in enumerate(pairwise(widths)):
            stride = 2 if place < 2 else 1
            layers += [
                nn.Conv2d(inner, out, 4, stride=stride, padding=1, bias=False),
                nn.GroupNorm(_GROUPS, out),
            ]
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.contiguous())


def check_side(height: int, width: int) -> None:
    """Refuse frames that are too small for a critic.

    Raises:
        ConfigError: they are.
    """
    if min(height, width) < LEAST_SIDE:
        raise ConfigError(
            f"[loss] adversarial_weight: the critic needs frames of {LEAST_SIDE} x {LEAST_SIDE} pixels or more, got "
            f"{height} x {width}; set it to 0"
        )


def critic_loss(critic: nn.Module, observed: Tensor, rebuilt: Tensor) -> Tensor:
    """The hinge loss of the critic alone, a scalar; nothing flows back into what rebuilt the frames."""
    return 0.5 * (F.relu(1 - critic(observed)).mean() + F.relu(1 + critic(rebuilt.detach())).mean())


def deception_loss(critic: nn.Module, rebuilt: Tensor) -> Tensor:
    """What the autoencoder gains by looking observed, a scalar to bring down; nothing flows into the critic."""
    constants = {name: value.detach() for name, value in critic.named_parameters()}
    return -functional_call(critic, constants, (rebuilt,)).mean()


def adaptive_weight(reconstruction: Tensor, deception: Tensor, last_weight: Tensor) -> Tensor:
    """The factor that brings the gradient of ``deception`` at the last layer to the size of ``reconstruction``'s.

    At most 1e4; a number without history. Both losses keep their graphs.
    """
    of_error, of_deception = (
        torch.autograd.grad(loss, last_weight, retain_graph=True)[0].norm()
        for loss in (reconstruction, deception)
    )
    return (of_error / (of_deception + 1e-4)).clamp(0, _LARGEST_WEIGHT).detach()


def idle_loss(critic: nn.Module) -> Tensor:
    """Zero, with a zero gradient for each weight of the critic: before its time it stays as it is."""
    return 0.0 * torch.stack([parameter.sum() for parameter in critic.parameters()]).sum()

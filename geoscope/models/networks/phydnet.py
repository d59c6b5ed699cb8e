"""PhyDNet: a cell bound to partial differential equations beside a ConvLSTM, in a space that both share.

Source: Le Guen and Thome 2020, "Disentangling Physical Dynamics from Unknown Factors for Unsupervised Video
Prediction". As there, the physical cell only predicts where there is no true frame to correct it with.
Departures: the moment loss is a mean over kernels and moments instead of a sum, so that its weight does not depend
on the widths.

Shape letters: B batch, T frames, H rows, W columns, C channels; features are (B, width, H/4, W/4).
"""

from dataclasses import dataclass
from math import factorial
from typing import ClassVar, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.networks.convlstm import ConvLstmCell, LstmState
from geoscope.models.networks.frames import FrameNetwork, Frames, Hints, check_widths, next_input

SLOPE = 0.2


@dataclass(frozen=True, kw_only=True)
class PhyDNetConfig:
    """A PhyDNet.

    width: channels of the shared space, a multiple of 4. residual_widths: channels of the ConvLSTM's layers; the last
    must be ``width``. kernel: of the physical cell, which learns one derivative of each order below it in both
    directions. moment_weight: of the auxiliary loss that makes its kernels those derivatives.
    """

    frames: Frames
    width: int = 32
    residual_widths: tuple[int, ...] = (48, 32)
    kernel: int = 7
    moment_weight: float = 1.0
    groups: int = 8

    def __post_init__(self) -> None:
        check_widths("residual_widths", self.residual_widths)
        if self.residual_widths[-1] != self.width:
            raise ConfigError(f"residual_widths={self.residual_widths}: the last must be width={self.width}")
        if self.groups < 1 or self.width % (2 * self.groups):
            raise ConfigError(f"width={self.width}: give a multiple of twice groups={self.groups}")
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel={self.kernel}: give an odd number of at least 3")
        if self.moment_weight < 0:
            raise ConfigError(f"moment_weight={self.moment_weight}: give a weight of 0 or more")
        self.frames.require_multiple(4, "PhyDNet")


def phydnet_small(frames: Frames) -> PhyDNetConfig:
    """32 shared channels and two layers of ConvLSTM, about 0.4 M parameters."""
    return PhyDNetConfig(frames=frames)


def phydnet_published(frames: Frames) -> PhyDNetConfig:
    """Residual layers of 256, 256, 256 and 64 channels: the 13.7 M parameters of the Earthformer paper's SEVIR table.

    The paper gives the number, not the settings: these widths are ours, fitted to it. The published code's own layers,
    128, 128 and 64, have the 3.1 M of its ENSO table.
    """
    return PhyDNetConfig(frames=frames, width=64, residual_widths=(256, 256, 256, 64), groups=16)


def moments(kernels: Tensor) -> Tensor:
    """The moments (..., k, k) of square kernels (..., k, k): entry i, j is the share of d^(i+j)/dy^i dx^j in them.

    m_ij = sum over u, v of kernel[u, v] u^i v^j / (i! j!), u and v counted from the middle.
    Source: Long et al. 2018, "PDE-Net", section 2.
    """
    size = kernels.shape[-1]
    place = torch.arange(size, dtype=kernels.dtype, device=kernels.device) - size // 2
    powers = torch.stack([place**order / factorial(order) for order in range(size)])
    return powers @ kernels @ powers.T


class PhyCell(nn.Module):
    """The physical cell: a learned PDE moves the state on, a gated look at the true frame corrects it.

    Source: Le Guen and Thome 2020, section 3.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        orders = kernel**2
        self.derivatives = nn.Conv2d(width, orders, kernel, padding=kernel // 2)
        self.norm = nn.GroupNorm(kernel, orders)
        self.combine = nn.Conv2d(orders, width, 1)
        self.gain = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, features: Tensor, known: Tensor | None, state: Tensor) -> Tensor:
        """The next state (B, width, h, w); ``known`` (B,) is 0 where ``features`` are of no true frame (None: 1)."""
        predicted = state + self.combine(self.norm(self.derivatives(state)))
        gain = self.gain(torch.cat((features, predicted), dim=1)).sigmoid()
        if known is not None:
            gain = gain * known.to(gain.dtype)[:, None, None, None]
        return predicted + gain * (features - predicted)

    def moment_error(self) -> Tensor:
        """Mean squared difference of the kernels' moments from one unit moment each, a scalar."""
        kernels = self.derivatives.weight  # (k*k, width, k, k): filter i*k + j is to be d^(i+j)/dy^i dx^j
        wanted = torch.eye(len(kernels), dtype=kernels.dtype, device=kernels.device)
        wanted = wanted.reshape(-1, 1, *kernels.shape[-2:])
        return (moments(kernels) - wanted).square().mean()


class _Block(nn.Sequential):
    """Convolution (transposed where ``up``), group norm and leaky ReLU; ``stride`` 2 halves or doubles the grid."""

    def __init__(self, inputs: int, width: int, groups: int, *, stride: int = 1, up: bool = False) -> None:
        layer = (
            nn.ConvTranspose2d(inputs, width, 3, stride, padding=1, output_padding=stride - 1)
            if up
            else nn.Conv2d(inputs, width, 3, stride, padding=1)
        )
        super().__init__(layer, nn.GroupNorm(groups, width), nn.LeakyReLU(SLOPE))


class PhyDNet(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C); it reads its own forecasts."""

    takes_hints: ClassVar[bool] = True

    def __init__(self, config: PhyDNetConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        width, half, groups = config.width, config.width // 2, config.groups
        channels = config.frames.channels
        self.encoder = nn.Sequential(
            _Block(channels, half, groups, stride=2),
            _Block(half, half, groups),
            _Block(half, width, groups, stride=2),
        )
        self.to_physics = self._pair(up=False)
        self.to_residual = self._pair(up=False)
        self.physics = PhyCell(width, config.kernel)
        self.residual = nn.ModuleList(
            ConvLstmCell(inputs, wide, 3)
            for inputs, wide in zip(
                (width, *config.residual_widths[:-1]), config.residual_widths, strict=True
            )
        )
        self.from_physics = self._pair(up=True)
        self.from_residual = self._pair(up=True)
        self.decoder = nn.Sequential(
            _Block(width, half, groups, stride=2, up=True),
            _Block(half, half, groups, up=True),
            nn.ConvTranspose2d(half, channels, 3, 2, padding=1, output_padding=1),
        )

    def _pair(self, *, up: bool) -> nn.Sequential:
        width, groups = self.config.width, self.config.groups
        return nn.Sequential(_Block(width, width, groups, up=up), _Block(width, width, groups, up=up))

    def forward(self, x: Tensor, hints: Hints | None = None) -> Tensor:
        self.check(x)
        self.check_hints(x, hints)
        past = rearrange(x, "b t h w c -> t b c h w").contiguous()
        truth = None if hints is None else rearrange(hints.target, "b t h w c -> t b c h w").contiguous()
        frames: list[Tensor] = []
        physics: Tensor | None = None
        states: list[LstmState] = []
        nothing = x.new_zeros(x.shape[0])
        for step in range(len(past) + self.frames.out_frames - 1):
            if step < len(past):
                frame, known = past[step], None
            elif hints is None or truth is None:
                frame, known = frames[-1], nothing
            else:
                known = hints.shown[:, step - len(past)]
                frame = next_input(frames[-1], truth[step - len(past)], known)
            features = self.encoder(frame)
            if physics is None:
                physics = torch.zeros_like(features)
                states = [
                    cast(ConvLstmCell, cell).zeros(features, *features.shape[-2:]) for cell in self.residual
                ]
            physics = self.physics(self.to_physics(features), known, physics)
            signal = self.to_residual(features)
            for layer, cell in enumerate(self.residual):
                states[layer] = cell(signal, states[layer])
                signal = states[layer].hidden
            if step >= len(past) - 1:
                frames.append(self.decoder(self.from_physics(physics) + self.from_residual(signal)))
        return rearrange(torch.stack(frames, dim=1), "b t c h w -> b t h w c")

    def auxiliary_loss(self) -> Tensor:
        """The moment loss: the physical kernels as derivatives, times its weight."""
        return self.config.moment_weight * self.physics.moment_error()

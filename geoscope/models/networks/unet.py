"""UNet: frames as channels, down and up a ladder of resolutions with bridges between.

Source: Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation", in the use of
Veillette et al. 2020 (SEVIR) and of the Earthformer paper's table: all past frames in at once, all future frames
out. Departures: group norm after each convolution, and padding, so that the forecast has the grid of the input.

Shape letters: B batch, T frames, H rows, W columns, C channels.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.networks.frames import FrameNetwork, Frames, check_widths, from_channels, to_channels


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """A UNet. ``widths``: channels of each level, finest first; every level has half the resolution.

    convolutions: in a row at each level, down and up. groups: of the group norms; must divide every width.
    """

    frames: Frames
    widths: tuple[int, ...] = (32, 64, 128)
    convolutions: int = 2
    groups: int = 8

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)
        if self.convolutions < 1:
            raise ConfigError(f"convolutions={self.convolutions}: give at least 1")
        if self.groups < 1 or any(width % self.groups for width in self.widths):
            raise ConfigError(f"widths={self.widths} do not all split into groups={self.groups}")
        self.frames.require_multiple(2 ** (len(self.widths) - 1), "UNet")


def unet_small(frames: Frames) -> UNetConfig:
    """Three levels, about 0.5 M parameters."""
    return UNetConfig(frames=frames)


def unet_published(frames: Frames) -> UNetConfig:
    """Five levels, near the 16.6 M parameters of the Earthformer paper's table for SEVIR; its widths are not given."""
    return UNetConfig(frames=frames, widths=(48, 96, 192, 384, 720), groups=16)


def convolve(inputs: int, width: int, count: int, groups: int) -> nn.Sequential:
    """``count`` times 3x3 convolution, group norm and ReLU: (B, inputs, H, W) -> (B, width, H, W)."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers += [
            nn.Conv2d(width if index else inputs, width, 3, padding=1, bias=False),
            nn.GroupNorm(groups, width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C) by a UNet over frames as channels."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        frames, widths = config.frames, config.widths
        first = frames.in_frames * frames.channels
        self.down = nn.ModuleList(
            convolve(inputs, width, config.convolutions, config.groups)
            for inputs, width in pairwise((first, *widths))
        )
        self.pool = nn.MaxPool2d(2)
        steps = list(pairwise(reversed(widths)))  # (coarse, fine) from the bottom up
        self.expand = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in steps)
        self.up = nn.ModuleList(
            convolve(2 * fine, fine, config.convolutions, config.groups) for _, fine in steps
        )
        self.head = nn.Conv2d(widths[0], frames.out_frames * frames.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        state, bridges = to_channels(x), []
        for level, block in enumerate(self.down):
            state = block(self.pool(state) if level else state)
            bridges.append(state)
        for expand, block, bridge in zip(self.expand, self.up, reversed(bridges[:-1]), strict=True):
            state = block(torch.cat((bridge, expand(state)), dim=1))
        return from_channels(self.head(state), self.frames.channels)

"""Layers of the compact nowcaster: residual convolutions told of the lead, and carrying at a coarser resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.nn.advection import sample_at


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of (B, C, H, W), without a copy where channels come last in memory."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; a condition (B, D), if there is one, scales and shifts between them."""

    def __init__(self, channels_in: int, channels_out: int, condition: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut: nn.Module = (
            nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)
        )
        self.modulate = nn.Linear(condition, 2 * channels_out) if condition else None
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="relu")
        with torch.no_grad():  # begin close to the shortcut
            self.second.weight.mul_(0.3)
            if self.modulate is not None:
                self.modulate.weight.mul_(0.3)
                self.modulate.bias.zero_()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        hidden = self.first(x)
        if self.modulate is not None:
            scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
            hidden = hidden * (1 + scale) + shift
        return self.shortcut(x) + self.second(F.gelu(hidden))


class ConvolutionalStem(nn.Module):
    """From the stacked planes at full resolution to features at half and quarter resolution."""

    def __init__(self, channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        full, half, quarter = widths
        self.at_full = nn.Conv2d(channels, full, 3, padding=1)
        self.to_half = nn.Conv2d(full, half, 2, stride=2)
        self.at_half = ResidualBlock(half, half)
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.at_quarter = ResidualBlock(quarter, quarter)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C', H/2, W/2), (B, C'', H/4, W/4)."""
        half = self.at_half(self.to_half(F.gelu(self.at_full(x))))
        return half, self.at_quarter(self.to_quarter(half))


class Extrapolated(nn.Module):
    """Logits of exceedance that extrapolation alone would give, the readout's starting point.

    The log rain to be expected is a mean of several fields (carried, smoothed, resting), and its error is logistic;
    which fields, how wide the error and how far from its middle follow from the condition (lead and scale of the data).
    """

    thresholds: Tensor

    def __init__(self, fields: int, thresholds: Tensor, condition: int) -> None:
        """``thresholds`` (K,) are in the unit of the fields."""
        super().__init__()
        self.fields, count = fields, len(thresholds)
        self.choice = nn.Linear(condition, fields + 2 * count)
        self.register_buffer("thresholds", thresholds, persistent=False)
        with torch.no_grad():
            self.choice.weight.mul_(0.1)
            self.choice.bias.zero_()
            self.choice.bias[fields : fields + count] = (
                1.5  # a slope of 4.5 in log rain / 4: a factor of 3 of error
            )

    def forward(self, fields: Tensor, condition: Tensor) -> Tensor:
        """(B, F, H, W) and (B, D) -> (B, K, H, W)."""
        choice, slope, shift = (
            self.choice(condition)
            .float()
            .tensor_split((self.fields, self.fields + len(self.thresholds)), dim=1)
        )
        expected = torch.einsum("bfhw,bf->bhw", fields.float(), choice.softmax(dim=1))[:, None]
        away = expected - self.thresholds[:, None, None]
        return away * torch.exp(slope)[:, :, None, None] + shift[:, :, None, None]


def carry(features: Tensor, positions: Tensor, factor: int) -> Tensor:
    """``features`` (B, C, h, w), one cell for ``factor`` pixels, sampled at ``positions`` (B, 2, H', W') in pixels.

    Float32 whatever comes in: positions in half precision would be off by pixels.
    """
    return sample_at(features.float(), (positions - 0.5 * (factor - 1)) / factor)


def doubled(x: Tensor) -> Tensor:
    """(B, C, H, W) at twice the resolution, bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

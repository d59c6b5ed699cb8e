"""What every network of frames shares: the shapes it is built for, its input check, hints and patches.

Shape letters: B batch, T frames, H rows, W columns, C channels, P length of a patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ConfigError, ShapeError


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What goes in and comes out: ``in_frames`` frames of (H, W, C), then ``out_frames`` of the same grid."""

    in_frames: int
    out_frames: int
    height: int
    width: int
    channels: int = 1

    def __post_init__(self) -> None:
        for name in ("in_frames", "out_frames", "height", "width", "channels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: give at least 1")

    def require_multiple(self, factor: int, network: str) -> None:
        """Refuse a grid that does not split into squares of ``factor`` pixels, with ConfigError."""
        for name in ("height", "width"):
            if getattr(self, name) % factor:
                raise ConfigError(
                    f"{name}={getattr(self, name)}: this {network} needs a multiple of {factor}; "
                    "crop or pad the frames"
                )


@dataclass(frozen=True)
class Hints:
    """True frames shown to a recurrent network while it learns (scheduled sampling, teacher forcing).

    target: (B, T_out, H, W, C), what the network is to forecast.
    shown: (B, T_out - 1) bool; where True, the step after frame k reads the true frame k and not the network's.

    Source: Bengio et al. 2015, "Scheduled sampling for sequence prediction with recurrent neural networks".
    """

    target: Tensor
    shown: Tensor


def scheduled_hints(target: Tensor, share: float, generator: torch.Generator | None = None) -> Hints:
    """Hints that show each true frame with probability ``share``, drawn on the CPU (None: from the global state).

    Raises:
        ConfigError: a share outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"share of true frames {share}: give a number from 0 to 1")
    shown = torch.rand(target.shape[0], target.shape[1] - 1, generator=generator) < share
    return Hints(target, shown.to(target.device))


class FrameNetwork(nn.Module):
    """Base of the networks: past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C).

    takes_hints: ``forward`` has a second argument of `Hints`, for training; without it the network reads its own
        forecasts.
    """

    takes_hints: ClassVar[bool] = False

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self.frames = frames

    def auxiliary_loss(self) -> Tensor:
        """A scalar to add to the loss of the last forward pass in training, already weighted; 0 if there is none."""
        return next(self.parameters()).new_zeros(())

    def check(self, x: Tensor) -> None:
        """Refuse an input of another shape than the network was built for, with ShapeError."""
        f = self.frames
        wanted = (f.in_frames, f.height, f.width, f.channels)
        if x.ndim != 5 or tuple(x.shape[1:]) != wanted:
            raise ShapeError(
                f"input has shape {tuple(x.shape)}: expected (B, T, H, W, C) with (T, H, W, C) = {wanted}; "
                "build the network for these frames"
            )

    def check_hints(self, x: Tensor, hints: Hints | None) -> None:
        """Refuse hints that do not lie over the forecast, with ShapeError."""
        if hints is None:
            return
        f = self.frames
        wanted = (x.shape[0], f.out_frames, f.height, f.width, f.channels)
        if tuple(hints.target.shape) != wanted or tuple(hints.shown.shape) != (*wanted[:1], wanted[1] - 1):
            raise ShapeError(
                f"hints have target {tuple(hints.target.shape)} and shown {tuple(hints.shown.shape)}: expected "
                f"{wanted} and (B, T_out - 1) = {(wanted[0], wanted[1] - 1)}"
            )


def parameter_count(network: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def to_channels(x: Tensor) -> Tensor:
    """(B, T, H, W, C) -> (B, T*C, H, W), contiguous: frames side by side, as a 2-D convolution reads them."""
    return rearrange(x, "b t h w c -> b (t c) h w").contiguous()


def from_channels(x: Tensor, channels: int) -> Tensor:
    """(B, T*C, H, W) -> (B, T, H, W, C): undoes `to_channels`."""
    return rearrange(x, "b (t c) h w -> b t h w c", c=channels)


def to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, T, H, W, C) -> (B, T, P*P*C, H/P, W/P): each square of ``patch`` pixels becomes channels."""
    return rearrange(x, "b t (h p) (w q) c -> b t (p q c) h w", p=patch, q=patch).contiguous()


def from_patches(x: Tensor, patch: int) -> Tensor:
    """(B, T, P*P*C, H/P, W/P) -> (B, T, H, W, C): undoes `to_patches`."""
    return rearrange(x, "b t (p q c) h w -> b t (h p) (w q) c", p=patch, q=patch)


def next_input(own: Tensor, true: Tensor | None, shown: Tensor | None) -> Tensor:
    """What a recurrent network reads next: its own frame (B, ...), or the true one where ``shown`` (B,) says so."""
    if true is None or shown is None:
        return own
    return torch.where(shown.reshape(-1, *[1] * (own.ndim - 1)), true, own)


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Refuse an empty list of widths or one below 1, with ConfigError."""
    if not widths or min(widths) < 1:
        raise ConfigError(f"{name}={tuple(widths)}: give one width of at least 1 a layer")

"""The layers of the autoencoder of frames: residual blocks, attention over a frame, and the two ways.

Shapes: frames are (N, C, H, W). Source: the facts about PreDiff's AutoencoderKL (the layout of latent diffusion,
Rombach et al. 2022).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.nn.resampling import Upsample
from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention

EPSILON = 1e-6


def group_norm(width: int, groups: int) -> nn.GroupNorm:
    """The norm of all layers here."""
    return nn.GroupNorm(groups, width, eps=EPSILON)


class FrameResidualBlock(nn.Module):
    """(N, C, H, W) -> (N, out, H, W): twice norm, SiLU and 3x3 convolution, beside what came in."""

    def __init__(self, width: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(width, groups)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.norm2 = group_norm(out, groups)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if width == out else nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return self.shortcut(x) + hidden


class FrameAttention(nn.Module):
    """(N, C, H, W) -> the same: every pixel looks at all of its frame, with one head; the residual is inside."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(width, groups)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        tokens = self.norm(x).movedim(1, -1)[:, None]  # (N, 1, H, W, C)
        query, key, value = (y(tokens)[..., None, :] for y in (self.query, self.key, self.value))
        out = cuboid_attention(query, key, value, Cuboids(size=(1, rows, columns)), label="frame")
        return x + self.projection(out[:, 0, :, :, 0]).movedim(-1, 1)


class _Middle(nn.Module):
    """A residual block, attention, a residual block, at the coarsest level."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.before = FrameResidualBlock(width, width, groups)
        self.attention = FrameAttention(width, groups)
        self.after = FrameResidualBlock(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.attention(self.before(x)))


class _Halve(nn.Module):
    """Half the rows and columns: a convolution of stride 2, with zeros below and to the right only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Double(nn.Module):
    """Twice the rows and columns: nearest neighbour, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.upsample = Upsample(width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        return self.upsample.ready((rows, columns), (2 * rows, 2 * columns))(x).contiguous()


class _Level(nn.Module):
    """Residual blocks, and then a change of resolution or none."""

    def __init__(self, width: int, out: int, blocks: int, groups: int, change: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(FrameResidualBlock(out if i else width, out, groups) for i in range(blocks))
        )
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return x if self.change is None else self.change(x)


class FrameEncoder(nn.Module):
    """Frames (N, C, H, W) -> (N, out, H/f, W/f): levels of ``widths``, all but the last halving."""

    def __init__(self, channels: int, out: int, widths: Sequence[int], blocks: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        before = [widths[0], *widths[:-1]]
        self.levels = nn.Sequential(
            *(
                _Level(inner, width, blocks, groups, _Halve(width) if i < len(widths) - 1 else None)
                for i, (inner, width) in enumerate(zip(before, widths, strict=True))
            )
        )
        self.middle = _Middle(widths[-1], groups)
        self.norm = group_norm(widths[-1], groups)
        self.last = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.levels(self.first(x)))
        return self.last(F.silu(self.norm(x)))


class FrameDecoder(nn.Module):
    """Latents (N, C, h, w) -> frames (N, out, f*h, f*w): the levels of the encoder in reverse, one block more."""

    def __init__(self, channels: int, out: int, widths: Sequence[int], blocks: int, groups: int) -> None:
        super().__init__()
        widths = list(reversed(widths))
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.middle = _Middle(widths[0], groups)
        before = [widths[0], *widths[:-1]]
        self.levels = nn.Sequential(
            *(
                _Level(inner, width, blocks + 1, groups, _Double(width) if i < len(widths) - 1 else None)
                for i, (inner, width) in enumerate(zip(before, widths, strict=True))
            )
        )
        self.norm = group_norm(widths[-1], groups)
        self.last = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.levels(self.middle(self.first(z)))
        return self.last(F.silu(self.norm(x)))

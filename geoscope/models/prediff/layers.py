"""The layers that the denoiser and the alignment network share: diffusion time, residual blocks, the way down.

Source: the facts about PreDiff's Earthformer-UNet; Gao et al. 2023, section 3.2. Shape letters: B batch, T time,
H rows, W columns, C channels, K global vectors, E width of the time embedding.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.errors import ShapeError
from geoscope.models.prediff.config import BodyConfig, Level
from geoscope.nn.cuboid_blocks import SelfAttentionBlock
from geoscope.nn.cuboid_self_attention import CuboidSelfAttention
from geoscope.nn.feed_forward import FeedForward
from geoscope.nn.initialisation import init_linear
from geoscope.nn.position_embedding import PositionEmbedding
from geoscope.nn.resampling import PatchMerging


def sinusoidal_embedding(t: Tensor, width: int, *, longest: float = 10_000.0) -> Tensor:
    """cos and then sin of diffusion time at width // 2 frequencies, (B, width) for ``t`` (B,).

    Frequencies fall geometrically from 1 towards 1 / ``longest``; an odd width ends with a zero. In float64 where
    ``t`` is, else in float32.
    """
    dtype = torch.float64 if t.dtype == torch.float64 else torch.float32
    half = width // 2
    place = torch.arange(half, dtype=dtype, device=t.device)
    angles = t.to(dtype)[:, None] * torch.exp(-math.log(longest) * place / half)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, width % 2))


class TimeEmbedding(nn.Module):
    """Diffusion time ``t`` (B,), whole or not -> (B, E)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.expand = nn.Linear(width, out)
        self.mix = nn.Linear(out, out)

    def forward(self, t: Tensor) -> Tensor:
        own = self.expand.weight.dtype
        waves = sinusoidal_embedding(t.double() if own == torch.float64 else t.float(), self.width)
        return self.mix(F.silu(self.expand(waves.to(own))))


def latent_norm(width: int, groups: int | None = None) -> nn.GroupNorm:
    """A norm of as many ``groups`` as divide ``width`` too; None: 32 groups, or single channels where 32 does not."""
    if groups is None:
        groups = 32 if width % 32 == 0 else width
    return nn.GroupNorm(math.gcd(groups, width), width)


class TimeResidualBlock(nn.Module):
    """x (B, T, H, W, C) [and what diffusion time says, (B, out) or (B, 2 out)] -> (B, T, H, W, out).

    Twice norm, SiLU and 3x3x3 convolution, beside what came in. Time is added between the two or, with
    ``scale_and_shift``, scales and shifts what the second norm gives. The last convolution starts at zero.

    time: width of the time embedding; None leaves time out.
    groups: of the norms, see `latent_norm`.
    """

    def __init__(
        self,
        width: int,
        out: int,
        time: int | None,
        *,
        groups: int | None = None,
        scale_and_shift: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = latent_norm(width, groups)
        self.conv1 = nn.Conv3d(width, out, 3, padding=1)
        self.time = None if time is None else nn.Linear(time, 2 * out if scale_and_shift else out)
        self.norm2 = latent_norm(out, groups)
        self.conv2 = nn.Conv3d(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if width == out else nn.Conv3d(width, out, 1)
        self.scale_and_shift, self.dropout = scale_and_shift, dropout
        nn.init.zeros_(self.conv2.weight)
        if self.conv2.bias is not None:
            nn.init.zeros_(self.conv2.bias)

    def project(self, embedding: Tensor) -> Tensor:
        """What an embedding (B, E) of diffusion time says to this block; it can be kept for a whole step."""
        assert self.time is not None, "this block knows no time"
        return self.time(F.silu(embedding))

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        # A group norm's backward on a CPU needs its input in this order.
        volume = x.movedim(-1, 1).contiguous()  # (B, C, T, H, W)
        hidden = self.conv1(F.silu(self.norm1(volume)))
        told = None if told is None else told[:, :, None, None, None]
        if told is not None and self.scale_and_shift:
            scale, shift = told.chunk(2, dim=1)
            hidden = self.norm2(hidden) * (1 + scale) + shift
        else:
            hidden = self.norm2(hidden if told is None else hidden + told)
        hidden = self.conv2(F.dropout(F.silu(hidden), self.dropout, self.training))
        return (self.shortcut(volume) + hidden).movedim(1, -1)


class Levels(nn.Module):
    """The blocks of all levels on one way, down or up; a level's residual block serves all its depth."""

    def __init__(self, config: BodyConfig, label: str) -> None:
        super().__init__()
        levels = config.levels
        time = config.time_width * config.base_width
        self.times = nn.ModuleList(
            TimeResidualBlock(
                level.width,
                level.width,
                time,
                groups=config.norm_groups,
                scale_and_shift=config.scale_and_shift,
                dropout=config.residual_dropout,
            )
            for level in levels
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(_block(config, level, f"{label}.{i}.{j}") for j in range(config.depth[i]))
            for i, level in enumerate(levels)
        )

    def told(self, embedding: Tensor) -> list[Tensor]:
        """What an embedding of diffusion time says to each level."""
        return [time.project(embedding) for time in self.times if isinstance(time, TimeResidualBlock)]

    def run(
        self, level: int, x: Tensor, g: Tensor | None, told: Tensor, *, last_use: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x (B, T, H, W, C) and g through all blocks of ``level``; ``last_use``: nobody asks for g afterwards."""
        inner = self.blocks[level]
        assert isinstance(inner, nn.ModuleList)
        for i, block in enumerate(inner):
            x = self.times[level](x, told)
            x, g = block(x, g, last_use and i == len(inner) - 1)
        return x, g


def _block(config: BodyConfig, level: Level, label: str) -> SelfAttentionBlock:
    block = SelfAttentionBlock(
        level.width,
        level.cuboids,
        config.attention_options,
        config.feed_forward,
        config.vectors,
        label=label,
    )
    start_at_identity(block)
    return block


def start_at_identity(block: nn.Module) -> None:
    """Zero the last projection of every attention and feed-forward layer in ``block``: it starts as the identity."""
    for layer in block.modules():
        ends: Sequence[nn.Module] = ()
        if isinstance(layer, CuboidSelfAttention):
            ends = (
                (layer.projection,) if layer.globals is None else (layer.projection, layer.globals.projection)
            )
        elif isinstance(layer, FeedForward):
            ends = (layer.contract,)
        for end in ends:
            for parameter in end.parameters():
                nn.init.zeros_(parameter)


class LatentBody(nn.Module):
    """What both networks begin with: the stem, positions, diffusion time, and the way down.

    x (B, T, H, W, C) and what time says to each level -> what each level ends with, and the global vectors.
    """

    def __init__(self, config: BodyConfig, channels: int) -> None:
        super().__init__()
        levels, vectors = config.levels, config.vectors
        self.stem = TimeResidualBlock(
            channels, config.base_width, None, groups=config.norm_groups, dropout=config.residual_dropout
        )
        self.positions = PositionEmbedding(config.base_width, config.volume, config.positions)
        self.time = TimeEmbedding(config.base_width, config.time_width * config.base_width)
        self.levels = Levels(config, "down")
        pairs = list(pairwise(levels))
        self.merges = nn.ModuleList(
            PatchMerging(fine.width, coarse.width, config.downsample, init=config.resampling_init)
            for fine, coarse in pairs
        )
        self.global_merges = nn.ModuleList(
            init_linear(
                nn.Linear(vectors.ratio * fine.width, vectors.ratio * coarse.width), config.resampling_init
            )
            for fine, coarse in pairs
            if vectors is not None
        )
        self.global_vectors = None
        if vectors is not None:
            self.global_vectors = nn.Parameter(
                torch.zeros(config.global_vectors, vectors.ratio * config.base_width)
            )
            nn.init.trunc_normal_(self.global_vectors, std=0.02)

    def forward(
        self, x: Tensor, told: Sequence[Tensor], *, last_use: bool = False
    ) -> tuple[list[Tensor], Tensor | None]:
        """``last_use``: nobody asks for the global vectors afterwards."""
        x = self.positions(self.stem(x))
        g = None if self.global_vectors is None else self.global_vectors.expand(x.shape[0], -1, -1)
        ends: list[Tensor] = []
        for i, said in enumerate(told):
            if i:
                x = self.merges[i - 1](x)
                g = None if g is None else self.global_merges[i - 1](g)
            x, g = self.levels.run(i, x, g, said, last_use=last_use and i == len(told) - 1)
            ends.append(x)
        return ends, g


def check_latents(x: Tensor, shape: Sequence[int], what: str, *, any_grid: bool = False) -> None:
    """Refuse latents that are not (B, T, H, W, C) with (T, H, W, C) = ``shape``, with ShapeError."""
    steps, rows, columns, channels = shape
    wanted = (steps, "any H", "any W", channels) if any_grid else (steps, rows, columns, channels)
    fits = x.ndim == 5 and (x.shape[1], x.shape[4]) == (steps, channels)
    if not fits or (not any_grid and tuple(x.shape[2:4]) != (rows, columns)):
        raise ShapeError(
            f"{what} has shape {tuple(x.shape)}: expected (B, T, H, W, C) with (T, H, W, C) = "
            f"({', '.join(map(str, wanted))})"
        )


def check_times(t: Tensor, batch: int) -> None:
    """Refuse diffusion times that are neither one for each of the batch nor one for all, with ShapeError."""
    if t.ndim != 1 or t.shape[0] not in (1, batch):
        raise ShapeError(f"t has shape {tuple(t.shape)}: expected ({batch},), or (1,) for all of the batch")

"""Cuboid cross-attention as a layer: a volume looks at a memory of other times over the same pixels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.errors import ConfigError, ShapeError
from geoscope.nn.cuboid_self_attention import AttentionOptions, GlobalVectors, check_heads, split_heads
from geoscope.nn.initialisation import init_linear
from geoscope.nn.padding import pad_to_multiple
from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys, cuboid_attention
from geoscope.ops.cuboid_attention.cuboids import LOCAL, Padding, Strategy, pad_volume, volume_shape
from geoscope.ops.cuboid_attention.positions import relative_bias, relative_position_index, table_rows


@dataclass(frozen=True, kw_only=True)
class CrossCuboids:
    """How a volume and its memory are cut alike.

    size: rows and columns of a cuboid. Along time both are cut into ``groups`` parts: group i of the volume
    sees group i of the memory. Time is filled up at the end of the volume and at the start of the memory.
    """

    size: tuple[int, int]
    strategy: tuple[Strategy, Strategy, Strategy] = LOCAL
    shift: tuple[int, int] = (0, 0)
    groups: int = 1
    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ConfigError(f"cross-attention groups={self.groups}: give at least 1")
        self.over(1)

    def over(self, steps: int, *, is_memory: bool = False) -> Cuboids:
        """The cuboids of a volume of ``steps`` time steps."""
        rows, columns = (
            0 if way == "dilated" else roll for roll, way in zip(self.shift, self.strategy[1:], strict=True)
        )
        return Cuboids(
            size=(-(-steps // self.groups), *self.size),
            strategy=self.strategy,
            shift=(0, rows, columns),
            padding=self.padding,
            pad_time_first=is_memory,
            least_groups=self.groups,
        )


class CuboidCrossAttention(nn.Module):
    """x (B, T, H, W, C), memory (B, T', H, W, C) [and its global vectors] -> (B, T, H, W, C).

    Only ``x`` is normed. ``longest`` bounds T and T' and sizes the bias table. ``last_frames`` limits the
    look to the newest frames of the memory. The residual is added by the caller.
    """

    def __init__(
        self,
        width: int,
        cuboids: CrossCuboids,
        longest: int,
        options: AttentionOptions | None = None,
        *,
        global_vectors: GlobalVectors | None = None,
        last_frames: int | None = None,
        label: str = "",
    ) -> None:
        super().__init__()
        options = options or AttentionOptions()
        check_heads(width, options.heads)
        if last_frames is not None and last_frames < 1:
            raise ConfigError(f"last_frames={last_frames}: give at least 1, or None for the whole memory")
        self.cuboids, self.options, self.label = cuboids, options, label
        self.table_size, self.last_frames = (longest, *cuboids.size), last_frames
        self.norm = nn.LayerNorm(width)
        self.query = init_linear(nn.Linear(width, width, bias=options.qkv_bias), options.init)
        self.key_value = init_linear(nn.Linear(width, 2 * width, bias=options.qkv_bias), options.init)
        self.bias_table = None
        if options.relative_positions:
            self.bias_table = nn.Parameter(torch.zeros(table_rows(self.table_size), options.heads))
            nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.projection = init_linear(nn.Linear(width, width), options.init)
        self.has_globals = global_vectors is not None
        self.global_query = self.global_key_value = None
        if global_vectors is not None and global_vectors.separate:
            wide = global_vectors.ratio * width
            self.global_query = init_linear(nn.Linear(width, width, bias=options.qkv_bias), options.init)
            self.global_key_value = init_linear(
                nn.Linear(wide, 2 * width, bias=options.qkv_bias), options.init
            )

    def forward(self, x: Tensor, memory: Tensor, g: Tensor | None = None) -> Tensor:
        if self.last_frames is not None:
            memory = memory[:, -self.last_frames :]
        shape, memory_shape = volume_shape(x), volume_shape(memory)
        self._check(shape, memory_shape)
        over_x = self.cuboids.over(shape[0])
        over_memory = self.cuboids.over(memory_shape[0], is_memory=True)
        x = self.norm(x)
        if self.options.qkv_bias and self.cuboids.padding == "zeros":
            x, memory = pad_to_multiple(x, over_x.size), pad_volume(memory, over_memory)
        heads = self.options.heads
        query = split_heads(self.query(x), heads)
        key, value = (split_heads(y, heads) for y in self.key_value(memory).chunk(2, dim=-1))
        bias = None
        if self.bias_table is not None:
            index = relative_position_index(
                self.table_size, over_x.size, over_memory.size, device=self.bias_table.device
            )
            bias = relative_bias(self.bias_table, index)
        out = cuboid_attention(
            query,
            key,
            value,
            over_x,
            key_cuboids=over_memory,
            bias=bias,
            extra=self._extra(x, query, g),
            dropout=self.options.attention_dropout if self.training else 0.0,
            label=self.label,
        )
        out = self.projection(out[:, : shape[0], : shape[1], : shape[2]].flatten(-2))
        return F.dropout(out, self.options.projection_dropout, self.training)

    def _extra(self, x: Tensor, query: Tensor, g: Tensor | None) -> ExtraKeys | None:
        if not self.has_globals or g is None:
            return None
        heads = self.options.heads
        key_value = self.key_value if self.global_key_value is None else self.global_key_value
        key, value = (split_heads(y, heads) for y in key_value(g).chunk(2, dim=-1))
        own_query = query if self.global_query is None else split_heads(self.global_query(x), heads)
        return ExtraKeys(own_query, key, value)

    def _check(self, shape: tuple[int, int, int], memory_shape: tuple[int, int, int]) -> None:
        if shape[1:] != memory_shape[1:]:
            raise ShapeError(f"volume {shape} and memory {memory_shape} differ in rows or columns (T, H, W)")
        steps, longest = max(shape[0], memory_shape[0]), self.table_size[0]
        if steps > longest:
            raise ShapeError(f"{steps} time steps are more than the {longest} that this layer was made for")

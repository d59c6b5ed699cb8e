"""Cuboid self-attention as a layer: norm, projections, relative positions and global vectors."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.nn.initialisation import LinearInit, init_linear
from geoscope.nn.padding import pad_to_multiple
from geoscope.ops.cuboid_attention import Cuboids, ExtraKeys, cuboid_attention
from geoscope.ops.cuboid_attention.cuboids import LOCAL, Axes, partition_cuboids, shift_volume, volume_shape
from geoscope.ops.cuboid_attention.positions import relative_bias, relative_position_index, table_rows


@dataclass(frozen=True, kw_only=True)
class GlobalVectors:
    """How global vectors take part in a layer.

    separate: they have projections of their own instead of sharing those of the volume.
    self_attention: they also attend to each other.
    ratio: their width over the width of the volume; other than 1 only with ``separate``.
    """

    separate: bool = False
    self_attention: bool = False
    ratio: int = 1

    def __post_init__(self) -> None:
        if self.ratio < 1 or (self.ratio != 1 and not self.separate):
            raise ConfigError(
                f"global vectors with ratio={self.ratio} need separate=True and a ratio of at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What the attention layers of a model have in common.

    match_published: index the bias table of a clipped cuboid, and mask padding for the global vectors, the
        way the published Earthformer does (facts 4 and 5 of its issue list); both differ from the geometry
        that is meant.
    """

    heads: int = 4
    qkv_bias: bool = False
    relative_positions: bool = True
    final_projection: bool = True
    attention_dropout: float = 0.0
    projection_dropout: float = 0.0
    match_published: bool = False
    init: LinearInit = "0"


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(..., heads*D) -> (..., heads, D)."""
    return x.unflatten(-1, (heads, x.shape[-1] // heads))


def check_heads(width: int, heads: int) -> None:
    """Refuse a width that does not split into heads, with ConfigError."""
    if heads < 1 or width % heads:
        raise ConfigError(
            f"width {width} does not split into {heads} heads: choose a width that is a multiple"
        )


class _Look(NamedTuple):
    """How the global vectors look: query, key and value at the volume, own at themselves."""

    query: Tensor
    key: Tensor
    value: Tensor
    own: ExtraKeys | None


class _GlobalProjections(nn.Module):
    """The projections by which the volume and its global vectors look at each other."""

    def __init__(self, width: int, vectors: GlobalVectors, options: AttentionOptions) -> None:
        super().__init__()
        wide = vectors.ratio * width

        def linear(inputs: int, outputs: int) -> nn.Linear:
            return init_linear(nn.Linear(inputs, outputs, bias=options.qkv_bias), options.init)

        self.vectors, self.heads = vectors, options.heads
        self.norm = nn.LayerNorm(wide)
        if vectors.separate:
            self.local_query = linear(width, width)
            self.key_value = linear(wide, 2 * width)
            self.query = linear(wide, width)
            self.local_key = linear(width, width)
            self.local_value = linear(width, wide)
            self.self_qkv = linear(wide, 3 * wide) if vectors.self_attention else None
        else:
            self.qkv = linear(width, 3 * width)
        self.projection = nn.Linear(wide, wide) if options.final_projection else nn.Identity()

    def forward(
        self, x: Tensor, g: Tensor, query: Tensor, key: Tensor, value: Tensor, *, updates: bool
    ) -> tuple[ExtraKeys, _Look | None]:
        """What the tokens ask the vectors and, where ``updates``, how the vectors look at them.

        ``x`` (B, T, H, W, C) and ``g`` (B, K, C') are normed; query, key, value belong to ``x``, with heads.
        """
        if not self.vectors.separate:
            gq, gk, gv = (split_heads(y, self.heads) for y in self.qkv(g).chunk(3, dim=-1))
            over_volume = gq[:, :, None, None]
            own = ExtraKeys(over_volume, gk, gv) if self.vectors.self_attention else None
            return ExtraKeys(query, gk, gv), _Look(over_volume, key, value, own) if updates else None
        gk, gv = (split_heads(y, self.heads) for y in self.key_value(g).chunk(2, dim=-1))
        asked = ExtraKeys(split_heads(self.local_query(x), self.heads), gk, gv)
        if not updates:
            return asked, None
        over_volume = split_heads(self.query(g), self.heads)[:, :, None, None]
        own = None
        if self.self_qkv is not None:
            sq, sk, sv = (split_heads(y, self.heads) for y in self.self_qkv(g).chunk(3, dim=-1))
            own = ExtraKeys(sq[:, :, None, None], sk, sv)
        local_key, local_value = (split_heads(y(x), self.heads) for y in (self.local_key, self.local_value))
        return asked, _Look(over_volume, local_key, local_value, own)


class CuboidSelfAttention(nn.Module):
    """x (B, T, H, W, C) [and g (B, K, rC)] -> the same shapes; the residual is added by the caller.

    ``cuboids`` are clipped to the volume that comes in; the bias table is as large as they are here.
    """

    def __init__(
        self,
        width: int,
        cuboids: Cuboids,
        options: AttentionOptions | None = None,
        global_vectors: GlobalVectors | None = None,
        label: str = "",
    ) -> None:
        super().__init__()
        options = options or AttentionOptions()
        check_heads(width, options.heads)
        self.cuboids, self.options, self.label = cuboids, options, label
        self.norm = nn.LayerNorm(width)
        self.qkv = init_linear(nn.Linear(width, 3 * width, bias=options.qkv_bias), options.init)
        self.bias_table = None
        if options.relative_positions:
            self.bias_table = nn.Parameter(torch.zeros(table_rows(cuboids.size), options.heads))
            nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.projection = (
            init_linear(nn.Linear(width, width), options.init) if options.final_projection else nn.Identity()
        )
        self.globals = None if global_vectors is None else _GlobalProjections(width, global_vectors, options)

    def forward(
        self, x: Tensor, g: Tensor | None = None, updates: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """``updates`` False leaves out what changes the vectors, and gives None for it."""
        shape = volume_shape(x)
        cuboids = self.cuboids.fit(shape)
        x = self.norm(x)
        if self.options.qkv_bias and cuboids.padding == "zeros":
            x = pad_to_multiple(x, cuboids.size)  # padding that is attended to carries the bias too
        query, key, value = (split_heads(y, self.options.heads) for y in self.qkv(x).chunk(3, dim=-1))
        dropout = self.options.attention_dropout if self.training else 0.0
        bias, scale = self._bias(cuboids), query.shape[-1] ** -0.5
        asked, new_g = None, None
        if self.globals is not None and g is not None:
            asked, look = self.globals(x, self.globals.norm(g), query, key, value, updates=updates)
            if look is not None:
                new_g = self._update_globals(look, cuboids, scale, dropout)
                new_g = self._drop(self.globals.projection(new_g))
        out = cuboid_attention(
            query, key, value, cuboids, bias=bias, extra=asked, scale=scale, dropout=dropout, label=self.label
        )
        out = out[:, : shape[0], : shape[1], : shape[2]].flatten(-2)
        return self._drop(self.projection(out)), new_g

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.options.projection_dropout, self.training)

    def _bias(self, cuboids: Cuboids) -> Tensor | None:
        if self.bias_table is None:
            return None
        configured, device = self.cuboids.size, self.bias_table.device
        if self.options.match_published:
            index = relative_position_index(configured, device=device)[: cuboids.volume, : cuboids.volume]
        else:
            index = relative_position_index(configured, cuboids.size, device=device)
        return relative_bias(self.bias_table, index)

    def _update_globals(self, look: _Look, cuboids: Cuboids, scale: float, dropout: float) -> Tensor:
        """The vectors' look at the whole volume, padding included: one cuboid that spans it, (B, K, C')."""
        query, key, value, own = look
        shape = volume_shape(key)
        whole = Cuboids(size=cuboids.padded(shape), padding=cuboids.padding)
        key_mask = None
        if self.options.match_published and cuboids.padding == "ignore" and whole.size != shape:
            key, value = (
                pad_to_multiple(key.flatten(-2), whole.size),
                pad_to_multiple(value.flatten(-2), whole.size),
            )
            key, value = split_heads(key, self.options.heads), split_heads(value, self.options.heads)
            key_mask = published_global_mask(shape, cuboids, key.device)
        out = cuboid_attention(
            query,
            key,
            value,
            Cuboids(size=(query.shape[1], 1, 1)),
            key_cuboids=whole,
            extra=own,
            key_mask=key_mask,
            scale=scale,
            dropout=dropout,
            label=f"{self.label}.globals" if self.label else "globals",
        )
        return rearrange(out, "b k 1 1 h d -> b k (h d)")


def published_global_mask(shape: Axes, cuboids: Cuboids, device: torch.device) -> Tensor:
    """Which tokens the published code shows to the global vectors when padding is ignored, (T', H', W') bool.

    It lists the mask row by row and the tokens cuboid by cuboid, both after the shift, so it hides the wrong ones.
    """
    padded = cuboids.padded(shape)
    is_data = torch.zeros(1, *padded, dtype=torch.bool)
    is_data[:, : shape[0], : shape[1], : shape[2]] = True
    place = torch.arange(is_data.numel()).view(is_data.shape)
    place, is_data = (shift_volume(each, cuboids.shift) for each in (place, is_data))
    token_at = partition_cuboids(place, cuboids.size, cuboids.strategy)
    shown = torch.zeros(is_data.numel(), dtype=torch.bool)
    shown[token_at.flatten()] = is_data.flatten()
    return shown.view(padded).to(device)


__all__ = ["LOCAL", "AttentionOptions", "CuboidSelfAttention", "GlobalVectors", "check_heads", "split_heads"]

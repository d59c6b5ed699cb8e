"""Everything that defines an Earthformer, as small frozen dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from geoscope.errors import ConfigError
from geoscope.nn.cuboid_blocks import FeedForwardOptions
from geoscope.nn.cuboid_cross_attention import CrossCuboids
from geoscope.nn.cuboid_patterns import cross_cuboids, self_cuboids
from geoscope.nn.cuboid_self_attention import AttentionOptions, GlobalVectors
from geoscope.nn.initialisation import LinearInit
from geoscope.nn.position_embedding import Positions
from geoscope.nn.resampling import merged_shape
from geoscope.ops.cuboid_attention import Cuboids
from geoscope.ops.cuboid_attention.cuboids import Axes, Padding

SelfPattern = str | tuple[Cuboids, ...]
CrossPattern = str | tuple[CrossCuboids, ...]
InitialState = Literal["zeros", "nearest_interp", "last", "mean"]


@dataclass(frozen=True, kw_only=True)
class StemStage:
    """One stage of the stem: ``convs`` 3x3 convolutions to ``width`` channels, then patches of ``factor``
    merged.

    The head undoes the stages in reverse: upsample, then ``final_convs`` convolutions (None: as many as
    ``convs``).
    groups: of the group norm after each convolution.
    """

    width: int
    factor: Axes = (1, 1, 1)
    convs: int = 2
    final_convs: int | None = None
    groups: int = 16

    def __post_init__(self) -> None:
        if self.groups < 1 or self.width % self.groups:
            raise ConfigError(f"stem width {self.width} does not split into {self.groups} groups of the norm")
        if len(self.factor) != 3 or min(self.factor) < 1:
            raise ConfigError(f"stem factor={self.factor}: give three lengths of at least 1, for T, H and W")
        if self.convs < 0 or (self.final_convs or 0) < 0:
            raise ConfigError(f"stem convs={self.convs}, final_convs={self.final_convs}: give 0 or more")


@dataclass(frozen=True, kw_only=True)
class GlobalOptions:
    """The global vectors of the model; ``count`` 0 means none.

    decoder_self: the decoder's self-attention uses the encoder's vectors of its level; decoder_update: and
    hands them on changed. decoder_cross: its cross-attention sees them too.
    """

    count: int = 0
    layer: GlobalVectors = field(default_factory=GlobalVectors)
    decoder_self: bool = False
    decoder_update: bool = True
    decoder_cross: bool = False
    feed_forward: bool = False

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"global vectors count={self.count}: give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Shares dropped in training."""

    attention: float = 0.0
    projection: float = 0.0
    feed_forward: float = 0.0

    def __post_init__(self) -> None:
        if not all(0.0 <= share < 1.0 for share in (self.attention, self.projection, self.feed_forward)):
            raise ConfigError(f"dropout {self}: give shares from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """One level of the hierarchy, worked out: its memory's shape (T, H, W), width and cuboids."""

    shape: Axes
    width: int
    encoder: tuple[Cuboids, ...]
    decoder: tuple[Cuboids, ...]
    cross: tuple[CrossCuboids, ...]


@dataclass(frozen=True, kw_only=True)
class EarthformerConfig:
    """An Earthformer. Shapes are (T, H, W, C); H and W are the same in and out, T and C may differ.

    encoder_attention, decoder_attention, cross_attention: for every level the same pattern name or tuple of
        cuboids, or a list with one per level. Named patterns are worked out for the shape of the encoder's
        memory.
    widths: channels of each level; None multiplies by the largest factor of ``downsample`` from level to
        level.
    downsample: patches merged between levels, (t, h, w).
    stem: the stages before the first level, undone by the head after the last.
    positions: "t+h+w" and "t+hw" fix H and W; "t" embeds time only and takes any grid (not in the published
        code).
    initial_state: what the decoder starts from; "zeros" is a learned state without any input in it.
    final_upsample: False leaves the output at the resolution after the stem (not in the published code).
    recompute: parts that keep no activations in training and compute them again for the gradient: "stem", "head", and
        "level1" (the finest) and on, encoder and decoder alike.
    match_published: see `AttentionOptions`; set by `checkpoints.from_published`.
    """

    input_shape: tuple[int, int, int, int]
    target_shape: tuple[int, int, int, int]
    base_width: int = 64
    widths: tuple[int, ...] | None = None
    heads: int = 4
    encoder_depth: tuple[int, ...] = (1, 1)
    decoder_depth: tuple[int, ...] = (1, 1)
    encoder_attention: SelfPattern | list[SelfPattern] = "axial"
    decoder_attention: SelfPattern | list[SelfPattern] = "axial"
    cross_attention: CrossPattern | list[CrossPattern] = "cross_1x1"
    cross_start: int = 0
    cross_last_frames: int | None = None
    first_self_attention: bool = False
    downsample: Axes = (1, 2, 2)
    upsample_kernel: int = 3
    stem: tuple[StemStage, ...] | None = None
    stem_activation: str = "leaky"
    final_upsample: bool = True
    global_vectors: GlobalOptions = field(default_factory=GlobalOptions)
    activation: str = "gelu"
    gated: bool = False
    encoder_feed_forward_after_each: bool = True
    decoder_feed_forward_after_each: bool = True
    dropout: Dropout = field(default_factory=Dropout)
    padding: Padding = "zeros"
    positions: Positions = "t+h+w"
    relative_positions: bool = True
    final_projection: bool = True
    initial_state: InitialState = "zeros"
    attention_init: LinearInit = "0"
    feed_forward_init: LinearInit = "0"
    resampling_init: LinearInit = "0"
    match_published: bool = False
    recompute: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("input_shape", "target_shape"):
            shape = getattr(self, name)
            if len(shape) != 4 or min(shape) < 1:
                raise ConfigError(f"{name}={shape}: give (T, H, W, C), each at least 1")
        if self.input_shape[1:3] != self.target_shape[1:3]:
            raise ConfigError(
                f"input_shape {self.input_shape} and target_shape {self.target_shape} differ in rows or "
                "columns: Earthformer forecasts on the grid that it is given"
            )
        if len(self.downsample) != 3 or min(self.downsample) < 1:
            raise ConfigError(
                f"downsample={self.downsample}: give three lengths of at least 1, for T, H and W"
            )
        levels = len(self.encoder_depth)
        if (
            levels < 1
            or len(self.decoder_depth) != levels
            or min(*self.encoder_depth, *self.decoder_depth) < 1
        ):
            raise ConfigError(
                f"encoder_depth={self.encoder_depth} and decoder_depth={self.decoder_depth}: "
                "give one depth of at least 1 per level to each"
            )
        if self.widths is not None and (len(self.widths) != levels or self.widths[0] != self.base_width):
            raise ConfigError(
                f"widths={self.widths}: give one width for each of {levels} levels, the first being "
                f"base_width={self.base_width}"
            )
        if self.heads < 1 or any(width < 1 or width % self.heads for width in self.level_widths):
            raise ConfigError(f"level widths {self.level_widths} do not all split into heads={self.heads}")
        if not 0 <= self.cross_start <= levels:
            raise ConfigError(f"cross_start={self.cross_start}: give a level from 0 to {levels}")
        if self.upsample_kernel < 1 or self.upsample_kernel % 2 == 0:
            raise ConfigError(f"upsample_kernel={self.upsample_kernel}: give an odd number")
        if self.initial_state not in ("zeros", "nearest_interp", "last", "mean"):
            raise ConfigError(
                f"initial_state={self.initial_state!r}: choose 'zeros', 'nearest_interp', 'last' or 'mean'"
            )
        if self.stages[-1].width != self.base_width:
            raise ConfigError(
                f"the last stem stage is {self.stages[-1].width} wide: it must be "
                f"base_width={self.base_width}"
            )
        wrong = [part for part in self.recompute if part not in self.parts]
        if wrong:
            raise ConfigError(
                f"recompute={wrong[0]!r} is no part of this network: give {', '.join(self.parts)}"
            )
        _ = self.levels

    @property
    def parts(self) -> tuple[str, ...]:
        """What ``recompute`` may name."""
        levels = (f"level{number}" for number in range(1, len(self.encoder_depth) + 1))
        return "stem", *levels, *(["head"] if self.final_upsample else [])

    @property
    def stages(self) -> tuple[StemStage, ...]:
        """The stem's stages; by default one of two convolutions at full resolution."""
        return self.stem or (StemStage(width=self.base_width),)

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        if self.widths is not None:
            return self.widths
        return tuple(
            self.base_width * max(self.downsample) ** level for level in range(len(self.encoder_depth))
        )

    @property
    def body_shape(self) -> Axes:
        """(T, H, W) after the stem."""
        shape = self.input_shape[:3]
        for stage in self.stages:
            shape = merged_shape(shape, stage.factor)
        return shape

    @property
    def levels(self) -> tuple[LevelConfig, ...]:
        """Shapes, widths and cuboids of every level."""
        count = len(self.encoder_depth)
        encoder = _per_level(self.encoder_attention, count, "encoder_attention")
        decoder = _per_level(self.decoder_attention, count, "decoder_attention")
        cross = _per_level(self.cross_attention, count, "cross_attention")
        shape, found = self.body_shape, []
        for level, width in enumerate(self.level_widths):
            if level:
                shape = merged_shape(shape, self.downsample)
            found.append(
                LevelConfig(
                    shape=shape,
                    width=width,
                    encoder=self._cut(encoder[level], shape),
                    decoder=self._cut(decoder[level], shape),
                    cross=self._cut_cross(cross[level], shape),
                )
            )
        return tuple(found)

    @property
    def attention(self) -> AttentionOptions:
        """What all attention layers share."""
        return AttentionOptions(
            heads=self.heads,
            relative_positions=self.relative_positions,
            final_projection=self.final_projection,
            attention_dropout=self.dropout.attention,
            projection_dropout=self.dropout.projection,
            match_published=self.match_published,
            init=self.attention_init,
        )

    def feed_forward(self, *, after_each: bool) -> FeedForwardOptions:
        """The feed-forward layers of the encoder's or the decoder's blocks."""
        return FeedForwardOptions(
            activation=self.activation,
            gated=self.gated,
            dropout=self.dropout.feed_forward,
            after_each=after_each,
            for_globals=self.global_vectors.feed_forward,
            init=self.feed_forward_init,
        )

    def _cut(self, pattern: SelfPattern, shape: Axes) -> tuple[Cuboids, ...]:
        if isinstance(pattern, str):
            return self_cuboids(pattern, shape, self.padding)
        return tuple(replace(each, padding=self.padding) for each in pattern)

    def _cut_cross(self, pattern: CrossPattern, shape: Axes) -> tuple[CrossCuboids, ...]:
        if isinstance(pattern, str):
            return cross_cuboids(pattern, shape, self.padding)
        return tuple(replace(each, padding=self.padding) for each in pattern)


def _per_level(pattern: Sequence | str, count: int, name: str) -> list:
    if not isinstance(pattern, list):
        return [pattern] * count
    if len(pattern) != count:
        raise ConfigError(
            f"{name} lists {len(pattern)} levels: give one pattern for each of {count}, or one for all"
        )
    return pattern

"""Everything that defines PreDiff's three networks, as small frozen dataclasses."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

from geoscope.errors import ConfigError
from geoscope.nn.cuboid_blocks import FeedForwardOptions
from geoscope.nn.cuboid_patterns import self_cuboids
from geoscope.nn.cuboid_self_attention import AttentionOptions, GlobalVectors
from geoscope.nn.initialisation import LinearInit
from geoscope.nn.position_embedding import Positions
from geoscope.nn.resampling import merged_shape
from geoscope.ops.cuboid_attention import Cuboids
from geoscope.ops.cuboid_attention.cuboids import Axes, Padding

Pattern = str | tuple[Cuboids, ...]
Readout = Literal["frames", "volume"]


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """An autoencoder of single frames; each level but the last halves rows and columns.

    widths: channels of each level, finest first.
    blocks: residual blocks of a level of the encoder; the decoder has one more.
    groups: of every group norm.
    """

    channels: int = 1
    out_channels: int = 1
    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    latent_channels: int = 64
    groups: int = 32

    def __post_init__(self) -> None:
        for name in ("channels", "out_channels", "blocks", "latent_channels", "groups"):
            if getattr(self, name) < 1:
                raise ConfigError(f"autoencoder {name}={getattr(self, name)}: give at least 1")
        if not self.widths or any(width < 1 or width % self.groups for width in self.widths):
            raise ConfigError(
                f"autoencoder widths={self.widths} do not all split into groups={self.groups} of the norm"
            )

    @property
    def factor(self) -> int:
        """Pixels of a frame to one of the latent, along rows and along columns."""
        return 2 ** (len(self.widths) - 1)


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a body, worked out: its volume (T, H, W), width and cuboids."""

    shape: Axes
    width: int
    cuboids: tuple[Cuboids, ...]


@dataclass(frozen=True, kw_only=True)
class BodyConfig(ABC):
    """What the denoiser and the alignment network have in common: levels of 3D residual and cuboid blocks.

    base_width: channels of the first level; level i has base_width * int((largest factor ** width_power) ** i),
        unless ``widths`` lists them.
    attention: a pattern name or a tuple of cuboids for all levels, or a list with one per level.
    downsample: patches merged between levels, (t, h, w).
    global_vectors: how many vectors see the whole volume; 0 for none. global_layer, global_feed_forward: how.
    time_width: width of the embedding of the diffusion time, over base_width.
    norm_groups: of the norms over volumes, or their greatest common divisor with the width. None follows the
        published code: 32 where that divides the width, else single channels. The norm of single channels undoes
        what is added to a channel: at widths of 32 and below diffusion time then goes unseen without
        ``scale_and_shift``.
    scale_and_shift: the embedding scales and shifts the normed features instead of being added before the norm.
    positions: "t" embeds steps only and takes any rows and columns (not in the published code).
    match_published: see `AttentionOptions`; set by `checkpoints`.
    """

    base_width: int = 256
    widths: tuple[int, ...] | None = None
    width_power: float = 1.0
    heads: int = 4
    depth: tuple[int, ...] = (4, 4)
    attention: Pattern | list[Pattern] = "axial"
    downsample: Axes = (1, 2, 2)
    global_vectors: int = 0
    global_layer: GlobalVectors | None = None
    global_feed_forward: bool = False
    activation: str = "gelu"
    gated: bool = False
    feed_forward_after_each: bool = True
    attention_dropout: float = 0.0
    projection_dropout: float = 0.0
    feed_forward_dropout: float = 0.0
    residual_dropout: float = 0.0
    padding: Padding = "zeros"
    positions: Positions = "t+h+w"
    relative_positions: bool = True
    final_projection: bool = True
    time_width: int = 4
    norm_groups: int | None = None
    scale_and_shift: bool = False
    attention_init: LinearInit = "0"
    feed_forward_init: LinearInit = "0"
    resampling_init: LinearInit = "0"
    match_published: bool = False

    def _check_body(self) -> None:
        if not self.depth or min(self.depth) < 1:
            raise ConfigError(f"depth={self.depth}: give one depth of at least 1 per level")
        if len(self.downsample) != 3 or min(self.downsample) < 1:
            raise ConfigError(
                f"downsample={self.downsample}: give three lengths of at least 1, for T, H and W"
            )
        if self.base_width < 1 or self.time_width < 1:
            raise ConfigError(
                f"base_width={self.base_width}, time_width={self.time_width}: give at least 1 for each"
            )
        if self.norm_groups is not None and self.norm_groups < 1:
            raise ConfigError(
                f"norm_groups={self.norm_groups}: give at least 1, or None for the published rule"
            )
        if self.widths is not None and (
            len(self.widths) != len(self.depth) or self.widths[0] != self.base_width
        ):
            raise ConfigError(
                f"widths={self.widths}: give one width for each of {len(self.depth)} levels, the first being "
                f"base_width={self.base_width}"
            )
        if self.heads < 1 or any(width < 1 or width % self.heads for width in self.level_widths):
            raise ConfigError(f"level widths {self.level_widths} do not all split into heads={self.heads}")
        if self.global_vectors < 0:
            raise ConfigError(f"global_vectors={self.global_vectors}: give 0 or more")
        for name in ("attention_dropout", "projection_dropout", "feed_forward_dropout", "residual_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name}={getattr(self, name)}: give a share from 0 to below 1")
        _ = self.levels

    @property
    @abstractmethod
    def volume(self) -> Axes:
        """(T, H, W) of the tokens of the first level."""

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        if self.widths is not None:
            return self.widths
        step = max(self.downsample) ** self.width_power
        return tuple(self.base_width * int(step**level) for level in range(len(self.depth)))

    @property
    def levels(self) -> tuple[Level, ...]:
        """Shapes, widths and cuboids of every level."""
        count = len(self.depth)
        patterns = self.attention if isinstance(self.attention, list) else [self.attention] * count
        if len(patterns) != count:
            raise ConfigError(
                f"attention lists {len(patterns)} levels: give one pattern for each of {count}, or one for all"
            )
        shape, found = self.volume, []
        for level, (width, pattern) in enumerate(zip(self.level_widths, patterns, strict=True)):
            if level:
                shape = merged_shape(shape, self.downsample)
            found.append(Level(shape=shape, width=width, cuboids=self._cut(pattern, shape)))
        return tuple(found)

    @property
    def attention_options(self) -> AttentionOptions:
        """What all attention layers share."""
        return AttentionOptions(
            heads=self.heads,
            relative_positions=self.relative_positions,
            final_projection=self.final_projection,
            attention_dropout=self.attention_dropout,
            projection_dropout=self.projection_dropout,
            match_published=self.match_published,
            init=self.attention_init,
        )

    @property
    def feed_forward(self) -> FeedForwardOptions:
        """The feed-forward layers of the cuboid blocks."""
        return FeedForwardOptions(
            activation=self.activation,
            gated=self.gated,
            dropout=self.feed_forward_dropout,
            after_each=self.feed_forward_after_each,
            for_globals=self.global_feed_forward,
            init=self.feed_forward_init,
        )

    @property
    def vectors(self) -> GlobalVectors | None:
        """How global vectors take part, or None where there are none."""
        return (self.global_layer or GlobalVectors()) if self.global_vectors else None

    def _cut(self, pattern: Pattern, shape: Axes) -> tuple[Cuboids, ...]:
        if isinstance(pattern, str):
            return self_cuboids(pattern, shape, self.padding)
        return tuple(replace(each, padding=self.padding) for each in pattern)


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(BodyConfig):
    """The denoiser of latent sequences. Shapes are (T, H, W, C) of the latents: only T may differ.

    skips: what a level of the way down ends with is added on the way up.
    """

    input_shape: tuple[int, int, int, int]
    target_shape: tuple[int, int, int, int]
    upsample_kernel: int = 3
    skips: bool = True

    def __post_init__(self) -> None:
        for name in ("input_shape", "target_shape"):
            shape = getattr(self, name)
            if len(shape) != 4 or min(shape) < 1:
                raise ConfigError(f"{name}={shape}: give (T, H, W, C), each at least 1")
        if self.input_shape[1:] != self.target_shape[1:]:
            raise ConfigError(
                f"input_shape {self.input_shape} and target_shape {self.target_shape} differ in more than "
                "their steps: context and targets are latents of one autoencoder"
            )
        if self.upsample_kernel < 1 or self.upsample_kernel % 2 == 0:
            raise ConfigError(f"upsample_kernel={self.upsample_kernel}: give an odd number")
        self._check_body()
        if self.downsample[0] != 1:
            raise ConfigError(f"downsample={self.downsample}: the denoiser keeps its steps, T must be 1")

    @property
    def volume(self) -> Axes:
        """(T, H, W) of context and targets together."""
        return self.input_shape[0] + self.target_shape[0], self.input_shape[1], self.input_shape[2]

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.input_shape[3]


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig(BodyConfig):
    """The alignment network: from noisy latents of ``shape`` (T, H, W, C) to numbers of the clean future.

    out_channels: numbers of each frame, or of the whole volume.
    readout: "frames" gives (B, T, out_channels), "volume" (B, out_channels).
    last_frames: only so many frames at the end are read out; None reads all.
    """

    shape: tuple[int, int, int, int]
    base_width: int = 128
    depth: tuple[int, ...] = (1, 1)
    out_channels: int = 1
    readout: Readout = "frames"
    last_frames: int | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 4 or min(self.shape) < 1:
            raise ConfigError(f"shape={self.shape}: give (T, H, W, C), each at least 1")
        if self.out_channels < 1:
            raise ConfigError(f"out_channels={self.out_channels}: give at least 1")
        if self.readout not in ("frames", "volume"):
            raise ConfigError(f"readout={self.readout!r}: choose 'frames' or 'volume'")
        if self.last_frames is not None and not (
            1 <= self.last_frames <= self.shape[0] and self.readout == "frames"
        ):
            raise ConfigError(
                f"last_frames={self.last_frames}: give 1 to {self.shape[0]} with readout='frames', or None"
            )
        if self.readout == "frames" and self.downsample[0] != 1:
            raise ConfigError(
                f"downsample={self.downsample}: to read out frames they must be kept, T must be 1"
            )
        if self.vectors is not None and self.vectors.ratio != 1:
            raise ConfigError(
                f"global_layer.ratio={self.vectors.ratio}: the alignment network pools vectors beside tokens, give 1"
            )
        if self.positions == "t":
            raise ConfigError(
                "positions='t': the readout of the alignment network needs fixed rows and columns"
            )
        self._check_body()

    @property
    def volume(self) -> Axes:
        """(T, H, W) of the noisy latents."""
        return self.shape[0], self.shape[1], self.shape[2]

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.shape[3]

"""Earthformer: a forecast of space-time fields by cuboid attention.

Source: Gao et al. 2022, "Earthformer: Exploring Space-Time Transformers for Earth System Forecasting",
figure 2. Shape letters: B batch, T time, H rows, W columns, C channels, K global vectors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.errors import ShapeError
from geoscope.models.earthformer.config import EarthformerConfig
from geoscope.models.earthformer.decoder import Decoder
from geoscope.models.earthformer.encoder import Encoder
from geoscope.models.earthformer.initial import Head, Stem
from geoscope.models.earthformer.prepared import PreparedEarthformer
from geoscope.nn.initialisation import init_linear
from geoscope.nn.position_embedding import PositionEmbedding
from geoscope.nn.recomputation import recompute_blocks


class Earthformer(nn.Module):
    """Past frames (B, T, H, W, C) -> future frames (B, T', H, W, C').

    H and W are those of the config, unless its positions are "t": then any grid will do. With
    ``final_upsample=False`` the result stays at the resolution after the stem.
    """

    def __init__(self, config: EarthformerConfig) -> None:
        super().__init__()
        self.config = config
        levels, vectors = config.levels, config.global_vectors
        top = levels[-1]
        steps = config.target_shape[0]
        self.stem = Stem(config.input_shape[3], config.stages, config.stem_activation, config.resampling_init)
        self.encoder_positions = PositionEmbedding(config.base_width, config.body_shape, config.positions)
        self.encoder = Encoder(config)
        self.state_projection = init_linear(nn.Linear(top.width, top.width))
        self.decoder_positions = PositionEmbedding(top.width, (steps, *top.shape[1:]), config.positions)
        self.decoder = Decoder(config)
        self.head = Head(config.stages, config.stem_activation) if config.final_upsample else None
        width = self.head.width if self.head is not None else config.base_width
        self.output = init_linear(nn.Linear(width, config.target_shape[3]))
        self.kept_state: Tensor | None = None
        self.global_vectors = None
        if vectors.count:
            self.global_vectors = nn.Parameter(
                torch.zeros(vectors.count, vectors.layer.ratio * config.base_width)
            )
            nn.init.trunc_normal_(self.global_vectors, std=0.02)
        for part in config.recompute:
            recompute_blocks(self.blocks(part))

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        tokens = self.encoder_positions(self.stem(x))
        g = None if self.global_vectors is None else self.global_vectors.expand(x.shape[0], -1, -1)
        memories, vectors = self.encoder(tokens, g)
        decoded = self.decoder(self.initial_state(memories[-1]), memories, vectors)
        if self.head is None:
            return self.output(decoded)
        return self.head(decoded, (x.shape[2], x.shape[3]), self.output)

    def prepare(self, dtype: torch.dtype | None = None, *, compile: bool = False) -> PreparedEarthformer:
        """The inference form of this model: the same forecast, faster and in less memory.

        What it changes, exact to rounding:

        - the taps of upsampling convolutions are summed by phase, and composed with the convolution after them, once,
          in float64 (the model itself derives them in each call);
        - on a CPU linear layers run through oneDNN, with the GELU and the residual inside the product;
        - the decoder's first state, which no input changes, is kept;
        - frames are channels-last from end to end, and go through stem and head a few at a time.

        Args:
            dtype: float32 or bfloat16 (or float64), by default that of the weights. In bfloat16 products add up in
                float32, norms are taken in float32, and residuals and the result stay float32.
            compile: through `torch.compile`, which needs a C++ compiler on a CPU and takes minutes at the first
                forecast of each shape. On a CPU it was not seen to be faster than without (benchmarks/README.md).

        It is a snapshot: weights are copied (cast), and a change of the model does not reach it. Its ``state_dict`` is
        the model's, so what is saved from it loads anywhere. It has no gradients and refuses to be trained, loaded
        into, moved or cast.

        Raises:
            ConfigError: another dtype, or no C++ compiler for ``compile``.
        """
        return PreparedEarthformer(self, dtype, compile=compile)

    def blocks(self, part: str) -> list[nn.Module]:
        """The blocks of ``part``, one of `EarthformerConfig.parts`."""
        if part in ("stem", "head"):
            place = self.stem if part == "stem" else self.head
            return [] if place is None else list(place.convs)
        i = int(part.removeprefix("level")) - 1
        halves = (self.encoder.levels[i], self.decoder.self_levels[i], self.decoder.cross_levels[i])
        return [block for half in halves for block in half.children()]

    def initial_state(self, memory: Tensor) -> Tensor:
        """What the decoder starts from, (B, T', h, w, C), given the coarsest memory (B, T, h, w, C)."""
        batch, _, rows, columns, width = memory.shape
        steps = self.config.target_shape[0]
        kind = self.config.initial_state
        if kind == "zeros" and self.kept_state is not None and self.kept_state.shape[2:4] == (rows, columns):
            return self.kept_state.expand(batch, -1, -1, -1, -1)
        if kind == "zeros":
            state = self.decoder_positions(memory.new_zeros(1, steps, rows, columns, width))
        elif kind == "last":
            state = memory[:, -1:].expand(-1, steps, -1, -1, -1)
        elif kind == "mean":
            state = memory.mean(1, keepdim=True).expand(-1, steps, -1, -1, -1)
        else:
            volume = F.interpolate(memory.movedim(-1, 1), size=(steps, rows, columns), mode="nearest")
            state = volume.movedim(1, -1)
        return self.state_projection(state).expand(batch, -1, -1, -1, -1)

    def _check(self, x: Tensor) -> None:
        steps, rows, columns, channels = self.config.input_shape
        free = self.config.positions == "t"
        wanted = (steps, "any H", "any W", channels) if free else (steps, rows, columns, channels)
        fits = x.ndim == 5 and (x.shape[1], x.shape[4]) == (steps, channels)
        if not fits or (not free and (x.shape[2], x.shape[3]) != (rows, columns)):
            raise ShapeError(
                f"input has shape {tuple(x.shape)}: expected (B, T, H, W, C) with (T, H, W, C) = "
                f"({', '.join(map(str, wanted))}); another grid needs a model with positions='t'"
            )

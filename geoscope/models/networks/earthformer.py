"""Earthformer among the networks: the library's own, sized for the frames at hand.

Source: Gao et al. 2022; see `geoscope.models.earthformer`. Shape letters: B batch, T frames, H rows, W columns,
C channels.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from geoscope.models.earthformer.config import EarthformerConfig, GlobalOptions, StemStage
from geoscope.models.earthformer.model import Earthformer
from geoscope.models.earthformer.presets import earthformer_nbody, earthformer_sevir
from geoscope.models.networks.frames import FrameNetwork, Frames
from geoscope.nn.cuboid_self_attention import GlobalVectors

LARGE_GRID = 192  # rows and columns from which the published SEVIR model is the right one


@dataclass(frozen=True, kw_only=True)
class EarthformerFramesConfig:
    """An Earthformer (``body``) for ``frames``; the shapes of the body must be those of the frames."""

    frames: Frames
    body: EarthformerConfig


def earthformer_small(frames: Frames) -> EarthformerFramesConfig:
    """Two levels of axial attention and 4 global vectors at a quarter of the resolution, about 0.4 M parameters."""
    inputs, targets = _shapes(frames)
    body = EarthformerConfig(
        input_shape=inputs,
        target_shape=targets,
        base_width=32,
        heads=4,
        stem=(
            StemStage(width=16, factor=(1, 2, 2), convs=1, groups=4),
            StemStage(width=32, factor=(1, 2, 2), convs=1, groups=4),
        ),
        global_vectors=GlobalOptions(count=4, layer=GlobalVectors(self_attention=True), decoder_cross=True),
    )
    return EarthformerFramesConfig(frames=frames, body=body)


def earthformer_published(frames: Frames) -> EarthformerFramesConfig:
    """The published body: of SEVIR (8.66 M parameters) from 192x192 pixels on, else of N-body MNIST (6.70 M)."""
    inputs, targets = _shapes(frames)
    body = earthformer_sevir() if min(frames.height, frames.width) >= LARGE_GRID else earthformer_nbody()
    return EarthformerFramesConfig(
        frames=frames, body=replace(body, input_shape=inputs, target_shape=targets)
    )


def _shapes(frames: Frames) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    grid = (frames.height, frames.width, frames.channels)
    return (frames.in_frames, *grid), (frames.out_frames, *grid)


class EarthformerFrames(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C) by an Earthformer."""

    def __init__(self, config: EarthformerFramesConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        self.body = Earthformer(config.body)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return self.body(x)

"""Named configurations of the compact nowcaster."""

from collections.abc import Callable

from geoscope.models.earthformer.config import EarthformerConfig, StemStage
from geoscope.models.nowcaster.config import NowcasterConfig
from geoscope.ops.cuboid_attention import Cuboids

INPUT_CHANNELS = 6  # see LagrangianEarthformer.features
THRESHOLDS_MM_H = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0)


def windowed(steps: int, window: int = 8) -> tuple[Cuboids, ...]:
    """Attention along all ``steps`` of each pixel, then in square windows, then in windows shifted by half."""
    half = window // 2
    return (
        Cuboids(size=(steps, 1, 1)),
        Cuboids(size=(1, window, window)),
        Cuboids(size=(1, window, window), shift=(0, half, half)),
    )


def nowcaster_small(
    *, width: int = 48, history: int = 5, slots: int = 6, preset: str = "small"
) -> NowcasterConfig:
    """The shipped model: 5 past frames, slots at 2, 4, ..., 12 steps, windows of 8 tokens at 4 and 8 pixels a token."""
    body = EarthformerConfig(
        input_shape=(history, 128, 128, INPUT_CHANNELS),
        target_shape=(slots, 128, 128, 24),
        base_width=width,
        widths=(width, 2 * width),
        heads=4,
        encoder_attention=windowed(history),
        decoder_attention=windowed(slots),
        cross_attention="cross_1x1",
        stem=(
            StemStage(width=16, factor=(1, 2, 2), convs=1, groups=4),
            StemStage(width=width, factor=(1, 2, 2), convs=1, groups=4),
        ),
        padding="ignore",
        positions="t",
        final_upsample=False,
    )
    return NowcasterConfig(preset=preset, body=body, thresholds_mm_h=THRESHOLDS_MM_H)


PRESETS: dict[str, Callable[[], NowcasterConfig]] = {"small": nowcaster_small}

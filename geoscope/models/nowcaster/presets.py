"""Named configurations of the compact nowcaster."""

from collections.abc import Callable

from geoscope.models.earthformer.config import EarthformerConfig, StemStage
from geoscope.models.nowcaster.config import FRAME_CHANNELS, NowcasterConfig
from geoscope.ops.cuboid_attention import Cuboids

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
    *,
    width: int = 64,
    features: int = 48,
    history: int = 5,
    slots: int = 6,
    widths: tuple[int, int, int] = (24, 48, 72),
    preset: str = "small",
) -> NowcasterConfig:
    """The shipped model: 5 past frames, slots at 2, 4, ..., 12 steps, windows of 8 tokens of 8 and of 16 pixels."""
    hand_over = 16
    body = EarthformerConfig(
        input_shape=(history, 32, 32, FRAME_CHANNELS + hand_over),
        target_shape=(slots, 32, 32, features),
        base_width=width,
        widths=(width, 2 * width),
        heads=4,
        encoder_attention=windowed(history),
        decoder_attention=windowed(slots),
        cross_attention="cross_1x1",
        stem=(StemStage(width=width, factor=(1, 2, 2), convs=1, groups=4),),
        padding="ignore",
        positions="t",
        final_upsample=False,
    )
    return NowcasterConfig(
        preset=preset, body=body, thresholds_mm_h=THRESHOLDS_MM_H, widths=widths, hand_over=hand_over
    )


PRESETS: dict[str, Callable[[], NowcasterConfig]] = {"small": nowcaster_small}

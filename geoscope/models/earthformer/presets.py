"""The published Earthformers: one function each, to read, compare and change with `dataclasses.replace`.

Source: the published configurations (amazon-science/earth-forecasting-transformer, Apache-2.0).
"""

from geoscope.models.earthformer.config import Dropout, EarthformerConfig, GlobalOptions, StemStage
from geoscope.nn.cuboid_self_attention import GlobalVectors

_DROPOUT = Dropout(attention=0.1, projection=0.1, feed_forward=0.1)


def _stack_stage(width: int, scale: int) -> StemStage:
    return StemStage(width=width, factor=(1, scale, scale), convs=2, groups=max(1, width // 4))


def earthformer_sevir() -> EarthformerConfig:
    """SEVIR VIL: 13 frames of 384x384 km in, 12 out, every 5 minutes; 8,659,677 parameters."""
    return EarthformerConfig(
        input_shape=(13, 384, 384, 1),
        target_shape=(12, 384, 384, 1),
        base_width=128,
        stem=(_stack_stage(16, 3), _stack_stage(64, 2), _stack_stage(128, 2)),
        global_vectors=GlobalOptions(count=8, layer=GlobalVectors(separate=True, self_attention=True)),
        dropout=_DROPOUT,
    )


def earthformer_sevir_lr() -> EarthformerConfig:
    """SEVIR-LR VIL: 7 frames of 128x128 pixels of 3 km in, 6 out, every 10 minutes; 1,505,069 parameters."""
    return EarthformerConfig(
        input_shape=(7, 128, 128, 1),
        target_shape=(6, 128, 128, 1),
        stem=(_stack_stage(4, 1), _stack_stage(16, 2), _stack_stage(64, 2)),
        dropout=_DROPOUT,
    )


def earthformer_enso() -> EarthformerConfig:
    """ICAR-ENSO sea surface temperature: 12 months of 24x48 cells in, 14 out; 1,394,325 parameters."""
    return EarthformerConfig(
        input_shape=(12, 24, 48, 1),
        target_shape=(14, 24, 48, 1),
        stem=(StemStage(width=64, factor=(1, 1, 2), convs=2, final_convs=1),),
        dropout=_DROPOUT,
    )


def earthformer_nbody() -> EarthformerConfig:
    """N-body MNIST: 10 frames of 64x64 in, 10 out; 6,702,109 parameters."""
    return EarthformerConfig(
        input_shape=(10, 64, 64, 1),
        target_shape=(10, 64, 64, 1),
        encoder_depth=(4, 4),
        decoder_depth=(4, 4),
        stem=(StemStage(width=64, factor=(1, 2, 2), convs=2, final_convs=1),),
        positions="t+hw",
        dropout=_DROPOUT,
    )

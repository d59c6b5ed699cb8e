"""PreDiff's published networks for SEVIR-LR: one function each, to read, compare and change with `dataclasses.replace`.

Source: the published configurations (gaozhihan/PreDiff, Apache-2.0).
"""

from geoscope.models.prediff.config import AlignmentConfig, AutoencoderConfig, DenoiserConfig


def autoencoder_sevir_lr() -> AutoencoderConfig:
    """Frames of 128x128 pixels to 64 channels of 16x16, as many values as before; 84,499,393 parameters."""
    return AutoencoderConfig()


def denoiser_sevir_lr() -> DenoiserConfig:
    """Seven latents of the past and six of the future; 136,817,538 parameters."""
    return DenoiserConfig(
        input_shape=(7, 16, 16, 64),
        target_shape=(6, 16, 16, 64),
        attention_dropout=0.1,
        projection_dropout=0.1,
        feed_forward_dropout=0.1,
    )


def alignment_sevir_lr() -> AlignmentConfig:
    """The mean of each of six future frames from their noisy latents; 8,937,033 parameters."""
    return AlignmentConfig(
        shape=(6, 16, 16, 64),
        attention_dropout=0.1,
        projection_dropout=0.1,
        feed_forward_dropout=0.1,
    )

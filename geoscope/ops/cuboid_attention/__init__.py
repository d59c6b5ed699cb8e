"""Cuboid attention: one operation for Earthformer, PreDiff's denoiser and Swin's windows (see README.md)."""

from geoscope.ops.cuboid_attention.api import cuboid_attention
from geoscope.ops.cuboid_attention.cuboids import Cuboids
from geoscope.ops.cuboid_attention.recording import AttentionMap, record_attention
from geoscope.ops.cuboid_attention.request import ExtraKeys

__all__ = ["AttentionMap", "Cuboids", "ExtraKeys", "cuboid_attention", "record_attention"]

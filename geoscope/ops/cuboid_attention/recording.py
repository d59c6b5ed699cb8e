"""A seam through which attention maps leave the operation, without a line in any model.

    with record_attention(maps.append):
        model(x)

Every cuboid attention inside the block hands over one `AttentionMap`. Recording is per thread (a context
variable), so two users of one model never see each other's maps. A compiled model hands over nothing: record with the
model as it was before `torch.compile`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from geoscope.ops.cuboid_attention.cuboids import Axes, Cuboids


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """The weights of one attention, and what is needed to place them on the volume.

    weights: (B, heads, N, Lq, Lk + K), rows sum to 1 (0 where a query sees nothing); the last K keys are the
        extra ones (global vectors).
    label: what the caller named itself, such as "encoder.levels.0.0.attentions.1".
    """

    label: str
    weights: Tensor
    shape: Axes
    cuboids: Cuboids
    key_shape: Axes
    key_cuboids: Cuboids
    extra_keys: int


Recorder = Callable[[AttentionMap], None]
_recorder: ContextVar[Recorder | None] = ContextVar("cuboid_attention_recorder", default=None)


@contextmanager
def record_attention(recorder: Recorder) -> Iterator[None]:
    """Hand the map of every cuboid attention made inside the block to ``recorder``."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def current_recorder() -> Recorder | None:
    """The recorder of the innermost `record_attention` of this thread, or None; a graph of `torch.compile` has none."""
    return None if torch.compiler.is_compiling() else _recorder.get()

"""The inference form of an Earthformer: the same forecast to rounding, in less time and memory."""

import copy
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.earthformer.initial import ConvStack, Head
from geoscope.nn.cuboid_cross_attention import CuboidCrossAttention
from geoscope.nn.cuboid_self_attention import CuboidSelfAttention
from geoscope.nn.feed_forward import FeedForward
from geoscope.nn.inference_layers import (
    InferenceConv2d,
    InferenceFeedForward,
    InferenceLinear,
    InferenceNorm,
    stream_dtype,
)
from geoscope.nn.resampling import Upsample

if TYPE_CHECKING:
    from geoscope.models.earthformer.model import Earthformer

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


class PreparedEarthformer(nn.Module):
    """Past frames (B, T, H, W, C) -> future frames, as the model that it was made from; see `Earthformer.prepare`."""

    source: "Earthformer"

    def __init__(
        self, model: "Earthformer", dtype: torch.dtype | None = None, *, compile: bool = False
    ) -> None:
        super().__init__()
        dtype = dtype or model.output.weight.dtype
        if dtype not in DTYPES:
            wanted = ", ".join(str(each).removeprefix("torch.") for each in DTYPES)
            raise ConfigError(f"prepare: dtype={dtype} is not one to predict in: choose {wanted}")
        self.dtype = stream_dtype(dtype)
        object.__setattr__(self, "source", model)  # not a part of this module: its weights stay as they are
        if compile and model.output.weight.device.type == "cpu":
            _check_compiler()
        self.fixed = _fixed(model, dtype)
        self.run = torch.compile(self.fixed, dynamic=False) if compile else self.fixed
        super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.run(x.to(self.dtype))

    def train(self, mode: bool = True) -> Self:
        """Refused, but for ``mode=False``: this form has no gradients."""
        if mode:
            raise ConfigError(
                "a prepared Earthformer only predicts: train the model that it was made from, and prepare it again"
            )
        return super().train(False)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The weights of the model that it was made from, under their own names and in their own precision."""
        return self.source.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: what was derived from the weights would stay behind."""
        raise ConfigError(
            "a prepared Earthformer takes no weights: load them into the model, and prepare it again"
        )

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        raise ConfigError(
            "a prepared Earthformer stays where it was made: move or cast the model, and prepare it again"
        )


def _check_compiler() -> None:
    """Refuse where `torch.compile` would find no C++ compiler."""
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(wanted) is None:
        raise ConfigError(
            f"prepare: compile=True needs the C++ compiler {wanted!r}, which is not on the path: install it, name "
            "another one in CXX, or leave compile out"
        )


def _fixed(model: "Earthformer", dtype: torch.dtype) -> "Earthformer":
    """A copy of ``model`` with the layers of `geoscope.nn.inference_layers`, summed taps and a kept first state."""
    fixed = copy.deepcopy(model).requires_grad_(False).eval()
    stream = stream_dtype(dtype)
    fixed.to(stream)
    if fixed.head is not None:
        _keep_taps(fixed.head, dtype)
    if model.config.initial_state == "zeros":
        top = model.config.levels[-1]
        memory = fixed.decoder_positions.time.weight.new_zeros(1, *top.shape, top.width)
        fixed.kept_state = fixed.initial_state(memory)
    for upsample in fixed.decoder.upsamples:
        assert isinstance(upsample, Upsample)
        upsample.keep(model.config.downsample[1:], None, dtype, stream)
    for part in (fixed.encoder.merges, fixed.encoder.global_merges, fixed.decoder.upsamples):
        _replace(part, dtype, stream)  # what residuals add to
    _replace(fixed.encoder.levels, dtype)
    _replace(fixed.decoder, dtype)
    _replace(fixed.stem, dtype)
    if fixed.head is not None:
        _replace(fixed.head, dtype)
    fixed.state_projection = InferenceLinear(fixed.state_projection, stream)  # type: ignore[assignment]
    fixed.output = InferenceLinear(fixed.output, stream)  # type: ignore[assignment]
    return fixed


def _keep_taps(head: Head, dtype: torch.dtype) -> None:
    for upsample, convs, stage in zip(head.upsamples, head.convs, reversed(head.stages), strict=True):
        assert isinstance(upsample, Upsample)
        assert isinstance(convs, ConvStack)
        upsample.keep(stage.factor[1:], next(convs.layers(), None), dtype)


def _replace(module: nn.Module, dtype: torch.dtype, result: torch.dtype | None = None) -> None:
    """Put inference layers in the places of ``module`` that hold their like, all the way down."""
    for name, child in module.named_children():
        if isinstance(child, FeedForward):
            setattr(module, name, InferenceFeedForward(child, dtype))
        elif isinstance(child, nn.Linear):
            setattr(module, name, InferenceLinear(child, dtype, result))
        elif isinstance(child, nn.Conv2d):
            setattr(module, name, InferenceConv2d(child, dtype, result))
        elif isinstance(child, nn.LayerNorm | nn.GroupNorm):
            setattr(module, name, InferenceNorm(child, dtype))
        else:
            _replace(child, dtype, result)
    if isinstance(module, CuboidSelfAttention | CuboidCrossAttention) and module.bias_table is not None:
        module.bias_table = nn.Parameter(module.bias_table.to(dtype), requires_grad=False)

"""Layers that only predict: the same numbers to rounding, weights in the dtype that products run in, no gradients.

On a CPU a linear layer runs through oneDNN together with the activation or the addition that follows it, which saves a
pass over the largest tensors of a feed-forward layer; PyTorch's own linear layer takes another library for float32. The
fused product is not part of PyTorch's public face: where it is missing, the public one runs.

In bfloat16 the products run in bfloat16 and add up in float32; norms are taken in float32, and what residuals add to
stays float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.nn.feed_forward import FeedForward


def stream_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that residuals add up in when products run in ``dtype``: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def _fixed(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if x is None else x.detach().to(dtype, copy=True)


def _runs_fused(x: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # the compiler fuses by itself, and does not know the fused product
        and x.device.type == "cpu"
        and x.dtype != torch.float64
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled  # pyright: ignore[reportAttributeAccessIssue]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class InferenceLinear(nn.Module):
    """A linear layer (..., C) -> (..., out) with its product in ``dtype``, as its result unless ``result`` is given."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, dtype: torch.dtype, result: torch.dtype | None = None) -> None:
        super().__init__()
        self.result = result or dtype
        self.register_buffer("weight", _fixed(layer.weight, dtype))
        self.register_buffer("bias", _fixed(layer.bias, dtype))

    def forward(self, x: Tensor, plus: Tensor | None = None, *, gelu: bool = False) -> Tensor:
        """The product, through a GELU where asked, and added to ``plus`` where given."""
        x = x.to(self.weight.dtype)
        if not _runs_fused(x):
            out = F.linear(x, self.weight, self.bias)
            out = F.gelu(out) if gelu else out
        else:
            fused = torch.ops.mkldnn._linear_pointwise
            if plus is not None and not gelu and plus.dtype == x.dtype:
                return fused.binary(x, plus.contiguous(), self.weight, self.bias, "add")
            out = fused(x, self.weight, self.bias, "gelu" if gelu else "none", [], "none")
        return out.to(self.result) if plus is None else plus + out


class InferenceConv2d(nn.Module):
    """A convolution with its product in ``dtype``; its result too, unless ``result`` is given.

    Weights are channels-last.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype, result: torch.dtype | None = None) -> None:
        super().__init__()
        self.result = result or dtype
        weight = layer.weight.detach().to(dtype, copy=True).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", _fixed(layer.bias, dtype))
        self.padding = layer.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x.to(self.weight.dtype), self.weight, self.bias, padding=self.padding).to(self.result)


class InferenceNorm(nn.Module):
    """A layer norm or group norm, taken in float32 at least, whose result is in ``dtype``."""

    def __init__(self, layer: nn.LayerNorm | nn.GroupNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, x: Tensor) -> Tensor:
        if (
            x.device.type != "cpu"
        ):  # there both must have one dtype; on a CPU the norm reads half and adds in float32
            x = x.to(self.layer.weight.dtype)
        return self.layer(x).to(self.dtype)


class InferenceFeedForward(nn.Module):
    """`FeedForward` with the activation inside the first product and the residual inside the second."""

    def __init__(self, layer: FeedForward, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = InferenceNorm(layer.norm, dtype)
        self.expand = InferenceLinear(layer.expand, dtype)
        self.gate = None if layer.gate is None else InferenceLinear(layer.gate, dtype)
        self.contract = InferenceLinear(layer.contract, dtype)
        self.activation = layer.activation
        self.is_gelu = isinstance(layer.activation, nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        active = self.expand if self.gate is None else self.gate
        hidden = active(normed, gelu=True) if self.is_gelu else self.activation(active(normed))
        if self.gate is not None:
            hidden = hidden.mul_(self.expand(normed))
        return self.contract(hidden, x)

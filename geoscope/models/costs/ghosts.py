"""Models without memory: shapes, strides and devices behave as on a CPU, and nothing is allocated or computed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode


class Ghosts:
    """A place where models and fields are ghosts.

    PyTorch's fake tensors: an operation on them works out the shape and memory layout of its result, as the CPU would
    lay it out, and that is all. They work outside of their mode, so tables that the library keeps between calls
    (positions, masks) stay real.
    """

    def __init__(self) -> None:
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)

    def model(self, build: Callable[[], nn.Module], dtype: torch.dtype = torch.float32) -> nn.Module:
        """The model that ``build`` makes, as a ghost in ``dtype``; its weights have no values."""
        with torch.device("meta"):
            model = build()
        model.to(dtype)
        with self._mode:
            return model.to_empty(device="cpu")

    def field(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor of ``shape`` without values."""
        with self._mode:
            return torch.empty(tuple(shape), dtype=dtype)

"""One forward pass and one step of training, the same code for what is counted and for what is measured."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOMENTS = 2  # numbers that AdamW keeps for each weight


def forecast(model: nn.Module, x: Tensor) -> Tensor:
    """A forward pass without gradients; the model is in evaluation mode and in the dtype of ``x``."""
    with torch.no_grad():
        return model(x)


def mixed(dtype: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision as in `geoscope train`: weights, gradients and moments in float32, products in ``dtype``."""
    return nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype=dtype)


def training_loss(model: nn.Module, x: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
    """The mean squared error of a model in training mode, with everything kept that its gradient needs."""
    with mixed(dtype):
        predicted = model(x)
    return F.mse_loss(predicted.float(), target)

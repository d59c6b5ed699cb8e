"""The position-wise feed-forward layer, with its norm before and its residual around it."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.nn.initialisation import LinearInit, init_linear

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: nn.LeakyReLU(0.1),
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """The activation called ``name``; "leaky" has slope 0.1, "gelu" is exact.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation {name!r} is not known: choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class FeedForward(nn.Module):
    """x + W2 act(W1 norm(x)), or with a gate x + W2 (act(Wg norm(x)) * W1 norm(x)); any shape (..., C)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation_name: str = "leaky",
        gated: bool = False,
        dropout: float = 0.0,
        init: LinearInit = "0",
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = init_linear(nn.Linear(width, hidden), init)
        self.gate = init_linear(nn.Linear(width, hidden), init) if gated else None
        self.contract = init_linear(nn.Linear(hidden, width), init)
        self.activation = activation(activation_name)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        if self.gate is None:
            hidden = self.activation(self.expand(normed))
        else:
            hidden = self.activation(self.gate(normed)) * self.expand(normed)
        hidden = F.dropout(hidden, self.dropout, self.training)
        return x + F.dropout(self.contract(hidden), self.dropout, self.training)

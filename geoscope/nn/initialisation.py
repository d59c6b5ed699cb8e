"""How the weights of Earthformer's layers start.

Mode "0" is what all published configurations use: linear layers Kaiming-normal over the inputs, convolutions
Kaiming-normal over the outputs for a leaky ReLU of 0.1, embeddings a truncated normal of 0.02, biases zero.
"""

from typing import Literal

from torch import nn

LinearInit = Literal["0", "1"]


def init_linear(layer: nn.Linear, mode: LinearInit = "0") -> nn.Linear:
    """Start a linear layer in place; mode "1" spreads over the outputs as before a leaky ReLU."""
    if mode == "0":
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="linear")
    else:
        nn.init.kaiming_normal_(layer.weight, a=0.1, mode="fan_out", nonlinearity="leaky_relu")
    _zero_bias(layer)
    return layer


def init_conv(layer: nn.Conv2d) -> nn.Conv2d:
    """Start a convolution in place."""
    nn.init.kaiming_normal_(layer.weight, a=0.1, mode="fan_out", nonlinearity="leaky_relu")
    _zero_bias(layer)
    return layer


def _zero_bias(layer: nn.Module) -> None:
    for name, parameter in layer.named_parameters(recurse=False):
        if name == "bias":
            nn.init.zeros_(parameter)


def init_embedding(layer: nn.Embedding) -> nn.Embedding:
    """Start an embedding in place."""
    nn.init.trunc_normal_(layer.weight, std=0.02)
    return layer

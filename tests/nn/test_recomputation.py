"""Blocks that compute their activations again: the same gradients, in copies too."""

import copy

import torch
from torch import nn

from geoscope.nn.recomputation import recompute_blocks


class Counted(nn.Module):
    """Doubles, drops, and counts how often it was run."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(3, 3), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return nn.functional.dropout(self.linear(x), 0.5, self.training)


def gradient(block: Counted) -> torch.Tensor:
    torch.manual_seed(1)
    block.zero_grad()
    block(torch.ones(2, 3)).square().sum().backward()
    return block.linear.weight.grad


def test_gradients_are_the_same_bits_and_training_runs_twice():
    block = Counted()
    plain = gradient(block).clone()
    for _ in range(2):  # asking twice changes nothing
        recompute_blocks([block])
    block.calls = 0
    assert torch.equal(gradient(block), plain)
    assert block.calls == 2
    with torch.no_grad():
        block(torch.ones(1, 3))
    block.eval()(torch.ones(1, 3)).sum().backward()
    assert block.calls == 4


def test_a_copy_computes_with_its_own_weights():
    block = Counted()
    recompute_blocks([block])
    copied = copy.deepcopy(block)
    with torch.no_grad():
        copied.linear.weight.zero_()
        copied.linear.bias.fill_(1.0)
    assert torch.equal(copied.eval()(torch.zeros(1, 3)), torch.ones(1, 3))
    assert (block.calls, copied.calls) == (0, 1)

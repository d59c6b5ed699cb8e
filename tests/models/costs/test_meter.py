"""Counts worked by hand on layers small enough, and what must hold between them."""

import pytest
import torch
from torch import nn

from geoscope.models.costs.ghosts import Ghosts
from geoscope.models.costs.meter import Meter
from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention

FLOAT = 4  # bytes


def read(run, model=None, part_of=str) -> Meter:
    meter = Meter()
    with torch.no_grad():
        if model is None:
            with meter:
                kept = run()
        else:
            with meter.watching(model, part_of), meter:
                kept = run()
    del kept
    return meter


def attend(cuboids: Cuboids, batch: int = 1, shape=(4, 8, 8), heads: int = 2, width: int = 8) -> Meter:
    field = Ghosts().field((batch, *shape, heads, width))
    return read(lambda: cuboid_attention(field, field, field, cuboids))


def test_a_linear_layer_multiplies_every_row_with_every_column():
    layer, x = Ghosts().model(lambda: nn.Linear(3, 5)), Ghosts().field((7, 3))
    meter = read(lambda: layer(x))
    assert meter.reading.flop == 2 * 7 * 3 * 5
    assert meter.reading.moved == FLOAT * (5 + 7 * 3 + 3 * 5 + 7 * 5)  # bias, input, weight, output
    assert meter.reading.peak == FLOAT * 7 * 5


def test_a_convolution_multiplies_its_kernel_at_every_pixel():
    ghosts = Ghosts()
    layer = ghosts.model(lambda: nn.Conv2d(2, 4, 3, padding=1))
    x = ghosts.field((1, 2, 6, 5))
    meter = read(lambda: layer(x))
    assert meter.reading.flop == 2 * (6 * 5) * (3 * 3) * 2 * 4


def test_a_channels_first_convolution_has_a_copy_in_its_own_layout():
    ghosts = Ghosts()
    layer = ghosts.model(lambda: nn.Conv2d(8, 4, 3, padding=1))
    x = ghosts.field((2, 8, 6, 6))
    last = x.contiguous(memory_format=torch.channels_last)
    out = FLOAT * 2 * 4 * 6 * 6
    assert read(lambda: layer(x)).reading.peak == out + FLOAT * 2 * 8 * 6 * 6
    assert read(lambda: layer(last)).reading.peak == out


def test_full_attention_compares_every_token_with_every_token():
    tokens, heads, width = 4 * 8 * 8, 2, 8
    meter = attend(Cuboids(size=(4, 8, 8)))
    assert meter.reading.flop == 2 * (2 * heads * tokens * tokens * width)  # scores, and weighted values


@pytest.mark.parametrize("batch", [2, 3])
def test_operations_and_bytes_are_linear_in_the_batch(batch):
    one, many = attend(Cuboids(size=(2, 4, 4))).reading, attend(Cuboids(size=(2, 4, 4)), batch).reading
    assert (many.flop, many.peak) == (batch * one.flop, batch * one.peak)
    assert many.moved == pytest.approx(
        batch * one.moved, abs=64
    )  # what a single number costs, whatever the batch


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 2, 2), (2, 4, 4), (4, 8, 8)])
def test_operations_of_one_cuboid_are_quadratic_in_its_volume(size):
    cuboids = Cuboids(size=size)
    flop = attend(cuboids).reading.flop / cuboids.count((4, 8, 8))
    unit = Cuboids(size=(1, 1, 1))
    assert flop == cuboids.volume**2 * attend(unit).reading.flop / unit.count((4, 8, 8))


def test_what_is_let_go_is_no_longer_held():
    x = Ghosts().field((1000,))

    def run():
        first = x + 1
        second = first * 2
        del first
        return second.exp()

    meter = read(run)
    assert meter.reading.peak == 2 * FLOAT * 1000  # two of three at a time
    assert meter.held_bytes == 0


def test_a_view_costs_nothing():
    x = Ghosts().field((10, 10))
    meter = read(lambda: x.t()[:5].unflatten(0, (5, 1)))
    assert (meter.reading.flop, meter.reading.moved, meter.reading.peak) == (0, 0, 0)


def test_work_is_credited_to_the_innermost_part():
    ghosts = Ghosts()
    model = ghosts.model(lambda: nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 2))))
    x = ghosts.field((1, 4))
    meter = read(lambda: model(x), model, lambda name: name or "whole")
    assert {name: part.flop for name, part in meter.reading.parts.items()} == {"0": 64, "1.0": 32}


def test_autograd_keeps_what_a_gradient_needs():
    ghosts = Ghosts()
    layer, x, meter = ghosts.model(lambda: nn.Linear(3, 5)), ghosts.field((7, 3)), Meter()
    with meter:
        loss = layer(x).relu().sum()
    kept = meter.end_forward()
    assert kept == FLOAT * (7 * 5 + 1)  # what relu gave, for its gradient, and the sum
    with meter:
        loss.backward()
    assert meter.reading.flop == 2 * (2 * 7 * 3 * 5)  # the input needs no gradient
    assert meter.held_at_peak([layer.weight.grad]) in (0, layer.weight.nbytes)


def test_ghosts_are_counted_as_real_tensors_are():
    torch.manual_seed(0)

    def make():
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv2d(8, 4, 1))

    real, ghosts = make(), Ghosts()
    ghost = ghosts.model(make)
    x = torch.rand(2, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    y = ghosts.field((2, 3, 9, 9)).contiguous(memory_format=torch.channels_last)
    assert read(lambda: real(x)).reading == read(lambda: ghost(y)).reading

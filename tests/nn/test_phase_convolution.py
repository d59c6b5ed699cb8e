"""Upsampling and convolution by phases: equal to the plain pair to rounding, with its gradients."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geoscope.errors import ShapeError
from geoscope.nn.phase_convolution import (
    UpsampledConvolution,
    is_composed_cheaper,
    phase_convolution,
    phase_pieces,
    whole_factor,
)
from geoscope.nn.resampling import Upsample

FACTORS = [(2, 2), (3, 3), (1, 2), (3, 2), (2, 1), (4, 5), (1, 1)]
SHAPES = [(1, 1), (1, 5), (7, 3), (2, 4)]


def convs(*widths: int, kernel: int = 3) -> list[torch.nn.Conv2d]:
    torch.manual_seed(0)
    return [torch.nn.Conv2d(a, b, kernel, padding=kernel // 2).double() for a, b in pairwise(widths)]


def plain(x: Tensor, factor: tuple[int, int], *layers: torch.nn.Module) -> Tensor:
    x = F.interpolate(x, scale_factor=factor, mode="nearest")
    for layer in layers:
        x = layer(x)
    return x


def test_doubling_a_row_by_hand():
    taps = torch.tensor([[[[0.0, 0, 0], [1, 10, 100], [0, 0, 0]]]])
    out = phase_convolution(torch.tensor([[[[2.0, 3.0]]]]), phase_pieces(taps, (1, 2)), None, (1, 2))
    # upsampled 2 2 3 3 between zeros; each pixel is left + 10 own + 100 right
    assert out.flatten().tolist() == [0 + 20 + 200, 2 + 20 + 300, 2 + 30 + 300, 3 + 30 + 0]


def test_phases_take_four_of_nine_taps_after_doubling_and_25_of_81_after_tripling():
    for factor, taps in ((2, 4 * 4), (3, 25)):
        pieces = phase_pieces(torch.ones(1, 1, 3, 3), (factor, factor))
        assert sum(piece.weight.numel() for piece in pieces) == taps
        # every tap is somewhere, once for each pixel
        assert sum(piece.weight.sum() for piece in pieces) == 9 * factor**2


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", FACTORS)
def test_one_convolution_by_phases_is_the_plain_one(factor, shape, kernel):
    (conv,) = convs(3, 4, kernel=kernel)
    x = torch.randn(2, 3, *shape).double()
    out = UpsampledConvolution.of(factor, conv)(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, plain(x, factor, conv), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", FACTORS)
def test_two_convolutions_composed_are_the_plain_ones_also_at_the_rim(factor, shape):
    first, second = convs(3, 4, 5)
    x = torch.randn(2, 3, *shape).double()
    out = UpsampledConvolution.of(factor, first, second)(x)
    torch.testing.assert_close(out, plain(x, factor, first, second), rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_composed", [False, True])
def test_the_gradients_are_those_of_the_plain_layers(is_composed):
    layers = convs(2, 3, 2) if is_composed else convs(2, 3)
    x = torch.randn(2, 2, 3, 2).double().requires_grad_()
    wanted = [x, *(p for layer in layers for p in layer.parameters())]
    outs = plain(x, (3, 2), *layers), UpsampledConvolution.of((3, 2), *layers)(x)
    push = torch.randn(outs[0].shape).double()
    expected, actual = (torch.autograd.grad(out, wanted, push) for out in outs)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def test_convolutions_without_bias_compose_too():
    first, second = torch.nn.Conv2d(2, 3, 3, padding=1, bias=False), torch.nn.Conv2d(3, 2, 3, padding=1)
    x = torch.randn(1, 2, 4, 3).double()
    out = UpsampledConvolution.of((2, 2), first.double(), second.double())(x)
    torch.testing.assert_close(out, plain(x, (2, 2), first, second), rtol=0, atol=1e-12)


def test_composing_is_chosen_where_it_multiplies_less():
    def chosen(inputs: int, middle: int, outputs: int, factor: tuple[int, int]) -> bool:
        first, second = torch.empty(middle, inputs, 3, 3), torch.empty(outputs, middle, 3, 3)
        return is_composed_cheaper(first, second, factor)

    assert chosen(64, 64, 16, (3, 3))  # the head of the SEVIR model
    assert chosen(128, 128, 128, (2, 2))
    assert not chosen(64, 64, 64, (1, 2))  # 15 taps against 6 and 9
    assert not chosen(16, 4, 16, (2, 2))  # through a narrow middle
    assert not is_composed_cheaper(torch.empty(4, 4, 5, 5), torch.empty(4, 4, 3, 3), (2, 2))


@pytest.mark.parametrize(
    ("shape", "size", "factor"),
    [((4, 6), (8, 18), (2, 3)), ((4, 6), (8, 17), None), ((4, 6), (2, 6), None), ((5, 1), (5, 1), (1, 1))],
)
def test_only_whole_factors_go_by_phases(shape, size, factor):
    assert whole_factor(shape, size) == factor


@pytest.mark.parametrize("size", [(6, 9), (7, 8), (2, 2)])
def test_the_layer_gives_the_same_with_and_without_phases(size):
    layer = Upsample(3, 4).double()
    x = torch.randn(2, 2, 3, 3, 3).double()
    by_phases = layer(x, size)
    layer.impl = "reference"
    torch.testing.assert_close(by_phases, layer(x, size), rtol=0, atol=1e-12)


def test_taps_are_summed_in_full_precision_under_autocast():
    weight = torch.full((1, 1, 3, 3), 1.0 + 2.0**-10)  # bfloat16 holds 8 bits
    with torch.autocast("cpu", torch.bfloat16):
        pieces = phase_pieces(weight, (2, 2))
    assert pieces[0].weight.dtype == torch.float32
    assert pieces[0].weight.max() == 4.0 + 2.0**-8


def test_frames_with_other_channels_are_refused():
    pieces = phase_pieces(torch.ones(1, 2, 3, 3), (2, 2))
    with pytest.raises(ShapeError, match=r"frames have shape \(1, 3, 4, 4\): expected .* with C = 2"):
        phase_convolution(torch.zeros(1, 3, 4, 4), pieces, None, (2, 2))

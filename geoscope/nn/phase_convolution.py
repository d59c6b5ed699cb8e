"""Nearest-neighbour upsampling and the convolution after it, without the upsampled field in between.

Upsampling repeats each value s times, so most of what a convolution multiplies afterwards is the same number again.
The pixels at phase p of every s (pixel i*s + p) see the same few source pixels, each under several taps; those taps
are added first. One axis of a 3x3 convolution after doubling reads, for phase 0 and phase 1,

    w0 x[i-1] + (w1 + w2) x[i]        and        (w0 + w1) x[i] + w2 x[i+1]

which makes 4 taps a pixel out of 9, and 25 of 81 after tripling. Two convolutions with nothing between them are one
convolution of 5x5 taps, of which 9 a pixel remain after doubling and 49 of 9 pixels after tripling; what differs at the
rim, where the second one sees zeros instead of the first one's values outside, is taken off again.

All of it equals the plain layers to rounding, and has gradients. Shape letters: N frames, C channels, h, w before and
H = h * rows, W = w * columns after. Tensors are channels-last in memory.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.errors import ShapeError

Factor = tuple[int, int]
WIDEST_WASTE = (
    1.4  # phases share a convolution along W, with zero taps, up to this many multiplications too many
)


class _Reach(NamedTuple):
    """Phases ``first`` to ``last`` that see the source pixels ``low`` to ``high`` around their own."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True)
class Piece:
    """The phases ``rows`` x ``columns`` as one convolution with ``weight`` (phases * O, C, a, b), whose taps begin
    ``low`` = (row, column) beside the pixel.
    """

    weight: Tensor
    rows: slice
    columns: slice
    low: tuple[int, int]

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros on both sides of H and W so that every pixel has all of its taps."""
        taps = self.weight.shape[2:]
        down, right = (max(-low, low + count - 1) for low, count in zip(self.low, taps, strict=True))
        return down, right


class Rim(NamedTuple):
    """What the first row, last row, first column and last column have too much; (N, O, 1 or H, W or 1)."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor


def whole_factor(shape: tuple[int, int], size: tuple[int, int]) -> Factor | None:
    """By how much (h, w) is repeated to reach (H, W), or None where that is no whole number."""
    (h, w), (rows, columns) = shape, size
    if rows % h or columns % w or rows < h or columns < w:
        return None
    return rows // h, columns // w


def _reaches(taps: int, factor: int) -> list[_Reach]:
    """Along one axis, the phases grouped by the source pixels that they see."""
    half, found = taps // 2, []
    for phase in range(factor):
        low, high = (phase - half) // factor, (phase + half) // factor
        if found and found[-1][2:] == (low, high):
            found[-1] = found[-1]._replace(last=phase)
        else:
            found.append(_Reach(phase, phase, low, high))
    return found


def _joined(reaches: list[_Reach]) -> list[_Reach]:
    """The same phases in one group, unless that multiplies too many zeros."""
    low, high = min(r.low for r in reaches), max(r.high for r in reaches)
    least = sum((r.last - r.first + 1) * (r.high - r.low + 1) for r in reaches)
    phases = reaches[-1].last + 1
    if phases * (high - low + 1) > WIDEST_WASTE * least:
        return reaches
    return [_Reach(0, phases - 1, low, high)]


def _fold(taps: int, factor: int, reach: _Reach, like: Tensor) -> Tensor:
    """Which taps add up to which source pixel, (phases, source pixels, taps) of zeros and ones."""
    fold = like.new_zeros(reach.last - reach.first + 1, reach.high - reach.low + 1, taps)
    for phase in range(reach.first, reach.last + 1):
        for tap in range(taps):
            fold[phase - reach.first, (phase + tap - taps // 2) // factor - reach.low, tap] = 1.0
    return fold


def phase_pieces(weight: Tensor, factor: Factor) -> list[Piece]:
    """The convolution ``weight`` (O, C, a, b), a and b odd, after upsampling by ``factor``: its summed taps by phase.

    Made in the dtype of ``weight`` whatever autocast says: in half precision the sums would lose what they gain.
    """
    pieces, (tall, wide) = [], weight.shape[2:]
    with torch.autocast(weight.device.type, enabled=False):
        for row in _reaches(tall, factor[0]):
            down = torch.einsum("pah,oihw->poiaw", _fold(tall, factor[0], row, weight), weight)
            for column in _joined(_reaches(wide, factor[1])):
                both = torch.einsum("poiaw,qbw->pqoiab", down, _fold(wide, factor[1], column, weight))
                taps = both.flatten(0, 2).contiguous(memory_format=torch.channels_last)
                rows, columns = (slice(r.first, r.last + 1) for r in (row, column))
                pieces.append(Piece(taps, rows, columns, (row.low, column.low)))
    return pieces


def composed_taps(first: Tensor, second: Tensor) -> Tensor:
    """The 5x5 taps (O, C, 5, 5) of the 3x3 convolution ``second`` (O, M, 3, 3) after ``first`` (M, C, 3, 3)."""
    with torch.autocast(first.device.type, enabled=False):
        return F.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=2).transpose(0, 1)


def composed_bias(first_bias: Tensor, second: Tensor, second_bias: Tensor) -> Tensor:
    """The bias (O,) that both convolutions leave away from the rim."""
    with torch.autocast(second.device.type, enabled=False):
        return second_bias + second.sum((2, 3)) @ first_bias


def is_composed_cheaper(first: Tensor, second: Tensor, factor: Factor) -> bool:
    """Whether one composed convolution multiplies clearly less than the upsampling one and the next, both 3x3."""
    if first.shape[2:] != (3, 3) or second.shape[2:] != (3, 3):
        return False
    outputs, middle, inputs = second.shape[0], first.shape[0], first.shape[1]
    apart = _taps_per_pixel(3, factor) * inputs * middle + 9 * middle * outputs
    return _taps_per_pixel(5, factor) * inputs * outputs < 0.9 * apart


def _taps_per_pixel(taps: int, factor: Factor) -> float:
    rows, columns = _reaches(taps, factor[0]), _joined(_reaches(taps, factor[1]))
    total = 1.0
    for reaches, count in ((rows, factor[0]), (columns, factor[1])):
        total *= sum((r.last - r.first + 1) * (r.high - r.low + 1) for r in reaches) / count
    return total


def rim_excess(x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, factor: Factor) -> Rim:
    """What the composed convolution adds at the rim from the first one's values outside of the picture."""
    rows, columns = factor
    sides = []
    for place, tap in ((0, 2), (-1, 0)):
        line = x[:, :, place, None].repeat_interleave(columns, 3)  # a row of the upsampled picture
        outside = F.conv2d(line, first[:, :, tap, None], first_bias, padding=(0, 2))
        sides.append(F.conv2d(outside, second[:, :, 2 - tap, None]))
    for place, tap in ((0, 2), (-1, 0)):
        line = x[:, :, :, place, None].repeat_interleave(rows, 2)
        outside = F.conv2d(line, first[:, :, :, tap, None], first_bias, padding=(1, 0))
        sides.append(F.conv2d(outside, second[:, :, :, 2 - tap, None], padding=(1, 0)))
    return Rim(*sides)


def phase_convolution(
    x: Tensor, pieces: list[Piece], bias: Tensor | None, factor: Factor, rim: Rim | None = None
) -> Tensor:
    """``x`` (N, C, h, w) upsampled by ``factor`` and convolved, (N, O, H, W), channels-last in memory.

    ``pieces`` are those of `phase_pieces`. ``rim`` is taken off at the rim, see `rim_excess`.
    """
    if x.ndim != 4 or x.shape[1] != pieces[0].weight.shape[1]:
        wanted = pieces[0].weight.shape[1]
        raise ShapeError(f"frames have shape {tuple(x.shape)}: expected (N, C, h, w) with C = {wanted}")
    h, w = x.shape[2:]
    x, parts = x.contiguous(memory_format=torch.channels_last), []
    for piece in pieces:
        phases = (piece.rows.stop - piece.rows.start) * (piece.columns.stop - piece.columns.start)
        padding = piece.padding
        own = None if bias is None else bias.repeat(phases)
        part = F.conv2d(x, piece.weight, own, padding=padding)
        top, left = padding[0] + piece.low[0], padding[1] + piece.low[1]
        parts.append(part[:, :, top : top + h, left : left + w])
    places = [(piece.rows, piece.columns) for piece in pieces]
    return _Interleave.apply(factor, places, *parts, *(rim or ()))


class _Interleave(torch.autograd.Function):
    """Phases (N, phases * O, h, w) -> (N, O, H, W), less the rim; one copy forward and none backward."""

    @staticmethod
    def forward(ctx: Any, factor: Factor, places: list[tuple[slice, slice]], *tensors: Tensor) -> Tensor:
        parts, rim = tensors[: len(places)], tensors[len(places) :]
        count, _, h, w = parts[0].shape
        (some_rows, some_columns), (rows, columns) = places[0], factor
        phases = (some_rows.stop - some_rows.start) * (some_columns.stop - some_columns.start)
        width = parts[0].shape[1] // phases
        out = parts[0].new_empty(count, h, rows, w, columns, width)
        for (row, column), part in zip(places, parts, strict=True):
            tall, wide = row.stop - row.start, column.stop - column.start
            split = part.permute(0, 2, 3, 1).unflatten(-1, (tall, wide, width))
            out[:, :, row, :, column] = split.permute(0, 1, 3, 2, 4, 5)
        picture = out.view(count, h * rows, w * columns, width).permute(0, 3, 1, 2)
        for edge, excess in zip(_edges(picture), rim, strict=False):
            edge.sub_(excess)
        ctx.factor, ctx.places, ctx.has_rim = factor, places, bool(rim)
        return picture

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (rows, columns) = grads, ctx.factor
        split = grad.permute(0, 2, 3, 1).unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
        parts = [
            split[:, :, row, :, column].permute(0, 1, 3, 2, 4, 5).flatten(3).permute(0, 3, 1, 2)
            for row, column in ctx.places
        ]
        rim = [-edge for edge in _edges(grad)] if ctx.has_rim else []
        return (None, None, *parts, *rim)


def _edges(picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return picture[:, :, :1], picture[:, :, -1:], picture[:, :, :, :1], picture[:, :, :, -1:]


@dataclass(frozen=True)
class UpsampledConvolution:
    """Upsampling by ``factor``, a convolution and perhaps a second one, made ready to run.

    pieces, bias: the taps summed by phase. outer: the taps of both convolutions and the first one's bias, for the rim,
    where two were composed. result: the dtype of what comes out; None leaves it to the taps.
    """

    factor: Factor
    pieces: list[Piece]
    bias: Tensor | None
    outer: tuple[Tensor, Tensor, Tensor] | None = None
    result: torch.dtype | None = None

    @classmethod
    def of(cls, factor: Factor, first: nn.Conv2d, second: nn.Conv2d | None = None) -> "UpsampledConvolution":
        """Derived from the layers' weights, with gradients to them."""
        if second is None:
            return cls(factor, phase_pieces(first.weight, factor), first.bias)
        own, later = _bias_of(first), _bias_of(second)
        pieces = phase_pieces(composed_taps(first.weight, second.weight), factor)
        bias = composed_bias(own, second.weight, later)
        return cls(factor, pieces, bias, (first.weight, own, second.weight))

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` (N, C, h, w) -> (N, O, H, W), channels-last in memory."""
        rim, dtype = None, self.pieces[0].weight.dtype
        x = x if torch.is_autocast_enabled(x.device.type) else x.to(dtype)
        if self.outer is not None:
            first, first_bias, second = self.outer
            rim = rim_excess(x, first, first_bias, second, self.factor)
        out = phase_convolution(x, self.pieces, self.bias, self.factor, rim)
        return out if self.result is None else out.to(self.result)

    def kept(self, dtype: torch.dtype, result: torch.dtype) -> "UpsampledConvolution":
        """The same without gradients, multiplying in ``dtype``."""

        def keep(x: Tensor) -> Tensor:
            return x.detach().to(dtype)

        pieces = [replace(piece, weight=keep(piece.weight)) for piece in self.pieces]
        outer = (
            None if self.outer is None else (keep(self.outer[0]), keep(self.outer[1]), keep(self.outer[2]))
        )
        bias = None if self.bias is None else keep(self.bias)
        return UpsampledConvolution(self.factor, pieces, bias, outer, result)


def _bias_of(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias

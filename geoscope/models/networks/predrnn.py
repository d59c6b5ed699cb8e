"""PredRNN: stacked recurrent cells with a second memory that zigzags through the layers and on to the next frame.

Source: Wang et al. 2017, "PredRNN: Recurrent Neural Networks for Predictive Learning using Spatiotemporal LSTMs";
Wang et al. 2021, "PredRNN: A Recurrent Neural Network for Spatiotemporal Predictive Learning" (PredRNN-V2), for the
decoupling loss, here the mean of |cosine| over steps, layers, samples and channels. Departure: no layer norm inside
the cells, as in the published V2 settings for Moving MNIST.

Shape letters: B batch, T frames, H rows, W columns, C channels, P length of a patch, h = H/P, w = W/P.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.networks.frames import (
    FrameNetwork,
    Frames,
    Hints,
    check_widths,
    from_patches,
    next_input,
    to_patches,
)

FORGET_BIAS = 1.0  # memory is kept at first


@dataclass(frozen=True, kw_only=True)
class PredRnnConfig:
    """A stack of ST-LSTM cells over patches.

    widths: channels of each layer, all the same, since one memory passes through them all. kernel: of the cells.
    patch: pixels a side that become channels. decoupling: weight of the auxiliary loss; 0 is PredRNN of 2017.
    """

    frames: Frames
    widths: tuple[int, ...] = (32, 32)
    kernel: int = 3
    patch: int = 4
    decoupling: float = 0.05

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)
        if len(set(self.widths)) > 1:
            raise ConfigError(
                f"widths={self.widths}: give all layers the same, one memory passes through them"
            )
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel={self.kernel}: give an odd number")
        if self.patch < 1:
            raise ConfigError(f"patch={self.patch}: give at least 1 pixel")
        if self.decoupling < 0:
            raise ConfigError(f"decoupling={self.decoupling}: give a weight of 0 or more")
        self.frames.require_multiple(self.patch, "PredRNN")


def predrnn_small(frames: Frames) -> PredRnnConfig:
    """Two layers of 32 channels, about 0.3 M parameters."""
    return PredRnnConfig(frames=frames)


def predrnn_published(frames: Frames) -> PredRnnConfig:
    """Four layers of 128 channels and kernels of 7: the 46.6 M parameters of the Earthformer paper's table for SEVIR.

    The paper does not give the settings. Kernels of 5, those of the published code, have 23.8 M, which is the
    table's number for ENSO; kernels of 7 are what makes the one for SEVIR.
    """
    return PredRnnConfig(frames=frames, widths=(128,) * 4, kernel=7)


class Step(NamedTuple):
    """What an ST-LSTM cell makes of one frame, each (B, width, h, w).

    hidden: its output. memory: its own, for the next frame. zigzag: for the next layer. memory_gain, zigzag_gain:
    what was added to the two memories.
    """

    hidden: Tensor
    memory: Tensor
    zigzag: Tensor
    memory_gain: Tensor
    zigzag_gain: Tensor


class StLstmCell(nn.Module):
    """A spatio-temporal LSTM cell. Source: Wang et al. 2017, ST-LSTM."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()

        def convolution(wide: int, gates: int) -> nn.Conv2d:
            return nn.Conv2d(wide, gates * width, kernel, padding=kernel // 2, bias=False)

        self.from_input = convolution(inputs, 7)
        self.from_hidden = convolution(width, 4)
        self.from_zigzag = convolution(width, 3)
        self.from_memories = convolution(2 * width, 1)
        self.join = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(self, x: Tensor, hidden: Tensor, memory: Tensor, zigzag: Tensor) -> Step:
        ix, fx, gx, ix_, fx_, gx_, ox = self.from_input(x).chunk(7, dim=1)
        ih, fh, gh, oh = self.from_hidden(hidden).chunk(4, dim=1)
        im, fm, gm = self.from_zigzag(zigzag).chunk(3, dim=1)
        memory_gain = (ix + ih).sigmoid() * (gx + gh).tanh()
        zigzag_gain = (ix_ + im).sigmoid() * (gx_ + gm).tanh()
        memory = (fx + fh + FORGET_BIAS).sigmoid() * memory + memory_gain
        zigzag = (fx_ + fm + FORGET_BIAS).sigmoid() * zigzag + zigzag_gain
        both = torch.cat((memory, zigzag), dim=1)
        leave = (ox + oh + self.from_memories(both)).sigmoid()
        return Step(leave * self.join(both).tanh(), memory, zigzag, memory_gain, zigzag_gain)


class PredRnn(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C); it reads its own forecasts.

    In training mode the decoupling loss of the last forward pass waits in `auxiliary_loss`.
    """

    takes_hints: ClassVar[bool] = True

    def __init__(self, config: PredRnnConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        width, wide = config.widths[0], config.frames.channels * config.patch**2
        self.cells = nn.ModuleList(
            StLstmCell(width if layer else wide, width, config.kernel) for layer in range(len(config.widths))
        )
        self.head = nn.Conv2d(width, wide, 1, bias=False)
        self.adapter = nn.Conv2d(width, width, 1, bias=False) if config.decoupling else None
        self._overlaps: list[Tensor] = []

    def forward(self, x: Tensor, hints: Hints | None = None) -> Tensor:
        self.check(x)
        self.check_hints(x, hints)
        patch, past = self.config.patch, self.frames.in_frames
        patches = to_patches(x, patch)
        truth = None if hints is None else to_patches(hints.target, patch)
        empty = x.new_zeros(x.shape[0], self.config.widths[0], *patches.shape[-2:])
        states = [(empty, empty) for _ in self.cells]
        zigzag, frames = empty, []
        self._overlaps = []
        for step in range(past + self.frames.out_frames - 1):
            if step < past:
                signal = patches[:, step]
            else:
                true, shown = (
                    (None, None)
                    if hints is None or truth is None
                    else (
                        truth[:, step - past],
                        hints.shown[:, step - past],
                    )
                )
                signal = next_input(frames[-1], true, shown)
            for layer, cell in enumerate(self.cells):
                made = cell(signal, *states[layer], zigzag)
                states[layer], zigzag, signal = (made.hidden, made.memory), made.zigzag, made.hidden
                self._keep_overlap(made)
            if step >= past - 1:
                frames.append(self.head(signal))
        return from_patches(torch.stack(frames, dim=1), patch)

    def auxiliary_loss(self) -> Tensor:
        """The decoupling loss: how parallel the gains of the two memories were, times its weight; given once."""
        if not self._overlaps:
            return super().auxiliary_loss()
        overlap = torch.stack(self._overlaps).mean()
        self._overlaps = []
        return self.config.decoupling * overlap

    def _keep_overlap(self, made: Step) -> None:
        if self.adapter is None or not self.training:
            return
        own, zigzag = self.adapter(made.memory_gain).flatten(2), self.adapter(made.zigzag_gain).flatten(2)
        self._overlaps.append(F.cosine_similarity(own, zigzag, dim=2).abs().mean())

"""ConvLSTM: an encoder reads the past into states, a forecaster unrolls them, coarse to fine.

Source: Shi et al. 2015, "Convolutional LSTM Network", for the cell; Shi et al. 2017, "Deep learning for precipitation
nowcasting: a benchmark and a new model", for the order of the forecaster: its coarsest layer starts from
the encoder's state and has no input. Departure: no peepholes (products of gates and cell state).

Shape letters: B batch, T frames, H rows, W columns, C channels.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from geoscope.errors import ConfigError
from geoscope.models.networks.frames import FrameNetwork, Frames, check_widths

SLOPE = 0.2  # of the leaky ReLU after each convolution, as in Shi et al. 2017


@dataclass(frozen=True, kw_only=True)
class ConvLstmConfig:
    """An encoder and a forecaster of ConvLSTM layers, finest first.

    widths: channels of each layer's state. down: kernel of the convolution before each layer of the encoder. up:
    kernel of the transposed one after each layer of the forecaster. strides: of both. kernel: of the states.
    """

    frames: Frames
    widths: tuple[int, ...] = (16, 32, 48)
    down: tuple[int, ...] = (5, 3, 3)
    up: tuple[int, ...] = (4, 4, 4)
    strides: tuple[int, ...] = (2, 2, 2)
    kernel: int = 3

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)
        for name in ("down", "up", "strides"):
            if len(getattr(self, name)) != len(self.widths):
                raise ConfigError(
                    f"{name}={getattr(self, name)}: give one number for each of widths={self.widths}"
                )
        if self.kernel % 2 == 0 or any(kernel % 2 == 0 for kernel in self.down):
            raise ConfigError(f"kernel={self.kernel}, down={self.down}: give odd numbers")
        if min(self.strides) < 1 or any(
            up < stride for up, stride in zip(self.up, self.strides, strict=True)
        ):
            raise ConfigError(f"up={self.up}: no kernel may be below its stride, strides={self.strides}")
        factor = 1
        for stride in self.strides:
            factor *= stride
        self.frames.require_multiple(factor, "ConvLSTM")


def convlstm_small(frames: Frames) -> ConvLstmConfig:
    """Three layers at 1/2, 1/4 and 1/8 of the resolution, about 0.5 M parameters."""
    return ConvLstmConfig(frames=frames)


def convlstm_published(frames: Frames) -> ConvLstmConfig:
    """Three layers of 96, 128 and 256 channels, near the 14.0 M parameters of the Earthformer paper's table.

    The paper gives the number, not the settings: widths and kernels are ours, fitted to it (13.7 M). The first stride
    is 3 where the grid allows (384 does), else 2; parameters do not depend on it.
    """
    first = 3 if frames.height % 12 == frames.width % 12 == 0 else 2
    return ConvLstmConfig(
        frames=frames, widths=(96, 128, 256), down=(7, 5, 3), up=(6, 4, 4), strides=(first, 2, 2)
    )


class LstmState(NamedTuple):
    """What a ConvLSTM cell hands on: its output and its memory, (B, width, H, W) each."""

    hidden: Tensor
    memory: Tensor


class ConvLstmCell(nn.Module):
    """One step of a ConvLSTM: input (B, inputs, H, W), or None with ``inputs`` = 0, and state -> new state."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.width = width
        self.gates = nn.Conv2d(inputs + width, 4 * width, kernel, padding=kernel // 2)

    def zeros(self, like: Tensor, rows: int, columns: int) -> LstmState:
        """The state before the first step, for the batch and on the device of ``like``."""
        empty = like.new_zeros(like.shape[0], self.width, rows, columns)
        return LstmState(empty, empty)

    def forward(self, x: Tensor | None, state: LstmState) -> LstmState:
        seen = state.hidden if x is None else torch.cat((x, state.hidden), dim=1)
        enter, forget, leave, candidate = self.gates(seen).chunk(4, dim=1)
        memory = forget.sigmoid() * state.memory + enter.sigmoid() * candidate.tanh()
        return LstmState(leave.sigmoid() * memory.tanh(), memory)


class _Down(nn.Sequential):
    """Strided convolution and leaky ReLU."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, width, kernel, stride=stride, padding=kernel // 2), nn.LeakyReLU(SLOPE)
        )


class _Up(nn.Sequential):
    """Transposed convolution that multiplies rows and columns by ``stride``, and leaky ReLU."""

    def __init__(self, width: int, kernel: int, stride: int) -> None:
        padding = (kernel - stride + 1) // 2
        extra = stride + 2 * padding - kernel  # 0 or 1: rows that an odd kernel - stride leaves out
        super().__init__(
            nn.ConvTranspose2d(width, width, kernel, stride=stride, padding=padding, output_padding=extra),
            nn.LeakyReLU(SLOPE),
        )


class ConvLstm(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C) by an encoder and a forecaster."""

    def __init__(self, config: ConvLstmConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        widths, channels = config.widths, config.frames.channels
        self.down = nn.ModuleList(
            _Down(inputs, width, kernel, stride)
            for inputs, width, kernel, stride in zip(
                (channels, *widths[:-1]), widths, config.down, config.strides, strict=True
            )
        )
        self.encoder = nn.ModuleList(ConvLstmCell(width, width, config.kernel) for width in widths)
        self.forecaster = nn.ModuleList(  # finest first, as the encoder; the coarsest has no input
            ConvLstmCell(inputs, width, config.kernel)
            for inputs, width in zip((*widths[1:], 0), widths, strict=True)
        )
        self.up = nn.ModuleList(
            _Up(width, kernel, stride)
            for width, kernel, stride in zip(widths, config.up, config.strides, strict=True)
        )
        self.head = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        states = self.encode(x)
        frames: list[Tensor] = []
        for _ in range(self.frames.out_frames):
            signal = None
            for level in reversed(range(len(states))):
                states[level] = self.forecaster[level](signal, states[level])
                signal = self.up[level](states[level].hidden)
            frames.append(self.head(signal))
        return rearrange(torch.stack(frames, dim=1), "b t c h w -> b t h w c")

    def encode(self, x: Tensor) -> list[LstmState]:
        """The state of every layer, finest first, after reading all past frames (B, T, H, W, C)."""
        frames = rearrange(x, "b t h w c -> t b c h w").contiguous()
        states: list[LstmState] = []
        for index, frame in enumerate(frames):
            signal = frame
            for level, cell in enumerate(self.encoder):
                signal = self.down[level](signal)
                if index == 0:
                    states.append(cast(ConvLstmCell, cell).zeros(signal, *signal.shape[-2:]))
                states[level] = cell(signal, states[level])
                signal = states[level].hidden
        return states

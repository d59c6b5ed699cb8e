"""E3D-LSTM: recurrent cells of 3-D convolutions that look back at their own past memories by attention.

Source: Wang et al. 2019, "Eidetic 3D LSTM: A Model for Video Prediction and Beyond". Departures: group norm of one
group (every channel scaled alone) instead of a layer norm tied to one grid; the recall looks at the last
``recall`` memories rather than at all of them.

Shape letters: B batch, T frames, H rows, W columns, C channels, P length of a patch, h = H/P, w = W/P, D frames in
the window that each step reads.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
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

FORGET_BIAS = 1.0


@dataclass(frozen=True, kw_only=True)
class E3dLstmConfig:
    """A stack of eidetic 3-D LSTM cells over patches.

    widths: channels of each layer, all the same. window: frames that each step reads. kernel: of the 3-D
    convolutions in time, rows and columns. patch: pixels a side that become channels. recall: past memories looked at.
    """

    frames: Frames
    widths: tuple[int, ...] = (16, 16)
    window: int = 2
    kernel: tuple[int, int, int] = (1, 3, 3)
    patch: int = 4
    recall: int = 2

    def __post_init__(self) -> None:
        check_widths("widths", self.widths)
        if len(set(self.widths)) > 1:
            raise ConfigError(
                f"widths={self.widths}: give all layers the same, one memory passes through them"
            )
        if len(self.kernel) != 3 or any(length < 1 or length % 2 == 0 for length in self.kernel):
            raise ConfigError(f"kernel={self.kernel}: give three odd lengths, in time, rows and columns")
        if min(self.window, self.patch, self.recall) < 1:
            raise ConfigError(
                f"window={self.window}, patch={self.patch}, recall={self.recall}: give at least 1 each"
            )
        self.frames.require_multiple(self.patch, "E3D-LSTM")


def e3d_lstm_small(frames: Frames) -> E3dLstmConfig:
    """Two layers of 16 channels, about 0.1 M parameters."""
    return E3dLstmConfig(frames=frames)


def e3d_lstm_published(frames: Frames) -> E3dLstmConfig:
    """Four layers of 64 channels with kernels of 5x5x5: the 35.6 M parameters of the table for SEVIR.

    The Earthformer paper gives the number, not the settings; the published code's own have the 12.9 M of its table
    for ENSO with kernels of 2x5x5.
    """
    return E3dLstmConfig(frames=frames, widths=(64,) * 4, kernel=(5, 5, 5), recall=5)


class Step(NamedTuple):
    """What a cell makes of one window, each (B, width, D, h, w): output, own memory, memory for the next layer."""

    hidden: Tensor
    memory: Tensor
    zigzag: Tensor


class E3dLstmCell(nn.Module):
    """An eidetic 3-D LSTM cell. Source: Wang et al. 2019."""

    def __init__(self, width: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()

        def convolution(gates: int) -> nn.Sequential:
            padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
            wide = gates * width
            return nn.Sequential(nn.Conv3d(width, wide, kernel, padding=padding), nn.GroupNorm(1, wide))

        self.from_input = convolution(7)
        self.from_hidden = convolution(4)
        self.from_zigzag = convolution(4)
        self.memory_gate = convolution(1)
        self.zigzag_gate = convolution(1)
        self.norm = nn.GroupNorm(1, width)
        self.join = nn.Conv3d(2 * width, width, 1)

    def forward(self, x: Tensor, hidden: Tensor, past: list[Tensor], zigzag: Tensor) -> Step:
        """``past``: the cell's last memories, newest last, at least one."""
        rx, ix, gx, ix_, gx_, fx_, ox = self.from_input(x).chunk(7, dim=1)
        rh, ih, gh, oh = self.from_hidden(hidden).chunk(4, dim=1)
        im, gm, fm, om = self.from_zigzag(zigzag).chunk(4, dim=1)
        recalled = recall((rx + rh).sigmoid(), past)
        memory = self.norm(past[-1] + recalled) + (ix + ih).sigmoid() * (gx + gh).tanh()
        kept = (fx_ + fm + FORGET_BIAS).sigmoid() * zigzag
        zigzag = kept + (ix_ + im).sigmoid() * (gx_ + gm).tanh()
        leave = (ox + oh + om + self.memory_gate(memory) + self.zigzag_gate(zigzag)).sigmoid()
        return Step(leave * self.join(torch.cat((memory, zigzag), dim=1)).tanh(), memory, zigzag)


def recall(query: Tensor, past: list[Tensor]) -> Tensor:
    """What a gate (B, width, D, h, w) finds in past memories of that shape: dot-product attention over all places.

    Source: Wang et al. 2019, RECALL; scores are not scaled.
    """
    # One head, and channels side by side in memory: what the fused kernel takes.
    memories = rearrange(torch.stack(past, dim=1), "b n c d h w -> b 1 (n d h w) c").contiguous()
    tokens = rearrange(query, "b c d h w -> b 1 (d h w) c").contiguous()
    found = F.scaled_dot_product_attention(tokens, memories, memories, scale=1.0)
    _, _, depth, rows, columns = query.shape
    return rearrange(found, "b 1 (d h w) c -> b c d h w", d=depth, h=rows, w=columns)


class E3dLstm(FrameNetwork):
    """Past frames (B, T_in, H, W, C) -> future frames (B, T_out, H, W, C); it reads its own forecasts."""

    takes_hints: ClassVar[bool] = True

    def __init__(self, config: E3dLstmConfig) -> None:
        super().__init__(config.frames)
        self.config = config
        width, wide, kernel = config.widths[0], config.frames.channels * config.patch**2, config.kernel
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.encoder = nn.Sequential(
            nn.Conv3d(wide, width, kernel, padding=padding),
            nn.LeakyReLU(0.2),
            nn.Conv3d(width, width, kernel, padding=padding),
        )
        self.cells = nn.ModuleList(E3dLstmCell(width, kernel) for _ in config.widths)
        self.head = nn.Conv3d(width, wide, kernel, padding=padding)

    def forward(self, x: Tensor, hints: Hints | None = None) -> Tensor:
        self.check(x)
        self.check_hints(x, hints)
        patch, past = self.config.patch, self.frames.in_frames
        patches = to_patches(x, patch)
        truth = None if hints is None else to_patches(hints.target, patch)
        read: list[Tensor] = [torch.zeros_like(patches[:, 0])] * (self.config.window - 1)
        frames: list[Tensor] = []
        memories: list[list[Tensor]] = []
        hidden: list[Tensor] = []
        zigzag: Tensor | None = None
        for step in range(past + self.frames.out_frames - 1):
            if step < past:
                frame = patches[:, step]
            elif hints is None or truth is None:
                frame = frames[-1]
            else:
                frame = next_input(frames[-1], truth[:, step - past], hints.shown[:, step - past])
            read = [*read, frame][-self.config.window :]
            signal = self.encoder(torch.stack(read, dim=2))  # (B, width, D, h, w)
            if zigzag is None:
                zigzag = torch.zeros_like(signal)
                memories = [[zigzag] for _ in self.cells]
                hidden = [zigzag for _ in self.cells]
            for layer, cell in enumerate(self.cells):
                made = cell(signal, hidden[layer], memories[layer], zigzag)
                memories[layer] = [*memories[layer], made.memory][-self.config.recall :]
                hidden[layer], zigzag, signal = made.hidden, made.zigzag, made.hidden
            if step >= past - 1:
                frames.append(self.head(signal).mean(2))
        return from_patches(torch.stack(frames, dim=1), patch)

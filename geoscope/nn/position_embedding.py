"""Learned embeddings of place and time, added to the tokens once."""

from typing import Literal

import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError, ShapeError
from geoscope.nn.initialisation import init_embedding

Positions = Literal["t+h+w", "t+hw", "t"]


class PositionEmbedding(nn.Module):
    """x (B, T, H, W, C) plus what belongs to each token's time and place.

    kind "t+h+w" has one table for steps, one for rows, one for columns; "t+hw" one for steps and one for
    pixels; "t" only one for steps, so that any H and W will do. Shorter volumes than ``shape`` take the
    first entries.
    """

    def __init__(self, width: int, shape: tuple[int, int, int], kind: Positions = "t+h+w") -> None:
        super().__init__()
        if kind not in ("t+h+w", "t+hw", "t"):
            raise ConfigError(f"position embedding {kind!r} is not known: choose 't+h+w', 't+hw' or 't'")
        steps, rows, columns = shape
        self.shape, self.kind = shape, kind
        self.time = init_embedding(nn.Embedding(steps, width))
        self.rows = init_embedding(nn.Embedding(rows, width)) if kind == "t+h+w" else None
        self.columns = init_embedding(nn.Embedding(columns, width)) if kind == "t+h+w" else None
        self.pixels = init_embedding(nn.Embedding(rows * columns, width)) if kind == "t+hw" else None

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table(x.shape[1], x.shape[2], x.shape[3])

    def table(self, steps: int, rows: int, columns: int) -> Tensor:
        """The embedding of a volume, broadcastable to (T, H, W, C).

        Raises:
            ShapeError: the volume is longer than the embedding was made for.
        """
        checked = zip("THW" if self.kind != "t" else "T", (steps, rows, columns), self.shape, strict=False)
        for axis, length, longest in checked:
            if length > longest:
                raise ShapeError(
                    f"axis {axis} has {length} tokens and the position embedding {longest}: give a smaller "
                    "input, or build the model with positions='t' (T fixed, any H and W)"
                )
        total = self.time.weight[:steps, None, None]
        if self.rows is not None and self.columns is not None:
            total = total + self.rows.weight[:rows, None] + self.columns.weight[:columns]
        if self.pixels is not None:
            place = torch.arange(rows, device=total.device)[:, None] * self.shape[2]
            place = place + torch.arange(columns, device=total.device)
            total = total + self.pixels(place)
        return total

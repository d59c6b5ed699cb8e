"""A trained network of frames as a nowcaster: rain in mm/h on any grid in, rain out.

The network knows one size of picture: smaller fields are filled up with no rain, larger ones are forecast in tiles
that overlap by half and fade into each other, so that no seam shows.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from geoscope.data.rain_scale import decode_rain, encode_rain
from geoscope.models.networks.weights import NetworkHeader
from geoscope.zoo.cards import ModelCard


class FrameNowcaster:
    """See the module's docstring; follows `geoscope.inference.loading.Nowcaster`."""

    def __init__(self, network: nn.Module, header: NetworkHeader, card: ModelCard, device: str) -> None:
        self.network = network.eval().to(device)
        self.header, self.card, self.device = header, card, device
        self.min_frames = header.in_frames

    def max_lead_steps(self, interval_minutes: float) -> int:
        """The frames that the network gives."""
        return self.header.out_frames

    @torch.no_grad()
    def forecast(
        self,
        past: np.ndarray,
        *,
        interval_minutes: float,
        pixel_km: float,
        lead_steps: int,
        progress: Callable[[str, float], None],
    ) -> np.ndarray:
        """Rain (lead_steps, H, W) in mm/h from the last frames of ``past`` (T, H, W); NaN where the last one is."""
        header = self.header
        known = np.isfinite(past[-1])
        values = encode_rain(np.nan_to_num(past[-header.in_frames :]))
        height, width = past.shape[1:]
        short = ((0, 0), (0, max(0, header.height - height)), (0, max(0, header.width - width)))
        values = np.pad(values, short)
        total = np.zeros((header.out_frames, *values.shape[1:]), dtype=np.float64)
        weights = np.zeros(values.shape[1:])
        rows, columns = starts(values.shape[1], header.height), starts(values.shape[2], header.width)
        fade = fading(header.height)[:, None] * fading(header.width)[None, :]
        for number, (row, column) in enumerate((row, column) for row in rows for column in columns):
            progress("forecasting", number / (len(rows) * len(columns)))
            cut = (slice(None), slice(row, row + header.height), slice(column, column + header.width))
            x = torch.from_numpy(np.ascontiguousarray(values[cut]))[None, ..., None].to(self.device)
            total[cut] += self.network(x)[0, ..., 0].float().cpu().numpy() * fade
            weights[cut[1:]] += fade
        rain = decode_rain((total / weights)[:lead_steps, :height, :width])
        return np.where(known, rain, np.float32(np.nan))


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin: half a tile apart, the last one at the end."""
    last = length - tile
    return sorted({*range(0, last, max(1, tile // 2)), last})


def fading(tile: int) -> np.ndarray:
    """Weights of a tile's pixels along one axis, above zero, falling to the rims."""
    place = (np.arange(tile) + 0.5) / tile
    return np.minimum(place, 1 - place)

"""What the networks are told beside the noisy latents: the nowcaster's expectation and the newest frame, by cell.

Eight features of each cell and frame; the first frame is the newest one as it was seen, the others are the steps ahead:
shares of at least 0.1, 1 and 5 mm/h, mean of transformed rain, mean score of dry pixels, lead, step and pixel size.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from geoscope.models.scenarios.marginals import Marginals
from geoscope.models.scenarios.outlook import ExpectedMaps, transformed

RAIN_SCALE = 0.25  # brings transformed rain to the order of one


def by_cell(field: Tensor, cell: int) -> Tensor:
    """Means of ``field`` (..., H, W) over cells of ``cell`` pixels a side, (..., H / cell, W / cell)."""
    flat = field.reshape(-1, 1, *field.shape[-2:])
    return F.avg_pool2d(flat, cell).reshape(
        *field.shape[:-2], field.shape[-2] // cell, field.shape[-1] // cell
    )


def condition_features(
    marginals: Marginals, maps: ExpectedMaps, newest: Tensor, step_minutes: float, pixel_km: float, cell: int
) -> Tensor:
    """The features (1 + S, H / cell, W / cell, 8).

    ``marginals`` are (S, K, H, W), ``maps`` those of them, ``newest`` (H, W) is in mm/h with NaN = no data.
    """
    steps, height, width = maps.rain.shape
    shape = (height // cell, width // cell)
    scale = [math.log2(step_minutes / 10.0), math.log2(pixel_km) / 2.0]
    lead = torch.arange(1, steps + 1, dtype=newest.dtype, device=newest.device) / steps
    ahead = [
        *(by_cell(field, cell) for field in (maps.wet, maps.moderate, maps.heavy)),
        by_cell(transformed(maps.rain), cell) * RAIN_SCALE,
        by_cell(marginals.dry_scores, cell),
        lead[:, None, None].expand(steps, *shape),
    ]
    seen = torch.nan_to_num(newest)[None]
    none = newest.new_zeros(1, *shape)
    now = [
        *(by_cell((seen >= level).to(newest.dtype), cell) for level in (0.1, 1.0, 5.0)),
        by_cell(transformed(seen), cell) * RAIN_SCALE,
        none,
        none,
    ]
    frames = torch.cat((torch.stack(now, dim=-1), torch.stack(ahead, dim=-1)))
    planes = frames.new_tensor(scale).expand(*frames.shape[:-1], 2)
    return torch.cat((frames, planes), dim=-1)

"""The compact nowcaster: Earthformer in the Lagrangian frame.

1. The motion of the rain is estimated from the past frames (`geoscope.nn.motion`).
2. The past frames are carried to the issue time along it, so that what is left to learn is growth and decay.
3. An Earthformer (`geoscope.models.earthformer`) at a quarter of the resolution turns these frames into features at
   a few future times, the slots.
4. For each lead the features and the last frame, the latter at several smoothing scales, are carried forward along
   the motion, and a small per-pixel network reads from them the probability of exceeding each rain threshold.
   Smoothing scales let it forget small scales with lead, as S-PROG does (Seed 2003), but learned; the last frame
   where it is (not carried) stands beside them, for rain that stays while the motion misleads.

Shape letters: B batch, T past frames, S slots, C channels, K thresholds, H rows, W columns, h = H/4, w = W/4.
Fields are log rain (`geoscope.nn.motion.log_rain`); times are in model steps of ``step_minutes``.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.models.earthformer.model import Earthformer
from geoscope.models.nowcaster.config import NowcasterConfig
from geoscope.models.nowcaster.tiles import run_in_tiles
from geoscope.nn.advection import backward_positions, is_inside, pixel_positions, sample_at
from geoscope.nn.motion import gaussian_blur

LOG_SCALE = 0.25  # brings log rain (0 to 9) to the order of one


def conditions(step_minutes: Tensor, pixel_km: Tensor) -> Tensor:
    """What the model is told of the data, (B, 2): log2 of the step over 10 minutes and of the pixel over 1 km."""
    return torch.stack((torch.log2(step_minutes / 10.0), torch.log2(pixel_km)), dim=-1)


class LeadHead(nn.Module):
    """Per-pixel network from carried features to threshold logits; the lead and the data's scale shift its layers."""

    def __init__(self, channels: int, hidden: int, thresholds: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, hidden, 1)
        self.shift = nn.Sequential(nn.Linear(4, hidden), nn.GELU(), nn.Linear(hidden, 2 * hidden))
        self.second = nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, thresholds, 1)

    def forward(self, x: Tensor, scalars: Tensor) -> Tensor:
        """(B, C, H, W) with ``scalars`` (B, 4) -> logits (B, K, H, W)."""
        first, second = self.shift(scalars)[..., None, None].chunk(2, dim=1)
        x = F.gelu(self.first(x) + first)
        x = x + F.gelu(self.second(x) + second)
        return self.last(x)


class LagrangianEarthformer(nn.Module):
    """See the module's docstring; `forward` gives logits for a list of leads, `logits_by_lead` one at a time."""

    thresholds: Tensor
    limits: Tensor

    def __init__(self, config: NowcasterConfig) -> None:
        super().__init__()
        self.config = config
        count = len(config.thresholds_mm_h)
        self.body = Earthformer(config.body)
        carried = 4 + len(config.scales_px) + config.history + config.features
        self.head = LeadHead(carried, config.hidden, count)
        self.register_buffer("thresholds", torch.tensor(config.thresholds_mm_h, dtype=torch.float32))
        self.register_buffer("limits", torch.full((config.reach, count), 0.5))
        with torch.no_grad():  # start near the climatology of rainy pictures, falling with the threshold
            self.head.last.weight.mul_(0.3)
            climatology = -1.0 - 1.2 * torch.log(self.thresholds / 0.1)
            self.head.last.bias = nn.Parameter(climatology)

    def forward(
        self,
        history: Tensor,
        valid: Tensor,
        motion: Tensor,
        step_minutes: Tensor,
        pixel_km: Tensor,
        leads: Sequence[float],
    ) -> Tensor:
        """Logits (B, L, K, H, W) of exceeding each threshold at each of ``leads`` (in steps, rising).

        ``history`` (B, T, H, W) is log rain with 0 where ``valid`` (B, T, H, W) is 0; ``motion`` (B, 2, H, W) is in
        pixels per step; ``step_minutes`` and ``pixel_km`` are (B,).
        """
        return torch.stack(
            list(self.logits_by_lead(history, valid, motion, step_minutes, pixel_km, leads)), dim=1
        )

    def logits_by_lead(
        self,
        history: Tensor,
        valid: Tensor,
        motion: Tensor,
        step_minutes: Tensor,
        pixel_km: Tensor,
        leads: Sequence[float],
    ) -> Iterator[Tensor]:
        """As `forward`, but one lead (B, K, H, W) at a time: memory does not grow with the number of leads."""
        aligned, seen = self.align(history, valid, motion)
        scale = conditions(step_minutes, pixel_km)
        features = self.features(aligned, seen, motion, scale)
        fields = self.smoothed(aligned)
        resting = torch.cat((fields[:, history.shape[1] - 1, None], fields[:, -2, None]), dim=1)
        height, width = history.shape[-2:]
        for lead, positions in zip(leads, backward_positions(motion, leads), strict=True):
            inside = is_inside(positions, height, width).to(fields.dtype)
            carried = sample_at(fields, positions) * inside
            coarse = sample_at(self.at_lead(features, lead), (positions - 1.5) / 4.0)
            travelled = (positions - pixel_positions(height, width, positions)).norm(dim=1, keepdim=True)
            x = torch.cat((carried, resting, inside, torch.log1p(travelled) * LOG_SCALE, coarse), dim=1)
            lead_minutes = lead * step_minutes
            timing = torch.stack(
                (torch.log2(lead_minutes / 30.0), torch.full_like(step_minutes, lead) / 6.0), dim=-1
            )
            yield self.head(x, torch.cat((timing, scale), dim=-1))

    def align(self, history: Tensor, valid: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Past frames carried to the issue time, and where they have data: both (B, T, H, W), oldest first."""
        count = history.shape[1]
        aligned, seen = [history[:, -1:]], [valid[:, -1:]]
        for age, positions in enumerate(backward_positions(motion, range(1, count)), start=1):
            index = count - 1 - age
            inside = is_inside(positions, *history.shape[-2:]).to(history.dtype)
            there = sample_at(valid[:, index : index + 1], positions) * inside
            aligned.append(sample_at(history[:, index : index + 1], positions) * there)
            seen.append(there)
        return torch.cat(aligned[::-1], dim=1), torch.cat(seen[::-1], dim=1)

    def features(self, aligned: Tensor, seen: Tensor, motion: Tensor, scale: Tensor) -> Tensor:
        """The Earthformer's features (B, S, C, h, w) from frames in the Lagrangian frame (B, T, H, W)."""
        batch, count, height, width = aligned.shape
        speed = torch.log1p(motion.norm(dim=1))[:, None].expand(-1, count, -1, -1)
        age = torch.arange(1 - count, 1, dtype=aligned.dtype, device=aligned.device) / count
        planes = (
            scale[:, 0, None].expand(-1, count),
            scale[:, 1, None].expand(-1, count),
            age.expand(batch, -1),
        )
        constant = [(plane[:, :, None, None] * 0.25).expand(-1, -1, height, width) for plane in planes]
        x = torch.stack((aligned * LOG_SCALE, seen, speed * LOG_SCALE, *constant), dim=-1)  # (B, T, H, W, 6)
        multiple = self.config.pad_to
        x = F.pad(x, (0, 0, 0, -width % multiple, 0, -height % multiple))
        features = run_in_tiles(
            self.body, x, tile=self.config.tile, overlap=self.config.overlap, multiple=multiple, scale=4
        )  # (B, S, h', w', C)
        return features.permute(0, 1, 4, 2, 3)[..., : -(-height // 4), : -(-width // 4)]

    def smoothed(self, aligned: Tensor) -> Tensor:
        """What is carried forward beside the features: the aligned frames, and the last one at each scale."""
        last = aligned[:, -1:]
        layers = [aligned, *(gaussian_blur(last, sigma) for sigma in self.config.scales_px)]
        return torch.cat(layers, dim=1) * LOG_SCALE

    def at_lead(self, features: Tensor, lead: float) -> Tensor:
        """Features (B, C, h, w) at ``lead`` steps, linear between the slots; before the first they are its own."""
        place = min(max(lead / self.config.slot_steps - 1.0, 0.0), features.shape[1] - 1.0)
        low = int(place)
        high = min(low + 1, features.shape[1] - 1)
        return torch.lerp(features[:, low], features[:, high], place - low)

"""The compact nowcaster: Earthformer in the Lagrangian frame, between a convolutional stem and a readout by lead.

1. The motion of the rain is estimated from the past frames (`geoscope.nn.motion`).
2. The past frames are carried to the issue time along it, so that what is left to learn is growth and decay.
3. Convolutions read the stacked frames at full, half and quarter resolution. An Earthformer
   (`geoscope.models.earthformer`) reads the frames one by one at a quarter, attends along time and in windows at an
   eighth and a sixteenth, and answers with features at a few future times, the slots.
4. For each lead all of these features are carried forward along the motion, each at its own resolution, and a
   convolutional readout, coarse to fine, turns them into the probability of exceeding each rain threshold. Beside them
   stand the frames, the last one at several smoothing scales (small scales are forgotten first, as in S-PROG, Seed
   2003) and the last one where it is, not carried: for rain that stays while the motion misleads.

Shape letters: B batch, T past frames, S slots, C channels, K thresholds, L leads, H rows, W columns. Fields are log
rain (`geoscope.nn.motion.log_rain`); times are in model steps of ``step_minutes``; the grid is filled with zeros up to
a multiple of 16 inside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoscope.models.earthformer.model import Earthformer
from geoscope.models.nowcaster.config import GRID_MULTIPLE, NowcasterConfig
from geoscope.models.nowcaster.layers import (
    ChannelNorm,
    ConvolutionalStem,
    Extrapolated,
    ResidualBlock,
    carry,
    doubled,
)
from geoscope.models.nowcaster.tiles import run_in_tiles
from geoscope.nn.advection import backward_positions, distance_outside, is_inside, pixel_positions, sample_at
from geoscope.nn.motion import gaussian_blur, log_rain

LOG_SCALE = 0.25  # brings log rain (0 to 9) and log speed to the order of one
SPEED_SCALE = 0.05  # the same for pixels per step
RIM_PX = 8.0  # pixels outside the picture at which half is taken to be known: no edge where the known ends
WET = 0.58  # log rain at 0.1 mm/h


def conditions(step_minutes: Tensor, pixel_km: Tensor) -> Tensor:
    """What the model is told of the data, (B, 2): log2 of the step over 10 minutes and of the pixel over 1 km."""
    return torch.stack((torch.log2(step_minutes / 10.0), torch.log2(pixel_km)), dim=-1)


def weather_of(frame: Tensor, valid: Tensor) -> Tensor:
    """What kind of rain a ``frame`` of log rain (B, H, W) holds where it is ``valid``, (B, 5): mean, share that is wet,
    0.9 and 0.99 quantile, and mean where wet. Widespread rain without cores seldom grows them within the hour."""
    rows = []
    for values, known in zip(frame.float(), valid, strict=True):
        seen = values[known > 0.5]
        if not len(seen):
            seen = values.new_zeros(1)
        is_wet = seen > WET
        wet_mean = (seen * is_wet).sum() / is_wet.sum().clamp(min=1)
        upper = torch.quantile(seen[:: max(1, len(seen) // 100_000)], seen.new_tensor([0.9, 0.99]))
        rows.append(torch.stack((seen.mean(), is_wet.float().mean(), upper[0], upper[1], wet_mean)))
    return torch.stack(rows) * LOG_SCALE


@dataclass(frozen=True)
class Encoded:
    """What the past says, in the frame of the issue time.

    fields: (B, T + scales, H, W), the aligned frames and the smoothed last one. half, quarter: the stem's features.
    slots: the body's, (B, S, C, H/8, W/8). Sizes are those of the filled grid but for ``fields``. weather: what kind
    of rain it is, (B, 5), see `weather_of`.
    """

    fields: Tensor
    half: Tensor
    quarter: Tensor
    slots: Tensor
    weather: Tensor


class LagrangianEarthformer(nn.Module):
    """See the module's docstring; `forward` gives logits for a list of leads, `logits_by_lead` one at a time."""

    thresholds: Tensor
    calibration: Tensor

    def __init__(self, config: NowcasterConfig) -> None:
        super().__init__()
        self.config = config
        _, half, quarter = config.widths
        count, frames = len(config.thresholds_mm_h), config.history
        self.stem = ConvolutionalStem(2 * frames + 5, config.widths)
        self.hand_over = nn.Conv2d(quarter, config.hand_over, 1)
        self.body = Earthformer(config.body)
        self.timing = nn.Sequential(
            nn.Linear(4, config.condition),
            nn.GELU(),
            nn.Linear(config.condition, config.condition),
            nn.GELU(),
        )
        self.norm_slots = nn.LayerNorm(config.features)
        self.norm_quarter = ChannelNorm(quarter)
        self.norm_half = ChannelNorm(half)
        self.norm_readout = ChannelNorm(config.readout)
        self.at_quarter = ResidualBlock(config.features + quarter, quarter, config.condition)
        self.at_half = ResidualBlock(quarter + half, half, config.condition)
        self.to_full = nn.Conv2d(half, config.readout, 1)
        own = (
            frames + len(config.scales_px) + 2 + 2
        )  # carried, resting, how much is known, distance travelled
        self.at_full = ResidualBlock(config.readout + own, config.readout, config.condition)
        self.last = nn.Conv2d(config.readout, count, 1)
        of_fields = log_rain(torch.tensor(config.thresholds_mm_h)) * LOG_SCALE
        self.extrapolated = Extrapolated(len(config.scales_px) + 3, of_fields, config.condition)
        self.weather = nn.Linear(5, config.condition)
        self.register_buffer("thresholds", torch.tensor(config.thresholds_mm_h, dtype=torch.float32))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]).expand(config.reach, count, 2).clone())
        with torch.no_grad():  # start at what extrapolation says
            self.weather.weight.zero_()
            self.weather.bias.zero_()
            self.last.weight.zero_()
            self.last.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

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
        encoded = self.encode(history, valid, motion, step_minutes, pixel_km)
        return torch.stack(list(self.logits_by_lead(encoded, motion, step_minutes, pixel_km, leads)), dim=1)

    def encode(
        self, history: Tensor, valid: Tensor, motion: Tensor, step_minutes: Tensor, pixel_km: Tensor
    ) -> Encoded:
        """All that does not depend on the lead; arguments as in `forward`."""
        aligned, seen = self.align(history, valid, motion)
        last = aligned[:, -1:]
        smooth = [gaussian_blur(last, sigma) for sigma in self.config.scales_px]
        fields = torch.cat((aligned, *smooth), dim=1) * LOG_SCALE
        scale = conditions(step_minutes, pixel_km) * LOG_SCALE
        height, width = history.shape[-2:]
        speed = torch.log1p(torch.hypot(motion[:, :1], motion[:, 1:])) * LOG_SCALE
        planes = scale[:, :, None, None].expand(-1, -1, height, width)
        frames = self.config.history
        stacked = torch.cat((fields[:, :frames], seen, speed, motion * SPEED_SCALE, planes), dim=1)
        stacked = _filled(stacked).contiguous(memory_format=torch.channels_last)
        half, quarter = self.stem(stacked)
        half, quarter = self.norm_half(half), self.norm_quarter(quarter)
        by_frame = self.body_input(
            stacked[:, :frames], stacked[:, frames : 2 * frames], speed, scale, quarter
        )
        tile, overlap = self.config.tile // 4, self.config.overlap // 4
        slots = run_in_tiles(
            self.body, by_frame, tile=tile, overlap=overlap, multiple=GRID_MULTIPLE // 4, scale=2
        )  # (B, S, H/8, W/8, C)
        slots = self.norm_slots(slots).permute(0, 1, 4, 2, 3)
        return Encoded(fields, half, quarter, slots, weather_of(history[:, -1], valid[:, -1]))

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

    def body_input(
        self, frames: Tensor, seen: Tensor, speed: Tensor, scale: Tensor, quarter: Tensor
    ) -> Tensor:
        """The frames one by one at a quarter of the resolution, for the body: (B, T, H/4, W/4, C)."""
        batch, count = frames.shape[:2]
        height, width = quarter.shape[-2:]
        age = torch.arange(1 - count, 1, dtype=frames.dtype, device=frames.device) / count
        own = (
            F.avg_pool2d(frames, 4),
            F.max_pool2d(frames, 4),
            F.avg_pool2d(seen, 4),
            age[None, :, None, None].expand(batch, -1, height, width),
            F.avg_pool2d(_filled(speed), 4).expand(-1, count, -1, -1),
            *(scale[:, i, None, None, None].expand(-1, count, height, width) for i in (0, 1)),
        )
        own = torch.stack(own, dim=-1)
        shared = self.hand_over(quarter).permute(0, 2, 3, 1)[:, None].expand(-1, count, -1, -1, -1)
        return torch.cat((own, shared.to(own.dtype)), dim=-1)

    def logits_by_lead(
        self,
        encoded: Encoded,
        motion: Tensor,
        step_minutes: Tensor,
        pixel_km: Tensor,
        leads: Sequence[float],
    ) -> Iterator[Tensor]:
        """As `forward`, but one lead (B, K, H, W) at a time: memory does not grow with the number of leads."""
        scale = conditions(step_minutes, pixel_km)
        for lead, positions in zip(leads, backward_positions(motion, leads), strict=True):
            timing = (torch.log2(lead * step_minutes / 30.0), torch.full_like(step_minutes, lead) / 6.0)
            condition = self.timing(torch.cat((torch.stack(timing, dim=-1), scale), dim=-1))
            condition = condition + self.weather(encoded.weather)
            yield self.read_out(encoded, positions, condition, lead)

    def read_out(self, encoded: Encoded, positions: Tensor, condition: Tensor, lead: float) -> Tensor:
        """Logits (B, K, H, W) at ``lead`` steps, where the air comes from ``positions`` (B, 2, H, W)."""
        height, width = positions.shape[-2:]
        filled = F.pad(positions, _filling(height, width), mode="replicate")
        at_half = F.avg_pool2d(filled, 2)
        at_quarter = F.avg_pool2d(at_half, 2)
        coarse = carry(self.at_lead(encoded.slots, lead), at_quarter, 8)
        x = self.at_quarter(_joined(coarse, carry(encoded.quarter, at_quarter, 4)), condition)
        x = self.at_half(_joined(doubled(x), carry(encoded.half, at_half, 2)), condition)
        x = doubled(self.norm_readout(self.to_full(x)))[..., :height, :width]
        carried = sample_at(encoded.fields, positions)  # from outside the picture: what its rim shows
        known = 1.0 / (1.0 + distance_outside(positions, height, width) / RIM_PX)
        newest = self.config.history - 1
        resting = encoded.fields[:, [newest, newest + len(self.config.scales_px) - 1]]
        away = positions - pixel_positions(height, width, positions)
        travelled = torch.hypot(away[:, :1], away[:, 1:])
        own = (carried, resting, known, torch.log1p(travelled) * LOG_SCALE)
        change = self.last(F.gelu(self.at_full(_joined(x, *own), condition)))
        return change.float() + self.extrapolated(torch.cat((carried[:, newest:], resting), dim=1), condition)

    def at_lead(self, slots: Tensor, lead: float) -> Tensor:
        """Features (B, C, h, w) at ``lead`` steps, linear between the slots; before the first they are its own."""
        place = min(max(lead / self.config.slot_steps - 1.0, 0.0), slots.shape[1] - 1.0)
        low = int(place)
        high = min(low + 1, slots.shape[1] - 1)
        return torch.lerp(slots[:, low], slots[:, high], place - low)


def _filling(height: int, width: int) -> tuple[int, int, int, int]:
    return (0, -width % GRID_MULTIPLE, 0, -height % GRID_MULTIPLE)


def _filled(x: Tensor) -> Tensor:
    return F.pad(x, _filling(*x.shape[-2:]))


def _joined(*parts: Tensor) -> Tensor:
    """Channels of all parts, in the memory format and precision that the convolution after them works in."""
    device = parts[0].device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parts[0].dtype
    return torch.cat([part.to(dtype, memory_format=torch.channels_last) for part in parts], dim=1)

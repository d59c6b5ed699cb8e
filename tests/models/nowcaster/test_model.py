"""The nowcaster's network: any grid, any lead, seen only through its own past."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.nn.motion import estimate_motion, log_rain


def untrained(**changes) -> LagrangianEarthformer:
    """A narrow network as training begins with it."""
    torch.manual_seed(0)
    narrow = nowcaster_small(width=16, features=8, widths=(8, 16, 16))
    return LagrangianEarthformer(replace(narrow, **changes)).eval()


def small(**changes) -> LagrangianEarthformer:
    """A narrow network whose readout is not zero any more."""
    model = untrained(**changes)
    torch.nn.init.normal_(model.last.weight, std=0.2)
    return model


def inputs(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 5, height // 8 + 1, width // 8 + 1, generator=generator) * 8 - 3
    rain = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear").clamp(min=0)
    frames = log_rain(rain)
    valid = torch.ones_like(frames)
    return frames, valid, estimate_motion(frames, valid), torch.tensor([10.0]), torch.tensor([1.0])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (70, 131), (48, 37)])
@torch.inference_mode()
def test_any_grid_and_any_lead(height, width):
    model = small()
    logits = model(*inputs(height, width), [0.2, 0.5, 1.0, 7.5, 12.0])
    assert logits.shape == (1, 5, 13, height, width)
    assert torch.isfinite(logits).all()


@torch.inference_mode()
def test_even_rain_that_flows_in_from_outside_shows_no_edge_at_the_rim():
    model = untrained()
    frames, valid = log_rain(torch.full((1, 5, 64, 64), 4.0)), torch.ones(1, 5, 64, 64)
    motion = torch.stack((torch.zeros(1, 64, 64), torch.full((1, 64, 64), 5.0)), dim=1)
    logits = model(frames, valid, motion, torch.tensor([10.0]), torch.tensor([1.0]), [6.0])[0, 0]
    torch.testing.assert_close(logits, logits[:, 32:33, 63:].expand_as(logits), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_one_lead_alone_is_the_same_as_among_others():
    model, given = small(), inputs(64, 64)
    together = model(*given, [1.0, 2.0, 3.0])
    alone = model(*given, [3.0])
    assert torch.allclose(together[:, 2], alone[:, 0], atol=1e-3)


@torch.inference_mode()
def test_a_missing_old_frame_is_not_the_same_as_a_dry_one():
    model = small()
    frames, valid, motion, step, pixel = inputs(64, 64)
    frames = frames.clone()
    frames[:, 0] = 0
    gap = valid.clone()
    gap[:, 0] = 0
    dry = model(frames, valid, motion, step, pixel, [1.0])
    missing = model(frames, gap, motion, step, pixel, [1.0])
    assert not torch.allclose(dry, missing, atol=1e-4)


@torch.inference_mode()
def test_at_rest_the_past_is_left_where_it_is():
    frames, valid, _, _, _ = inputs(64, 64)
    aligned, seen = small().align(frames, valid, torch.zeros(1, 2, 64, 64))
    assert torch.allclose(aligned, frames, atol=1e-4)
    assert torch.allclose(seen, valid)


@torch.inference_mode()
def test_moved_rain_is_carried_back_onto_itself():
    """Frames of one picture moving two pixels a step become equal in the frame of the rain."""
    big, *_ = inputs(64, 96)
    frames = torch.stack([big[0, 0, :, 16 - 2 * t : 80 - 2 * t] for t in range(5)])[None]
    motion = torch.zeros(1, 2, 64, 64)
    motion[:, 1] = 2.0
    aligned, seen = small().align(frames, torch.ones_like(frames), motion)
    inside = slice(None), slice(None), slice(8, 56), slice(12, 52)
    assert torch.allclose(aligned[inside], frames[:, -1:][inside].expand(-1, 5, -1, -1), atol=1e-3)
    assert seen[0, 0, :, :7].max() == 0  # eight pixels came in from outside


@torch.inference_mode()
def test_untrained_it_is_extrapolation_with_doubt():
    """Before training the logits follow the carried rain: a cell that moves is likelier where it will be."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    cells = [20 * torch.exp(-((rows - 32) ** 2 + (columns - 24 - 4 * t) ** 2) / 60) for t in range(5)]
    frames = log_rain(torch.stack(cells)[None])
    valid = torch.ones_like(frames)
    scale = torch.tensor([10.0]), torch.tensor([1.0])
    logits = untrained()(frames, valid, estimate_motion(frames, valid), *scale, [4.0])
    at_one = logits[0, 0, 3]  # 1 mm/h
    assert at_one[32, 56] > at_one[32, 40] > at_one[5, 5]  # where it goes, where it was, where it never is
    assert (logits[0, 0, :-1] >= logits[0, 0, 1:] - 1.0).float().mean() > 0.95  # heavier is less likely


@torch.inference_mode()
def test_tiles_leave_no_seam():
    """A field in tiles differs from the whole near the rims only by what the rims hide, and shows no step there."""
    whole = small()
    tiled = LagrangianEarthformer(replace(whole.config, tile=192, overlap=128)).eval()
    tiled.load_state_dict(whole.state_dict())
    given = inputs(64, 320)
    first, second = whole(*given, [3.0]), tiled(*given, [3.0])
    difference = (first - second).abs()
    assert difference.max() < 0.25 * first.std()
    jumps = (second[..., 1:] - second[..., :-1]).abs().mean(dim=(0, 1, 2, 3))
    smooth = (first[..., 1:] - first[..., :-1]).abs().mean(dim=(0, 1, 2, 3))
    seams = torch.tensor([64, 128, 192])  # where tiles begin and end, in pixels
    assert (jumps[seams] <= 1.5 * smooth[seams] + 1e-3).all()


def test_settings_that_cannot_work_are_refused():
    config = nowcaster_small(width=16, features=8, widths=(8, 16, 16))
    with pytest.raises(ConfigError, match="must be positive and rise"):
        replace(config, thresholds_mm_h=(1.0, 0.5))
    with pytest.raises(ConfigError, match="must be multiples of 16"):
        replace(config, tile=100)
    with pytest.raises(ConfigError, match="reads 31 channels, not 23"):
        replace(config, hand_over=24)
    with pytest.raises(ConfigError, match="final_upsample=False"):
        replace(config, body=replace(config.body, final_upsample=True))


def test_weights_round_trip_and_what_is_no_weights_is_refused(tmp_path):
    from safetensors.numpy import save_file

    from geoscope.errors import WeightsError
    from geoscope.models.nowcaster.checkpoints import read_nowcaster, save_nowcaster

    torch.manual_seed(1)
    model = LagrangianEarthformer(nowcaster_small())
    again = read_nowcaster(save_nowcaster(model, tmp_path / "model.safetensors"))
    for (name, first), second in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(first, second), name
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        read_nowcaster(tmp_path / "text.safetensors")
    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not hold a nowcaster"):
        read_nowcaster(tmp_path / "other.safetensors")
    header = {"format": "geoscope-nowcaster", "preset": "small"}
    save_file({"a": np.zeros(3)}, tmp_path / "odd.safetensors", metadata=header)
    with pytest.raises(WeightsError, match="does not fit small"):
        read_nowcaster(tmp_path / "odd.safetensors")
    narrow = untrained().state_dict()
    save_file(
        {k: v.contiguous().numpy() for k, v in narrow.items()},
        tmp_path / "narrow.safetensors",
        metadata=header,
    )
    with pytest.raises(WeightsError, match=r"narrow\.safetensors does not fit small: size mismatch [^\n]*$"):
        read_nowcaster(tmp_path / "narrow.safetensors")

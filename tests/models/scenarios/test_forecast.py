"""Drawing scenarios with a tiny untrained model: what does not depend on training must hold."""

import numpy as np
import pytest
import torch

from geoscope.errors import Cancelled, ConfigError, DataError, WeightsError
from geoscope.models.scenarios import config
from geoscope.models.scenarios.checkpoints import read_scenarios, save_scenarios
from geoscope.models.scenarios.config import ScenarioConfig
from geoscope.models.scenarios.scene import Scene
from tests.models.scenarios.conftest import tiny_config

SCENE = {"interval_minutes": 10.0, "pixel_km": 1.0, "lead_steps": 4}


def silent(stage: str, share: float) -> None:
    """A progress that nobody hears."""


def open_scene(forecaster, past, region=None, **changed) -> Scene:
    return forecaster.open(past, region=region, progress=silent, **{**SCENE, **changed})


def draw(forecaster, scene, members, sigmas, **changed):
    options = {"steps": 3, "seed": 5, "shape": (72, 88), "progress": silent, **changed}
    return list(forecaster.draw(scene, members=members, sigmas=sigmas, **options))


def test_every_member_meets_what_is_asked(forecaster, past):
    scene = open_scene(forecaster, past)
    drawn = draw(forecaster, scene, [0, 1], (-2.0, 0.0, 2.0))
    assert [(each.number, each.sigmas) for each in drawn] == [
        (m, s) for m in (0, 1) for s in (-2.0, 0.0, 2.0)
    ]
    for each in drawn:
        assert each.rain.shape == (4, 72, 88)
        assert each.asked_mean == pytest.approx(scene.expectation.mean_at(each.sigmas))
        reached = scene.expectation.sigmas_of(each.achieved_mean)
        assert reached == pytest.approx(each.sigmas, abs=0.1)
        assert np.nanmean(each.rain) == pytest.approx(each.achieved_mean, rel=1e-4)
        assert np.nanmin(each.rain) == 0
        assert np.isnan(each.rain[:, :, :3]).all()
        assert np.isfinite(each.rain[:, :, 3:]).all()
    for member in (0, 1):
        means = [each.achieved_mean for each in drawn if each.number == member]
        assert means == sorted(set(means))


def test_a_region_is_controlled_and_the_far_side_is_not(forecaster, past):
    region = np.zeros((72, 88), np.float32)
    region[20:50, 10:30] = 1.0
    scene = open_scene(forecaster, past, region)
    low, high = draw(forecaster, scene, [0], (-2.0, 2.0))
    assert np.mean(high.rain[:, 20:50, 10:30]) == pytest.approx(high.achieved_mean, rel=1e-3)
    assert scene.expectation.sigmas_of(high.achieved_mean) == pytest.approx(2.0, abs=0.1)
    far = scene.weight[:72, :88].numpy() == 0
    assert far[:, 70:].any()
    assert high.shift > low.shift


def test_the_same_seed_gives_the_same_member_in_any_company(forecaster, past):
    scene = open_scene(forecaster, past)
    alone = draw(forecaster, scene, [3], (1.0,))[0]
    again = draw(forecaster, scene, [3], (1.0,))[0]
    among = draw(forecaster, scene, [7, 3], (-1.0, 1.0))[3]
    other = draw(forecaster, scene, [3], (1.0,), seed=6)[0]
    assert np.array_equal(alone.rain, again.rain, equal_nan=True)
    assert (among.number, among.sigmas) == (3, 1.0)
    np.testing.assert_allclose(among.rain, alone.rain, rtol=2e-2, atol=2e-3)
    assert not np.allclose(other.rain, alone.rain, equal_nan=True, rtol=1e-2)


def test_an_ensemble_is_drawn_freely_also_where_it_is_dry(forecaster, past):
    members = forecaster.forecast_ensemble(past, members=3, seed=0, progress=silent, **SCENE)
    assert members.shape == (3, 4, 72, 88)
    assert not np.allclose(members[0], members[1], equal_nan=True)
    forecaster.default_members = 3
    np.testing.assert_allclose(
        forecaster.forecast(past, progress=silent, **SCENE), members.mean(axis=0), rtol=1e-4
    )
    dry = forecaster.forecast_ensemble(np.zeros_like(past), members=1, seed=0, progress=silent, **SCENE)
    assert np.isfinite(dry).all()


def test_without_rain_mu_and_sigma_are_refused(forecaster, past):
    scene = open_scene(forecaster, np.zeros_like(past))
    with pytest.raises(DataError, match="mu and sigma are undefined without rain; choose another issue time"):
        draw(forecaster, scene, [0], (0.0,))


def test_frames_between_steps_stay_as_rough_as_the_steps(forecaster, past):
    scene = open_scene(forecaster, past, interval_minutes=5.0, lead_steps=12)
    assert scene.leads == tuple(frame / 2 for frame in range(1, 13))
    steps = torch.randn(6, *scene.known.shape, generator=torch.Generator().manual_seed(0))
    frames = scene.scores_of_frames(steps)
    torch.testing.assert_close(frames[1::2], steps)
    assert frames.var(dim=(1, 2)).tolist() == pytest.approx([1.0] * 12, abs=0.12)
    torch.testing.assert_close(frames[0], steps[0], rtol=0, atol=1e-4)


def test_progress_rises_and_may_stop_the_drawing(forecaster, past):
    scene = open_scene(forecaster, past)
    heard: list[float] = []
    draw(forecaster, scene, [0, 1], (0.0, 1.0), progress=lambda _, share: heard.append(share))
    assert heard == sorted(heard)
    assert 0 <= heard[0] < heard[-1] <= 1

    def stop(stage: str, share: float) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        draw(forecaster, scene, [0], (0.0,), progress=stop)


def test_scores_are_brought_to_the_quantiles_that_were_seen(model):
    scores = torch.tensor([-5.0, -1.5, 0.0, 0.3, 3.0, 4.0])
    torch.testing.assert_close(model.rescored(scores), scores)
    model.seen_quantiles.copy_(torch.linspace(-2.0, 4.0, 11))  # ends of -3 and 3 become -2 and 4
    torch.testing.assert_close(model.rescored(scores), scores + 1.0)
    model.seen_quantiles.copy_(model.drawn_quantiles.sign() * model.drawn_quantiles.abs().sqrt())
    there = model.rescored(torch.linspace(-5, 5, 101))
    assert (there.diff() > 0).all()


def test_no_block_is_deaf_to_the_diffusion_time(model):
    x, conditions = torch.randn(1, 6, 10, 12, 2), torch.randn(1, 7, 10, 12, config.FEATURES)
    with torch.no_grad():
        early, late = (model.denoiser(x, torch.tensor([t]), conditions) for t in (10, 900))
    assert (early - late).abs().max() > 1e-4 * early.abs().max()


def test_weights_go_through_a_file_in_half_precision(model, tmp_path, monkeypatch):
    monkeypatch.setitem(config.PRESETS, "tiny", tiny_config)
    model.outlook.widening.fill_(1.0345678)
    path = save_scenarios(model, tmp_path / "tiny.safetensors")
    again = read_scenarios(path)
    assert again.outlook.widening.item() == model.outlook.widening.item()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_other_weights_are_refused_in_one_line(model, tmp_path, monkeypatch):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"broken\.safetensors is not a readable safetensors file"):
        read_scenarios(path)
    save_scenarios(model, path)
    with pytest.raises(WeightsError, match="does not hold a scenario model"):
        read_scenarios(path)  # no preset of that name
    monkeypatch.setitem(config.PRESETS, "tiny", config.scenarios_small)
    with pytest.raises(WeightsError, match="tensors differ, the first is"):
        read_scenarios(path)


def test_networks_that_do_not_fit_together_are_refused():
    tiny = tiny_config()
    parts = {
        name: getattr(tiny, name) for name in ("preset", "nowcaster", "autoencoder", "denoiser", "alignment")
    }
    with pytest.raises(ConfigError, match="patch=8 asks for 64 and 128"):
        ScenarioConfig(**parts, patch=8)
    with pytest.raises(ConfigError, match="the alignment needs positions='t' and 10 channels"):
        ScenarioConfig(**{**parts, "alignment": config._on_latents(8, 13)})

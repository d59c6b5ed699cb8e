"""A finished run becomes a model with card and self-check, found by the path of its card."""

import json
import tomllib

import numpy as np
import pytest
import torch
from torch import nn

import geoscope as gs
from geoscope.data.rain_scale import decode_rain, encode_rain
from geoscope.data.storms import StormConfig, simulate_storms
from geoscope.errors import ConfigError, DataError, WeightsError
from geoscope.inference import export
from geoscope.inference.frame_nowcaster import FrameNowcaster, fading, starts
from geoscope.models.networks.weights import NetworkHeader, save_network
from geoscope.models.nowcaster.checkpoints import save_nowcaster
from geoscope.models.nowcaster.model import LagrangianEarthformer
from geoscope.models.nowcaster.presets import nowcaster_small
from geoscope.zoo.card_text import to_toml
from geoscope.zoo.cards import CARDS, WEIGHTS, ModelCard, card

RAIN = NetworkHeader(
    name="unet", size="small", in_frames=2, out_frames=3, height=32, width=32, channels=1, encoding="log rain",
    pixel_km=1.0, interval_minutes=5.0,
)  # fmt: skip
PICTURES = NetworkHeader(
    name="unet", size="small", in_frames=2, out_frames=2, height=32, width=32, channels=1, encoding="unit"
)


def write_run(folder, header=RAIN):
    folder.mkdir()
    torch.manual_seed(0)
    if header is None:
        save_nowcaster(LagrangianEarthformer(nowcaster_small()), folder / "model.safetensors")
    else:
        save_network(header.network(), header, folder / "model.safetensors")
    record = {
        "task": "unet", "weights": "model.safetensors", "parameters": 3, "steps": 7, "minutes": 1.5, "seed": 0,
        "monitor": "mse", "best_score": 0.25, "best_step": 6, "date": "2026-11-21", "torch": "2.13.0",
        "facts": {"data": ['storms with a "quote"'], "split": "by hand"},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def storm():
    return simulate_storms(StormConfig(frames=4, height=40, width=50))


def test_a_network_trained_on_rain_forecasts_by_the_path_of_its_card(tmp_path, storm):
    written = export.export_run(write_run(tmp_path / "run"), "my-radar", tmp_path / "models", licence="CC0")
    assert sorted(path.name for path in written.parent.iterdir()) == [
        "my-radar.check.safetensors", "my-radar.safetensors", "my-radar.toml",
    ]  # fmt: skip
    own = card(str(written))
    assert (own.name, own.licence, own.training.data) == ("my-radar", "CC0", ('storms with a "quote"',))
    assert "mse 0.25 at step 6" in own.scores_note
    forecast = gs.nowcast(storm, model=str(written), lead_steps=3)
    assert forecast.shape == (3, 40, 50)
    assert forecast.attrs["model"] == "my-radar"
    assert np.isfinite(forecast.values).all()
    with pytest.raises(ConfigError, match="at most 3"):
        gs.nowcast(storm, model=str(written), lead_steps=4)
    assert gs.load_model(str(written)) is gs.load_model(str(written))


def test_a_network_of_pictures_comes_bare_with_its_card(tmp_path, storm):
    written = export.export_run(write_run(tmp_path / "run", PICTURES), "digits", tmp_path)
    network = gs.load_model(str(written))
    assert isinstance(network, nn.Module)
    assert network.card.task == "frames"
    with pytest.raises(ConfigError, match="is a bare network, not a nowcaster"):
        gs.nowcast(storm, model=str(written), lead_steps=1)


def test_a_nowcaster_comes_with_the_bounds_of_the_shipped_one(tmp_path):
    written = export.export_run(write_run(tmp_path / "run", None), "mine", tmp_path)
    own, shipped = card(str(written)), card("earthformer-nowcast")
    assert (own.input, own.output) == (shipped.input, shipped.output)
    assert own.weights_path() == tmp_path / "mine.safetensors"
    assert gs.load_model(str(written)).card == own


def test_weights_that_were_exported_again_are_loaded_again(tmp_path):
    run = write_run(tmp_path / "run", PICTURES)
    written = export.export_run(run, "digits", tmp_path)
    first = gs.load_model(str(written))
    save_network(PICTURES.network(), PICTURES, run / "model.safetensors")
    with pytest.raises(ConfigError, match=r"digits\.toml exists already; .* --overwrite"):
        export.export_run(run, "digits", tmp_path)
    export.export_run(run, "digits", tmp_path, overwrite=True)
    again = gs.load_model(str(written))
    assert again is not first


def test_damaged_weights_of_ones_own_say_what_to_do(tmp_path):
    written = export.export_run(write_run(tmp_path / "run", PICTURES), "digits", tmp_path)
    raw = bytearray((tmp_path / "digits.safetensors").read_bytes())
    raw[-1] ^= 0xFF
    (tmp_path / "digits.safetensors").write_bytes(raw)
    with pytest.raises(WeightsError, match="damaged; run geoscope export again"):
        gs.load_model(str(written))
    (tmp_path / "digits.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"are not in .*digits\.safetensors"):
        gs.load_model(str(written))


@pytest.mark.parametrize("name", ["My Radar", "", "../up", "a/b"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="expected small letters"):
        export.export_run(tmp_path, name, tmp_path)


@pytest.mark.parametrize("record", [None, "not JSON", "{}", "[]"])
def test_a_folder_without_a_finished_run_is_refused(tmp_path, record):
    if record is not None:
        (tmp_path / "run.json").write_text(record)
    with pytest.raises(DataError, match=r"is not the folder of a finished run: run\.json cannot be used"):
        export.export_run(tmp_path, "mine", tmp_path)


def test_a_run_whose_weights_are_gone_is_refused(tmp_path):
    (write_run(tmp_path / "run", PICTURES) / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"the weights model\.safetensors are gone"):
        export.export_run(tmp_path / "run", "mine", tmp_path)


def test_only_learned_models_are_loaded_from_a_card_of_ones_own(tmp_path):
    (tmp_path / "still.toml").write_text(
        'name = "still"\ntitle = "a"\ntask = "nowcast"\nkind = "baseline"\nsummary = "b"\n'
    )
    with pytest.raises(ConfigError, match="is of kind 'baseline': only learned models"):
        gs.load_model(str(tmp_path / "still.toml"))


def test_a_card_without_weights_cannot_be_loaded():
    from geoscope.inference.own_models import load_own

    with pytest.raises(WeightsError, match="has no weights on its card"):
        load_own(ModelCard(name="a", title="a", task="b", kind="learned", summary=""), "cpu")


def test_a_card_written_by_hand_gets_new_weights_and_keeps_its_words(tmp_path):
    run = write_run(tmp_path / "run", PICTURES)
    written = export.export_run(run, "digits", tmp_path)
    written.write_text(written.read_text().replace('summary = "', 'summary = "By hand: '))
    save_network(PICTURES.network(), PICTURES, run / "model.safetensors")
    export.refresh_entry(written, run / "model.safetensors")
    own = card(str(written))
    assert own.summary.startswith("By hand: ")
    assert own.parameters == sum(p.numel() for p in gs.load_model(str(written)).parameters())
    written.write_text(written.read_text().replace("parameters = ", "# parameters = "))
    with pytest.raises(ConfigError, match="has no line 'parameters'"):
        export.refresh_entry(written, run / "model.safetensors")
    (tmp_path / "none.toml").write_text(
        'name = "none"\ntitle = "a"\ntask = "nowcast"\nkind = "baseline"\nsummary = "b"\n'
    )
    with pytest.raises(ConfigError, match="names no file of weights"):
        export.refresh_entry(tmp_path / "none.toml", run / "model.safetensors")


def test_a_shipped_card_is_where_the_shipped_weights_are():
    assert card("earthformer-nowcast").folder == WEIGHTS
    assert (CARDS / "earthformer-nowcast.toml").is_file()


def test_tiles_cover_a_field_and_fade():
    assert starts(32, 32) == [0]
    assert starts(70, 32) == [0, 16, 32, 38]
    assert fading(4).tolist() == [0.125, 0.375, 0.375, 0.125]


@pytest.mark.parametrize("side", [20, 32, 75])
def test_a_network_that_repeats_the_last_frame_is_persistence_on_any_grid(side):
    class Last(nn.Module):
        def forward(self, x):
            return x[:, -1:].expand(-1, 3, -1, -1, -1)

    rain = np.random.default_rng(0).gamma(1.0, 3.0, (3, side, side)).astype(np.float32)
    rain[-1, 0, 0] = np.nan
    nowcaster = FrameNowcaster(Last(), RAIN, card("persistence"), "cpu")
    forecast = nowcaster.forecast(
        rain, interval_minutes=5, pixel_km=1, lead_steps=2, progress=lambda stage, share: None
    )
    np.testing.assert_allclose(forecast, np.stack([rain[-1]] * 2), rtol=1e-4, atol=1e-4)


def test_the_scale_of_rain_by_hand():
    np.testing.assert_allclose(encode_rain(np.array([0.0, 100.0])), [0, 1])
    np.testing.assert_allclose(decode_rain(encode_rain(np.array([0.1, 7.0]))), [0.1, 7.0], rtol=1e-5)
    assert decode_rain(np.array([-0.5])) == 0


def test_cards_as_toml_are_read_back():
    table = {
        "a": 'quote " and \\ and ä',
        "b": [1, 2.5],
        "c": True,
        "d": None,
        "e": {"f": "x", "g": []},
        "h": {},
    }
    assert tomllib.loads(to_toml(table)) == {"a": table["a"], "b": [1, 2.5], "c": True, "e": {"f": "x"}}
    with pytest.raises(ConfigError, match="a is set"):
        to_toml({"a": {1}})

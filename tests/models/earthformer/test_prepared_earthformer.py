"""The inference form: the same forecast as the model, whatever it is made of, and what it refuses."""

import os
import shutil
from dataclasses import replace

import pytest
import torch

from geoscope.errors import ConfigError
from geoscope.models.earthformer.config import EarthformerConfig, GlobalOptions, StemStage
from geoscope.models.earthformer.model import Earthformer
from geoscope.models.earthformer.presets import (
    earthformer_enso,
    earthformer_nbody,
    earthformer_sevir,
    earthformer_sevir_lr,
)
from geoscope.nn.cuboid_self_attention import GlobalVectors
from geoscope.nn.recomputation import recompute_blocks
from geoscope.nn.resampling import Upsample
from geoscope.ops.cuboid_attention import Cuboids

TINY = EarthformerConfig(
    input_shape=(3, 8, 8, 2),
    target_shape=(4, 8, 8, 1),
    base_width=8,
    heads=2,
    stem=(StemStage(width=8, factor=(1, 2, 2), convs=1, groups=2),),
)
PRESETS = {
    "sevir": (earthformer_sevir, 24),
    "sevir_lr": (earthformer_sevir_lr, 16),
    "enso": (earthformer_enso, 8),
    "nbody": (earthformer_nbody, 8),
}


def small(name: str) -> Earthformer:
    make, side = PRESETS[name]
    config = make()
    shapes = {key: (getattr(config, key)[0], side, side, 1) for key in ("input_shape", "target_shape")}
    torch.manual_seed(0)
    return Earthformer(replace(config, **shapes)).eval()


def reference_form(model: Earthformer) -> Earthformer:
    for module in model.modules():
        if isinstance(module, Upsample):
            module.impl = "reference"
    return model


@pytest.mark.parametrize("name", PRESETS)
def test_the_prepared_form_errs_no_more_than_the_model_with_plain_layers(name):
    model = small(name)
    x = torch.rand(1, *model.config.input_shape)
    prepared, half = model.prepare(), model.prepare(torch.bfloat16)
    exact = model.double().prepare()
    with torch.no_grad():
        truth = reference_form(model)(x.double())
        plain = model.float()(x)
        with torch.autocast("cpu", torch.bfloat16):
            plain_half = model(x)
    torch.testing.assert_close(exact(x.double()), truth, rtol=0, atol=1e-11)
    for actual, expected in ((prepared(x), plain), (half(x), plain_half)):
        assert actual.dtype == torch.float32
        budget = 2 * (expected.double() - truth).abs().max() + torch.finfo(torch.float32).eps
        assert (actual.double() - truth).abs().max() <= budget


@pytest.mark.parametrize(
    "changes",
    [
        {"gated": True, "activation": "leaky"},
        {"initial_state": "mean", "final_upsample": False, "positions": "t"},
        {"global_vectors": GlobalOptions(count=2, layer=GlobalVectors(separate=True), decoder_cross=True)},
        {"stem": (StemStage(width=8, factor=(1, 3, 3), convs=0, groups=2),)},
    ],
)
def test_other_models_prepare_to_the_same_numbers(changes):
    torch.manual_seed(0)
    model, x = Earthformer(replace(TINY, **changes)).double().eval(), torch.rand(2, 3, 8, 8, 2).double()
    torch.testing.assert_close(model.prepare()(x), model(x).detach(), rtol=0, atol=1e-11)


def test_a_model_for_any_grid_stays_one():
    torch.manual_seed(0)
    model = Earthformer(replace(TINY, positions="t", padding="ignore")).double().eval()
    prepared, x = model.prepare(), torch.rand(1, 3, 5, 13, 2).double()
    torch.testing.assert_close(prepared(x), model(x).detach(), rtol=0, atol=1e-11)


def test_a_snapshot_keeps_its_weights_and_saves_those_of_the_model():
    model, x = Earthformer(TINY).eval(), torch.rand(1, 3, 8, 8, 2)
    prepared = model.prepare(torch.bfloat16)
    before, saved = prepared(x), prepared.state_dict()
    assert saved.keys() == model.state_dict().keys()
    other = Earthformer(TINY).eval()
    other.load_state_dict(saved)
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)
    with torch.no_grad():
        model.output.weight.zero_()
    assert torch.equal(prepared(x), before)


def test_a_model_in_training_is_prepared_as_it_is_and_goes_on_training():
    model, x = Earthformer(TINY), torch.rand(1, 3, 8, 8, 2)
    recompute_blocks(list(model.head.convs))
    prepared = model.prepare()
    with torch.no_grad():
        model.head.convs[0].convs[0].weight.zero_()
    changed = model.prepare()
    assert not torch.equal(prepared(x), changed(x))
    assert model.training
    assert not prepared(x.requires_grad_()).requires_grad
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch's own parts
def test_the_compiled_form_gives_the_same_forecast_or_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    config = EarthformerConfig(
        input_shape=(2, 4, 4, 1),
        target_shape=(2, 4, 4, 1),
        base_width=4,
        heads=1,
        encoder_depth=(1,),
        decoder_depth=(1,),
        encoder_attention=(Cuboids(size=(2, 2, 2)),),
        activation="relu",
        stem=(StemStage(width=4, convs=0, groups=1),),
        final_upsample=False,
    )
    torch.manual_seed(0)
    model, x = Earthformer(config).eval(), torch.rand(1, 2, 4, 4, 1)
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        with pytest.raises(ConfigError, match=r"needs the C\+\+ compiler"):
            model.prepare(compile=True)
        return
    # measured 1.2e-6 apart on values up to 2.6
    torch.testing.assert_close(model.prepare(compile=True)(x), model.prepare()(x), rtol=0, atol=5e-6)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"needs the C\+\+ compiler 'no-such-compiler'.*leave compile out"):
        Earthformer(TINY).prepare(compile=True)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.train(), "only predicts: train the model"),
        (lambda p: p.load_state_dict({}), "takes no weights"),
        (lambda p: p.double(), "stays where it was made"),
        (
            lambda p: p.source.prepare(torch.int8),
            "prepare: dtype=torch.int8 .* choose float64, float32, bfloat16",
        ),
    ],
)
def test_what_a_prepared_model_cannot_do_is_refused_in_one_line(ask, message):
    prepared = Earthformer(TINY).prepare()
    with pytest.raises(ConfigError, match=message) as caught:
        ask(prepared)
    assert "\n" not in str(caught.value)
    assert prepared.eval() is prepared

"""The model: shapes, any grid, what each option does, and what the config refuses."""

from dataclasses import replace

import pytest
import torch

from geoscope.errors import ConfigError, ShapeError
from geoscope.models.earthformer import initial
from geoscope.models.earthformer.config import (
    Dropout,
    EarthformerConfig,
    GlobalOptions,
    StemStage,
)
from geoscope.models.earthformer.model import Earthformer
from geoscope.nn.cuboid_cross_attention import CrossCuboids
from geoscope.nn.cuboid_self_attention import GlobalVectors
from geoscope.ops.cuboid_attention import Cuboids, record_attention

WINDOWS = (
    Cuboids(size=(4, 1, 1)),
    Cuboids(size=(1, 4, 4), shift=(0, 2, 2)),
    Cuboids(size=(1, 4, 4), strategy=("local", "dilated", "dilated")),
)
TINY = EarthformerConfig(
    input_shape=(3, 8, 8, 2),
    target_shape=(4, 8, 8, 1),
    base_width=8,
    heads=2,
    encoder_depth=(1,),
    decoder_depth=(1,),
    stem=(StemStage(width=8, factor=(1, 2, 2), convs=1, groups=2),),
)
FREE = replace(
    TINY,
    positions="t",
    padding="ignore",
    encoder_attention=WINDOWS,
    decoder_attention=WINDOWS,
    final_upsample=False,
)


def test_steps_and_channels_may_differ_between_input_and_target():
    assert Earthformer(TINY)(torch.randn(2, 3, 8, 8, 2)).shape == (2, 4, 8, 8, 1)


@pytest.mark.parametrize("grid", [(8, 8), (5, 13), (1, 1), (30, 22)])
def test_a_model_with_windows_and_positions_in_time_only_takes_any_grid(grid):
    model = Earthformer(FREE).eval()
    out = model(torch.randn(1, 3, *grid, 2))
    assert out.shape == (1, 4, -(-grid[0] // 2), -(-grid[1] // 2), 1)
    assert torch.isfinite(out).all()


def test_a_forecast_does_not_depend_on_the_other_samples_of_the_batch():
    model, x = Earthformer(FREE).eval(), torch.randn(3, 3, 8, 8, 2)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["zeros", "nearest_interp", "last", "mean"])
def test_the_initial_state_starts_where_it_says(kind):
    model = Earthformer(replace(TINY, initial_state=kind)).eval()
    memory = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(2, 3, 4, 4, 8)
    with torch.no_grad():
        model.state_projection.weight.copy_(torch.eye(8))
        state = model.initial_state(memory)
    assert state.shape == (2, 4, 4, 4, 8)
    steps = {"nearest_interp": [0, 0, 1, 2], "last": [2, 2, 2, 2], "mean": [1, 1, 1, 1]}
    if kind == "zeros":
        assert torch.equal(state[0], model.decoder_positions.table(4, 4, 4).detach())
    else:
        assert state[0, :, 0, 0, 0].tolist() == steps[kind]


def test_every_parameter_learns():
    vectors = GlobalOptions(
        count=2,
        layer=GlobalVectors(separate=True, self_attention=True, ratio=2),
        decoder_self=True,
        decoder_cross=True,
        feed_forward=True,
    )
    config = replace(TINY, global_vectors=vectors, encoder_depth=(1, 1), decoder_depth=(1, 1), gated=True)
    model = Earthformer(replace(config, first_self_attention=True))
    model(torch.randn(1, 3, 8, 8, 2)).square().mean().backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    unseen = {name for name in idle if ".globals." in name or "global_feed_forwards" in name}
    # The last update of the global vectors on each decoder level leads nowhere; everything else must learn.
    assert idle == unseen
    assert all(name.startswith("decoder.self_levels") for name in idle)


@pytest.mark.parametrize("factor", [(1, 2, 2), (1, 3, 1), (2, 1, 2)])
def test_frames_go_a_few_at_a_time_without_gradients_and_nothing_changes(factor, monkeypatch):
    stages = (
        StemStage(width=4, factor=factor, convs=2, groups=2),
        StemStage(width=8, factor=(1, 2, 1), convs=1, final_convs=0, groups=2),
    )
    config = replace(TINY, input_shape=(4, 12, 8, 2), target_shape=(3, 12, 8, 1), stem=stages)
    model, x = Earthformer(config).eval().double(), torch.randn(2, 4, 12, 8, 2).double()
    expected = model(x).detach()
    monkeypatch.setattr(initial, "VALUES_AT_ONCE", 1)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


def test_frames_at_once_go_by_the_widest_layer():
    stages = (StemStage(width=16, factor=(1, 3, 3)), StemStage(width=64, factor=(1, 2, 2)))
    assert initial.frames_at_once((384, 384), stages) == 1  # 384 * 384 * 16 values
    assert initial.frames_at_once((96, 96), stages) == 2**21 // (96 * 96 * 16)
    assert initial.frames_at_once((96, 96), stages[1:]) == 2**21 // (96 * 96 * 64)


def test_norms_over_frozen_convolutions_still_learn():
    model = Earthformer(TINY)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".norms." in name)
    model(torch.randn(1, 3, 8, 8, 2)).square().mean().backward()
    assert all(p.grad.any() for p in model.parameters() if p.requires_grad)


def test_dropout_only_acts_in_training():
    model = Earthformer(replace(TINY, dropout=Dropout(attention=0.5, projection=0.5, feed_forward=0.5)))
    x = torch.randn(1, 3, 8, 8, 2)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    config = replace(
        FREE,
        input_shape=(2, 3, 3, 1),
        target_shape=(1, 3, 3, 1),
        base_width=4,
        stem=(StemStage(width=4, convs=0, groups=1),),
        encoder_attention=(Cuboids(size=(2, 2, 2), shift=(0, 1, 1)),),
        decoder_attention=(Cuboids(size=(1, 2, 2)),),
        cross_attention=(CrossCuboids(size=(2, 2)),),
    )
    model = Earthformer(config).double()
    assert torch.autograd.gradcheck(model, torch.randn(1, 2, 3, 3, 1).double().requires_grad_(), atol=1e-6)


def test_attention_maps_carry_the_names_of_their_layers():
    model, maps = Earthformer(FREE).eval(), []
    x = torch.randn(1, 3, 8, 8, 2)
    with record_attention(maps.append):
        recorded = model(x)
    labels = [each.label for each in maps]
    assert labels == [f"encoder.levels.0.0.attentions.{i}" for i in range(3)] + [
        "decoder.cross_levels.0.0.attentions.0"
    ]
    assert all(name in dict(model.named_modules()) for name in labels)
    assert torch.allclose(maps[0].weights.sum(-1), torch.ones(()), atol=1e-5)
    torch.testing.assert_close(recorded, model(x), rtol=1e-4, atol=1e-5)


def test_time_groups_of_a_cross_attention_see_their_part_of_the_memory():
    config = replace(TINY, cross_attention=(CrossCuboids(size=(2, 2), groups=2),), padding="ignore")
    assert torch.isfinite(Earthformer(config)(torch.randn(1, 3, 8, 8, 2))).all()


def test_what_is_recomputed_has_the_same_gradients_to_the_bit():
    config = replace(
        TINY, encoder_depth=(1, 1), decoder_depth=(1, 1), dropout=Dropout(attention=0.1, feed_forward=0.1)
    )
    x, found = torch.randn(2, 3, 8, 8, 2), {}
    for recompute in ((), ("stem",), ("level1",), ("level2",), ("head",), config.parts):
        torch.manual_seed(0)
        model = Earthformer(replace(config, recompute=recompute))
        model(x).square().mean().backward()
        found[recompute] = [p.grad for p in model.parameters() if p.grad is not None]
        assert model.blocks("level2")
    plain = found.pop(())
    for recompute, grads in found.items():
        assert all(torch.equal(a, b) for a, b in zip(plain, grads, strict=True)), recompute


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 2, 8, 8, 2), (1, 3, 8, 8, 1), (1, 3, 9, 8, 2)])
def test_an_input_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match="input has shape"):
        Earthformer(TINY)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_shape": (3, 8, 8)}, "input_shape="),
        ({"target_shape": (0, 8, 8, 1)}, "target_shape="),
        ({"target_shape": (4, 8, 9, 1)}, "differ in rows or columns"),
        ({"encoder_depth": (1, 1)}, "encoder_depth="),
        ({"decoder_depth": (0,)}, "decoder_depth="),
        ({"widths": (16,)}, "widths="),
        ({"heads": 3}, "heads=3"),
        ({"cross_start": 2}, "cross_start=2"),
        ({"upsample_kernel": 2}, "upsample_kernel=2"),
        ({"initial_state": "noise"}, "initial_state='noise'"),
        ({"base_width": 16}, "must be base_width=16"),
        ({"encoder_attention": ["axial", "axial"]}, "encoder_attention lists 2 levels"),
        ({"encoder_attention": "spiral"}, "pattern 'spiral'"),
        ({"downsample": (0, 2, 2)}, "downsample="),
        (
            {"recompute": ("level2",)},
            "recompute='level2' is no part of this network: give stem, level1, head",
        ),
        ({"recompute": ("head",), "final_upsample": False}, "give stem, level1$"),
    ],
)
def test_a_config_that_cannot_work_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StemStage(width=8, groups=3), "does not split into 3 groups"),
        (lambda: StemStage(width=16, factor=(1, 0, 2)), "stem factor="),
        (lambda: StemStage(width=16, convs=-1), "stem convs=-1"),
        (lambda: Dropout(attention=1.0), "dropout"),
        (lambda: GlobalOptions(count=-1), "count=-1"),
        (lambda: GlobalVectors(ratio=2), "ratio=2"),
        (lambda: CrossCuboids(size=(2, 2), groups=0), "groups=0"),
    ],
)
def test_a_part_that_cannot_work_is_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_last_update_of_vectors_that_nobody_asks_for_is_left_out():
    vectors = GlobalOptions(count=2, layer=GlobalVectors(separate=True, self_attention=True))
    model, x = Earthformer(replace(TINY, global_vectors=vectors)).eval(), torch.randn(1, 3, 8, 8, 2)
    expected, maps = model(x), []
    with record_attention(maps.append):
        model(x)
    updates = [each.label for each in maps if each.label.endswith(".globals")]
    assert updates == [f"encoder.levels.0.0.attentions.{i}.globals" for i in range(2)]  # of three
    model.encoder.hands_on = True
    assert torch.equal(model(x), expected)

"""What an Earthformer costs: published figures, what a real run holds, refusals."""

from dataclasses import replace

import pytest
import torch

from geoscope.errors import ConfigError
from geoscope.models.costs import earthformer
from geoscope.models.costs.estimate import cost, dtype_of
from geoscope.models.costs.largest import largest_sides
from geoscope.models.costs.meter import Meter
from geoscope.models.costs.steps import forecast, training_loss
from geoscope.nn.recomputation import recompute_blocks
from geoscope.training.engine.task import listed_blocks


@pytest.fixture(scope="module")
def small():
    """The SEVIR network on 24 x 24 pixels and 3 frames."""
    config = earthformer.preset_config("earthformer_sevir")
    return earthformer.resized(config, frames=3, leads=2, size=(24, 24))


def test_the_sevir_network_costs_what_the_published_code_costs():
    found = cost(earthformer.preset_config("earthformer_sevir"), as_published=True)
    assert found.parameters == 8_659_677
    # 2 a multiply-add, products only; the published code counts 447.15, with an update of vectors that nothing reads
    assert found.flop == pytest.approx(446.25e9, rel=1e-4)
    assert sum(part.flop for part in found.parts.values()) == found.flop
    assert found.parts["head"].flop / 447.15e9 == pytest.approx(0.707, abs=0.001)
    assert found.parts["stem"].flop / 447.15e9 == pytest.approx(0.128, abs=0.001)


def test_the_enso_network_costs_what_the_published_code_costs():
    found = cost(earthformer.preset_config("earthformer-enso"), as_published=True)
    assert found.parameters == 1_394_325
    assert found.flop == pytest.approx(13.4e9, rel=0.02)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_ghost_costs_what_a_real_run_holds(small, mode):
    torch.manual_seed(0)
    small = replace(small, dropout=type(small.dropout)())
    found, meter = cost(small, mode), Meter()
    model = earthformer.build(small).train(mode == "training")
    x, target = torch.rand(1, *small.input_shape), torch.rand(1, *small.target_shape)
    with meter:
        if mode == "inference":
            forecast(model, x)
        else:
            training_loss(model, x, target, torch.float32).backward()
    assert meter.reading.flop == found.flop
    assert meter.reading.peak == pytest.approx(found.activations + found.gradients, rel=0.02)


def test_memory_is_linear_in_the_batch(small):
    one, two, three = (cost(small, batch=batch) for batch in (1, 2, 3))
    assert three.flop - two.flop == two.flop - one.flop  # sums of taps are made once, whatever the batch
    assert three.inputs == 3 * one.inputs
    assert three.weights == one.weights


def test_half_the_bytes_make_half_the_memory(small):
    full, half = cost(small), cost(small, dtype=torch.bfloat16)
    assert half.flop == full.flop
    assert half.weights == full.weights / 2
    assert half.activations == pytest.approx(full.activations / 2, rel=0.05)


def test_training_keeps_activations_and_recomputing_keeps_fewer(small):
    plain = cost(small, "training")
    again = cost(small, "training", prepare=lambda model: recompute_blocks(listed_blocks(model)))
    assert plain.moments == 2 * plain.weights
    assert plain.gradients <= plain.weights
    assert again.kept < 0.5 * plain.kept
    assert plain.flop < again.flop <= 1.34 * plain.flop  # one more forward pass at most
    assert sum(part.kept for part in plain.parts.values()) == plain.kept


def test_recomputing_by_part_keeps_less_and_costs_that_part_once_more(small):
    plain = cost(small, "training")
    for part in small.parts:
        again = cost(replace(small, recompute=(part,)), "training")
        assert again.kept < plain.kept, part
        forward = sum(
            own.flop for name, own in plain.parts.items() if name.replace("level ", "level").find(part) >= 0
        )
        assert 0 < again.flop - plain.flop <= forward, part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("stem.convs.0", "stem"),
        ("encoder.levels.0.1.attentions.2.qkv", "encoder level 1: attention"),
        ("encoder.levels.1.0.global_feed_forwards.0", "encoder level 2: feed-forward"),
        ("encoder.global_merges.0", "encoder: merging"),
        ("decoder.cross_levels.1.0.attentions.0", "decoder level 2: attention"),
        ("decoder.self_levels.0.0.feed_forwards.0", "decoder level 1: feed-forward"),
        ("decoder.upsamples.0.conv", "decoder: upsampling"),
        ("head.convs.2.norms.1", "head"),
        ("state_projection", "positions, state, output"),
    ],
)
def test_modules_belong_to_parts(name, part):
    assert earthformer.part_of(name) == part


def test_the_largest_side_is_the_last_that_fits():
    def peak_of(side: int) -> int:
        return 1000 + 7 * side**2

    looked: list[int] = []
    sides = largest_sides(
        lambda side: looked.append(side) or peak_of(side), [0, 0], 24, longest=4800, first=240
    )
    assert sides == [0, 0]
    looked.clear()
    budgets = [900, 5_000_000, 150_000_000, 10**12]
    found = largest_sides(peak_of, budgets, 24, longest=4800, first=240)
    assert found[0] == 0
    assert found[3] == 4800
    for side, budget in zip(found[1:3], budgets[1:3], strict=True):
        assert side % 24 == 0
        assert peak_of(side) <= budget
        assert peak_of(side + 24) > budget or peak_of(side) >= 0.97 * budget


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": 0}, "frames=0: give at least 1"),
        ({"leads": -1}, "leads=-1: give at least 1"),
        ({"size": (0, 24)}, "size=0 rows: give from 1 to"),
        (
            {"size": (24, 100)},
            "size=100 columns is not a multiple of 24, which the network merges: 96 or 120 is",
        ),
        ({"size": (10, 24)}, "size=10 rows is not a multiple of 24, which the network merges: 24 is"),
        ({"size": (24, 10**6)}, "size=1000000 columns: give from 1 to 65536"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes, said):
    with pytest.raises(ConfigError) as caught:
        earthformer.resized(earthformer.preset_config("earthformer_sevir"), **changes)
    assert str(caught.value).startswith(said)


def test_an_unknown_preset_dtype_or_batch_is_refused(small):
    with pytest.raises(ConfigError, match="the nearest is 'earthformer_sevir'"):
        earthformer.preset_config("earthformer_sevr")
    with pytest.raises(ConfigError, match="dtype 'float8' is not known: choose one of float32, bfloat16"):
        dtype_of("float8")
    with pytest.raises(ConfigError, match="batch=0: give at least 1"):
        cost(small, batch=0)

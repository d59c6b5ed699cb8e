"""The layers around cuboid attention: padding with bias, residuals, global vectors, refusals."""

import pytest
import torch

from geoscope.errors import ConfigError, ShapeError
from geoscope.nn.cuboid_blocks import CrossAttentionBlock, FeedForwardOptions, SelfAttentionBlock
from geoscope.nn.cuboid_cross_attention import CrossCuboids, CuboidCrossAttention
from geoscope.nn.cuboid_self_attention import (
    AttentionOptions,
    CuboidSelfAttention,
    GlobalVectors,
    published_global_mask,
)
from geoscope.ops.cuboid_attention import Cuboids

OPTIONS = AttentionOptions(heads=2)
CPU = torch.device("cpu")


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_padding_that_is_attended_to_carries_the_bias_of_the_projection():
    # The last 2x2 window of a 3x3 frame, made by hand: normed first, then padded, then projected.
    options = AttentionOptions(heads=2, qkv_bias=True, relative_positions=False)
    layer, x = CuboidSelfAttention(4, Cuboids(size=(1, 2, 2)), options).double(), randn(1, 1, 3, 3, 4)
    torch.nn.init.normal_(layer.qkv.bias)
    padded = torch.nn.functional.pad(layer.norm(x), (0, 0, 0, 1, 0, 1))
    q, k, v = layer.qkv(padded)[0, 0, 2:, 2:].reshape(4, 3, 2, 2).permute(1, 2, 0, 3)
    corner = torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, 0].reshape(4)
    torch.testing.assert_close(layer(x)[0][0, 0, 2, 2], layer.projection(corner))


def test_a_cross_attention_with_bias_takes_padded_frames_too():
    options = AttentionOptions(heads=2, qkv_bias=True)
    layer = CuboidCrossAttention(4, CrossCuboids(size=(2, 2), groups=2), 9, options).double()
    assert layer(randn(1, 3, 3, 3, 4), randn(1, 5, 3, 3, 4)).shape == (1, 3, 3, 3, 4)


def test_the_last_frames_are_all_that_a_limited_look_sees():
    layer = CuboidCrossAttention(4, CrossCuboids(size=(1, 1)), 9, OPTIONS, last_frames=2).double()
    x, memory = randn(1, 3, 2, 2, 4), randn(1, 5, 2, 2, 4, seed=1)
    changed = memory.clone()
    changed[:, :3] = 7.0
    torch.testing.assert_close(layer(x, memory), layer(x, changed))


def test_groups_in_time_see_their_own_part_of_the_memory():
    # Steps 0-1 and 2 of the volume; the memory of 5 is padded in front: frames 0-1 and 2-4.
    layer = CuboidCrossAttention(
        4, CrossCuboids(size=(1, 1), groups=2, padding="ignore"), 9, OPTIONS
    ).double()
    x, memory = randn(1, 3, 2, 2, 4), randn(1, 5, 2, 2, 4, seed=1)
    late = memory.clone()
    late[:, 2:] = 7.0
    before, after = layer(x, memory), layer(x, late)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2], atol=1e-3)


def test_memory_is_not_normed_and_the_volume_is():
    layer = CuboidCrossAttention(4, CrossCuboids(size=(1, 1)), 9, OPTIONS).double()
    x, memory = randn(1, 3, 2, 2, 4), randn(1, 5, 2, 2, 4, seed=1)
    torch.testing.assert_close(layer(3 * x + 1, memory), layer(x, memory), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(layer(x, 3 * memory), layer(x, memory), atol=1e-3)


def test_ignored_padding_does_not_reach_the_global_vectors():
    # The same data in a cuboid that fits and in one that needs padding gives the same vectors.
    x, g = randn(1, 2, 3, 3, 4), randn(1, 2, 4, seed=1)
    vectors = GlobalVectors(separate=True, self_attention=True)
    fitting = CuboidSelfAttention(4, Cuboids(size=(1, 3, 3)), OPTIONS, vectors).double()
    ragged = CuboidSelfAttention(4, Cuboids(size=(1, 2, 2), padding="ignore"), OPTIONS, vectors).double()
    state = {k: v for k, v in fitting.state_dict().items() if k != "bias_table"}
    ragged.load_state_dict(state, strict=False)
    torch.testing.assert_close(ragged(x, g)[1], fitting(x, g)[1])


def test_the_published_global_mask_hides_the_wrong_tokens():
    cuboids = Cuboids(size=(2, 4, 4), padding="ignore")
    shown = published_global_mask((5, 7, 6), cuboids, CPU)
    right = torch.zeros(6, 8, 8, dtype=torch.bool)
    right[:5, :7, :6] = True
    assert shown.sum() == right.sum()
    assert (shown != right).sum() == 116  # of 384, as was counted in the published code
    options = AttentionOptions(heads=2, match_published=True)
    vectors = GlobalVectors()
    layers = [
        CuboidSelfAttention(4, Cuboids(size=(1, 2, 2), padding="ignore"), o, vectors).double()
        for o in (options, OPTIONS)
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    x, g = randn(1, 2, 3, 3, 4), randn(1, 2, 4, seed=1)
    (x0, g0), (x1, g1) = (layer(x, g) for layer in layers)
    torch.testing.assert_close(x0, x1)
    assert not torch.allclose(g0, g1)


def test_one_window_around_all_gives_the_right_mask_in_the_published_way_too():
    cuboids = Cuboids(size=(1, 4, 4), padding="ignore")
    shown = published_global_mask((1, 3, 3), cuboids, CPU)
    assert shown[:, :3, :3].all()
    assert shown.sum() == 9


def test_the_published_mask_moves_with_shifted_windows():
    # Along a single axis both lists have the same order, so that the mask is right, shifted or not.
    for shift in ((0, 0, 0), (0, 0, 1)):
        cuboids = Cuboids(size=(1, 1, 2), shift=shift, padding="ignore")
        assert published_global_mask((1, 1, 3), cuboids, CPU).flatten().tolist() == [True, True, True, False]


def test_a_layer_without_global_vectors_returns_none_for_them():
    layer = CuboidSelfAttention(4, Cuboids(size=(1, 2, 2)), OPTIONS).double()
    assert layer(randn(1, 1, 2, 2, 4))[1] is None


def test_a_block_with_zero_projections_changes_nothing():
    block = SelfAttentionBlock(
        4, [Cuboids(size=(1, 2, 2))] * 2, OPTIONS, FeedForwardOptions(for_globals=True), GlobalVectors()
    ).double()
    cross = CrossAttentionBlock(
        4, [CrossCuboids(size=(1, 1))] * 2, 9, OPTIONS, FeedForwardOptions(after_each=False)
    ).double()
    for name, parameter in (*block.named_parameters(), *cross.named_parameters()):
        if "projection" in name or "contract" in name:
            torch.nn.init.zeros_(parameter)
    x, g = randn(1, 2, 4, 4, 4), randn(1, 3, 4, seed=1)
    assert torch.equal(block(x, g)[0], x)
    assert torch.equal(block(x, g)[1], g)
    assert torch.equal(cross(x, randn(1, 3, 4, 4, 4)), x)


def test_a_width_that_does_not_split_into_heads_is_refused():
    with pytest.raises(ConfigError, match="width 5 does not split into 2 heads"):
        CuboidSelfAttention(5, Cuboids(size=(1, 2, 2)), OPTIONS)
    with pytest.raises(ConfigError, match="width 5 does not split into 2 heads"):
        CuboidCrossAttention(5, CrossCuboids(size=(1, 1)), 9, OPTIONS)


def test_a_look_at_no_frame_is_refused():
    with pytest.raises(ConfigError, match="last_frames=0"):
        CuboidCrossAttention(4, CrossCuboids(size=(1, 1)), 9, OPTIONS, last_frames=0)


def test_a_memory_of_another_frame_or_too_many_steps_is_refused():
    layer = CuboidCrossAttention(4, CrossCuboids(size=(1, 1)), 5, OPTIONS).double()
    with pytest.raises(ShapeError, match="differ in rows or columns"):
        layer(randn(1, 3, 2, 2, 4), randn(1, 3, 2, 3, 4))
    with pytest.raises(ShapeError, match="6 time steps are more than the 5"):
        layer(randn(1, 3, 2, 2, 4), randn(1, 6, 2, 2, 4))

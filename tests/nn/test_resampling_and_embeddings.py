"""Patch merging, upsampling, feed-forward and position embeddings by hand, and what they refuse."""

import pytest
import torch

from geoscope.errors import ConfigError, ShapeError
from geoscope.nn.feed_forward import ACTIVATIONS, FeedForward, activation
from geoscope.nn.initialisation import init_linear
from geoscope.nn.padding import pad_to_multiple
from geoscope.nn.position_embedding import PositionEmbedding
from geoscope.nn.resampling import PatchMerging, Upsample, merged_shape


def test_padding_reaches_the_next_multiple_and_adds_zeros_at_the_end():
    x = torch.ones(1, 3, 4, 5, 2)
    padded = pad_to_multiple(x, (2, 2, 3))
    assert padded.shape == (1, 4, 4, 6, 2)
    assert padded.sum() == x.sum()
    assert torch.equal(padded[:, :3, :, :5], x)
    assert pad_to_multiple(x, (1, 2, 5)) is x


def test_a_patch_is_its_tokens_one_after_the_other():
    merge = PatchMerging(1, 4, (1, 2, 2))
    merge.norm = torch.nn.Identity()
    with torch.no_grad():
        merge.reduce.weight.copy_(torch.eye(4))
    x = torch.arange(16.0).view(1, 1, 4, 4, 1)
    assert merge(x)[0, 0].tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7]], [[8, 9, 12, 13], [10, 11, 14, 15]]]


def test_a_started_patch_counts_as_one():
    assert merged_shape((5, 7, 9), (2, 2, 3)) == (3, 4, 3)
    assert PatchMerging(2, 3, (2, 2, 3))(torch.randn(1, 5, 7, 9, 2)).shape == (1, 3, 4, 3, 3)
    assert PatchMerging(2, 3, (2, 1, 1))(torch.randn(1, 5, 7, 9, 2)).shape == (1, 3, 7, 9, 3)


def test_upsampling_repeats_the_nearest_token():
    up = Upsample(1, 1, kernel=1)
    with torch.no_grad():
        up.conv.weight.fill_(1.0)
    out = up(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2, 1), (4, 3))
    assert out[0, 0, :, :, 0].tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4], [3, 3, 4]]


def test_upsampling_to_nothing_is_refused():
    with pytest.raises(ShapeError, match="cannot upsample to"):
        Upsample(1, 1)(torch.zeros(1, 1, 2, 2, 1), (0, 3))


def test_a_feed_forward_layer_by_hand():
    layer = FeedForward(2, 2, activation_name="relu")
    layer.norm = torch.nn.Identity()
    with torch.no_grad():
        layer.expand.weight.copy_(torch.eye(2))
        layer.contract.weight.copy_(10 * torch.eye(2))
    assert layer(torch.tensor([1.0, -1.0])).tolist() == [11.0, -1.0]


def test_a_gate_multiplies_the_hidden_values():
    layer = FeedForward(1, 1, activation_name="identity", gated=True)
    layer.norm = torch.nn.Identity()
    with torch.no_grad():
        for linear, weight in ((layer.expand, 2.0), (layer.gate, 3.0), (layer.contract, 1.0)):
            linear.weight.fill_(weight)
    assert layer(torch.tensor([2.0])).tolist() == [2.0 + 4.0 * 6.0]


def test_activations_by_name():
    x = torch.tensor([-1.0, 2.0])
    assert activation("leaky")(x).tolist() == pytest.approx([-0.1, 2.0])
    assert activation("gelu")(x).tolist() == pytest.approx([-0.158655, 1.9545], abs=1e-5)
    assert all(activation(name)(x).shape == x.shape for name in ACTIVATIONS)
    with pytest.raises(ConfigError, match="activation 'swish' is not known"):
        activation("swish")


def test_positions_of_time_rows_and_columns_add_up():
    embedding = PositionEmbedding(1, (2, 3, 4), "t+h+w")
    with torch.no_grad():
        embedding.time.weight.copy_(torch.tensor([[0.0], [100.0]]))
        embedding.rows.weight.copy_(torch.tensor([[0.0], [10.0], [20.0]]))
        embedding.columns.weight.copy_(torch.tensor([[0.0], [1.0], [2.0], [3.0]]))
    assert embedding(torch.zeros(1, 2, 3, 4, 1))[0, 1, 2, 3, 0] == 123.0


def test_positions_of_pixels_count_row_by_row_also_in_a_smaller_frame():
    embedding = PositionEmbedding(1, (1, 3, 4), "t+hw")
    with torch.no_grad():
        embedding.time.weight.zero_()
        embedding.pixels.weight.copy_(torch.arange(12.0)[:, None])
    assert embedding(torch.zeros(1, 1, 2, 2, 1))[0, 0, :, :, 0].tolist() == [[0, 1], [4, 5]]


def test_positions_in_time_only_take_any_frame_but_not_any_length():
    embedding = PositionEmbedding(2, (3, 1, 1), "t")
    assert embedding(torch.zeros(1, 3, 50, 60, 2)).shape == (1, 3, 50, 60, 2)
    with pytest.raises(ShapeError, match="axis T has 4 tokens"):
        embedding(torch.zeros(1, 4, 2, 2, 2))


def test_a_frame_larger_than_the_positions_is_refused_by_axis():
    with pytest.raises(ShapeError, match="axis W has 5 tokens and the position embedding 4"):
        PositionEmbedding(1, (2, 3, 4))(torch.zeros(1, 2, 3, 5, 1))


def test_an_unknown_kind_of_positions_is_refused():
    with pytest.raises(ConfigError, match="position embedding 'xy' is not known"):
        PositionEmbedding(1, (2, 3, 4), "xy")


@pytest.mark.parametrize(("mode", "spread"), [("0", (1 / 1000) ** 0.5), ("1", (2 / 1.01 / 500) ** 0.5)])
def test_linear_layers_start_as_published(mode, spread):
    torch.manual_seed(0)
    layer = init_linear(torch.nn.Linear(1000, 500), mode)
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.02)
    assert not layer.bias.any()

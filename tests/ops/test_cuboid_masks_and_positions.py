"""Who may attend to whom, and which row of the bias table belongs to each pair."""

import numpy as np
import torch

from geoscope.ops.cuboid_attention import Cuboids
from geoscope.ops.cuboid_attention.masks import attention_mask
from geoscope.ops.cuboid_attention.positions import relative_bias, relative_position_index, table_rows

CPU = torch.device("cpu")
FULL = {"l": "local", "d": "dilated"}


def pairs_of(shape, cuboids):
    mask = attention_mask(shape, cuboids, shape, cuboids, CPU)
    if mask is None:
        return torch.ones(cuboids.count(shape), cuboids.volume, cuboids.volume, dtype=torch.bool)
    return mask.pairs


def test_without_shift_and_padding_there_is_no_mask():
    cuboids = Cuboids(size=(1, 2, 2), padding="ignore")
    assert attention_mask((2, 4, 4), cuboids, (2, 4, 4), cuboids, CPU) is None


def test_zero_padding_is_attended_to():
    cuboids = Cuboids(size=(1, 2, 2), padding="zeros")
    assert attention_mask((2, 3, 3), cuboids, (2, 3, 3), cuboids, CPU) is None


def test_tokens_that_meet_only_around_the_edge_do_not_see_each_other():
    # Columns 0..3 in windows of 2, rolled back by 1: (1, 2) and (3, 0); 3 and 0 are no neighbours.
    pairs = pairs_of((1, 1, 4), Cuboids(size=(1, 1, 2), shift=(0, 0, 1)))
    assert pairs[0].tolist() == [[True, True], [True, True]]
    assert pairs[1].tolist() == [[True, False], [False, True]]


def test_padding_that_is_ignored_neither_sees_nor_is_seen():
    pairs = pairs_of((1, 1, 3), Cuboids(size=(1, 1, 2), padding="ignore"))
    assert pairs[1].tolist() == [[True, False], [False, False]]


def test_a_query_that_sees_no_key_is_known():
    # Two groups in time; the memory has one step, padded in front: the first group holds no memory at all.
    over = Cuboids(size=(1, 1, 1), padding="ignore", least_groups=2)
    memory = Cuboids(size=(1, 1, 1), padding="ignore", least_groups=2, pad_time_first=True)
    mask = attention_mask((2, 1, 1), over, (1, 1, 1), memory, CPU)
    assert mask.has_closed_rows
    assert mask.pairs.flatten().tolist() == [False, True]


def test_the_masks_are_the_published_ones(shared):
    with np.load(shared / "oracle" / "earthformer" / "self_attention_masks.npz") as file:
        stored = dict(file)
    compared = 0
    for name in stored:
        shape_text, ways, shift, padding = name.split("_")
        if padding == "nearest":
            continue
        shape = tuple(int(n) for n in shape_text.split("x"))
        cuboids = Cuboids(
            size=(3, 2, 2),
            strategy=tuple(FULL[way] for way in ways),
            shift=tuple(int(step) for step in shift.removeprefix("shift")),
            padding=padding,
        ).fit(shape)
        expected = torch.from_numpy(stored[name])
        actual = pairs_of(shape, cuboids)
        assert torch.equal(actual, expected), name
        compared += 1
    assert compared == 96


def test_what_inference_keeps_serves_training_too():
    cuboids, shape = Cuboids(size=(1, 2, 3), shift=(0, 1, 1)), (3, 5, 7)
    table = torch.randn(table_rows(cuboids.size), 1, requires_grad=True)
    for context in (torch.inference_mode(), torch.enable_grad()):
        with context:
            scores = relative_bias(table, relative_position_index(cuboids.size))
            scores = scores.masked_fill(~pairs_of(shape, cuboids)[0], 0.0)
    scores.square().sum().backward()
    assert table.grad.any()


def test_relative_positions_by_hand():
    # Three tokens in a row: differences query - key from -2 to 2 are rows 0 to 4.
    assert table_rows((1, 1, 3)) == 5
    assert relative_position_index((1, 1, 3)).tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


def test_relative_positions_are_the_published_ones(shared):
    with np.load(shared / "oracle" / "earthformer" / "relative_position_index.npz") as file:
        stored = dict(file)
    for name in stored:
        kind, *rest = name.split("_")
        if kind == "self":
            size = tuple(int(n) for n in rest[0].split("x"))
        else:
            size = (int(rest[0].removeprefix("maxT")), *(int(n) for n in rest[1].split("x")))
        assert np.array_equal(relative_position_index(size).numpy(), stored[name]), name


def test_a_clipped_cuboid_keeps_the_differences_of_the_whole_one():
    whole, clipped = relative_position_index((3, 8, 3)), relative_position_index((3, 8, 3), (3, 4, 3))
    rows = whole.view(3, 8, 3, 3, 8, 3)[:, :4, :, :, :4, :].reshape(36, 36)
    assert torch.equal(clipped, rows)
    published = whole[:36, :36]
    assert (clipped != published).sum() == 864  # the published shortcut differs in 864 of 1296 places


def test_the_bias_of_a_pair_is_its_row_of_the_table():
    table = torch.arange(10.0).view(5, 2)
    bias = relative_bias(table, relative_position_index((1, 1, 3)))
    assert bias.shape == (2, 3, 3)
    assert bias[1, 0, 2] == table[0, 1]

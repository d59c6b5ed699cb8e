"""Cutting volumes into cuboids: by hand, by its invariants, and against the published order."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoscope.errors import ConfigError, ShapeError
from geoscope.ops.cuboid_attention import Cuboids
from geoscope.ops.cuboid_attention.cuboids import (
    crop_volume,
    cut,
    join,
    merge_cuboids,
    pad_volume,
    partition_cuboids,
    shift_volume,
    unshift_volume,
)

WAYS = st.sampled_from(["local", "dilated"])
AXES = st.tuples(*(st.integers(1, 5) for _ in range(3)))
FULL = {"l": "local", "d": "dilated"}


def numbered(*shape: int) -> torch.Tensor:
    """A volume (1, T, H, W, 1) whose values say where each token was, row by row."""
    return torch.arange(int(np.prod(shape)), dtype=torch.float64).view(1, *shape, 1)


def test_local_cuboids_hold_neighbours_and_dilated_ones_hold_every_nth():
    row = numbered(1, 1, 6)
    local = partition_cuboids(row, (1, 1, 3))
    dilated = partition_cuboids(row, (1, 1, 3), ("local", "local", "dilated"))
    assert local[0, :, :, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert dilated[0, :, :, 0].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_square_is_cut_row_by_row():
    cut_up = partition_cuboids(numbered(1, 4, 4), (1, 2, 2))
    assert cut_up[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_padding_goes_to_the_end_and_time_to_the_start_where_asked():
    volume = numbered(3, 3, 3) + 1
    padded = pad_volume(volume, Cuboids(size=(2, 2, 2)))
    assert padded.shape == (1, 4, 4, 4, 1)
    assert padded[0, 3].abs().sum() == padded[0, :, 3].abs().sum() == padded[0, :, :, 3].abs().sum() == 0
    first = pad_volume(volume, Cuboids(size=(2, 2, 2), pad_time_first=True))
    assert first[0, 0].abs().sum() == 0
    assert torch.equal(first[:, 1:, :3, :3], volume)


def test_a_volume_of_few_steps_still_makes_the_groups_that_were_asked_for():
    cuboids = Cuboids(size=(2, 1, 1), least_groups=4)
    assert cuboids.padded((5, 1, 1)) == (8, 1, 1)
    assert cuboids.count((5, 1, 1)) == 4


def test_a_cuboid_is_clipped_to_the_volume_and_loses_its_shift_there():
    cuboids = Cuboids(size=(3, 8, 3), shift=(1, 2, 1))
    assert cuboids.fit((6, 4, 4)) == Cuboids(size=(3, 4, 3), shift=(1, 0, 1))
    dilated = Cuboids(size=(2, 2, 2), shift=(1, 1, 1), strategy=("dilated", "local", "local"))
    assert dilated.fit((4, 4, 4)).shift == (0, 1, 1)


@given(shape=AXES, size=AXES, ways=st.tuples(WAYS, WAYS, WAYS))
def test_merging_undoes_partitioning(shape, size, ways):
    volume = numbered(*(n * s for n, s in zip(shape, size, strict=True)))
    cut_up = partition_cuboids(volume, size, ways)
    assert cut_up.shape[1:3] == (int(np.prod(shape)), int(np.prod(size)))
    assert torch.equal(merge_cuboids(cut_up, tuple(volume.shape[1:4]), size, ways), volume)
    assert torch.equal(cut_up.flatten().sort().values, volume.flatten())


@given(shape=AXES, size=AXES, shift=st.tuples(*(st.integers(0, 3) for _ in range(3))), first=st.booleans())
def test_joining_undoes_cutting_whatever_the_padding_and_the_shift(shape, size, shift, first):
    cuboids = Cuboids(size=size, shift=shift, pad_time_first=first)
    volume = numbered(*shape)
    assert torch.equal(join(cut(volume, cuboids), shape, cuboids), volume)
    assert torch.equal(unshift_volume(shift_volume(volume, shift), shift), volume)
    assert torch.equal(crop_volume(pad_volume(volume, cuboids), shape, cuboids), volume)


def test_the_order_of_cuboids_and_tokens_is_the_published_one(shared):
    with np.load(shared / "oracle" / "earthformer" / "reorder_6x4x4_cuboid3x2x2.npz") as file:
        stored = dict(file)
    for name in stored:
        ways, shift = name.split("_shift")
        cuboids = Cuboids(
            size=(3, 2, 2),
            strategy=tuple(FULL[way] for way in ways),
            shift=tuple(int(step) for step in shift),
        )
        assert np.array_equal(cut(numbered(6, 4, 4), cuboids)[0, :, :, 0].numpy(), stored[name]), name


def test_a_ragged_axis_is_refused_by_name():
    with pytest.raises(ShapeError, match="axis H has length 15, not a multiple of cuboid 7"):
        partition_cuboids(torch.zeros(1, 2, 15, 14, 1), (2, 7, 7))


def test_cuboids_that_do_not_make_the_volume_are_refused():
    with pytest.raises(ShapeError, match="3 cuboids of 4 tokens do not make a volume"):
        merge_cuboids(torch.zeros(1, 3, 4, 1), (1, 4, 4), (1, 2, 2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": (0, 1, 1)}, "cuboid size="),
        ({"size": (1, 1)}, "cuboid size="),
        ({"size": (1, 1, 1), "strategy": ("local", "far", "local")}, "cuboid strategy="),
        ({"size": (1, 1, 1), "shift": (0, -1, 0)}, "cuboid shift="),
        ({"size": (1, 1, 1), "padding": "nearest"}, "cuboid padding='nearest'"),
    ],
)
def test_cuboids_that_cannot_be_are_refused_by_name(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Cuboids(**wrong)

"""Tiles cover the field, and blending leaves no seam."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoscope.models.nowcaster.tiles import run_in_tiles, tile_starts


@given(st.integers(1, 40), st.integers(2, 6), st.integers(1, 3))
def test_tiles_cover_every_pixel_and_overlap_enough(blocks, tile_blocks, overlap_blocks):
    multiple = 8
    overlap_blocks = min(overlap_blocks, tile_blocks - 1)
    length, tile, overlap = blocks * multiple, tile_blocks * multiple, overlap_blocks * multiple
    starts = tile_starts(length, tile, overlap, multiple)
    assert starts[0] == 0
    assert starts[-1] + tile >= length
    assert all(b - a <= tile - overlap for a, b in itertools.pairwise(starts))
    assert all(start % multiple == 0 for start in starts)


@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (96, 160)])
def test_a_pointwise_network_gives_the_same_whole_or_in_tiles(shape):
    x = torch.randn(1, 2, *shape, 3, generator=torch.Generator().manual_seed(0))

    def run(part: torch.Tensor) -> torch.Tensor:
        b, t, h, w, c = part.shape
        return part.reshape(b, t, h // 4, 4, w // 4, 4, c).mean(dim=(3, 5)) ** 2

    whole = run(x)
    tiled = run_in_tiles(run, x, tile=64, overlap=32, multiple=32, scale=4)
    assert torch.allclose(tiled, whole, atol=1e-5)

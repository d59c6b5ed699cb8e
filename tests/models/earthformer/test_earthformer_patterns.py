"""The named patterns: by hand, and against the published table."""

import json

import pytest

from geoscope.errors import ConfigError
from geoscope.nn.cuboid_patterns import CROSS_PATTERNS, SELF_PATTERNS, cross_cuboids, self_cuboids

SHORT = {"local": "l", "dilated": "d"}


def test_axial_attention_goes_along_each_axis_in_turn():
    assert [c.size for c in self_cuboids("axial", (13, 32, 24))] == [(13, 1, 1), (1, 32, 1), (1, 1, 24)]


def test_video_swin_windows_never_exceed_the_frame():
    plain, shifted = self_cuboids("video_swin_10x32", (5, 8, 6))
    assert plain.size == shifted.size == (5, 6, 6)
    assert (plain.shift, shifted.shift) == ((0, 0, 0), (2, 3, 3))


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_every_pattern_is_cut_as_published(shared, kind):
    table = json.loads((shared / "oracle" / "earthformer" / "patterns.json").read_text())[kind]
    assert set(table) == set(SELF_PATTERNS if kind == "self" else CROSS_PATTERNS)
    for name, by_shape in table.items():
        for text, expected in by_shape.items():
            shape = tuple(int(n) for n in text.split("x"))[:3]
            cut = self_cuboids(name, shape) if kind == "self" else cross_cuboids(name, shape)
            sizes, shifts = ("cuboid_size", "shift_size") if kind == "self" else ("cuboid_hw", "shift_hw")
            assert [list(c.size) for c in cut] == expected[sizes], (name, text)
            assert [list(c.shift) for c in cut] == expected[shifts], (name, text)
            assert [[SHORT[way] for way in c.strategy] for c in cut] == expected["strategy"], (name, text)
            if kind == "cross":
                assert [c.groups for c in cut] == expected["n_temporal"], (name, text)


def test_unknown_patterns_are_refused_by_name():
    with pytest.raises(ConfigError, match="self-attention pattern 'spiral' is not known"):
        self_cuboids("spiral", (1, 2, 2))
    with pytest.raises(ConfigError, match="cross-attention pattern 'cross_2x4' is not known"):
        cross_cuboids("cross_2x4", (1, 2, 2))

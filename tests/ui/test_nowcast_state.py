"""The choices of a user and the address that keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscope.ui.nowcast_state import NowcastState


def test_an_address_brings_the_same_view_back():
    state = NowcastState(
        source="sample:simulated-storms",
        issue_index=11,
        frame_index=14,
        shows_truth=True,
        model="extrapolation",
        lead_steps=6,
        third_map="difference",
        scale="perceptual",
        opacity=0.5,
        point=(-8633250.0, 4145642.0),
        area=((0.0, 0.0), (10.0, 0.0), (10.0, 20.0)),
        view=(-100.0, -50.0, 300.0, 80.0),
        thresholds=[0.5, 2.0],
        tab="point",
    )
    other = NowcastState()
    assert other.read_address(state.address()) == []
    for name in NowcastState.IN_ADDRESS:
        assert getattr(other, name) == getattr(state, name), name


def test_what_is_not_there_is_not_written():
    query = NowcastState().address()
    assert not {"point", "area", "view"} & set(query)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("issue", "-1"),
        ("issue", "a"),
        ("lead", "0"),
        ("opacity", "7"),
        ("opacity", "nan"),
        ("truth", "yes"),
        ("third", "<script>"),
        ("scale", ""),
        ("device", "cuda:99"),
        ("point", "1"),
        ("point", "inf,0"),
        ("area", "1,2,3,4"),
        ("area", "1,2,3,4,5"),
        ("view", "1,2,1,5"),
        ("mmh", "-1"),
        ("mmh", "x"),
        ("tab", "admin"),
    ],
)
def test_a_bad_link_leaves_the_default_and_says_so(key, value):
    state = NowcastState()
    before = state.address()
    complaints = state.read_address({key: value})
    assert len(complaints) == 1
    assert key in complaints[0]
    assert state.address() == before


@given(st.dictionaries(st.sampled_from(sorted(NowcastState.IN_ADDRESS.values())), st.text(max_size=60)))
def test_no_link_breaks_the_page(query):
    state = NowcastState()
    for line in state.read_address(query):
        assert "\n" not in line
        assert len(line) < 200

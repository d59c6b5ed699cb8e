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
        model_b="persistence",
        compared=["pysteps-sprog"],
        layer="difference",
        threshold=2.0,
        measure="fss",
        follows_player=False,
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


def test_an_empty_list_of_models_comes_back_empty():
    other = NowcastState()
    other.read_address(NowcastState(compared=[]).address())
    assert other.compared == []


def test_the_threshold_of_the_charts_is_always_scored():
    state = NowcastState(thresholds=[1.0, 5.0], threshold=1.0)
    state.threshold = 20.0
    assert state.thresholds == [1.0, 5.0, 20.0]
    state.thresholds = [0.1, 10.0]
    assert state.threshold == 10.0
    state.thresholds = [0.5, 2.0]
    assert state.threshold == 2.0


def test_each_model_is_wanted_once():
    assert NowcastState(model="a", model_b="b", compared=["c", "a"]).models == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("issue", "-1"),
        ("issue", "a"),
        ("lead", "0"),
        ("opacity", "7"),
        ("opacity", "nan"),
        ("truth", "yes"),
        ("layer", "<script>"),
        ("at", "3"),
        ("measure", "luck"),
        ("live", "yes"),
        ("mmh", "3"),
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

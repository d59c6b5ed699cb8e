"""Splits by whole storms: nothing stands on two sides, everything is left out once, and leaks are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoscope.data.events import Event
from geoscope.errors import ConfigError, DataError
from geoscope.training.event_folder import trace_event
from geoscope.training.splits import (
    Trace,
    check_splits,
    frame_hashes,
    leave_groups_out,
    merged_groups,
    overlap,
    read_group_rule,
    split_groups,
)


def trace(name: str, **known) -> Trace:
    return Trace(**{"name": name, "group": name, "source": name, "size": 1} | known)


def at(hour: int) -> np.datetime64:
    return np.datetime64("2020-01-01T00", "h") + np.timedelta64(hour, "h")


# Groups are data


def test_the_longest_prefix_names_the_group_and_a_stranger_stands_alone(tmp_path):
    path = tmp_path / "groups.toml"
    path.write_text('[groups]\nmrms_ = "case"\nmrms_conus_ = "conus"\n[sources]\nmrms_ = "mrms"\n')
    rule = read_group_rule(path)
    assert [rule.group_of(name) for name in ("mrms_1", "mrms_conus_7", "knmi")] == ["case", "conus", "knmi"]
    assert [rule.source_of(name) for name in ("mrms_1", "mrms_conus_7", "knmi")] == ["mrms", "mrms", "knmi"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[group]\n", "unknown key 'group'; did you mean 'groups'"),
        ("[groups]\na = 1\n", "groups.a"),
        ('[groups]\n"" = "x"\n', "expected a prefix and a name"),
        ('[sources]\na = ""\n', r"\[sources\] 'a' = '': expected a prefix and a name"),
        ("[groups\n", "not a readable TOML table of groups"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path, text, message):
    path = tmp_path / "groups.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_group_rule(path)
    assert "groups.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a readable TOML table"):
        read_group_rule(tmp_path / "none.toml")


# Leaks


def wet(seed: int, frames: int = 3) -> Event:
    rain = np.random.default_rng(seed).integers(1, 500, (frames, 8, 8)).astype(np.uint16)
    return Event("e", rain, 5.0, 1.0)


def test_events_that_share_frames_leak():
    whole = wet(0, frames=6)
    part = Event("part", whole.rain[2:4], 5.0, 1.0)
    first, second = trace("whole", frames=frame_hashes(whole)), trace("part", frames=frame_hashes(part))
    assert len(first.frames) == 6
    assert overlap(first, second) == "2 of their frames are identical"
    assert overlap(first, trace("other", frames=frame_hashes(wet(1)))) is None


def test_dry_and_empty_frames_tell_nothing():
    rain = np.zeros((4, 8, 8), np.uint16)
    rain[1] = 65535
    rain[2, :3, :5] = 7  # 15 wet pixels
    rain[3, :4, :4] = 7  # 16
    assert len(frame_hashes(Event("dry", rain, 5.0, 1.0))) == 1


def test_the_same_grid_at_the_same_time_leaks():
    first = trace("a", place="laea 1900x2200", start=at(0), end=at(3))
    assert "both show the same grid at 2020-01-01T03" in overlap(
        first, trace("b", place="laea 1900x2200", start=at(3), end=at(5))
    )
    assert overlap(first, trace("b", place="laea 1900x2200", start=at(4), end=at(5))) is None
    assert overlap(first, trace("b", place="stere", start=at(0), end=at(3))) is None
    assert overlap(first, trace("b", place="laea 1900x2200")) is None
    assert overlap(trace("a", start=at(0), end=at(3)), trace("b", start=at(0), end=at(3))) is None


def test_events_that_follow_each_other_on_one_grid_can_be_kept_together():
    day, next_day, later = (
        trace(name, place="laea", start=at(start), end=at(start + 2))
        for name, start in (("a", 0), ("b", 3), ("c", 9))
    )
    check_splits({"train": [day, later], "val": [next_day]})
    with pytest.raises(DataError, match=r"both show the same grid at .* or less than 2 hours apart"):
        check_splits({"train": [day, later], "val": [next_day]}, hours_apart=2)
    assert merged_groups([day, next_day, later], hours_apart=2) == {"a": "a", "b": "a", "c": "c"}


def test_leaking_and_empty_splits_are_refused_by_name():
    good = {"train": [trace("a"), trace("b")], "val": [trace("c")]}
    check_splits(good)
    with pytest.raises(DataError, match="the split 'test' is empty: expected at least one event"):
        check_splits(good | {"test": []})
    with pytest.raises(
        DataError, match=r"a in the split 'train' and a in 'test' must .*: it is the same file"
    ):
        check_splits(good | {"test": [trace("a")]})
    with pytest.raises(
        DataError, match=r"c in the split 'val' and d in 'test' .* of the group 'c'; give them one"
    ):
        check_splits(good | {"test": [trace("d", group="c")]})


def test_what_overlaps_becomes_one_group():
    frames = frame_hashes(wet(0))
    traces = [
        trace("a", frames=frames),
        trace("b"),
        trace("c", frames=frames, group="g"),
        trace("d", group="g"),
    ]
    assert merged_groups(traces) == {"a": "a", "b": "b", "c": "a", "d": "a"}


def test_the_cuts_of_one_composite_are_found_in_real_events(shared):
    folder = shared / "realdata" / "radar" / "events"
    names = ("mrms_20190610_0", "mrms_20190610_1", "mch_20150515", "mch_20160711")
    traces = {name: trace_event(folder / f"{name}.npz") for name in names}
    with pytest.raises(DataError, match="mrms_20190610_0 in the split 'train' and mrms_20190610_1 in 'val'"):
        check_splits({"train": [traces[names[0]]], "val": [traces[names[1]]]})
    check_splits({"train": [traces[names[2]]], "val": [traces[names[3]]]})  # one grid, another year


# Cross-validation


def events(draw_groups: list[int]) -> dict[str, str]:
    return {f"e{place}": f"g{number}" for place, number in enumerate(draw_groups)}


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=30),
    st.integers(2, 5),
    st.integers(0, 99),
    st.randoms(use_true_random=False),
)
def test_every_event_is_left_out_once_with_all_of_its_group_and_the_folds_are_balanced(
    numbers, folds, seed, luck
):
    groups = events(numbers)
    sizes = {name: luck.randint(1, 50) for name in groups}
    count = len(set(numbers))
    if count < folds:
        with pytest.raises(ConfigError, match=f"expected at most {count}, the number of independent groups"):
            leave_groups_out(groups, folds, seed, sizes=sizes)
        return
    cut = leave_groups_out(groups, folds, seed, sizes=sizes)
    turned = leave_groups_out(dict(reversed(groups.items())), folds, seed, sizes=sizes)
    assert [set(fold.test) for fold in cut] == [set(fold.test) for fold in turned]
    assert sorted(name for fold in cut for name in fold.test) == sorted(groups)
    largest = max(sum(sizes[n] for n in groups if groups[n] == g) for g in groups.values())
    weights = [sum(sizes[name] for name in fold.test) for fold in cut]
    assert max(weights) - min(weights) <= largest
    for fold in cut:
        assert fold.test
        assert set(fold.train) | set(fold.test) == set(groups)
        assert not {groups[name] for name in fold.train} & {groups[name] for name in fold.test}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=4, max_size=20))
def test_whole_sources_are_left_out_with_the_groups_that_reach_across(pairs):
    groups = {f"e{place}": f"g{group}" for place, (group, _) in enumerate(pairs)}
    sources = {f"e{place}": f"s{source}" for place, (_, source) in enumerate(pairs)}
    groups |= {"lone": "apart"}  # so that there are two units at least
    sources |= {"lone": "elsewhere"}
    cut = leave_groups_out(groups, 2, sources=sources)
    for fold in cut:
        for table in (groups, sources):
            assert not {table[name] for name in fold.train} & {table[name] for name in fold.test}


def test_folds_by_hand():
    groups = {"a": "1", "b": "1", "c": "2", "d": "3"}
    cut = leave_groups_out(groups, 2, sizes={"a": 5, "b": 5, "c": 6, "d": 5})  # 10 | 6 + 5
    assert sorted(fold.test for fold in cut) == [("a", "b"), ("c", "d")]
    assert {fold.test: fold.train for fold in cut}["c", "d"] == ("a", "b")


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    groups = {f"e{number}": f"e{number}" for number in range(12)}
    assert leave_groups_out(groups, 3, 1) == leave_groups_out(groups, 3, 1)
    assert leave_groups_out(groups, 3, 1) != leave_groups_out(groups, 3, 2)


def test_folds_that_cannot_be_are_refused():
    groups = {"a": "1", "b": "2"}
    with pytest.raises(ConfigError, match="folds=1: expected 2 or more"):
        leave_groups_out(groups, 1)
    with pytest.raises(ConfigError, match="folds=3: expected at most 2, the number of independent groups"):
        leave_groups_out(groups, 3)
    with pytest.raises(ConfigError, match="folds=2: expected at most 1, the number of independent sources"):
        leave_groups_out(groups, 2, sources={"a": "s", "b": "s"})
    with pytest.raises(ConfigError, match="b: expected a size for every event, found none"):
        leave_groups_out(groups, 2, sizes={"a": 1})
    with pytest.raises(ConfigError, match="a: expected a source for every event, found none"):
        leave_groups_out(groups, 2, sources={})


@given(st.lists(st.integers(0, 12), min_size=3, max_size=30), st.integers(0, 9))
def test_named_splits_are_whole_groups_and_never_empty(numbers, seed):
    groups = events(numbers)
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    if len(set(numbers)) < 3:
        with pytest.raises(DataError, match=r"the split '.*' is empty: .* too few for 3 splits"):
            split_groups(groups, shares, seed)
        return
    held = split_groups(groups, shares, seed)
    assert list(held) == list(shares)
    assert all(held.values())
    assert sorted(name for names in held.values() for name in names) == sorted(groups)
    sides = [{groups[name] for name in names} for names in held.values()]
    assert sum(len(side) for side in sides) == len(set(numbers))


def test_shares_are_kept_about():
    groups = {f"e{number}": f"e{number}" for number in range(20)}
    held = split_groups(groups, {"train": 8, "val": 1, "test": 1})
    assert {name: len(names) for name, names in held.items()} == {"train": 16, "val": 2, "test": 2}
    for shares in ({}, {"train": 1.0, "val": 0.0}):
        with pytest.raises(ConfigError, match="expected positive numbers"):
            split_groups(groups, shares)


def test_the_table_of_the_benchmarks_fits_the_events_it_is_for(shared, repository):
    rule = read_group_rule(repository / "benchmarks" / "radar_events_groups.toml")
    names = [path.stem for path in sorted((shared / "realdata" / "radar" / "events").glob("*.npz"))]
    assert len({rule.group_of(name) for name in names}) == 35
    assert len({rule.source_of(name) for name in names}) == 12
    for prefix in (*rule.groups, *rule.sources):
        assert any(name.startswith(prefix) for name in names), f"no event begins with {prefix}"
    traces = [trace(name, group=rule.group_of(name)) for name in names]
    for fold in leave_groups_out({t.name: t.group for t in traces}, 5):
        check_splits(
            {
                "train": [t for t in traces if t.name in fold.train],
                "left out": [t for t in traces if t.name in fold.test],
            }
        )

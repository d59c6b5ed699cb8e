"""Splits by whole storms: which events may stand on different sides, and a check that nothing leaks across.

Two files may show one storm: neighbouring cuts of one composite, two radars of one afternoon, the same pictures under
two names. Which files belong together is data, a table of prefixes (`GroupRule`); what the files themselves tell (time,
grid, the pictures) is checked against it (`check_splits`).
"""

import hashlib
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path

import numpy as np

from geoscope.data.events import NO_DATA, Event
from geoscope.errors import ConfigError, DataError
from geoscope.zoo.tables import build

_TELLING = 16  # wet pixels from which two equal frames are no coincidence


@dataclass(frozen=True)
class GroupRule:
    """Which storm and which source a file belongs to, by the beginning of its name; the longest prefix counts.

    A name without a prefix in ``groups`` is a storm of its own; without one in ``sources``, a source of its own.
    """

    groups: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def group_of(self, name: str) -> str:
        """The storm that the file ``name`` shows."""
        return _by_prefix(self.groups, name) or name

    def source_of(self, name: str) -> str:
        """Where the file ``name`` comes from."""
        return _by_prefix(self.sources, name) or name


def read_group_rule(path: str | Path) -> GroupRule:
    """The rule in a TOML file with the tables [groups] and [sources], each prefix = "name".

    Raises:
        ConfigError: it cannot be read, an unknown table, a value that is no text, or an empty prefix or name.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a readable TOML table of groups: {error}") from None
    rule = build(GroupRule, table, str(path))
    for name, entries in (("groups", rule.groups), ("sources", rule.sources)):
        for prefix, value in entries.items():
            if not prefix or not value:
                raise ConfigError(
                    f"{path}: [{name}] {prefix!r} = {value!r}: expected a prefix and a name; leave the line out"
                )
    return rule


def _by_prefix(table: Mapping[str, str], name: str) -> str | None:
    fitting = [prefix for prefix in table if name.startswith(prefix)]
    return table[max(fitting, key=len)] if fitting else None


@dataclass(frozen=True)
class Trace:
    """What tells one event from another: its storm, its source, its time, its grid and its pictures.

    ``place`` is the projection and size of the whole grid that the event was cut from, None where unknown; ``start``
    and ``end`` are None where the file tells no times. ``frames`` are hashes of its frames, those that are not dry.
    """

    name: str
    group: str
    source: str
    size: int
    start: np.datetime64 | None = None
    end: np.datetime64 | None = None
    place: str | None = None
    frames: frozenset[bytes] = frozenset()


def frame_hashes(event: Event) -> frozenset[bytes]:
    """A hash of each frame with at least 16 wet pixels; dry frames are alike in all events and tell nothing."""
    hashes = set()
    for frame in event.rain:
        if ((frame > 0) & (frame != NO_DATA)).sum() >= _TELLING:
            content = np.ascontiguousarray(frame)
            hashes.add(
                hashlib.blake2b(content.tobytes() + str(frame.shape).encode(), digest_size=16).digest()
            )
    return frozenset(hashes)


def overlap(first: Trace, second: Trace, hours_apart: float = 0.0) -> str | None:
    """Why two events show the same weather, or None.

    On one grid, events closer than ``hours_apart`` count as one: the storm of 14:00 is still there at 14:05.
    """
    if first.name == second.name:
        return "it is the same file"
    if first.group == second.group:
        return f"both are of the group {first.group!r}"
    shared = first.frames & second.frames
    if shared:
        return f"{len(shared)} of their frames are identical"
    if first.place is None or first.place != second.place:
        return None
    if first.start is None or first.end is None or second.start is None or second.end is None:
        return None
    gap = np.timedelta64(round(hours_apart * 3600), "s")
    if first.start <= second.end + gap and second.start <= first.end + gap:
        near = f" or less than {hours_apart:g} hours apart" if hours_apart else ""
        return f"both show the same grid at {max(first.start, second.start)}{near}"
    return None


def check_splits(splits: Mapping[str, Sequence[Trace]], hours_apart: float = 0.0) -> None:
    """Refuse splits of which one is empty, or of which two show the same weather.

    The same file, the same group, identical frames, or the same grid at the same time (see `overlap`).

    Raises:
        DataError: with the name of the empty split, or of the two events and the reason.
    """
    for name, traces in splits.items():
        if not traces:
            raise DataError(
                f"the split {name!r} is empty: expected at least one event, found none; add files or change the shares"
            )
    for (side, firsts), (other, seconds) in combinations(splits.items(), 2):
        for first, second in product(firsts, seconds):
            reason = overlap(first, second, hours_apart)
            if reason:
                raise DataError(
                    f"{first.name} in the split {side!r} and {second.name} in {other!r} must stand on one side: "
                    f"{reason}; give them one group, or leave one out"
                )


def merged_groups(traces: Sequence[Trace], hours_apart: float = 0.0) -> dict[str, str]:
    """Name -> group, with the groups joined that show the same weather; each takes the name of its first event's."""
    joined = _Joined(trace.name for trace in traces)
    for first, second in combinations(traces, 2):
        if overlap(first, second, hours_apart):
            joined.join(first.name, second.name)
    group_of = {trace.name: trace.group for trace in traces}
    return {trace.name: group_of[joined.root(trace.name)] for trace in traces}


class _Joined:
    """Sets that grow together; each is known by the earliest of its names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.order = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self.parent = {name: name for name in self.order}

    def root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        early, late = sorted((self.root(first), self.root(second)), key=self.order.__getitem__)
        self.parent[late] = early


@dataclass(frozen=True)
class Fold:
    """One turn of a cross-validation: names to train on, and names left out."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def leave_groups_out(
    groups: Mapping[str, str],
    folds: int,
    seed: int = 0,
    *,
    sizes: Mapping[str, float] | None = None,
    sources: Mapping[str, str] | None = None,
) -> list[Fold]:
    """Cut events into folds so that each event is left out once, with all of its group.

    Args:
        groups: name of an event -> its group.
        folds: how many.
        seed: other seeds give other folds.
        sizes: name -> how much it counts; the folds' sums differ by the largest group at most. Default: 1 each.
        sources: name -> its source; given, whole sources are left out, with all groups that they share.

    Raises:
        ConfigError: fewer than two folds, more folds than groups (or sources), or an event without size or source.
    """
    if folds < 2:
        raise ConfigError(f"folds={folds}: expected 2 or more")
    units = _units(groups, sources, sizes)
    if len(units) < folds:
        kind = "groups" if sources is None else "sources"
        raise ConfigError(f"folds={folds}: expected at most {len(units)}, the number of independent {kind}")
    left_out = _spread(units, {str(fold): 1 / folds for fold in range(folds)}, seed)
    return [
        Fold(
            tuple(name for name in groups if name not in test), tuple(name for name in groups if name in test)
        )
        for test in left_out.values()
    ]


def split_groups(
    groups: Mapping[str, str],
    shares: Mapping[str, float],
    seed: int = 0,
    *,
    sizes: Mapping[str, float] | None = None,
    sources: Mapping[str, str] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Cut events into named splits of about the given shares, whole groups (or sources) at a time.

    Raises:
        ConfigError: shares that are not positive, or an event without size or source.
        DataError: there are too few groups for every split to get one.
    """
    if not shares or not all(share > 0 for share in shares.values()):
        raise ConfigError(f"shares={dict(shares)}: expected positive numbers, such as train=0.8, val=0.2")
    units = _units(groups, sources, sizes)
    total = sum(shares.values())
    held = _spread(units, {name: share / total for name, share in shares.items()}, seed)
    for name, names in held.items():
        if not names:
            raise DataError(
                f"the split {name!r} is empty: {len(units)} independent groups are too few for {len(shares)} splits; "
                "add files or ask for fewer splits"
            )
    return {split: tuple(name for name in groups if name in names) for split, names in held.items()}


def _units(
    groups: Mapping[str, str], sources: Mapping[str, str] | None, sizes: Mapping[str, float] | None
) -> list[tuple[float, list[str]]]:
    """(size, names) of what must stay together: what shares a group, or, where given, a source."""
    for what, table in (("size", sizes), ("source", sources)):
        for name in groups if table is not None else ():
            if name not in table:  # type: ignore[operator]
                raise ConfigError(f"{name}: expected a {what} for every event, found none; add it")
    joined = _Joined(groups)
    for table in (groups, sources or {}):
        first: dict[str, str] = {}
        for name in groups if table else ():
            joined.join(first.setdefault(table[name], name), name)
    units: dict[str, list[str]] = defaultdict(list)
    for name in groups:
        units[joined.root(name)].append(name)
    return [(sum(sizes[name] for name in names) if sizes else len(names), names) for names in units.values()]


def _spread(
    units: list[tuple[float, list[str]]], shares: Mapping[str, float], seed: int
) -> dict[str, set[str]]:
    """Give each unit, about from large to small, to whatever is furthest behind its share; none stays without."""
    random = np.random.default_rng(seed)
    named = sorted(units, key=lambda unit: min(unit[1]))
    order = sorted(named, key=lambda unit: -unit[0] * random.uniform(0.5, 1))
    held: dict[str, set[str]] = {name: set() for name in shares}
    load = dict.fromkeys(shares, 0.0)
    for place, (size, names) in enumerate(order):
        empty = [name for name in shares if not held[name]]
        open_to = empty if len(order) - place <= len(empty) else list(shares)
        chosen = min(open_to, key=lambda name: load[name] / shares[name])
        held[chosen] |= set(names)
        load[chosen] += size
    return held

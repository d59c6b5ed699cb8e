"""Constructor arguments of published models of cuboid attention: checked by name, cuboids read from them.

Every error names the argument. Source: facts about amazon-science/earth-forecasting-transformer (Apache-2.0).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geoscope.errors import ConfigError
from geoscope.ops.cuboid_attention import Cuboids

_STRATEGY = {"l": "local", "d": "dilated"}


def with_defaults(
    kwargs: Mapping[str, Any] | str,
    defaults: Mapping[str, Any],
    required: Sequence[str],
    carried: Mapping[str, Sequence[Any]],
    network: str,
) -> dict[str, Any]:
    """All arguments of ``network``: those given, as names and values or as JSON text, and the published defaults.

    ``carried`` lists, for arguments of which the published code knows more, the values that geoscope carries.

    Raises:
        ConfigError: an unknown or a missing argument, or a value that is not carried.
    """
    if isinstance(kwargs, str):
        kwargs = json.loads(kwargs)
    if not isinstance(kwargs, Mapping):
        raise ConfigError(f"the published arguments are a {type(kwargs).__name__}: expected names and values")
    unknown = [name for name in kwargs if name not in defaults and name not in required]
    if unknown:
        raise ConfigError(f"unknown argument {', '.join(unknown)}: the published {network} has no such one")
    absent = [name for name in required if name not in kwargs]
    if absent:
        raise ConfigError(f"argument {', '.join(absent)} is missing: the published {network} has no default")
    options = dict(defaults) | dict(kwargs)
    for name, values in carried.items():
        if options[name] not in values:
            known = ", ".join(repr(value) for value in values)
            raise ConfigError(f"{name}={options[name]!r} is not carried by geoscope: only {known}")
    return options


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def sequence(options: Mapping[str, Any], name: str) -> list:
    """The list ``name``."""
    value = options[name]
    if not _is_list(value):
        raise ConfigError(f"{name}={value!r}: expected a list")
    return list(value)


def integer(options: Mapping[str, Any], name: str) -> int:
    """The whole number ``name``."""
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name}={value!r}: expected a whole number")
    return value


def integers(options: Mapping[str, Any], name: str, count: int | None = None) -> Any:
    """The whole numbers of ``name``, as a tuple of ``count``."""
    values = sequence(options, name)
    if (count is not None and len(values) != count) or not all(isinstance(v, int) for v in values):
        wanted = "whole numbers" if count is None else f"{count} whole numbers"
        raise ConfigError(f"{name}={values}: expected {wanted}")
    return tuple(values)


def factor_argument(value: Any, name: str) -> tuple[int, int, int]:
    """(t, h, w); one number counts for rows and columns."""
    factor = (1, value, value) if isinstance(value, int) else value
    if not _is_list(factor) or len(factor) != 3 or not all(isinstance(v, int) and v >= 1 for v in factor):
        raise ConfigError(f"{name}={value!r}: expected one whole number, or three for T, H and W")
    t, h, w = factor
    return t, h, w


def patterns(
    options: Mapping[str, Any], name: str, levels: int, listed: Callable[[Mapping[str, Any], int], list]
) -> Any:
    """A pattern name for all levels, one per level, or the cuboids of the explicit lists for each level."""
    value = options[name]
    if value is None:
        return listed(options, levels)
    if isinstance(value, str):
        value = [value] * levels
    if "last_frame_dst" in value:
        raise ConfigError(f"{name}: pattern 'last_frame_dst' is not carried by geoscope (it has no cuboids)")
    if len(value) != levels or not all(isinstance(pattern, str) for pattern in value):
        raise ConfigError(f"{name}={value!r}: expected one pattern name for each of {levels} levels")
    return list(value)


def by_level(options: Mapping[str, Any], name: str, levels: int, depth: int) -> list[list]:
    """The explicit list ``name`` for each level: given once for all, or nested one deeper, once for each."""
    values = sequence(options, name)
    inner, nesting = values, 0
    while _is_list(inner) and len(inner):
        inner, nesting = inner[0], nesting + 1
    if nesting == depth:
        return [values] * levels
    if nesting != depth + 1 or len(values) != levels:
        raise ConfigError(
            f"{name}={values}: expected a list of attentions, or one for each of {levels} levels"
        )
    return values


def strategy_argument(names: Any, argument: str) -> Any:
    """The strategy along T, H and W, of the published letters."""
    if len(names) != 3 or any(name not in _STRATEGY for name in names):
        raise ConfigError(f"{argument} has {names!r}: expected 'l' or 'd' for each of T, H and W")
    return tuple(_STRATEGY[name] for name in names)


def aligned(name: str, *lists: list) -> list[tuple]:
    """Several lists as one of tuples; they must be equally long."""
    if len({len(values) for values in lists}) != 1:
        raise ConfigError(
            f"{name}, its strategies and shifts list {[len(v) for v in lists]} attentions: must agree"
        )
    return list(zip(*lists, strict=True))


def self_cuboids_by_level(
    options: Mapping[str, Any], levels: int, size: str, strategy: str, shift: str
) -> list:
    """The cuboids of each level, of the explicit lists of sizes, strategies and shifts."""
    per_level = zip(*(by_level(options, name, levels, 2) for name in (size, strategy, shift)), strict=True)
    return [
        tuple(
            Cuboids(size=tuple(s), strategy=strategy_argument(way, strategy), shift=tuple(roll))
            for s, way, roll in aligned(size, *lists)
        )
        for lists in per_level
    ]

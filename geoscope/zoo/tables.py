"""From TOML tables to frozen dataclasses: an unknown key or a value of the wrong kind is an error."""

import difflib
import types
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from geoscope.errors import ConfigError

T = TypeVar("T")


def build(cls: type[T], table: Any, where: str) -> T:
    """An instance of the dataclass ``cls`` from a TOML ``table``; ``where`` names it in messages.

    Arrays become tuples; a nested table becomes the dataclass that its field names.

    Raises:
        ConfigError: not a table, an unknown or missing key, or a value of another type than the field's.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, got {_kind(table)}")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; {nearest(key, known)}")
    for name, field in known.items():
        if name not in table and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: key {name!r} is missing")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()})


def nearest(key: str, known: Iterable[str]) -> str:
    """What to write instead of ``key``: the most similar of ``known``, and all of them."""
    names = list(known)
    similar = difflib.get_close_matches(key, names, n=1)
    return f"{f'did you mean {similar[0]!r}? ' if similar else ''}there are {', '.join(names)}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):  # X | None: TOML has no null, so a given value is an X
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
    if is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        return _convert_array(get_args(hint), value, where)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(
                f"{where}: expected one of {', '.join(map(repr, get_args(hint)))}, got {value!r}"
            )
        return value
    if get_origin(hint) is dict and isinstance(value, dict):
        return {key: _convert(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if get_origin(hint) is dict:
        hint = dict
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {_name(hint)}, got {_kind(value)} {value!r}")
    return value


def _convert_array(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: expected an array, got {_kind(value)} {value!r}")
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        raise ConfigError(f"{where}: expected {len(inner)} values, got {len(value)}")
    return tuple(
        _convert(hint, item, f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(inner, value, strict=True))
    )


def _name(hint: type) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
    return names.get(hint, hint.__name__)


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, list) else type(value).__name__

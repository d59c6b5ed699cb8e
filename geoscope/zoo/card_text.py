"""Tables as TOML text, for cards that a program writes."""

import datetime
import json
from collections.abc import Mapping
from typing import Any

from geoscope.errors import ConfigError


def to_toml(table: Mapping[str, Any]) -> str:
    """``table`` as TOML: plain values first, then tables one level deep; None and what is empty is left out.

    Raises:
        ConfigError: a value that TOML has no form for.
    """
    lines = [f"{key} = {_value(value, key)}" for key, value in table.items() if _is_plain(value)]
    for key, inner in table.items():
        if isinstance(inner, Mapping) and inner:
            kept = [f"{name} = {_value(value, name)}" for name, value in inner.items() if _is_plain(value)]
            lines += ["", f"[{key}]", *kept]
    return "\n".join(lines) + "\n"


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping) and value not in ("", [], ())


def _value(value: Any, key: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | datetime.date):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a TOML basic string has JSON's escapes
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, key) for item in value)}]"
    raise ConfigError(
        f"{key} is {type(value).__name__} {value!r}: expected text, a number, a date or an array"
    )

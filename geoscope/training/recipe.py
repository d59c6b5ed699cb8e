"""Recipes: a TOML file says what is trained and how. An unknown key or a wrong type is named, with the nearest key.

The keys of `engine.Settings` stand at the top level, with those of the task; tables ([model], [data], ...) are the
task's own.
"""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from geoscope.errors import ConfigError
from geoscope.training.engine import Settings
from geoscope.zoo.tables import build, nearest

T = TypeVar("T")


def read(path: Path) -> dict[str, Any]:
    """The tables of a recipe.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a readable TOML recipe: {error}") from None


def split(
    recipe: dict[str, Any], config: type[T], where: str, defaults: dict[str, Any] | None = None
) -> tuple[Settings, T]:
    """The engine's settings and the task's own ``config`` out of one recipe; ``defaults`` stand in for missing keys.

    Raises:
        ConfigError: an unknown key, a wrong type or a value that cannot work; the message names ``where`` and the key.
    """
    whole = {**(defaults or {}), **recipe}
    engine = [f.name for f in fields(Settings)]
    own = [f.name for f in fields(config)]  # type: ignore[arg-type]
    for key in whole:
        if key not in engine and key not in own:
            raise ConfigError(f"{where}: unknown key {key!r}; {nearest(key, sorted({*own, *engine}))}")
    try:
        mine = build(config, {key: value for key, value in whole.items() if key in own}, where)
        return build(Settings, {key: value for key, value in whole.items() if key in engine}, where), mine
    except ConfigError as error:
        raise error if str(error).startswith(where) else ConfigError(f"{where}: {error}") from None

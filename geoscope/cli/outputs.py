"""Files that a command is to write, checked before any work is done."""

from pathlib import Path
from typing import Annotated

import typer

from geoscope.errors import ConfigError

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that exists, once the new one is whole.")
]


def check_output(option: str, path: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuse an output that could not be written, or not as its ending says.

    Raises:
        ConfigError: an unknown ending, a folder that does not exist, a file that does without ``overwrite``.
    """
    name = f"{option} {str(path)!r}"
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{name} ends in {path.suffix or 'nothing'!r}; expected {', '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{name}: the folder {str(path.parent)!r} does not exist; make it first")
    if path.exists() and not overwrite:
        raise ConfigError(f"{name} exists already; choose another name or give --overwrite")

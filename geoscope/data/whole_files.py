"""Files that appear whole or not at all: written under another name beside the target, then renamed.

Whatever stops the writing - an error, a full disk, Ctrl-C - the older file stays as it was and no part is
left.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from geoscope.errors import ConfigError, DataError, GeoscopeError


@contextmanager
def whole_file(path: str | PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """The name to write to; when the block ends well it is renamed to `path`, else it is removed.

    What the block writes under that name may be a file or a folder. The name keeps the ending of `path`.

    Raises:
        ConfigError: `path` exists and `overwrite` is False, or the folder that should hold it does not exist.
        DataError: the system refused to write (no space, no permission).
    """
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"{target}: the folder {target.absolute().parent} does not exist; make it first")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists already; choose another name, remove it, or say overwrite=True")
    token = secrets.token_hex(4)
    part = target.with_name(f".{target.stem}.{token}.part{target.suffix}")
    try:
        yield part
        _replace(part, target, target.with_name(f".{target.stem}.{token}.old{target.suffix}"))
    except OSError as error:
        if isinstance(error, GeoscopeError):
            raise
        reason = error.strerror or error
        raise DataError(
            f"{target} cannot be written: {reason}; free space or choose another folder"
        ) from error
    finally:
        _remove(part)


def _replace(part: Path, target: Path, aside: Path) -> None:
    if (
        part.is_dir() or target.is_dir()
    ):  # a folder cannot be replaced in one step: keep the older until the end
        if target.exists():
            os.rename(target, aside)
        try:
            os.rename(part, target)
        except BaseException:
            if aside.exists():
                os.rename(aside, target)
            raise
        _remove(aside)
    else:
        os.replace(part, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

"""What is finished: one small file for each issue time, written last and whole, and a lock for the run that writes.

A forecast counts as finished when its record is there, not when its data are: the record is written beside and
renamed after the data have reached the disk. It holds the size of every chunk, so that a store that lost data later
(a power cut, a copy that broke off) is noticed, and the scores of its issue time, so that nothing is lost with the
process.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from geoscope.errors import ConfigError, DataError

FOLDER = ".run"  # inside the store, where Zarr does not look
_CARD = "card.json"
_LOCK = "lock"


def record_path(store: Path, issue_time: np.datetime64) -> Path:
    """The record of an issue time, there or not."""
    stamp = np.datetime_as_string(issue_time, unit="s").replace(":", "").replace("-", "")
    return store / FOLDER / "times" / f"{stamp}Z.json"


def read_record(store: Path, issue_time: np.datetime64) -> dict[str, Any] | None:
    """The record of an issue time whose chunks are all there; None when it is to be done (again)."""
    try:
        record = json.loads(record_path(store, issue_time).read_text(encoding="utf-8"))
        whole = all((store / name).stat().st_size == size for name, size in record["chunks"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole and record.get("issue_time") == _iso(issue_time) else None


def write_record(store: Path, issue_time: np.datetime64, record: Mapping[str, Any]) -> None:
    """Mark an issue time as finished, once the chunks that the record names are on the disk."""
    for name in record["chunks"]:
        _flush(store / name)
    write_json(record_path(store, issue_time), {"issue_time": _iso(issue_time), **record})


def _iso(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file that is there whole or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, allow_nan=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_card(store: Path, card: Mapping[str, Any]) -> None:
    """Keep what the run is."""
    write_json(store / FOLDER / _CARD, card)


def read_card(store: Path) -> dict[str, Any]:
    """What the run is that the store belongs to.

    Raises:
        ConfigError: it is no store of an archive.
        DataError: its card is damaged.
    """
    path = store / FOLDER / _CARD
    if not path.is_file():
        raise ConfigError(
            f"{store} exists and is no archive of geoscope nowcast --every; choose another --out, or --overwrite"
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{store}: the card of its run ({path.name}) is damaged; write the archive again with --overwrite"
        ) from error


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold the store for one run; the lock falls with the process, however it ends.

    Raises:
        ConfigError: another run holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such lock on this system
        yield
        return
    with (store / FOLDER / _LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ConfigError(
                f"{store} is being written by {holder}; wait for it, or choose another --out"
            ) from None
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)

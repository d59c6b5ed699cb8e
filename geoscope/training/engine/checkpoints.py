"""Checkpoints that survive a kill at any moment, a full disk and a broken file.

Two files hold a run: ``last.pt``, and ``previous.pt``, the one before. A new one is written beside them, flushed to the
disk and renamed, so at every moment at least one of the two is whole.
"""

import logging
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from geoscope.errors import TrainingError

LAST, PREVIOUS = "last.pt", "previous.pt"
FORMAT = "geoscope-training-2"
log = logging.getLogger("geoscope.training")


def save(folder: Path, state: dict[str, Any]) -> None:
    """Make ``state`` the last checkpoint in ``folder`` and the one that was it the previous one.

    Raises:
        TrainingError: it cannot be written, for instance on a full disk; the checkpoints stay as they were.
    """
    beside = folder / (LAST + ".part")
    write_whole(beside, {"format": FORMAT, **state})
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / PREVIOUS)
    os.replace(beside, folder / LAST)
    _sync_folder(folder)


def write_whole(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` and wait until it is on the disk.

    Raises:
        TrainingError: it cannot be written; nothing is left behind.
    """
    try:
        with path.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, RuntimeError) as error:
        path.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:120]
        raise TrainingError(
            f"the checkpoint in {path.parent} cannot be written ({reason}); the one before is whole: make room and "
            "run the same command again"
        ) from None


def load(folder: Path) -> dict[str, Any] | None:
    """The last whole checkpoint in ``folder``; None when no run has left one.

    A broken ``last.pt`` is named in one line of the log, and ``previous.pt`` is taken.

    Raises:
        TrainingError: there are checkpoints and none is whole.
    """
    broken: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        state = read(path)
        if isinstance(state, str):
            broken.append(f"{name} ({state})")
            continue
        if broken:
            log.warning("%s in %s is broken: going on from %s instead", broken[0], folder, name)
        return state
    if broken:
        raise TrainingError(
            f"no whole checkpoint in {folder}: {', '.join(broken)}; delete them to begin again, or give another --out"
        )
    return None


def read(path: Path) -> dict[str, Any] | str:
    """The state in ``path``, or why it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the check sums
            damaged = archive.testzip()
        if damaged is not None:
            return f"damaged in {damaged}"
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:80]
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        return "not a checkpoint of this version of geoscope"
    return state


def _sync_folder(folder: Path) -> None:
    """Make renames last through a power cut, where the system lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Stages of a run, each in a folder of its own: done once, and never continued on top of something else."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from geoscope.errors import ConfigError, TrainingError

RECORD = "stage.json"


def once(folder: Path, *, made_from: str, settings: Any, result: Path, make: Callable[[], object]) -> Path:
    """``result`` of the stage in ``folder``: as it is there, or made now.

    ``made_from`` stands for all that the stage was begun with and that must not change under it; ``settings`` may, and
    then the stage goes on.

    Raises:
        ConfigError: the folder was begun with something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / RECORD
    before = _read(record)
    if before is not None and before.get("made_from") != made_from:
        raise ConfigError(
            f"{folder} was begun with another recipe, other events or another result of the stage before; delete it to "
            "repeat it, put the recipe back, or give another --out"
        )
    wanted = json.loads(json.dumps(settings, default=str))
    if before is not None and before.get("finished") == wanted and result.exists():
        return result
    _write(record, {"made_from": made_from, "finished": None})
    make()
    _write(record, {"made_from": made_from, "finished": wanted})
    return result


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """``path``, which ``write`` has written beside its place: what is there is whole, whenever the run is stopped.

    Raises:
        TrainingError: it cannot be written, for instance on a full disk; nothing is left behind.
    """
    beside = path.with_name(path.name + ".part")
    try:
        write(beside)
    except (OSError, SafetensorError) as error:
        beside.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:120]
        raise TrainingError(
            f"{path} cannot be written ({reason}); make room and run the same command again"
        ) from None
    return beside.replace(path)


def digest(*parts: Any) -> str:
    """A short name for what is told: JSON values, and the contents of files where a part is a path."""
    found = hashlib.sha256()
    for part in parts:
        text = part.read_bytes() if isinstance(part, Path) else json.dumps(part, default=str).encode()
        found.update(hashlib.sha256(text).digest())
    return found.hexdigest()[:24]


def listing(paths: Iterable[Path]) -> list[tuple[str, int]]:
    """Names and sizes of files, and of what folders hold."""
    return [
        (path.name, sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file()))
        for path in paths
    ]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _write(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=1) + "\n"
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))

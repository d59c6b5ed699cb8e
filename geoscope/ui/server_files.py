"""Files of the server that a page may open: only those under one folder that the operator names.

The folder stands in the environment variable GEOSCOPE_DATA_ROOT. Without it no path can be opened.
"""

import os
from pathlib import Path

from geoscope.errors import DataError

ROOT_VARIABLE = "GEOSCOPE_DATA_ROOT"
MAX_FILES = 1000


def allowed_root() -> Path | None:
    """The folder whose files a page may open, or None when the operator names none or it does not exist."""
    named = os.environ.get(ROOT_VARIABLE, "").strip()
    root = Path(named).expanduser() if named else None
    return root.resolve() if root is not None and root.is_dir() else None


def files_under_root(text: str) -> Path | list[Path]:
    """What a user's path means: a file or folder, or the files that a pattern with * matches, sorted by name.

    ``text`` is relative to the root. Nothing outside the root is ever looked at: neither by .. nor by an absolute path
    nor through a symbolic link.

    Raises:
        DataError: no root, a path that leaves it, nothing there, or more than 1000 matches.
    """
    root = allowed_root()
    if root is None:
        raise DataError(
            f"this server opens no files of its own: its operator can allow a folder with {ROOT_VARIABLE}; "
            "choose a sample or drop a file instead"
        )
    text = text.strip()
    if not text or "\0" in text:
        raise DataError("no path was given: write a file, a folder or a pattern such as storm/*.nc")
    relative = Path(text)
    if relative.is_absolute() or ".." in relative.parts or "://" in text or text.startswith("~"):
        raise DataError(
            f"{text[:80]!r} is not a path inside the server's data folder: write it relative to that folder, without .."
        )
    if any(sign in text for sign in "*?["):
        matches = sorted(path for path in root.glob(text) if path.is_file())
        found = [path for path in matches if _is_inside(path, root)]
        if not found or len(found) > MAX_FILES:
            raise DataError(
                f"{text[:80]!r} matches {len(found)} files, expected 1 to {MAX_FILES}: change the pattern"
            )
        return found
    path = root / relative
    if not path.exists() or not _is_inside(path, root):
        raise DataError(f"{text[:80]!r} is not in the server's data folder: check the name")
    if path.is_dir() and any(entry.is_symlink() and not _is_inside(entry, root) for entry in path.rglob("*")):
        raise DataError(
            f"{text[:80]!r} holds a link out of the server's data folder: name single files in it"
        )
    return path.resolve()


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)

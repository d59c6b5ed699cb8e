"""Files that a user drops on a page, with the limits checked where they hold: on the server.

Panel checks the limits of an upload only in the browser, where a user can change them; its own widgets keep every
chunk they are sent in memory. `UploadReceiver` counts while it receives, writes each chunk to a folder of the
session, and stops at the first byte too many. File names come from the user: only a cleaned last part is used.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoscope.errors import DataError

SUFFIXES = (
    *(".nc", ".nc4", ".cdf", ".h5", ".hdf", ".hdf5", ".grib2", ".grb2", ".grib", ".grb"),
    *(".pgm", ".gif", ".tif", ".tiff", ".bin", ".gz", ".bz2"),
)


@dataclass(frozen=True)
class UploadLimits:
    """What a session may send; sizes in bytes."""

    max_file_bytes: int = 256_000_000
    max_total_bytes: int = 512_000_000
    max_files: int = 200
    suffixes: tuple[str, ...] = SUFFIXES

    def in_words(self) -> str:
        """The limits as one line for the page."""
        return (
            f"Up to {self.max_files} files, {self.max_file_bytes // 1_000_000} MB each, "
            f"{self.max_total_bytes // 1_000_000} MB together"
        )


class UploadReceiver:
    """Takes the chunks of one upload after the other and keeps the files until the next one or `close`."""

    def __init__(self, limits: UploadLimits | None = None) -> None:
        self.limits = limits or UploadLimits()
        self._folder: Path | None = None
        self._next_chunk: dict[str, int] = {}
        self._complete: list[Path] = []
        self._total = 0

    def start(self) -> None:
        """Forget the upload before and make room."""
        self.close()
        self._folder = Path(tempfile.mkdtemp(prefix="geoscope-upload-"))

    def close(self) -> None:
        """Remove everything that was received."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder, self._next_chunk, self._complete, self._total = None, {}, [], 0

    def receive(self, message: dict[str, Any]) -> None:
        """Write one chunk: name, chunk (from 1), total_chunks, data.

        Raises:
            DataError: a limit is passed, the type is not one that can be read, or the chunks come out of order. What
                was received so far is removed.
        """
        try:
            self._receive(message)
        except DataError:
            self.close()
            raise

    def _receive(self, message: dict[str, Any]) -> None:
        if self._folder is None:
            raise DataError("the upload was stopped: drop the files again")
        name = clean_name(str(message.get("name", "")))
        data = bytes(message.get("data") or b"")
        chunk, total_chunks = int(message.get("chunk", 0)), int(message.get("total_chunks", 0))
        expected = self._next_chunk.get(name, 1)
        if chunk != expected or not 1 <= chunk <= total_chunks:
            raise DataError(
                f"{name}: part {chunk} came where part {expected} was expected; drop the file again"
            )
        if chunk == 1:
            self._check_new(name)
        path = self._folder / name
        size = (path.stat().st_size if path.exists() else 0) + len(data)
        self._total += len(data)
        if size > self.limits.max_file_bytes or self._total > self.limits.max_total_bytes:
            raise DataError(
                f"{name} is too large: {self.limits.in_words()}; cut the sequence or use a server folder"
            )
        with path.open("ab") as file:
            file.write(data)
        self._next_chunk[name] = chunk + 1
        if chunk == total_chunks:
            self._complete.append(path)

    def _check_new(self, name: str) -> None:
        if len(self._next_chunk) >= self.limits.max_files:
            raise DataError(f"too many files: {self.limits.in_words()}; drop fewer, or use a server folder")
        if not name.lower().endswith(self.limits.suffixes) and not name.endswith("bin"):
            raise DataError(
                f"{name} is not a radar file by its name: expected NetCDF, HDF5, GRIB2, GeoTIFF, PGM, GIF or "
                "RADOLAN (.nc .h5 .grib2 .tif .pgm .gif .bin, also with .gz)"
            )

    def finish(self) -> list[Path]:
        """The files received, sorted by name.

        Raises:
            DataError: nothing came, a file is empty, or one is not complete.
        """
        unfinished = len(self._next_chunk) - len(self._complete)
        if not self._complete or unfinished:
            self.close()
            what = (
                f"{unfinished} files are not complete"
                if unfinished
                else "no data came, the file may be empty"
            )
            raise DataError(f"{what}: drop the files again")
        return sorted(self._complete)


def clean_name(name: str) -> str:
    """The last part of a file name, with only letters, digits, dots, dashes and underscores, never hidden."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9._-]", "_", last).lstrip(".")[-120:] or "file"

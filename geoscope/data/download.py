"""Fetching a file whole or not at all: resumed after a break, size and sha256 checked, moved in place last.

Proxies come from the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), the cache from GEOSCOPE_CACHE or
XDG_CACHE_HOME. While a file is on its way it is called NAME.part, beside it NAME.part.json says of which
version of which address it is a part; only the finished and checked file gets its NAME.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import httpx

from geoscope.errors import DownloadError

Progress = Callable[[str, float], None]
SPARE_BYTES = 64 << 20  # left free on the disk
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
PASSING_FAULTS = (408, 425, 429, 500, 502, 503, 504)  # worth asking again


class _Broken(Exception):
    """The connection ended early; what came so far is kept."""


@dataclass(frozen=True)
class _Job:
    url: str
    target: Path
    sha256: str | None
    size: int | None
    report: Progress

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where fetched files are kept: GEOSCOPE_CACHE, else geoscope in XDG_CACHE_HOME, else in ~/.cache."""
    own = os.environ.get("GEOSCOPE_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "geoscope"


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    attempts: int = 4,
    pause_s: float = 1.0,
) -> Path:
    """Fetch ``url`` as ``target`` and return ``target``; an older file of that name is replaced at the end.

    A connection that breaks is taken up again where it stopped, up to ``attempts`` times, then by the next.
    Where no ``sha256`` is given, the one found is recorded in ``target`` + ".sha256"; an earlier record must
    match.
    ``progress(stage, done)`` gets done in 0..1; raising in it stops the download.

    Raises:
        DownloadError: no connection, refused by the server, broken too often, wrong size or sha256, no space.
    """
    report = progress or (lambda stage, done: None)
    expected = sha256 or recorded_sha256(target)
    job = _Job(url, target, expected, size, report)
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: expected an address that begins with https:// or http://")
    with _disk_faults(job):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(job):
            _receive_with_patience(job, max(1, attempts), pause_s)
            _check(job, is_official=sha256 is not None)
            os.replace(job.part, target)
            job.note.unlink(missing_ok=True)
    report("done", 1.0)
    return target


def recorded_sha256(path: Path) -> str | None:
    """The sha256 recorded when ``path`` was first fetched; None when there is no record."""
    try:
        return _record(path).read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError):
        return None


def record_sha256(path: Path) -> str:
    """Record the sha256 of the file ``path`` beside it, in the format of sha256sum, and return it."""
    found = _hash(path)
    _write_record(path, found)
    return found


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _write_record(path: Path, sha256: str) -> None:
    _record(path).write_text(f"{sha256}  {path.name}\n", encoding="ascii")


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _receive_with_patience(job: _Job, attempts: int, pause_s: float) -> None:
    for attempt in range(1, attempts + 1):
        try:
            return _receive(job)
        except _Broken as fault:
            if attempt == attempts:
                kept = job.part.stat().st_size if job.part.exists() else 0
                raise DownloadError(
                    f"{job.url}: the connection broke {attempts} times ({fault}); {kept} bytes are kept, "
                    "run it again to go on from there"
                ) from None
            job.report(f"connection broken, trying again ({attempt} of {attempts - 1})", 0.0)
            time.sleep(pause_s * 2 ** (attempt - 1))


def _receive(job: _Job) -> None:
    """Fetch what is missing of the part; raises _Broken when it is worth asking again."""
    start, validator = _state_of(job)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    host = urlsplit(job.url).netloc
    job.report(f"connecting to {host}", 0.0)
    try:
        with _client() as client, client.stream("GET", job.url, headers=headers) as answer:
            _refuse(job, answer)
            if answer.status_code == 416:  # the part is longer than the file, or the file has changed
                job.forget()
                raise _Broken("the server's file has changed")
            if answer.status_code != 206 or _first_byte(answer) != start:
                if answer.status_code == 206:
                    job.forget()
                    raise _Broken("the server sent another part than the one asked for")
                start = 0
            _store(job, answer, start)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise DownloadError(
            f"no connection to {host} ({_reason(error)}): check the network, or set HTTPS_PROXY; offline, "
            f"copy the file to {job.target}"
        ) from None
    except (httpx.TransportError, httpx.StreamError) as error:
        raise _Broken(_reason(error)) from None
    except (httpx.InvalidURL, httpx.HTTPError) as error:
        raise DownloadError(f"{job.url}: {_reason(error)}") from None


def _client() -> httpx.Client:
    try:
        return httpx.Client(timeout=TIMEOUT, follow_redirects=True, headers={"User-Agent": "geoscope"})
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise DownloadError(
            f"the proxy settings in the environment cannot be used ({_reason(error)}): set HTTPS_PROXY to an "
            "address such as http://proxy:3128, or unset it and ALL_PROXY"
        ) from None


def _state_of(job: _Job) -> tuple[int, str]:
    """How many bytes are there, and of which version; (0, "") unless both are known."""
    try:
        note = json.loads(job.note.read_text(encoding="utf-8"))
        start, validator = job.part.stat().st_size, note["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
    return (start, validator) if start and validator and note.get("url") == job.url else (0, "")


def _refuse(job: _Job, answer: httpx.Response) -> None:
    status = answer.status_code
    if status in (200, 206, 416):
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise DownloadError(f"{job.url}: the server sent it encoded as {encoding}, expected it as it is")
        if job.url.startswith("https:") and answer.url.scheme != "https":
            raise DownloadError(f"{job.url}: leads to {answer.url} without encryption; not followed")
        return
    if status in PASSING_FAULTS:
        raise _Broken(f"the server answers {status} {answer.reason_phrase}")
    meaning = "the file is not there" if status in (404, 410) else "the server refuses it"
    raise DownloadError(f"{job.url}: {meaning} (HTTP {status}); a newer geoscope may know where it is now")


def _first_byte(answer: httpx.Response) -> int | None:
    """The first byte's position in "bytes 100-199/200"; None when the header says something else."""
    unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
    first = rest.split("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else None


def _store(job: _Job, answer: httpx.Response, start: int) -> None:
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if length.isdigit() else None
    is_framed = total is not None or answer.headers.get("Transfer-Encoding") == "chunked"
    if not is_framed and job.sha256 is None and job.size is None:
        raise DownloadError(
            f"{job.url}: the server does not say how long the file is, so it cannot be checked"
        )
    if job.size is not None and total is not None and total != job.size:
        job.forget()
        raise DownloadError(
            f"{job.url}: the server's file has {total} bytes, expected {job.size}; not fetched"
        )
    total = total or job.size
    _need_space(job, (total or 0) - start)
    _note_version(job, answer)
    done = start
    with job.part.open("ab" if start else "wb") as stream:
        for chunk in answer.iter_raw():
            stream.write(chunk)
            done += len(chunk)
            if job.size is not None and done > job.size:
                break  # more than there should be: the check of the size says so
            job.report("fetching", done / total if total else 0.0)
        stream.flush()
        os.fsync(stream.fileno())


def _note_version(job: _Job, answer: httpx.Response) -> None:
    """Keep what identifies the version on its way; weak validators do not say that the bytes are the same."""
    tag = answer.headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
    job.note.write_text(json.dumps({"url": job.url, "validator": validator}), encoding="utf-8")


def _need_space(job: _Job, needed: int) -> None:
    free = shutil.disk_usage(job.target.parent).free
    if needed > 0 and free < needed + SPARE_BYTES:
        raise DownloadError(
            f"{job.target.name} needs {_mb(needed + SPARE_BYTES)}, {_mb(free)} are free in "
            f"{job.target.parent}: make space there, or set GEOSCOPE_CACHE to another folder"
        )


def _check(job: _Job, *, is_official: bool) -> None:
    size = job.part.stat().st_size
    if job.size is not None and size != job.size:
        job.forget()
        raise DownloadError(f"{job.url}: {size} bytes came, expected {job.size}; thrown away, run it again")
    job.report("checking", 1.0)
    found = _hash(job.part)
    if job.sha256 is None:
        _write_record(job.target, found)
    elif found != job.sha256:
        job.forget()
        cure = (
            "run it again" if is_official else f"if the change is right, delete {_record(job.target)} first"
        )
        raise DownloadError(
            f"{job.url}: sha256 is {found[:12]}..., expected {job.sha256[:12]}...; thrown away, {cure}"
        )


@contextlib.contextmanager
def _disk_faults(job: _Job) -> Iterator[None]:
    """Say in one line what the disk would not do; a full disk is given back what was taken."""
    try:
        yield
    except DownloadError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            job.forget()
            raise DownloadError(
                f"no space left in {job.target.parent}: make space there, or set GEOSCOPE_CACHE to another "
                "folder"
            ) from None
        raise DownloadError(
            f"cannot write {job.target} ({error.strerror or error}): set GEOSCOPE_CACHE to a folder that "
            "you may write in"
        ) from None


@contextlib.contextmanager
def _only_one(job: _Job) -> Iterator[None]:
    """Two processes that append to one part would spoil it; the lock ends with the process that holds it."""
    lock = job.target.with_name(job.target.name + ".lock")
    with lock.open("w") as stream:
        if not _try_lock(stream):
            raise DownloadError(f"{job.target.name} is being fetched by another process: wait for it")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _try_lock(stream: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: open files cannot be replaced there, so the second one fails at the end
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"

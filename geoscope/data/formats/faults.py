"""How a file's fault is told: one line that names the file, what was expected, what came and the cure."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from geoscope.errors import DataError, GeoscopeError

_LONGEST = 300  # characters of what came: a damaged header may be of any length


def fault(path: str | PathLike, expected: str, found: object, cure: str) -> DataError:
    """The error to raise: one line naming the file, the expectation, the finding and the cure."""
    return DataError(f"{path}: expected {expected}, found {one_line(found)}; {cure}")


def one_line(text: object, longest: int = _LONGEST) -> str:
    """Any text on one printable line of at most `longest` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)[: 4 * longest]).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


@contextmanager
def reading(path: str | PathLike, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a damaged file into a `DataError`.

    The net is wide on purpose: h5py, zarr, GDAL and Pillow answer a flipped byte with errors of any class.
    """
    try:
        yield
    except GeoscopeError:
        raise
    except PermissionError as error:
        raise fault(
            path, "a file you may read", "no permission", "change its permissions or copy it"
        ) from error
    except FileNotFoundError as error:
        raise fault(path, "an existing file", "nothing there", "check the path") from error
    except MemoryError as error:
        raise fault(path, "a file that fits in memory", "out of memory", "read fewer frames") from error
    except Exception as error:
        found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise fault(path, what, found, "the file is damaged or cut short: fetch it again") from error


def human_bytes(count: float) -> str:
    """A size for people, such as "1.5 GiB"."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
    step = 0
    while count >= 1024 and step < len(units) - 1:
        count, step = count / 1024, step + 1
    return f"{count:.3g} {units[step]}"


def check_bytes(path: str | PathLike, need: float, cap: int, what: str) -> None:
    """Refuse to read `what` when it needs more than `cap` bytes.

    Raises:
        DataError: it needs more.
    """
    if need > cap:
        raise fault(
            path,
            f"{what} within the cap of {human_bytes(cap)}",
            f"a header that claims {human_bytes(need)}",
            "pass max_bytes= if the file is right, or fewer files",
        )

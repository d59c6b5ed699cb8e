"""How much memory the process held at most while something ran."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """`megabytes` is the most that was held, libraries and data included; set when the block ends."""

    megabytes: float = 0.0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Watch the process's resident memory inside the block.

    On Linux the mark of the most is reset at the start. Elsewhere it is the most since the process began.
    """
    peak = Peak()
    try:
        RESET.write_text("5", encoding="ascii")
        is_reset = True
    except OSError:
        is_reset = False
    try:
        yield peak
    finally:
        peak.megabytes = _high_water_mark() if is_reset else _since_the_start()


def _high_water_mark() -> float:
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024.0
    return _since_the_start()


def _since_the_start() -> float:
    import resource  # not on Windows

    most = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return most / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)

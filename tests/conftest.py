"""What every test may count on: shared data, a browser, few threads, and no network.

A test that needs data or a browser takes the fixture `shared` or `chromium`. Where they are missing the
test is skipped with a reason on a developer's machine, and fails in CI (CI=true) or under
GEOSCOPE_REQUIRE_SHARED=1: there a skipped test would be a test that nobody runs.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.network import refuse_outside_connections

REPOSITORY = Path(__file__).resolve().parents[1]

# Two workers of pytest-xdist share two cores. Set here, before any test imports torch or numpy; all libraries take the
# same count, for torch goes by the largest of them.
_THREADS = os.environ.get("OMP_NUM_THREADS") or ("1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, _THREADS)

# Without an NVIDIA driver Triton's kernels run in its interpreter, on CPU tensors. Triton looks when it is first
# imported, and torch's compiler imports it.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

# No test is timed: a slow machine must not turn a right answer into a failure.
settings.register_profile(
    "geoscope", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("geoscope")


def _is_strict() -> bool:
    return os.environ.get("CI", "").lower() == "true" or os.environ.get("GEOSCOPE_REQUIRE_SHARED") == "1"


def _absent(reason: str) -> NoReturn:
    """Skip a test whose data or browser a stranger's clone does not have; where results count it fails instead."""
    if _is_strict():
        pytest.fail(f"{reason}; in CI nothing may be skipped", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the originals and the oracle cases, which are too large or not ours to ship."""
    folder = Path(os.environ.get("GEOSCOPE_TEST_DATA") or REPOSITORY.parent / "shared").expanduser()
    if not (folder / "realdata").is_dir():
        _absent(
            f"no test data at {folder}: set GEOSCOPE_TEST_DATA to the folder holding realdata/ and oracle/"
        )
    return folder.resolve()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome for Playwright (`executable_path=`, args --no-sandbox --disable-gpu)."""
    named = os.environ.get("GEOSCOPE_CHROMIUM")
    if named and Path(named).is_file():
        return named
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    _absent("no Chromium on the PATH: install the package chromium or set GEOSCOPE_CHROMIUM")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    with refuse_outside_connections():
        yield


_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped, also in the workers."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure, wherever the skip came from."""
    if _skipped and _is_strict() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a run without failures failed."""
    if _skipped and _is_strict():
        terminalreporter.write_line(f"{len(_skipped)} skipped tests: in CI that is a failure", red=True)

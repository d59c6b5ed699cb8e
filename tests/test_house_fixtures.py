"""What the fixtures of conftest.py promise: a missing folder or browser skips at home and fails in CI."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@pytest.fixture
def suite(tmp_path):
    """A suite with the conftest of this one; calling it runs one test under the given environment."""
    folder = tmp_path / "repository" / "tests"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "conftest.py", "network.py"):
        shutil.copy(TESTS / name, folder)

    def run(test: str, **environment: str) -> tuple[int, str]:
        (folder / "test_one.py").write_text(test)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "GEOSCOPE", "PYTEST"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
            cwd=folder.parent, env=inherited | environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


WANTS_DATA = "def test_it(shared): assert shared.name == 'mine'"
WANTS_BROWSER = "def test_it(chromium): assert chromium.endswith('browser')"


def test_without_data_a_test_is_skipped_at_home(suite):
    code, said = suite(WANTS_DATA)
    assert code == 0
    assert "1 skipped" in said


@pytest.mark.parametrize("strict", [{"CI": "true"}, {"GEOSCOPE_REQUIRE_SHARED": "1"}])
@pytest.mark.parametrize("wants", [WANTS_DATA, WANTS_BROWSER])
def test_without_data_or_a_browser_a_test_fails_in_ci(suite, tmp_path, strict, wants):
    code, said = suite(wants, **strict, PATH=str(tmp_path))
    assert code == 1
    assert "in CI nothing may be skipped" in said


def test_data_and_browser_are_found_where_the_environment_says(suite, tmp_path):
    (tmp_path / "mine" / "realdata").mkdir(parents=True)
    (tmp_path / "browser").touch()
    code, _ = suite(
        f"{WANTS_DATA}\n\n{WANTS_BROWSER.replace('test_it', 'test_too')}",
        GEOSCOPE_TEST_DATA=str(tmp_path / "mine"),
        GEOSCOPE_CHROMIUM=str(tmp_path / "browser"),
        CI="true",
    )
    assert code == 0


def test_a_skip_from_anywhere_fails_in_ci(suite):
    # The inner suite's only test, written to be skipped: this one checks what then becomes of the run.
    skipping = "import pytest\ndef test_it(): pytest.skip('tired')"
    assert suite(skipping)[0] == 0
    code, said = suite(skipping, CI="true")
    assert code == 1
    assert "1 skipped tests: in CI that is a failure" in said

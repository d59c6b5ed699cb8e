"""Running commands as a shell would, in this process."""

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from geoscope.cli import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """Run a command line in an empty folder: `run("nowcast", "florence-2018", "--out", "x.nc")`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="geoscope")


@pytest.fixture
def refused(run, tmp_path) -> Callable[..., str]:
    """The one line with which a command refuses: exit code 2, nothing on stdout, no file left."""

    def refuse(*words: object) -> str:
        before = set(tmp_path.rglob("*"))
        result = run(*words)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("geoscope: ")
        assert result.stderr.count("\n") == 1
        assert set(tmp_path.rglob("*")) == before
        return result.stderr

    return refuse

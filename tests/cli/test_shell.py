"""How every command ends: exit codes, one line on stderr, a traceback only when asked for."""

import subprocess
import sys

import pytest

import geoscope
from geoscope.cli.shell import progress_bar
from geoscope.errors import Cancelled, DataError

COMMANDS = [
    "nowcast",
    "verify",
    "benchmark",
    "models",
    "samples",
    "estimate",
    "fetch",
    "train",
    "export",
    "prepare",
    "serve",
]


def fail_with(monkeypatch, error: BaseException) -> None:
    def list_samples():
        raise error

    monkeypatch.setattr("geoscope.data.samples.list_samples", list_samples)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: geoscope {command}" in result.stdout


def test_the_help_names_every_command(run):
    text = run("--help").stdout
    assert all(command in text for command in COMMANDS)


def test_no_command_shows_the_help(run):
    result = run()
    assert result.exit_code == 2
    assert "Example: geoscope nowcast" in result.output


def test_the_version_is_printed(run):
    assert run("--version").stdout == f"geoscope {geoscope.__version__}\n"


def test_the_package_is_a_command_too():
    done = subprocess.run(
        [sys.executable, "-m", "geoscope", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"geoscope {geoscope.__version__}\n"


def test_an_unknown_command_is_refused(refused):
    assert "No such command 'nowcats'. Did you mean 'nowcast'? (geoscope --help" in refused("nowcats")


def test_an_unknown_option_is_refused(refused):
    assert "--fast" in refused("samples", "--fast")


def test_a_number_that_is_none_is_refused(refused):
    line = refused("nowcast", "florence-2018", "--out", "x.nc", "--lead-steps", "many")
    assert "lead-steps" in line


def test_an_error_of_the_library_is_one_line(refused, monkeypatch):
    fail_with(monkeypatch, DataError("x.nc: expected rain,\n   got snow"))
    assert refused("samples") == "geoscope: x.nc: expected rain, got snow\n"


def test_an_error_of_the_disk_names_the_file(refused, monkeypatch):
    fail_with(monkeypatch, PermissionError(13, "Permission denied", "out/x.nc"))
    assert refused("samples") == "geoscope: out/x.nc: Permission denied\n"
    fail_with(monkeypatch, OSError("no room"))
    assert refused("samples") == "geoscope: no room\n"


def test_a_bug_says_that_it_is_one(run, monkeypatch):
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    result = run("samples")
    assert result.exit_code == 1
    assert result.stderr.startswith("geoscope: a bug in geoscope: ZeroDivisionError: division by zero; ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", [("--debug", "samples"), ("samples", "--debug")])
def test_debug_adds_the_traceback_wherever_it_stands(run, monkeypatch, words):
    fail_with(monkeypatch, DataError("x.nc: empty"))
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("geoscope: x.nc: empty\n")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Cancelled("enough")])
def test_ctrl_c_ends_with_130_and_one_line(run, monkeypatch, stop):
    fail_with(monkeypatch, stop)
    result = run("samples")
    assert result.exit_code == 130
    assert result.stderr == "geoscope: stopped; nothing half-written was left behind\n"


@pytest.mark.parametrize(("stage", "said"), [("motion", "nowcast: motion "), ("", "nowcast ")])
def test_the_progress_bar_shows_title_stage_and_share(monkeypatch, capsys, stage, said):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_bar("nowcast") as progress:
        progress("reading", 0.25)
        progress(stage, 0.5)
    last = capsys.readouterr().err.rpartition("nowcast")
    assert "".join(last[1:]).startswith(said)
    assert "50%" in last[2]

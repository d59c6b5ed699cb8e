"""`geoscope serve` finds the apps and becomes the server."""

import importlib.util
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from geoscope.cli import serve
from geoscope.ui.server_files import ROOT_VARIABLE


@pytest.fixture
def launched(monkeypatch) -> list[list[str]]:
    """The server commands that would have been started."""
    commands: list[list[str]] = []
    monkeypatch.setattr(serve, "launch", commands.append)
    return commands


def test_the_nowcast_page_is_served_and_its_address_printed(run, launched):
    result = run("serve", "nowcast", "--port", "0")
    assert result.exit_code == 0, result.output
    [command] = launched
    port = command[command.index("--port") + 1]
    assert result.stdout == f"nowcast: http://localhost:{port}/nowcast\n"
    assert command[:4] == [sys.executable, "-m", "panel", "serve"]
    assert Path(command[4]).name == "nowcast.py"
    assert "--allow-websocket-origin" not in command


def test_all_apps_are_served_by_default(run, launched):
    assert run("serve", "--port", "0").exit_code == 0
    assert [word for word in launched[0] if word.endswith(".py")] == [
        str(p) for p in serve.list_apps().values()
    ]


def test_pages_for_the_network_let_other_machines_in(run, launched):
    assert run("serve", "nowcast", "--port", "0", "--address", "0.0.0.0").exit_code == 0
    [command] = launched
    assert command[command.index("--allow-websocket-origin") + 1] == "*"
    assert command[command.index("--address") + 1] == "0.0.0.0"


def test_the_folder_that_pages_may_open_is_handed_on(run, launched, tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, "")
    assert run("serve", "nowcast", "--port", "0", "--data-root", tmp_path).exit_code == 0
    assert serve.os.environ[ROOT_VARIABLE] == str(tmp_path.resolve())


def test_an_installed_package_carries_its_apps(tmp_path, monkeypatch):
    (tmp_path / "geoscope" / "_apps").mkdir(parents=True)
    (tmp_path / "geoscope" / "_apps" / "tides.py").touch()
    monkeypatch.setattr("geoscope.__file__", str(tmp_path / "geoscope" / "__init__.py"))
    assert serve.list_apps() == {"tides": tmp_path / "geoscope" / "_apps" / "tides.py"}


def test_a_folder_called_apps_beside_an_installed_package_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "other.py").touch()
    monkeypatch.setattr("geoscope.__file__", str(tmp_path / "geoscope" / "__init__.py"))
    assert serve.list_apps() == {}


def test_an_unknown_app_is_refused(refused, launched):
    assert "APP 'tides' is not known; there are" in refused("serve", "tides")
    assert launched == []


def test_a_port_that_is_taken_is_refused(refused, launched):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        assert f"cannot listen on localhost port {port}" in refused("serve", "nowcast", "--port", port)


def test_a_data_root_that_is_no_folder_is_refused(refused, launched):
    assert "--data-root 'none' is not a folder" in refused("serve", "nowcast", "--data-root", "none")


def test_without_panel_the_extra_is_named(refused, launched, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'geoscope[apps]'" in refused("serve", "nowcast")


def test_the_server_answers_and_ends_when_told_to():
    command = [sys.executable, "-m", "geoscope", "serve", "nowcast", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[1]
        for line in process.stdout:
            if "Bokeh app running at" in line:
                break
        with urllib.request.urlopen(address, timeout=60) as page:
            assert page.status == 200
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode is not None

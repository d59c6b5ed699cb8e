"""`geoscope serve`: the apps as web pages, on this machine."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import geoscope
from geoscope.errors import ConfigError, MissingExtraError
from geoscope.ui.server_files import ROOT_VARIABLE


def serve(
    apps: Annotated[
        list[str] | None, typer.Argument(metavar="[APP]...", help="Default: all there are.")
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of the web server; 0 takes a free one.", min=0, max=65535)
    ] = 5006,
    address: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens the pages to the network.")
    ] = "localhost",
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of this machine whose files the pages may open; default none.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open the first page in the web browser.")] = False,
) -> None:
    """Serve the apps as web pages until Ctrl-C."""
    paths = [find_app(name) for name in apps] if apps else list(list_apps().values())
    if importlib.util.find_spec("panel") is None:
        raise MissingExtraError(
            "the apps need panel, which is not installed; run pip install 'geoscope[apps]'"
        )
    if data_root is not None:
        if not data_root.is_dir():
            raise ConfigError(f"--data-root {str(data_root)!r} is not a folder")
        os.environ[ROOT_VARIABLE] = str(data_root.resolve())
    port = free_port(address, port)
    for path in paths:
        typer.echo(
            f"{path.stem}: http://{'localhost' if address == '0.0.0.0' else address}:{port}/{path.stem}"
        )
    typer.echo("Ctrl-C stops the server", err=True)
    origins = ["--allow-websocket-origin", "*"] if address == "0.0.0.0" else []
    command = [sys.executable, "-m", "panel", "serve", *map(str, paths), "--port", str(port)]
    launch([*command, "--address", address, *origins, *["--show"] * show])


def list_apps() -> dict[str, Path]:
    """The apps by name: those in the installed package, else those of the repository around it."""
    package = Path(geoscope.__file__).parent
    folder = package / "_apps"
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "apps"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def find_app(name: str) -> Path:
    """The file of the app called ``name``.

    Raises:
        ConfigError: no such app.
    """
    apps = list_apps()
    if name not in apps:
        raise ConfigError(
            f"APP {name!r} is not known; there are {', '.join(apps) or 'none in this installation'}"
        )
    return apps[name]


def free_port(address: str, port: int) -> int:
    """``port`` where it can be listened on, or any free one for 0.

    Raises:
        ConfigError: the port is taken, or the address is not of this machine.
    """
    try:
        with socket.create_server((address, port)) as server:
            return server.getsockname()[1]
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {address} port {port} ({reason}); choose another with --port"
        ) from None


def launch(command: list[str]) -> None:
    """Become the server, so that signals and its exit code are this process's own."""
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    raise typer.Exit(subprocess.run(command, check=False).returncode)

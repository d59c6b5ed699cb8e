"""`geoscope train`: the training runs that made the shipped weights, on your own data, stopped and gone on with."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import geoscope
from geoscope.cli.shell import progress_bar
from geoscope.errors import ConfigError


def train(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="nowcast, scenarios, or of PreDiff autoencoder, denoiser, alignment."
        ),
    ],
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="The settings, a TOML file, or the name of a recipe that ships."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, card and log.")] = Path(
        "runs"
    ),
) -> None:
    """Train a model as the settings say; a run that was stopped, by whatever, goes on with the same command."""
    if not config.is_file():
        config = _shipped(config)
    from geoscope.training.tasks import TASKS

    if task not in TASKS:
        raise ConfigError(f"TASK {task!r} is not known; there are {', '.join(sorted(TASKS))}")
    with _lines_of_the_log(), progress_bar(f"train {task}") as progress:
        TASKS[task](config, out, progress)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the other processes of a run on several devices are silent
        typer.echo(f"trained {task}; the result is in {out}")


def _shipped(config: Path) -> Path:
    names = {
        path.stem: path for path in (Path(geoscope.__file__).parent / "training" / "recipes").glob("*.toml")
    }
    if str(config) not in names:
        raise ConfigError(
            f"--config {str(config)!r} is not a file; give the settings as TOML, or a recipe that ships: "
            f"{', '.join(sorted(names))}"
        )
    return names[str(config)]


@contextmanager
def _lines_of_the_log() -> Iterator[None]:
    """What the run says of itself (estimate, a broken checkpoint), a line each on stderr."""
    log, handler = logging.getLogger("geoscope.training"), _Lines()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(record.getMessage(), err=True)

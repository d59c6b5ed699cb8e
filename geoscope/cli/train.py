"""`geoscope train`: the training runs that made the shipped weights, for your own data."""

from pathlib import Path
from typing import Annotated

import typer

from geoscope.cli.shell import progress_bar
from geoscope.errors import ConfigError


def train(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to train, for instance nowcast.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings, a TOML file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, card and log.")] = Path(
        "runs"
    ),
) -> None:
    """Train a model as the settings say; an interrupted run leaves its last whole checkpoint."""
    if not config.is_file():
        raise ConfigError(f"--config {str(config)!r} is not a file; give the settings as TOML")
    from geoscope.training.tasks import TASKS

    if task not in TASKS:
        raise ConfigError(f"TASK {task!r} is not known; there are {', '.join(sorted(TASKS))}")
    with progress_bar(f"train {task}") as progress:
        TASKS[task](config, out, progress)
    typer.echo(f"trained {task}; the result is in {out}")

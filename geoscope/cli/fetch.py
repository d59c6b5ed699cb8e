"""`geoscope fetch`: published weights, from where their card says."""

from typing import Annotated

import typer

from geoscope.cli.shell import progress_bar


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A published model, see geoscope models.")],
) -> None:
    """Download the published weights of a model; a broken download goes on where it stopped."""
    from geoscope.zoo.fetching import fetch as download

    with progress_bar(f"fetch {name}") as progress:
        path = download(name, progress=progress)
    typer.echo(str(path))

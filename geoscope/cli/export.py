"""`geoscope export`: from the folder of a training run to a model that can be loaded by the path of its card."""

from pathlib import Path
from typing import Annotated

import typer

from geoscope.cli.outputs import Overwrite


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of geoscope train.")],
    name: Annotated[
        str, typer.Option("--name", "-n", help="What the model is called, for instance my-radar.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, card and self-check.")] = Path(
        "models"
    ),
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for the card.")] = "",
    overwrite: Overwrite = False,
) -> None:
    """Make a model of a finished run: weights (safetensors), card (TOML) and self-check."""
    from geoscope.inference.export import export_run

    card = export_run(run, name, out, licence=licence, overwrite=overwrite)
    typer.echo(f"exported {name}; use it as --model {card}, or gs.load_model({str(card)!r})")

"""`geoscope prepare`: bring a data set into the form that training reads."""

from pathlib import Path
from typing import Annotated

import typer

from geoscope.cli.shell import progress_bar

prepare = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Bring a data set into the form that training reads.",
    epilog="Example: geoscope prepare sevir-lr SEVIR --out SEVIR-LR",
)


@prepare.callback()
def _group() -> None:
    """Bring a data set into the form that training reads."""


@prepare.command("sevir-lr", epilog="Example: geoscope prepare sevir-lr SEVIR --out SEVIR-LR")
def sevir_lr(
    root: Annotated[
        Path, typer.Argument(metavar="SEVIR", help="SEVIR's folder: CATALOG.csv and data/vil/YYYY/*.h5.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where SEVIR-LR is to be.")],
    leave_out_absent: Annotated[
        bool,
        typer.Option(
            "--leave-out-absent", help="Leave out files that the catalogue names but are not there."
        ),
    ] = False,
) -> None:
    """Make SEVIR-LR: every second frame, the maximum of 3 x 3 pixels. Run again, it goes on where it stopped."""
    from geoscope.data.sevir_lr import prepare_sevir_lr

    with progress_bar("prepare sevir-lr") as progress:
        done = prepare_sevir_lr(root, out, leave_out_absent=leave_out_absent, progress=progress)
    left_out = f", {done.left_out} absent files left out" if done.left_out else ""
    typer.echo(
        f"{out}: {done.events} events; {done.written} files written, {done.kept} kept from before{left_out}"
    )

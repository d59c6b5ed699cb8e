"""The commands and their order in `geoscope --help`."""

import signal
import sys
from typing import Annotated

import typer

import geoscope
from geoscope.cli.benchmark import ModelsTakeSeveral, benchmark
from geoscope.cli.estimate import estimate
from geoscope.cli.export import export
from geoscope.cli.fetch import fetch
from geoscope.cli.listing import models, samples
from geoscope.cli.nowcast import nowcast
from geoscope.cli.prepare import prepare
from geoscope.cli.scenarios import SigmaTakesSeveral, scenarios
from geoscope.cli.serve import serve
from geoscope.cli.shell import OneLineErrors
from geoscope.cli.train import train
from geoscope.cli.verify import verify

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: geoscope nowcast florence-2018 --out florence.nc",
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"geoscope {geoscope.__version__}")
        raise typer.Exit


@app.callback()
def face(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="On an error, print the traceback too; may stand anywhere.")
    ] = False,
) -> None:
    """Look at the Earth with space-time transformers: nowcasts from weather radar, on your own machine."""


app.command(epilog="Example: geoscope nowcast florence-2018 --model persistence --out florence.nc")(nowcast)
app.command(
    cls=SigmaTakesSeveral,
    epilog="Example: geoscope scenarios florence-2018 --sigma -2 0 2 --members 4 --out florence-scenarios.nc",
)(scenarios)
app.command(epilog="Example: geoscope verify florence.nc florence-2018 --thresholds 1,5,10")(verify)
app.command(
    cls=ModelsTakeSeveral,
    epilog="Example: geoscope benchmark florence-2018 --models persistence extrapolation",
)(benchmark)
app.command(epilog="Example: geoscope models earthformer-nowcast")(models)
app.command(epilog="Example: geoscope samples")(samples)
app.command(epilog="Example: geoscope estimate --preset earthformer_sevir --size 768 --training")(estimate)
app.command(epilog="Example: geoscope fetch earthformer-sevir")(fetch)
app.command(epilog="Example: geoscope train nowcast --config my-radar.toml --out runs/mine")(train)
app.command(epilog="Example: geoscope export runs/mine --name my-radar --out models")(export)
app.add_typer(prepare, name="prepare")
app.command(epilog="Example: geoscope serve nowcast --port 5006")(serve)


def main() -> None:
    """The entry point of the command `geoscope`."""
    # A polite kill unwinds as Ctrl-C does, so that half-written files go too; the code is the shell's 128 + 15.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    app(prog_name="geoscope")

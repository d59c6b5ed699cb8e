"""`geoscope models` and `geoscope samples`: what there is."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

import geoscope as gs


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this model's card.")] = None,
) -> None:
    """List the models, or print the card of one."""
    from geoscope.zoo.cards import card

    console = Console()
    if name is not None:
        console.print(Markdown(card(name).to_markdown()))
        return
    table = Table(title="models", caption="geoscope models NAME prints a card")
    for heading in ("name", "task", "kind", "what it is"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for one in gs.list_models():
        table.add_row(one.name, one.task, one.kind, one.summary)
    console.print(table)


def samples() -> None:
    """List the rain fields that ship with geoscope."""
    table = Table(title="samples", caption='gs.sample("NAME") opens one, geoscope nowcast NAME forecasts it')
    for heading in ("name", "what it is", "frames", "every", "pixel", "credit"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for info in gs.list_samples():
        every, pixel = f"{info.interval_minutes:g} min", f"{info.pixel_km:g} km"
        table.add_row(info.name, info.title, str(info.frames), every, pixel, info.credit)
    Console().print(table)

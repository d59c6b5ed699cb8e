"""`geoscope nowcast`: from an event to a forecast in a file."""

from pathlib import Path
from typing import Annotated

import typer

from geoscope.cli import archive
from geoscope.cli.events import open_event
from geoscope.cli.outputs import Overwrite, check_output
from geoscope.cli.shell import progress_bar

SHARE_OF_RUN = 0.8  # of the progress bar; the rest is writing


def nowcast(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="A sample's name, a file, a folder, or a glob in quotes.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File to write: .nc, .zarr, .tif, .gif, .mp4 or .png.")
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="See geoscope models.")] = "earthformer-nowcast",
    issue_time: Annotated[
        str | None,
        typer.Option(
            help="UTC time of the last frame the model sees, 2018-09-14T05:00; default the last frame."
        ),
    ] = None,
    lead_steps: Annotated[
        int | None,
        typer.Option(help="Frames ahead; default one hour, or three frames where they are sparse."),
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="The quantity to read where a file holds several.")
    ] = None,
    fill_gaps: Annotated[
        str | None,
        typer.Option(help="What a missing frame becomes: nan, linear or previous; default refuse."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Overwrite = False,
    every: archive.Every = None,
    start: archive.Start = None,
    end: archive.End = None,
    verify: archive.VerifyEach = False,
    dask: archive.Dask = None,
    workers: archive.Workers = None,
    host: archive.Host = None,
    threads: archive.Threads = None,
    history: archive.History = None,
) -> None:
    """Forecast the next hours of EVENT and write them to a file.

    The file carries a run card: model, hash of its weights, input, versions and time. With --every, EVENT is an
    archive of any length and every issue time in it is forecast.
    """
    if every is not None:
        archive.forecast_archive(
            event, out, every=every, dask=dask, workers=workers, host=host, variable=variable,
            fill_gaps=fill_gaps, overwrite=overwrite, single={"issue-time": issue_time},
            model=model, lead_steps=lead_steps, start=start, end=end, verify=verify, threads=threads,
            history=history, device=device,
        )  # fmt: skip
        return
    archive.refuse_without_every(
        start=start, end=end, verify=verify, dask=dask, workers=workers, host=host, threads=threads,
        history=history,
    )  # fmt: skip
    import geoscope as gs
    from geoscope.viz.export import DATA_SUFFIXES, PICTURE_SUFFIXES, save

    check_output("--out", out, (*DATA_SUFFIXES, *PICTURE_SUFFIXES), overwrite)

    with progress_bar("nowcast") as progress:
        progress("reading", 0.0)
        rain = open_event(event, variable, fill_gaps)
        forecast = gs.nowcast(
            rain,
            model=model,
            issue_time=issue_time,
            lead_steps=lead_steps,
            device=device,
            progress=lambda stage, share: progress(stage, SHARE_OF_RUN * share),
        )
        written = save(
            forecast,
            out,
            overwrite=overwrite,
            progress=lambda stage, share: progress(stage, SHARE_OF_RUN + (1 - SHARE_OF_RUN) * share),
        )
    times = forecast["time"].values.astype("datetime64[m]")
    peak = float(forecast.max())
    typer.echo(
        f"{written}: {len(times)} frames from {times[0]} to {times[-1]} UTC by {forecast.attrs['model']}, "
        f"maximum {peak:.1f} {forecast.attrs.get('units', '')}".rstrip()
    )

"""`geoscope nowcast`: from an event to a forecast in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoscope.cli import archive
from geoscope.cli.events import open_event
from geoscope.cli.outputs import Overwrite, check_output
from geoscope.cli.shell import progress_bar
from geoscope.cli.verify import parse_thresholds
from geoscope.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

SHARE_OF_RUN = 0.8  # of the progress bar; the rest is writing
MANY_SUFFIXES = (".nc", ".zarr")  # of files that hold more than one field

Event = Annotated[
    str, typer.Argument(metavar="EVENT", help="A sample's name, a file, a folder, or a glob in quotes.")
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="File to write: .nc, .zarr, .tif, .gif, .mp4 or .png.")
]
Model = Annotated[str, typer.Option("--model", "-m", help="See geoscope models.")]
IssueTime = Annotated[
    str | None,
    typer.Option(help="UTC time of the last frame the model sees, 2018-09-14T05:00; default the last frame."),
]
LeadSteps = Annotated[
    int | None, typer.Option(help="Frames ahead; default one hour, or three frames where they are sparse.")
]
Variable = Annotated[str | None, typer.Option(help="The quantity to read where a file holds several.")]
FillGaps = Annotated[
    str | None, typer.Option(help="What a missing frame becomes: nan, linear or previous; default refuse.")
]
Members = Annotated[int | None, typer.Option(help="So many members of an ensemble model, to .nc or .zarr.")]
Seed = Annotated[
    int | None, typer.Option(help="Of the members: the same seed draws the same ones; default 0.")
]
Probabilities = Annotated[
    bool,
    typer.Option("--probabilities", help="Also the chance of rain above each threshold, to .nc or .zarr."),
]
Thresholds = Annotated[
    str | None, typer.Option(help="Rain rates in mm/h of --probabilities; default 0.1,0.5,1,2,5,10,20.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def nowcast(
    event: Event,
    out: Out,
    model: Model = "earthformer-nowcast",
    issue_time: IssueTime = None,
    lead_steps: LeadSteps = None,
    variable: Variable = None,
    fill_gaps: FillGaps = None,
    members: Members = None,
    seed: Seed = None,
    probabilities: Probabilities = False,
    thresholds: Thresholds = None,
    device: Device = "auto",
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
            fill_gaps=fill_gaps, overwrite=overwrite, single={
                "issue-time": issue_time, "members": members, "seed": seed, "thresholds": thresholds,
                "probabilities": probabilities or None,
            },
            model=model, lead_steps=lead_steps, start=start, end=end, verify=verify, threads=threads,
            history=history, device=device,
        )  # fmt: skip
        return
    archive.refuse_without_every(
        start=start, end=end, verify=verify, dask=dask, workers=workers, host=host, threads=threads,
        history=history,
    )  # fmt: skip
    chances = _probabilities(probabilities, thresholds)
    _check_outputs(out, overwrite, holds_many=members is not None or chances is not False)
    _forecast_one(
        event, out, variable=variable, fill_gaps=fill_gaps, overwrite=overwrite,
        model=model, issue_time=issue_time, lead_steps=lead_steps, device=device, members=members,
        seed=0 if seed is None else seed, probabilities=chances,
    )  # fmt: skip


def _probabilities(is_wanted: bool, thresholds: str | None) -> "bool | tuple[float, ...]":
    if thresholds is None:
        return is_wanted
    if not is_wanted:
        raise ConfigError("--thresholds are those of the probabilities: give --probabilities too")
    return parse_thresholds(thresholds)


def _check_outputs(out: Path, overwrite: bool, *, holds_many: bool) -> None:
    from geoscope.viz.export import DATA_SUFFIXES, PICTURE_SUFFIXES

    check_output("--out", out, (*DATA_SUFFIXES, *PICTURE_SUFFIXES), overwrite)
    if holds_many and out.suffix.lower() not in MANY_SUFFIXES:
        raise ConfigError(
            f"--out {str(out)!r}: members and probabilities are written to {' or '.join(MANY_SUFFIXES)}, "
            f"a {out.suffix} holds one field"
        )


def _forecast_one(
    event: str, out: Path, *, variable: str | None, fill_gaps: str | None, overwrite: bool, **options: Any
) -> None:
    """Read ``event``, forecast it with the ``options`` of `geoscope.nowcast`, write ``out`` and say so."""
    import geoscope as gs
    from geoscope.viz.export import save

    with progress_bar("nowcast") as progress:
        progress("reading", 0.0)
        rain = open_event(event, variable, fill_gaps)
        forecast = gs.nowcast(
            rain, progress=lambda stage, share: progress(stage, SHARE_OF_RUN * share), **options
        )
        written = save(
            forecast,
            out,
            overwrite=overwrite,
            progress=lambda stage, share: progress(stage, SHARE_OF_RUN + (1 - SHARE_OF_RUN) * share),
        )
    typer.echo(_summary(written, forecast))


def _summary(written: Path, forecast: "xr.DataArray | xr.Dataset") -> str:
    """One line: the file, its frames, the model, and the most rain in it."""
    import xarray as xr

    is_field = isinstance(forecast, xr.DataArray)
    rain = forecast if is_field else next(iter(forecast.data_vars.values()))
    times = rain["time"].values.astype("datetime64[m]")
    members = f", {rain.sizes['member']} members" if "member" in rain.dims else ""
    chances = "" if is_field else f", chances of {forecast.sizes['threshold']} thresholds"
    return (
        f"{written}: {len(times)} frames from {times[0]} to {times[-1]} UTC by {forecast.attrs['model']}, "
        f"maximum {float(rain.max()):.1f} {rain.attrs.get('units', '')}".rstrip()
        + members
        + chances
    )

"""`geoscope nowcast ARCHIVE --every 30min`: forecasts for every issue time of a long archive."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoscope.cli.outputs import check_output
from geoscope.cli.shell import progress_bar
from geoscope.errors import Cancelled, ConfigError

if TYPE_CHECKING:
    from geoscope.inference.archive import ArchiveRun

PANEL = "Archives (with --every)"
MOST_SKIPS_TOLD = 5

Every = Annotated[
    str | None,
    typer.Option(
        help="Forecast EVENT, an archive of any length, every 30min (or 1h, 6h, ...) into --out STORE.zarr; "
        "the same command goes on where it was stopped.",
        rich_help_panel=PANEL,
    ),
]
Start = Annotated[str | None, typer.Option(help="First issue time, UTC.", rich_help_panel=PANEL)]
End = Annotated[str | None, typer.Option(help="Last issue time, UTC.", rich_help_panel=PANEL)]
VerifyEach = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Score each forecast with what was seen; writes STORE.scores.nc and .json.",
        rich_help_panel=PANEL,
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Share the work: local for processes of this machine, or the address of a dask scheduler.",
        rich_help_panel=PANEL,
    ),
]
Workers = Annotated[
    int | None, typer.Option(help="Local workers; default one for each core.", rich_help_panel=PANEL)
]
Host = Annotated[
    str | None,
    typer.Option(help="Address that local workers listen on; default 127.0.0.1.", rich_help_panel=PANEL),
]
Threads = Annotated[
    int | None,
    typer.Option(help="CPU threads of one forecast; default 1.", rich_help_panel=PANEL),
]
History = Annotated[
    int | None,
    typer.Option(help="Past frames that must be there; default by model.", rich_help_panel=PANEL),
]


def refuse_without_every(**options: Any) -> None:
    """Refuse options of an archive on a single forecast.

    Raises:
        ConfigError: names the first one given.
    """
    for name, value in options.items():
        if value not in (None, False):
            raise ConfigError(f"--{name} is for archives: give --every too, such as --every 30min")


def forecast_archive(
    event: str,
    out: Path,
    *,
    every: str,
    dask: str | None,
    workers: int | None,
    host: str | None,
    single: dict[str, Any],
    variable: str | None,
    fill_gaps: str | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Forecast an archive, and say what came of it.

    ``single`` holds options that make no sense here, ``settings`` further fields of `ArchiveSettings`; those that are
    None keep their default.

    Raises:
        ConfigError: an option that does not go with --every, and what `run_archive` refuses.
    """
    check_output("--out", out, (".zarr",), overwrite=True)
    for name, value in single.items():
        if value not in (None, False):
            raise ConfigError(f"--{name} is for a single forecast: leave it out, or leave out --every")
    if dask is None and (workers is not None or host is not None):
        dask = "local"
    from geoscope.inference.archive import ArchiveSettings, Cluster, run_archive

    wanted = ArchiveSettings(
        every=every, **{key: value for key, value in settings.items() if value is not None}
    )
    cluster = None
    if dask is not None:
        cluster = Cluster(address=dask, workers=workers, **({"host": host} if host is not None else {}))
    try:
        with progress_bar("archive") as progress:
            run = run_archive(
                _archive(event, variable, fill_gaps), out, wanted, cluster=cluster, variable=variable,
                fill_gaps=fill_gaps or "nan", overwrite=overwrite, progress=progress,
            )  # fmt: skip
    except (KeyboardInterrupt, Cancelled):
        if out.exists():
            typer.echo(f"geoscope: what is finished stays in {out}; the same command goes on", err=True)
        raise
    _tell(run, out, wanted.model)


def _archive(event: str, variable: str | None, fill_gaps: str | None) -> Any:
    """The field of a sample, or the path of an archive."""
    import geoscope as gs
    from geoscope.cli.events import is_sample, refuse_a_bare_word

    if is_sample(event, variable, fill_gaps):
        return gs.sample(event)
    refuse_a_bare_word(event)
    return event


def _tell(run: "ArchiveRun", out: Path, model: str) -> None:
    from geoscope.inference.archive.plan import say

    there = run.made + run.found
    span = f"from {say(run.issue_times[0])} to {say(run.issue_times[-1])}"
    found = f", {run.found} of them from before" if run.found else ""
    typer.echo(
        f"{out}: {there} forecasts {span} by {model}{found}; {run.seconds:.2f} s each, {len(run.skipped)} skipped"
    )
    for time, reason in list(run.skipped.items())[:MOST_SKIPS_TOLD]:
        typer.echo(f"  skipped {say(time)}: {reason}")
    if len(run.skipped) > MOST_SKIPS_TOLD:
        typer.echo(f"  and {len(run.skipped) - MOST_SKIPS_TOLD} more")
    if run.scores is not None:
        about = run.scores.attrs
        typer.echo(
            f"CSI mean {about['csi_mean']:.3f} ({about['csi_mean_low']:.3f} to {about['csi_mean_high']:.3f}, "
            f"{about['interval']}); wrote {' and '.join(file.name for file in run.files)}"
        )

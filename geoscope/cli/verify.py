"""`geoscope verify`: how good was a forecast, against what was seen afterwards."""

import csv
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from geoscope.cli.events import open_event
from geoscope.cli.outputs import Overwrite, check_output
from geoscope.cli.shell import progress_bar
from geoscope.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_THRESHOLDS = "0.5,1,2,5,10"
BY_LEAD = {"mae": "MAE", "rmse": "RMSE", "mean_error": "mean error", "crps": "CRPS"}
MORE = "More scores"
Writer = Callable[[Path, Any], None]


Forecast = Annotated[
    str,
    typer.Argument(
        metavar="FORECAST",
        help="A .nc or .zarr of geoscope nowcast, an archive, a folder of them, or a glob in quotes.",
    ),
]
Observed = Annotated[
    str, typer.Argument(metavar="OBSERVED", help="A sample's name, a file, a folder, or a glob in quotes.")
]
Thresholds = Annotated[str, typer.Option(help="In the field's unit, with commas between.")]
ThresholdUnits = Annotated[
    str | None, typer.Option(help="Unit of the thresholds; refused when the fields have another.")
]
Region = Annotated[str | None, typer.Option(help="Box x_min,y_min,x_max,y_max in the forecast's x and y.")]
Align = Annotated[str | None, typer.Option(help="For grids or times that differ: common or nearest.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write all scores to this .json.")]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", help="Write all scores to this .csv, one number a row.")
]
NetcdfFile = Annotated[Path | None, typer.Option("--netcdf", help="Write all scores to this .nc.")]
Scales = Annotated[
    str,
    typer.Option(
        help="Fractions skill score at these scales in pixels, such as 1,4,16.", rich_help_panel=MORE
    ),
]
Pools = Annotated[str, typer.Option(help="CSI of block maxima, such as 4,16 pixels.", rich_help_panel=MORE)]
Tolerances = Annotated[
    str, typer.Option(help="CSI that forgives displacements up to these pixels.", rich_help_panel=MORE)
]
Structure = Annotated[
    bool,
    typer.Option("--structure", help="Spectrum, similarity, SAL and log error.", rich_help_panel=MORE),
]
Draws = Annotated[
    int, typer.Option(help="Draws of the intervals over issue times; 0 for none.", rich_help_panel=MORE)
]


def verify(
    forecast: Forecast,
    observed: Observed,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    threshold_units: ThresholdUnits = None,
    region: Region = None,
    align: Align = None,
    json_file: JsonFile = None,
    csv_file: CsvFile = None,
    netcdf_file: NetcdfFile = None,
    scales: Scales = "",
    pools: Pools = "",
    tolerances: Tolerances = "",
    structure: Structure = False,
    draws: Draws = 1000,
    overwrite: Overwrite = False,
) -> None:
    """Score FORECAST against what was OBSERVED at the same times: CSI by threshold and lead, MAE, bias.

    Frames are matched by valid time; pixels without data in either are left out. Several issue times (an archive, or
    several files) are added up, and give a 95 % interval, which is too narrow where they share a storm. An ensemble or
    probabilities add their own scores.
    """
    levels = parse_thresholds(thresholds)
    settings: dict[str, Any] = {
        "thresholds": levels,
        "threshold_units": threshold_units,
        "align": align,
        "region": None if region is None else parse_box(region),
        "scales": parse_sizes("--scales", scales),
        "pools": parse_sizes("--pools", pools),
        "tolerances": parse_sizes("--tolerances", tolerances),
        "draws": draws,
    }
    if draws < 0:
        raise ConfigError(f"--draws {draws} must be 0 or more")
    if structure:
        settings |= {"spectrum": True, "sal": True, "log_error": True, "similarity_range": 10.0 * levels[-1]}
    outputs = _outputs(json_file, csv_file, netcdf_file, overwrite)
    scores = _score(forecast, observed, settings)
    Console().print(_table(scores))
    typer.echo(_summary(scores))
    _write(scores, outputs, overwrite)


def _outputs(
    json_file: Path | None, csv_file: Path | None, netcdf_file: Path | None, overwrite: bool
) -> list[tuple[Path, Writer]]:
    """The files asked for and how each is written, checked before anything is scored."""
    asked: list[tuple[str, Path | None, str, Writer]] = [
        ("--json", json_file, ".json", write_json),
        ("--csv", csv_file, ".csv", write_csv),
        ("--netcdf", netcdf_file, ".nc", write_netcdf),
    ]
    outputs: list[tuple[Path, Writer]] = []
    for option, path, suffix, write in asked:
        if path is not None:
            check_output(option, path, (suffix,), overwrite)
            outputs.append((path, write))
    return outputs


def _score(forecast: str, observed: str, settings: dict[str, Any]) -> "xr.Dataset":
    import geoscope as gs
    from geoscope.cli.forecasts import open_forecasts

    with progress_bar("verify") as progress:
        return gs.verify(open_forecasts(forecast), open_event(observed), progress=progress, **settings)


def _write(scores: "xr.Dataset", outputs: list[tuple[Path, Writer]], overwrite: bool) -> None:
    from geoscope.data.whole_files import whole_file

    for path, write in outputs:
        with whole_file(path, overwrite) as part:
            write(part, scores)
        typer.echo(f"wrote {path}")


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Rain rates in mm/h from "0.5,1,2".

    Raises:
        ConfigError: not numbers above zero that rise.
    """
    try:
        levels = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        levels = ()
    is_rising = all(low < high for low, high in pairwise((0.0, *levels, math.inf)))
    if not levels or not is_rising:
        raise ConfigError(
            f"--thresholds {text!r} must be rising rain rates above 0 in mm/h, such as 0.5,1,2,5,10"
        )
    return levels


def parse_sizes(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers of pixels from "1,4,16"; none from "".

    Raises:
        ConfigError: not whole numbers that rise from 0.
    """
    try:
        sizes = tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        sizes = (-1,)
    if any(low >= high for low, high in pairwise((-1, *sizes))):
        raise ConfigError(f"{option} {text!r} must be rising whole numbers of pixels, such as 1,4,16")
    return sizes


def parse_box(text: str) -> tuple[float, float, float, float]:
    """A box from "x_min,y_min,x_max,y_max".

    Raises:
        ConfigError: not four numbers in that order.
    """
    try:
        x_min, y_min, x_max, y_max = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        x_min = y_min = x_max = y_max = math.nan
    if not (x_min < x_max and y_min < y_max):
        raise ConfigError(f"--region {text!r} must be x_min,y_min,x_max,y_max in the forecast's x and y")
    return x_min, y_min, x_max, y_max


def write_json(path: Path, scores: "xr.Dataset") -> None:
    """All scores as JSON; lead times in minutes, undefined scores null."""
    from geoscope.metrics.export import as_plain

    path.write_text(json.dumps(as_plain(scores), indent=1) + "\n", encoding="utf-8")


def write_csv(path: Path, scores: "xr.Dataset") -> None:
    """All scores as CSV, one number a row."""
    from geoscope.metrics.export import as_rows

    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(as_rows(scores))


def write_netcdf(path: Path, scores: "xr.Dataset") -> None:
    """All scores as NetCDF-4."""
    from geoscope.data.hdf5 import LOCK
    from geoscope.metrics.export import for_netcdf

    with LOCK:
        for_netcdf(scores).to_netcdf(path, engine="h5netcdf", format="NETCDF4")


def _units(scores: "xr.Dataset") -> str:
    return str(scores.attrs.get("units") or "the field's own unit")


def _table(scores: "xr.Dataset") -> Table:
    from geoscope.metrics.export import lead_minutes

    table = Table(title="scores by lead time", caption=f"thresholds and errors in {_units(scores)}")
    table.add_column("lead, min", justify="right")
    for threshold in scores["threshold"].values:
        table.add_column(f"CSI {threshold:g}", justify="right")
    by_lead = [name for name in BY_LEAD if name in scores]
    for name in by_lead:
        table.add_column(BY_LEAD[name], justify="right")
    for i, minutes in enumerate(lead_minutes(scores)):
        cells = [*scores["csi"].isel(lead_time=i).values, *(float(scores[name][i]) for name in by_lead)]
        table.add_row(f"{minutes:g}", *("-" if math.isnan(cell) else f"{cell:.3f}" for cell in cells))
    return table


def _summary(scores: "xr.Dataset") -> str:
    about = scores.attrs
    said = [
        f"CSI mean {about['csi_mean']:.3f}{_between(about, 'csi_mean')} (pooled over leads, mean over thresholds)",
        f"MAE {about['mae']:.3f}{_between(about, 'mae')} {_units(scores)}",
    ]
    if about["issue_times"] > 1:
        said.append(f"{about['issue_times']} issue times")
    if "threshold_note" in about:
        said.append(about["threshold_note"])
    return ", ".join(said)


def _between(about: dict[Any, Any], name: str) -> str:
    low, high = about.get(f"{name}_low", math.nan), about.get(f"{name}_high", math.nan)
    return "" if math.isnan(low) else f" [{low:.3f} to {high:.3f}]"

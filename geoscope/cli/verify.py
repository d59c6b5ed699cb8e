"""`geoscope verify`: how good was a forecast, against what was seen afterwards."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from geoscope.cli.events import open_event, open_forecast
from geoscope.cli.outputs import Overwrite, check_output
from geoscope.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_THRESHOLDS = "0.5,1,2,5,10"
BY_LEAD = {"mae": "MAE", "rmse": "RMSE", "mean_error": "mean error"}


def verify(
    forecast: Annotated[Path, typer.Argument(metavar="FORECAST", help="A .nc or .zarr of geoscope nowcast.")],
    observed: Annotated[
        str,
        typer.Argument(metavar="OBSERVED", help="A sample's name, a file, a folder, or a glob in quotes."),
    ],
    thresholds: Annotated[
        str, typer.Option(help="Rain rates in mm/h, with commas between.")
    ] = DEFAULT_THRESHOLDS,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all scores to this file too.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score FORECAST against what was OBSERVED at the same times: CSI by threshold and lead, MAE, bias.

    Frames are matched by valid time; pixels without data in either are left out.
    """
    levels = parse_thresholds(thresholds)
    if json_file is not None:
        check_output("--json", json_file, (".json",), overwrite)
    import geoscope as gs

    scores = gs.verify(open_forecast(forecast), open_event(observed), thresholds=levels)
    Console().print(_table(scores))
    typer.echo(_summary(scores))
    if json_file is not None:
        _write_json(json_file, as_plain(scores), overwrite)
        typer.echo(f"wrote {json_file}")


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


def as_plain(scores: "xr.Dataset") -> dict[str, Any]:
    """The scores as plain lists and numbers for JSON; lead times in minutes, undefined scores null."""
    return {
        "lead_minutes": _lead_minutes(scores),
        "threshold_mm_h": [float(value) for value in scores["threshold"].values],
        "scores": {str(name): _finite(values.values.tolist()) for name, values in scores.data_vars.items()},
        "pooled": {
            key: _finite(value) for key, value in scores.attrs.items() if isinstance(value, int | float)
        },
        "about": {key: value for key, value in scores.attrs.items() if isinstance(value, str)},
    }


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _units(scores: "xr.Dataset") -> str:
    return str(scores.attrs.get("units") or "the field's own unit")


def _lead_minutes(scores: "xr.Dataset") -> list[float]:
    return (scores["lead_time"].values.astype("timedelta64[s]").astype(float) / 60).tolist()


def _table(scores: "xr.Dataset") -> Table:
    table = Table(title="scores by lead time", caption=f"thresholds and errors in {_units(scores)}")
    table.add_column("lead, min", justify="right")
    for threshold in scores["threshold"].values:
        table.add_column(f"CSI {threshold:g}", justify="right")
    by_lead = [name for name in BY_LEAD if name in scores]
    for name in by_lead:
        table.add_column(BY_LEAD[name], justify="right")
    for i, minutes in enumerate(_lead_minutes(scores)):
        cells = [*scores["csi"].isel(lead_time=i).values, *(float(scores[name][i]) for name in by_lead)]
        table.add_row(f"{minutes:g}", *("-" if math.isnan(cell) else f"{cell:.3f}" for cell in cells))
    return table


def _summary(scores: "xr.Dataset") -> str:
    return (
        f"CSI mean {scores.attrs['csi_mean']:.3f} (pooled over leads, mean over thresholds), "
        f"MAE {scores.attrs['mae']:.3f} {_units(scores)}"
    )


def _write_json(path: Path, content: dict[str, Any], overwrite: bool) -> None:
    from geoscope.data.whole_files import whole_file

    with whole_file(path, overwrite) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

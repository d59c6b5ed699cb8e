"""The Zarr store of an archive of forecasts: (issue_time, lead_time, y, x), chunks of one issue time each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.whole_files import whole_file
from geoscope.data.writers import plain_attrs
from geoscope.errors import ConfigError, DataError, GeoscopeError, MissingExtraError
from geoscope.inference.archive import records
from geoscope.inference.archive.plan import Plan, say

CHUNK_BYTES = 64 * 2**20
PENDING, DONE, SKIPPED = 0, 1, 2
_TIME = {"units": "seconds since 1970-01-01", "dtype": "int64", "calendar": "standard"}


def require_scale() -> None:
    """See that what archives need is installed.

    Raises:
        MissingExtraError: zarr or dask is not.
    """
    for name in ("zarr", "dask.array"):
        try:
            __import__(name)
        except ImportError as error:
            package = name.partition(".")[0]
            raise MissingExtraError(
                f"archives of forecasts need {package}, which is not installed: pip install 'geoscope[scale]'"
            ) from error


def create_store(
    path: Path, field: xr.DataArray, plan: Plan, card: dict[str, Any], *, overwrite: bool
) -> None:
    """An empty store for the forecasts of a plan, on the grid of ``field`` (time, y, x); it appears whole.

    Raises:
        ConfigError: ``path`` exists without ``overwrite``, or its folder does not.
        DataError: the system refused to write.
    """
    dataset = _empty(field, plan, card)
    with whole_file(path, overwrite) as part:
        dataset.to_zarr(part, mode="w-", zarr_format=2, consolidated=True, compute=False)
        records.write_card(part, card)


def _empty(field: xr.DataArray, plan: Plan, card: dict[str, Any]) -> xr.Dataset:
    import dask.array

    count, (rows, columns) = len(plan.frames), field.shape[1:]
    leads_in_chunk = max(1, min(plan.leads, CHUNK_BYTES // (4 * rows * columns)))
    chunks = (1, leads_in_chunk, rows, columns)
    lead_time = (np.arange(1, plan.leads + 1) * plan.step).astype("timedelta64[s]").astype("timedelta64[ns]")
    issue_time = plan.issue_times
    name = variable_name(field)
    dropped = ("grid_mapping", "coordinates", "filled_frames")
    attrs = {key: value for key, value in plain_attrs(field.attrs).items() if key not in dropped}
    static = {
        key: coord.variable
        for key, coord in field.coords.items()
        if not {"time"} & {key, *map(str, coord.dims)}
    }
    values = dask.array.full((count, plan.leads, rows, columns), np.nan, dtype="float32", chunks=chunks)
    status = {
        "long_name": "state of the forecast",
        "flag_values": np.array([PENDING, DONE, SKIPPED], np.int8),
        "flag_meanings": "pending done skipped",
    }
    seconds = {"long_name": "time that the forecast took", "units": "s"}
    dataset = xr.Dataset(
        {
            name: (("issue_time", "lead_time", "y", "x"), values, attrs),
            "status": ("issue_time", np.zeros(count, np.int8), status),
            "seconds": ("issue_time", np.full(count, np.nan, np.float32), seconds),
        },
        coords={
            "issue_time": ("issue_time", issue_time, {"standard_name": "forecast_reference_time"}),
            "lead_time": ("lead_time", lead_time, {"standard_name": "forecast_period"}),
            "valid_time": (
                ("issue_time", "lead_time"),
                issue_time[:, None] + lead_time[None, :],
                {"standard_name": "time", "long_name": "valid time (UTC)"},
            ),
            **{key: variable.copy(deep=False) for key, variable in static.items()},
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": f"Nowcasts by {card['model']} every {card['every']}",
            "model": card["model"],
            "run_card": json.dumps(card, sort_keys=True),
        }
        | {
            key: attrs[key]
            for key in ("source", "credit", "institution", "licence", "history")
            if key in attrs
        },
    )
    for variable in dataset.variables.values():
        variable.encoding = {}
        variable.attrs = plain_attrs(variable.attrs)
    further = sorted(str(key) for key in dataset.coords if key not in dataset.dims)
    encoding: dict[str, Any] = {
        name: {"chunks": chunks, "_FillValue": np.float32("nan"), "coordinates": " ".join(further)},
        "issue_time": _TIME | {"chunks": (count,)},
        "valid_time": _TIME | {"chunks": (count, plan.leads)},
        "lead_time": {"units": "seconds", "dtype": "int64"},
        "status": {"chunks": (count,)},
        "seconds": {"chunks": (count,), "_FillValue": np.float32("nan")},
    }
    if "spatial_ref" in dataset.coords:
        encoding[name]["grid_mapping"] = "spatial_ref"
    for key, how in encoding.items():
        dataset[key].encoding = how
    return dataset


def variable_name(field: xr.DataArray) -> str:
    """The name of the forecast in the store."""
    return str(field.name or "rain_rate").replace("/", "_")


def write_forecast_at(path: Path, name: str, issue: int, values: np.ndarray) -> dict[str, int]:
    """Write the forecast (lead_time, y, x) of one issue time; the result is its chunk files and their sizes.

    Raises:
        DataError: the system refused to write (no space, no permission).
    """
    import zarr

    try:
        array: Any = zarr.open_group(str(path), mode="r+", use_consolidated=False)[name]
        array[issue] = values
        return _chunks(path, name, issue, array)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; free space and run the same command again"
        ) from error


def _chunks(path: Path, name: str, issue: int, array: Any) -> dict[str, int]:
    leads = -(-array.shape[1] // array.chunks[1])
    files = [f"{name}/{issue}.{lead}.0.0" for lead in range(leads)]
    return {file: (path / file).stat().st_size for file in files if (path / file).is_file()}


def read_forecast_at(path: Path, name: str, issue: int) -> np.ndarray:
    """The forecast (lead_time, y, x) of one issue time, as it was written.

    Raises:
        DataError: its data cannot be read.
    """
    import zarr

    try:
        array: Any = zarr.open_group(str(path), mode="r", use_consolidated=False)[name]
        return np.asarray(array[issue], np.float32)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: the forecast number {issue} cannot be read ({reason})") from error


def write_states(path: Path, states: np.ndarray, seconds: np.ndarray) -> None:
    """Put the state of every issue time, and the seconds that it took, into the store."""
    import zarr

    group = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    for name, values in (("status", states), ("seconds", seconds)):
        array: Any = group[name]
        array[:] = values


def open_forecast(path: str | Path, issue_time: np.datetime64 | str) -> xr.DataArray:
    """The forecast issued at ``issue_time`` from an archive's store: (time, y, x), as `geoscope.nowcast` gives it.

    Raises:
        MissingExtraError: zarr or dask is not installed.
        ConfigError: no store of an archive, or no such issue time in it.
        DataError: the forecast is not there (yet), or the store cannot be read.
    """
    require_scale()
    store = Path(path)
    card = records.read_card(store)
    wanted = np.datetime64(str(issue_time).removesuffix("Z"), "ns")
    try:
        with xr.open_zarr(
            store, consolidated=True, decode_coords="all", decode_timedelta=True, chunks=None
        ) as data:
            times = data["issue_time"].values.astype("datetime64[ns]")
            if wanted not in times:
                raise ConfigError(
                    f"issue_time={issue_time} is not in {store}: it has {len(times)} from {say(times[0])} "
                    f"to {say(times[-1])}"
                )
            one = data[card["variable"]].isel(issue_time=int(np.flatnonzero(times == wanted)[0])).load()
    except GeoscopeError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{store} cannot be read ({reason}); write it again with --overwrite") from error
    if records.read_record(store, wanted) is None:
        raise DataError(f"{store} has no forecast of {say(wanted)}: it was skipped or is not finished yet")
    lead_time = one["lead_time"].values
    one = one.drop_vars(["issue_time", "valid_time"]).rename(lead_time="time")
    return one.assign_coords(
        time=("time", wanted + lead_time), lead_time=("time", lead_time), forecast_reference_time=wanted
    ).assign_attrs(model=card["model"], run_card=json.dumps(card, sort_keys=True))

"""A field or forecast in a file: CF NetCDF, Zarr, a Cloud Optimised GeoTIFF, or a point as CSV.

Every file carries what the field says of itself, the run card of a forecast included, and appears whole or
not at all. NetCDF and Zarr keep the field's numbers bit by bit and read back through xarray and
`geoscope.open_radar`.
"""

import csv
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from geoscope.data.hdf5 import LOCK
from geoscope.data.whole_files import whole_file
from geoscope.errors import ConfigError, DataError, MissingExtraError

Progress = Callable[[str, float], None]

SUFFIXES = (".nc", ".zarr", ".tif", ".tiff")
_DEFLATE: dict[str, Any] = {"zlib": True, "complevel": 4, "shuffle": True}
_GLOBAL = (
    "title",
    "institution",
    "source",
    "history",
    "references",
    "credit",
    "licence",
    "model",
    "run_card",
)


def write_forecast(
    field: xr.DataArray,
    path: str | PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a field (time, y, x), forecast or observed, by the ending of `path`; the result is the path.

    .nc is CF NetCDF-4, compressed; .zarr a Zarr store (format 2, one chunk a frame); .tif or .tiff a Cloud
    Optimised GeoTIFF with one band a frame (see `geoscope.data.geotiff`). The field is computed frame by
    frame and held in memory once. `progress(stage, share)` is called between frames and
    may raise `Cancelled`; then, as after any error, nothing is left behind.

    Raises:
        ConfigError: an unknown ending, an existing file without `overwrite`, a folder that does not exist.
        DataError: the field has other dimensions, or no place for a GeoTIFF.
        MissingExtraError: .zarr without the package zarr.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{target} ends in {target.suffix or 'nothing'!r}; a field can be written as {', '.join(SUFFIXES)}"
        )
    if field.dims != ("time", "y", "x"):
        raise DataError(
            f"a field to write has dimensions (time, y, x), this one has {field.dims}: transpose it"
        )
    report = progress or (lambda stage, share: None)
    if target.suffix.lower() in (".tif", ".tiff"):
        from geoscope.data.geotiff import write_geotiff

        with whole_file(target, overwrite) as part:
            write_geotiff(field, part, report)
    elif target.suffix.lower() == ".zarr":
        _require_zarr(target)
        with whole_file(target, overwrite) as part:
            dataset = _dataset(_computed(field, report), {"chunks": (1, *field.shape[1:])})
            dataset.to_zarr(part, mode="w-", zarr_format=2, consolidated=True)
    else:
        with whole_file(target, overwrite) as part:
            chunks = {"chunksizes": (1, *field.shape[1:]), "_FillValue": np.float32("nan")}
            dataset = _dataset(_computed(field, report), _DEFLATE | chunks)
            for name in {"lat", "lon"} & set(dataset.coords):
                dataset[name].encoding |= _DEFLATE
            with LOCK:
                dataset.to_netcdf(part, engine="h5netcdf", format="NETCDF4")
    report("written", 1.0)
    return target


def _require_zarr(path: Path) -> None:
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: writing Zarr needs the package zarr; install it with pip install 'geoscope[apps]'"
        ) from error


def _computed(field: xr.DataArray, report: Progress) -> xr.DataArray:
    """The field in memory as float32, computed frame by frame so that the caller can stop it."""
    values = np.empty(field.shape, np.float32)
    for index in range(len(values)):
        report("computing", 0.8 * index / len(values))
        values[index] = field[index].values
    report("writing", 0.8)
    return field.copy(data=values)


def _dataset(field: xr.DataArray, encoding: dict[str, Any]) -> xr.Dataset:
    """The field as a CF dataset, with attributes that a file can hold."""
    name = str(field.name or "field").replace("/", "_")  # a slash would open a group
    coords = list(set(field.coords) - set(field.dims))
    attrs = {k: v for k, v in plain_attrs(field.attrs).items() if k not in ("grid_mapping", "coordinates")}
    dataset = field.rename(name).to_dataset()
    for key, variable in dataset.variables.items():
        variable.attrs = attrs if key == name else plain_attrs(variable.attrs)
        variable.encoding = {}
    dataset[name].encoding = encoding | {"coordinates": " ".join(sorted(map(str, coords)))}
    if "spatial_ref" in coords:
        dataset[name].encoding["grid_mapping"] = "spatial_ref"
    for key in ("time", "forecast_reference_time"):
        if key in dataset.coords:
            dataset[key].encoding = {
                "units": "seconds since 1970-01-01",
                "dtype": "int64",
                "calendar": "standard",
            }
    dataset["time"].attrs.setdefault("standard_name", "time")
    if "forecast_reference_time" in dataset.coords:
        dataset["forecast_reference_time"].attrs.setdefault("standard_name", "forecast_reference_time")
    if "lead_time" in dataset.coords:
        dataset["lead_time"].attrs.setdefault("standard_name", "forecast_period")
    dataset.attrs = {"Conventions": "CF-1.11"} | {k: attrs[k] for k in _GLOBAL if k in attrs}
    return dataset


def plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that every format can hold: texts, numbers and lists of numbers; the rest as JSON text."""
    plain: dict[str, Any] = {}
    for key, value in attrs.items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, str | int | float):
            plain[str(key)] = value
        elif isinstance(value, list | tuple | np.ndarray) and np.asarray(value).dtype.kind in "iuf":
            plain[str(key)] = np.asarray(value)
        elif value is not None:
            plain[str(key)] = json.dumps(value, default=str)
    return plain


def write_point_csv(
    path: str | PathLike[str],
    series: Mapping[str, xr.DataArray],
    *,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write time series of one point side by side; the result is the path.

    `series` maps a column's name ("observed", "forecast") to values (time,). Columns are valid_time (UTC, ISO
    8601) and one for each series, named with its units; a time that a series lacks, or NaN, is an empty cell.
    `about` (place, credit, run card) stands before the table, one line each, behind "#".

    Raises:
        ConfigError: an ending other than .csv, an existing file without `overwrite`, no series at all.
        DataError: a series that is not (time,).
    """
    target = Path(path)
    if target.suffix.lower() != ".csv":
        raise ConfigError(f"{target} ends in {target.suffix or 'nothing'!r}; a point is written as .csv")
    if not series:
        raise ConfigError(f"{target}: no series to write; give at least one of observed and forecast")
    columns: dict[str, dict[np.datetime64, float]] = {}
    for name, values in series.items():
        if values.dims != ("time",):
            raise DataError(
                f"series {name!r} has dimensions {values.dims}, expected ('time',): select one pixel"
            )
        units = str(values.attrs.get("units", ""))
        times = values["time"].values.astype("datetime64[s]")
        title = f"{name} ({units})" if units else name
        columns[title] = dict(zip(times, values.values.astype(float), strict=True))
    rows = sorted(set().union(*columns.values()))
    with whole_file(target, overwrite) as part, part.open("w", newline="", encoding="utf-8") as file:
        for key, value in (about or {}).items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            file.write(f"# {key}: {' '.join(text.split())}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["valid_time", *columns])
        for time in rows:
            cells = (column.get(time, np.nan) for column in columns.values())
            writer.writerow([f"{time}Z", *("" if np.isnan(v) else f"{v:.6g}" for v in cells)])
    return target

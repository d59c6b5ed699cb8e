"""A field or forecast in a file: CF NetCDF, Zarr, a Cloud Optimised GeoTIFF, or a point as CSV.

NetCDF and Zarr also hold members and probabilities; a GeoTIFF has a band a frame and refuses them.

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
_LAYOUTS = (
    ("time", "y", "x"),
    ("member", "time", "y", "x"),
    ("threshold", "time", "y", "x"),
    ("sigma", "member", "time", "y", "x"),
)
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
    field: xr.DataArray | xr.Dataset,
    path: str | PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a field (time, y, x), forecast or observed, by the ending of `path`; the result is the path.

    .nc is CF NetCDF-4, compressed; .zarr a Zarr store (format 2, one chunk a frame); both also take members (member,
    time, y, x), scenarios (sigma, member, time, y, x) and the Dataset of a forecast with its probabilities (threshold,
    time, y, x). .tif or .tiff is a Cloud Optimised GeoTIFF with one band a frame (see `geoscope.data.geotiff`). The
    field is computed frame by frame and held in memory once. `progress(stage, share)` is called between frames and
    may raise `Cancelled`; then, as after any error, nothing is left behind.

    Raises:
        ConfigError: an unknown ending, an existing file without `overwrite`, a folder that does not exist, members
            or probabilities for a format that holds single frames.
        DataError: the field has other dimensions, or no place for a GeoTIFF.
        MissingExtraError: .zarr without the package zarr.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{target} ends in {target.suffix or 'nothing'!r}; a field can be written as {', '.join(SUFFIXES)}"
        )
    parts = [field] if isinstance(field, xr.DataArray) else list(field.data_vars.values())
    for part in parts or [field]:
        if part.dims not in _LAYOUTS:
            raise DataError(
                f"a field to write has dimensions (time, y, x), this one has {tuple(part.dims)}: transpose it"
            )
    report = progress or (lambda stage, share: None)
    if target.suffix.lower() in (".tif", ".tiff"):
        from geoscope.data.geotiff import write_geotiff

        single = single_field(field, target)
        with whole_file(target, overwrite) as part:
            write_geotiff(single, part, report)
    elif target.suffix.lower() == ".zarr":
        _require_zarr(target)
        with whole_file(target, overwrite) as part:
            dataset = _dataset(_computed(parts, report), "chunks", {})
            dataset.to_zarr(part, mode="w-", zarr_format=2, consolidated=True)
    else:
        with whole_file(target, overwrite) as part:
            encoding = _DEFLATE | {"_FillValue": np.float32("nan")}
            dataset = _dataset(_computed(parts, report), "chunksizes", encoding)
            for name in {"lat", "lon"} & set(dataset.coords):
                dataset[name].encoding |= _DEFLATE
            with LOCK:
                dataset.to_netcdf(part, engine="h5netcdf", format="NETCDF4")
    report("written", 1.0)
    return target


def single_field(field: xr.DataArray | xr.Dataset, target: Path) -> xr.DataArray:
    """The field (time, y, x) itself, for a format that holds nothing else.

    Raises:
        ConfigError: members or probabilities, which would be lost.
    """
    if isinstance(field, xr.DataArray) and not {"member", "threshold"} & set(field.dims):
        return field
    what = "members" if "member" in field.dims else "probabilities"
    raise ConfigError(
        f"{target}: {target.suffix} holds one frame after the other, no {what}: write .nc or .zarr, or leave {what} out"
    )


def _require_zarr(path: Path) -> None:
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: writing Zarr needs the package zarr; install it with pip install 'geoscope[apps]'"
        ) from error


def _computed(parts: list[xr.DataArray], report: Progress) -> list[xr.DataArray]:
    """The fields in memory as float32, computed frame by frame so that the caller can stop it."""
    total = sum(int(np.prod(part.shape[:-2])) for part in parts)
    done, made = 0, []
    for part in parts:
        values = np.empty(part.shape, np.float32)
        for place in np.ndindex(part.shape[:-2]):
            report("computing", 0.8 * done / total)
            values[place] = part[place].values
            done += 1
        made.append(part.copy(data=values))
    report("writing", 0.8)
    return made


def _dataset(parts: list[xr.DataArray], chunks: str, encoding: dict[str, Any]) -> xr.Dataset:
    """The fields as a CF dataset, a chunk a frame, with attributes that a file can hold."""
    named = {
        str(part.name or "field").replace("/", "_"): part for part in parts
    }  # a slash would open a group
    about: dict[str, dict[str, Any]] = {
        name: {k: v for k, v in plain_attrs(part.attrs).items() if k not in ("grid_mapping", "coordinates")}
        for name, part in named.items()
    }
    dataset = xr.Dataset({name: part.variable for name, part in named.items()})
    for part in parts:
        dataset = dataset.assign_coords(part.coords)
    for key, variable in dataset.variables.items():
        variable.attrs = about[str(key)] if key in named else plain_attrs(variable.attrs)
        variable.encoding = {}
    for name, part in named.items():
        coords = " ".join(sorted(str(coord) for coord in set(part.coords) - set(part.dims)))
        shape = (1,) * (part.ndim - 2) + part.shape[-2:]
        dataset[name].encoding = encoding | {chunks: shape, "coordinates": coords}
        if "spatial_ref" in part.coords:
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
    first = next(iter(about.values()))
    dataset.attrs = {"Conventions": "CF-1.11"} | {k: first[k] for k in _GLOBAL if k in first}
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

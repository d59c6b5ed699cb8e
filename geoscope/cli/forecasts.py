"""What the word FORECAST on the command line means: one forecast, an ensemble, an archive, or many files."""

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoscope.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

_DIMENSIONS = (
    ("time", "y", "x"),
    ("member", "time", "y", "x"),
    ("issue_time", "lead_time", "y", "x"),
    ("issue_time", "member", "lead_time", "y", "x"),
)
_CURE = "write one with geoscope nowcast EVENT --out FILE.nc"


def open_forecasts(named: str) -> "list[xr.DataArray | xr.Dataset]":
    """The forecasts in a .nc file or .zarr folder, in all such files of a folder, or in those that a glob names.

    Raises:
        DataError: no such file, another format, or no forecast in it.
    """
    path = Path(named)
    if path.exists():
        is_folder = path.is_dir() and path.suffix != ".zarr"
        files = sorted([*path.glob("*.nc"), *path.glob("*.zarr")]) if is_folder else [path]
    else:
        files = [Path(found) for found in sorted(glob.glob(named, recursive=True))]
        if not files:
            raise DataError(f"FORECAST {named!r} does not exist; {_CURE}")
    if not files:
        raise DataError(f"FORECAST {named!r} is a folder without .nc or .zarr; {_CURE}")
    return [_open(file) for file in files]


def _open(path: Path) -> "xr.DataArray | xr.Dataset":
    import xarray as xr

    engine = {".nc": "h5netcdf", ".zarr": "zarr"}.get(path.suffix)
    if engine is None:
        raise DataError(
            f"FORECAST {str(path)!r} must be a .nc file or a .zarr folder written by geoscope nowcast"
        )
    try:
        data = xr.open_dataset(path, engine=engine, decode_coords="all", decode_timedelta=True)
        forecast = _forecast_in(data)
        if forecast is None:
            data.close()
        elif engine == "h5netcdf":  # a Zarr archive may be long: its frames are read as they are counted
            with data:
                return forecast.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"FORECAST {str(path)!r} cannot be read ({reason}); write it again") from error
    if forecast is None:
        raise DataError(
            f"FORECAST {str(path)!r} holds no forecast: expected one field (time, y, x) with lead_time, "
            f"found {', '.join(map(str, data.data_vars)) or 'nothing'}; {_CURE}"
        )
    return forecast


def _forecast_in(data: "xr.Dataset") -> Any:
    """The forecast of a file: its only field, or the dataset when it also holds probabilities; None without one."""
    fields = [field for field in data.data_vars.values() if field.dims in _DIMENSIONS]
    if len(fields) != 1 or "lead_time" not in fields[0].coords:
        return None
    if "exceedance_probability" in data:
        return data[[fields[0].name, "exceedance_probability"]].assign_attrs(fields[0].attrs)
    return fields[0]

"""What the words EVENT and FORECAST on the command line mean."""

from pathlib import Path
from typing import TYPE_CHECKING

import geoscope as gs
from geoscope.errors import DataError

if TYPE_CHECKING:
    import xarray as xr


def open_event(event: str, variable: str | None = None, fill_gaps: str | None = None) -> "xr.DataArray":
    """The rain field that ``event`` names: a sample, a file, a folder or a glob; a sample's name comes first.

    Raises:
        DataError: nothing of that name, or the files cannot be read.
        ConfigError: an unknown ``fill_gaps``.
    """
    if event in [info.name for info in gs.list_samples()]:
        return gs.sample(event)
    refuse_a_bare_word(event)
    return gs.open_radar(event, variable, fill_gaps=fill_gaps)


def refuse_a_bare_word(event: str) -> None:
    """Refuse a word that looks like no path and is none: a sample's name with a slip of the pen, most often.

    Raises:
        DataError: it names nothing.
    """
    if not event or (not set(event) & set("/\\.*?[#~") and not Path(event).exists()):
        names = ", ".join(info.name for info in gs.list_samples())
        raise DataError(f"EVENT {event!r} is neither a sample ({names}) nor a file, folder or glob here")


def open_forecast(path: Path) -> "xr.DataArray":
    """A forecast (time, y, x) as `geoscope nowcast` writes it to .nc or .zarr, with its lead times.

    Raises:
        DataError: no such file, another format, or no forecast in it.
    """
    import xarray as xr

    if not path.exists():
        raise DataError(
            f"FORECAST {str(path)!r} does not exist; write one with geoscope nowcast EVENT --out FILE.nc"
        )
    engine = {".nc": "h5netcdf", ".zarr": "zarr"}.get(path.suffix)
    if engine is None:
        raise DataError(
            f"FORECAST {str(path)!r} must be a .nc file or a .zarr folder written by geoscope nowcast"
        )
    try:
        with xr.open_dataset(path, engine=engine, decode_coords="all", decode_timedelta=True) as data:
            fields = [field for field in data.data_vars.values() if field.dims == ("time", "y", "x")]
            if len(fields) == 1 and "lead_time" in fields[0].coords:
                return fields[0].load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"FORECAST {str(path)!r} cannot be read ({reason}); write it again") from error
    raise DataError(
        f"FORECAST {str(path)!r} holds no forecast: expected one field (time, y, x) with lead_time, "
        f"found {', '.join(map(str, data.data_vars)) or 'nothing'}; write one with geoscope nowcast"
    )

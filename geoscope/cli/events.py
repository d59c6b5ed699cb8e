"""What the words EVENT and FORECAST on the command line mean."""

from pathlib import Path
from typing import TYPE_CHECKING

import geoscope as gs
from geoscope.errors import ConfigError, DataError

if TYPE_CHECKING:
    import xarray as xr


def open_event(event: str, variable: str | None = None, fill_gaps: str | None = None) -> "xr.DataArray":
    """The rain field that ``event`` names: a sample, a file, a folder or a glob; a sample's name comes first.

    Raises:
        DataError: nothing of that name, or the files cannot be read.
        ConfigError: an unknown ``fill_gaps``, or such an option for a sample.
    """
    if is_sample(event, variable, fill_gaps):
        return gs.sample(event)
    refuse_a_bare_word(event)
    return gs.open_radar(event, variable, fill_gaps=fill_gaps)


def is_sample(event: str, variable: str | None, fill_gaps: str | None) -> bool:
    """Whether ``event`` names a sample; options of reading files are refused for one.

    Raises:
        ConfigError: it does, and ``variable`` or ``fill_gaps`` is given.
    """
    if event not in [info.name for info in gs.list_samples()]:
        return False
    for option, value in (("--variable", variable), ("--fill-gaps", fill_gaps)):
        if value is not None:
            raise ConfigError(
                f"{option} {value!r} is for files: the sample {event} holds one quantity without gaps; leave it out"
            )
    return True


def refuse_a_bare_word(event: str) -> None:
    """Refuse a word that looks like no path and is none: a sample's name with a slip of the pen, most often.

    Raises:
        DataError: it names nothing.
    """
    if not event or (not set(event) & set("/\\.*?[#~") and not Path(event).exists()):
        names = ", ".join(info.name for info in gs.list_samples())
        raise DataError(f"EVENT {event!r} is neither a sample ({names}) nor a file, folder or glob here")


def open_forecast(path: Path) -> "xr.DataArray":
    """A single forecast (time, y, x) as `geoscope nowcast` writes it to .nc or .zarr, with its lead times.

    Raises:
        DataError: no such file, another format, or no such forecast in it.
    """
    import xarray as xr

    from geoscope.cli.forecasts import open_forecasts

    found = open_forecasts(str(path))
    if len(found) != 1 or not isinstance(found[0], xr.DataArray) or found[0].dims != ("time", "y", "x"):
        raise DataError(
            f"FORECAST {str(path)!r} holds more than one forecast (time, y, x); name a single one"
        )
    return found[0].load()

"""The rain fields that ship with geoscope: `sample` opens one by name, `list_samples` says what there is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401 - gives fields their .rio
import xarray as xr

from geoscope.errors import DataError

SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True, kw_only=True)
class SampleInfo:
    """What a sample is, before it is opened. `pixel_km` is the pixel's size on the ground."""

    name: str
    title: str
    summary: str
    credit: str
    licence: str
    interval_minutes: float
    pixel_km: float
    frames: int
    is_simulated: bool


_FLORENCE = SampleInfo(
    name="florence-2018",
    title="Hurricane Florence's landfall, 13-14 September 2018",
    summary="Real rain from radars and gauges over North Carolina: 23 hourly frames of 118 x 87 pixels, "
    "up to 164 mm/h where the eyewall's bands came ashore.",
    credit="NOAA Stage IV, public domain",
    licence="public domain",
    interval_minutes=60.0,
    pixel_km=4.0,
    frames=23,
    is_simulated=False,
)

_STORMS = SampleInfo(
    name="simulated-storms",
    title="Simulated storms (not an observation)",
    summary="Simulated, not observed: cells that move, grow and decay beside a stratiform band in a "
    "sheared flow; 36 frames of 256 x 256 pixels, every 5 minutes at 1 km.",
    credit="Simulated by geoscope, not an observation",
    licence="Apache-2.0",
    interval_minutes=5.0,
    pixel_km=1.0,
    frames=36,
    is_simulated=True,
)


def sample(name: str) -> xr.DataArray:
    """A rain field that ships with geoscope: (time, y, x) in mm/h, float32, NaN where there is no data.

    Every call gives a new array in memory; `list_samples` says what there is.

    Raises:
        DataError: no sample has this name.
    """
    if name not in _OPENERS:
        raise DataError(f"no sample is called {name!r}; there are {', '.join(_OPENERS)}")
    return _OPENERS[name][1]()


def list_samples() -> list[SampleInfo]:
    """All samples that ship with geoscope."""
    return [info for info, _ in _OPENERS.values()]


def _open_florence() -> xr.DataArray:
    with xr.open_dataset(SHIPPED / "florence-2018.nc", engine="h5netcdf", decode_coords="all") as data:
        rain = data["rain_rate"].load().astype(np.float32)
        about = {key: value for key, value in data.attrs.items() if key != "Conventions"}
    # The file's packing must not follow the field into files that users write.
    rain = rain.drop_encoding().assign_coords(time=rain["time"].astype("datetime64[ns]"))
    rain.encoding["grid_mapping"] = "spatial_ref"
    return rain.assign_attrs(about, accumulation_minutes=int(about["accumulation_minutes"]))


def _open_storms() -> xr.DataArray:
    from geoscope.data.storms import StormConfig, simulate_storms

    return simulate_storms(StormConfig())


_OPENERS: dict[str, tuple[SampleInfo, Callable[[], xr.DataArray]]] = {
    _FLORENCE.name: (_FLORENCE, _open_florence),
    _STORMS.name: (_STORMS, _open_storms),
}

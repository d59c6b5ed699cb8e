"""Small fields, and pages without a browser."""

import numpy as np
import panel as pn
import pytest
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from geoscope.ui.nowcast_desk import RUNS
from geoscope.ui.nowcast_page import NowcastPage
from geoscope.ui.open_field import OpenField


def make_rain(frames: int = 8, rows: int = 24, cols: int = 30, minutes: int = 10) -> xr.DataArray:
    """Rain (time, y, x) in degrees around 10 E, 50 N: one shower that moves a column a frame."""
    values = np.zeros((frames, rows, cols), np.float32)
    for index in range(frames):
        values[index, 8:14, 4 + index : 10 + index] = 3.0 + index
    values[:, 0, 0] = np.nan
    start = np.datetime64("2020-06-01T12:00", "ns")
    rain = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": start + np.arange(frames) * np.timedelta64(minutes, "m"),
            "y": 50.0 - 0.02 * np.arange(rows),
            "x": 10.0 + 0.03 * np.arange(cols),
        },
        name="rain_rate",
        attrs={
            "units": "mm/h",
            "long_name": "rain rate",
            "standard_name": "rainfall_rate",
            "source": "made for a test <b>bold</b>",
            "credit": "nobody & co",
        },
    )
    return rain.rio.write_crs("EPSG:4326")


@pytest.fixture
def rain() -> xr.DataArray:
    """Eight frames, ten minutes apart."""
    return make_rain()


@pytest.fixture(autouse=True)
def _fresh():
    RUNS.clear()
    pn.state.reset()
    yield
    pn.state.reset()
    RUNS.clear()


@pytest.fixture
def page(rain):
    page = NowcastPage(query={"model": "persistence", "also": "none"})
    page.desk.use(OpenField.of("upload:test.nc", "test", rain))
    yield page
    page.close()


@pytest.fixture
def plain(rain):
    """A field of pixels of a kilometre that nobody knows the place of."""
    moved = rain.drop_vars("spatial_ref").assign_coords(x=np.arange(30) * 1e3, y=np.arange(24)[::-1] * 1e3)
    return OpenField.of("upload:plain.nc", "plain", moved)

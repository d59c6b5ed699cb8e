"""What ships opens whole, says whose it is, and lies where it says."""

import numpy as np
import pyproj
import pytest
import xarray as xr

import geoscope as gs
from geoscope import grids
from geoscope.data.samples import SHIPPED
from geoscope.data.shipped import make_florence
from geoscope.errors import DataError


def test_florence_is_a_rain_field():
    rain = gs.sample("florence-2018")
    assert rain.dims == ("time", "y", "x")
    assert rain.shape == (23, 118, 87)
    assert rain.dtype == np.float32
    assert rain.name == "rain_rate"
    assert rain.attrs["units"] == "mm/h"
    assert rain.attrs["standard_name"] == "rainfall_rate"
    assert rain.attrs["credit"] == "NOAA Stage IV, public domain"
    assert rain.attrs["accumulation_minutes"] == 60
    assert rain["time"].dtype == "datetime64[ns]"
    assert grids.interval_minutes(rain) == 60
    assert str(rain["time"].values[0])[:16] == "2018-09-13T19:00"
    assert (np.diff(rain["y"]) < 0).all()
    assert float(rain.max()) == pytest.approx(163.75)


def test_florence_lies_where_its_latitudes_and_longitudes_say():
    rain = gs.sample("florence-2018")
    lon, lat = grids.lonlat(rain)  # from the CRS
    apart_km = grids.great_circle_km(lon, lat, rain["lon"].values, rain["lat"].values)
    assert apart_km.max() < 0.01  # of pixels of 4 km
    assert (lat[0] > lat[-1]).all()


def test_florence_carries_a_crs_that_gis_tools_read():
    rain = gs.sample("florence-2018")
    assert "Polar_Stereographic" in rain.rio.crs.to_wkt()
    assert pyproj.CRS(rain.rio.crs) == grids.crs_of(rain)


def test_florence_equals_its_source(shared):
    with xr.open_dataset(shared / "redistributable" / "test_stageiv_xyt.nc") as data:
        source = data[make_florence.SOURCE_VARIABLE].load()
    rain = gs.sample("florence-2018")
    np.testing.assert_allclose(rain.values, source.values[:, ::-1], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(rain["lat"], source["lat"].values[::-1])
    np.testing.assert_array_equal(rain["time"], source["time"])


def test_the_script_makes_the_shipped_file_again(shared, tmp_path):
    made = tmp_path / "florence.nc"
    make_florence.make_florence(shared / "redistributable" / "test_stageiv_xyt.nc", made)
    with (
        xr.open_dataset(made, engine="h5netcdf") as again,
        xr.open_dataset(SHIPPED / "florence-2018.nc", engine="h5netcdf") as shipped,
    ):
        xr.testing.assert_identical(again.load(), shipped.load())


def test_pixels_off_the_stage_iv_grid_are_refused():
    rain = gs.sample("florence-2018")
    with pytest.raises(DataError, match="pixels off the Stage IV grid"):
        make_florence.recover_grid(rain["lat"].values + 0.01, rain["lon"].values)


def test_a_copy_that_a_user_writes_is_not_packed(tmp_path):
    rain = gs.sample("florence-2018") + 0.001
    rain.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
    with xr.open_dataarray(tmp_path / "copy.nc", engine="h5netcdf", decode_coords="all") as copy:
        np.testing.assert_array_equal(copy.values, rain.values)
        assert grids.crs_of(copy) == grids.crs_of(rain)


def test_each_call_gives_a_fresh_array():
    gs.sample("florence-2018")[:] = -1
    assert float(gs.sample("florence-2018").min()) == 0


def test_an_unknown_sample_is_refused_with_the_names():
    with pytest.raises(DataError, match="'sandy'; there are florence-2018, simulated-storms"):
        gs.sample("sandy")


@pytest.mark.parametrize("info", gs.list_samples(), ids=lambda info: info.name)
def test_the_list_tells_the_truth(info):
    rain = gs.sample(info.name)
    assert len(rain) == info.frames
    assert grids.interval_minutes(rain) == info.interval_minutes
    assert rain.attrs["credit"] == info.credit
    assert rain.attrs["title"] == info.title
    assert rain.dtype == np.float32
    assert ("simulated" in rain.attrs["source"].lower()) == info.is_simulated
    ground_km = grids.pixel_size_km(rain.drop_vars("spatial_ref", errors="ignore"))
    assert np.allclose(ground_km, info.pixel_km, rtol=0.02)

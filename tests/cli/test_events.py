"""What EVENT and FORECAST mean."""

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.cli.events import open_event, open_forecast
from geoscope.errors import ConfigError, DataError


def test_a_samples_name_is_an_event():
    xr.testing.assert_identical(open_event("florence-2018"), gs.sample("florence-2018"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"variable": "rain"}, "--variable 'rain'"), ({"fill_gaps": "nan"}, "--fill-gaps 'nan'")],
)
def test_options_of_files_are_refused_for_a_sample(options, message):
    with pytest.raises(
        ConfigError, match=f"{message} is for files: the sample florence-2018 holds one quantity"
    ):
        open_event("florence-2018", **options)


@pytest.mark.parametrize("event", ["{folder}/rain.nc", "{folder}", "{folder}/*.nc"])
def test_a_file_a_folder_and_a_glob_are_events(tmp_path, event):
    from geoscope.data.writers import write_forecast

    rain = gs.sample("florence-2018").isel(time=slice(0, 4))
    write_forecast(rain, tmp_path / "rain.nc")
    found = open_event(event.format(folder=tmp_path))
    np.testing.assert_allclose(found.values, rain.values, atol=0.06)
    assert (found["time"].values == rain["time"].values).all()


@pytest.mark.parametrize("event", ["florence", "nowhere", ""])
def test_what_is_nowhere_is_refused_and_the_samples_named(tmp_path, monkeypatch, event):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"neither a sample \(florence-2018, simulated-storms\) nor a file"):
        open_event(event)


@pytest.mark.parametrize("event", ["nowhere/*.nc", "nowhere.h5", "./nowhere", "sevir.h5#7"])
def test_a_path_to_nothing_is_refused_by_the_reader(tmp_path, monkeypatch, event):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected"):
        open_event(event)


def test_a_forecast_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_forecast(tmp_path / "none.nc")


def test_a_picture_is_no_forecast(tmp_path):
    (tmp_path / "x.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"must be a \.nc file or a \.zarr folder"):
        open_forecast(tmp_path / "x.gif")


def test_a_damaged_forecast_is_refused(tmp_path):
    (tmp_path / "x.nc").write_bytes(b"not a NetCDF file")
    with pytest.raises(DataError, match="cannot be read"):
        open_forecast(tmp_path / "x.nc")


def test_an_observation_is_no_forecast(tmp_path):
    rain = xr.DataArray(np.zeros((2, 3, 4), np.float32), dims=("time", "y", "x"), name="rain_rate")
    rain.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"holds no forecast: .* found rain_rate"):
        open_forecast(tmp_path / "x.nc")


def test_several_forecasts_are_not_one(tmp_path):
    from geoscope.data.writers import write_forecast

    rain = gs.sample("florence-2018")[:1]
    lead = rain.assign_coords(lead_time=("time", rain.time.values - rain.time.values))
    for name in ("a.nc", "b.nc"):
        write_forecast(lead, tmp_path / name)
    with pytest.raises(DataError, match="more than one forecast"):
        open_forecast(tmp_path)

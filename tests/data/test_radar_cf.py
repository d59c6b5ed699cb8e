"""CF NetCDF and Zarr: axes, packing, units, times, places, and what geoscope itself writes."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import rioxarray  # noqa: F401 - adds field.rio
import xarray as xr

from geoscope.data.radar import open_radar
from geoscope.data.samples import sample
from geoscope.data.writers import write_forecast
from geoscope.errors import DataError
from geoscope.grids import crs_of
from tests.data import radar_files as files


@pytest.mark.parametrize("suffix", ["nc", "zarr", "tif"])
def test_what_geoscope_writes_comes_back_the_same(suffix: str, tmp_path: Path):
    rain = sample("florence-2018")[:3]
    issued = np.datetime64("2018-09-13T18:00", "ns")
    forecast = rain.assign_coords(
        lead_time=("time", rain["time"].values - issued), forecast_reference_time=issued
    ).assign_attrs(model="persistence", run_card='{"seed": 1}')
    back = open_radar(write_forecast(forecast, tmp_path / f"f.{suffix}"))
    np.testing.assert_array_equal(back.values, forecast.values)
    assert back.name == forecast.name
    for name in ("units", "long_name", "credit", "source", "model", "run_card", "accumulation_minutes"):
        assert back.attrs[name] == forecast.attrs[name]
    for name in ("time", "lead_time", "forecast_reference_time"):
        np.testing.assert_array_equal(back[name].values, forecast[name].values)
    np.testing.assert_allclose(back["x"].values, forecast["x"].values)
    assert back.rio.crs.to_dict() == forecast.rio.crs.to_dict()
    if suffix != "tif":
        np.testing.assert_array_equal(back["lat"].values, forecast["lat"].values)


def test_a_quantity_that_is_no_rain_keeps_its_name_and_units(tmp_path: Path):
    path = files.write_cf(tmp_path / "a.nc", name="vil", units="kg m-2")
    vil = open_radar(path)
    assert (vil.name, vil.attrs["units"]) == ("vil", "kg m-2")


def test_fields_without_a_place_come_back_without_one(tmp_path: Path):
    rain = sample("simulated-storms")[:2, :64, :64]
    back = open_radar(write_forecast(rain, tmp_path / "a.nc"))
    assert crs_of(back) is None
    np.testing.assert_array_equal(back["x"].values, rain["x"].values)


@pytest.mark.parametrize(
    ("units", "factor"), [("mm/h", 1), ("kg m-2 s-1", 3600), ("m s-1", 3.6e6), ("mm/day", 1 / 24)]
)
def test_rates_in_other_units_become_mm_per_hour(units: str, factor: float, tmp_path: Path):
    rain = open_radar(files.write_cf(tmp_path / "a.nc", units=units, name="precip"))
    assert (rain.name, rain.attrs["units"]) == ("rain_rate", "mm/h")
    assert float(rain.max()) == pytest.approx(4 * factor)


def test_an_accumulation_takes_its_period_from_cell_methods_bounds_or_the_interval(tmp_path: Path):
    data = files.cf_dataset(units="mm", name="precip")
    data.to_netcdf(tmp_path / "interval.nc", engine="h5netcdf")
    assert float(open_radar(tmp_path / "interval.nc").max()) == pytest.approx(4 * 12)
    data["precip"].attrs["cell_methods"] = "time: sum (interval: 1 hr)"
    data.to_netcdf(tmp_path / "methods.nc", engine="h5netcdf")
    assert float(open_radar(tmp_path / "methods.nc").max()) == pytest.approx(4)
    del data["precip"].attrs["cell_methods"]
    bounds = np.stack([data["time"].values - np.timedelta64(10, "m"), data["time"].values], axis=1)
    data["time_bounds"] = (("time", "two"), bounds)
    data["time"].attrs["bounds"] = "time_bounds"
    data["time"].encoding["units"] = "seconds since 2020-01-01"
    data.to_netcdf(tmp_path / "bounds.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "bounds.nc")
    assert rain.attrs["accumulation_minutes"] == pytest.approx(10)
    assert float(rain.max()) == pytest.approx(4 * 6)


def test_one_accumulation_without_a_period_is_refused(tmp_path: Path):
    path = files.write_cf(tmp_path / "a.nc", frames=1, units="mm", name="precip")
    with pytest.raises(DataError, match=r"period of the accumulation.*cell_methods"):
        open_radar(path)


def test_packed_values_and_their_missing_codes_are_decoded(tmp_path: Path):
    data = files.cf_dataset()
    packing = {"dtype": "int16", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -9}
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"rain_rate": packing})
    rain = open_radar(tmp_path / "a.nc")
    np.testing.assert_allclose(rain.values, data["rain_rate"].values)


def test_values_outside_the_valid_range_are_missing(tmp_path: Path):
    data = files.cf_dataset()
    data["rain_rate"].attrs["valid_max"] = 3.0
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "a.nc")
    assert float(rain.max()) == 0
    assert np.isnan(rain.values[0, 2, 1])


@pytest.mark.parametrize("turn", ["south first", "east first", "x before y", "kilometres"])
def test_any_order_of_axes_ends_with_north_up(turn: str, tmp_path: Path):
    data = files.cf_dataset()
    expected = data["rain_rate"].values
    if turn == "south first":
        data = data.isel(y=slice(None, None, -1))
    elif turn == "east first":
        data = data.isel(x=slice(None, None, -1))
    elif turn == "x before y":
        data = data.transpose("time", "x", "y")
    else:
        for axis in "xy":
            data[axis] = (axis, data[axis].values / 1000, {"units": "km"})
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "a.nc")
    np.testing.assert_array_equal(rain.values, expected)
    assert rain["y"].values[0] == 3_000_000
    assert rain["x"].values[0] == 4_000_000
    assert rain.rio.crs.to_epsg() == 3035


def lonlat_dataset() -> xr.Dataset:
    data = files.cf_dataset().drop_vars("crs").rename(x="lon", y="lat")
    data["lat"] = ("lat", 50 - 0.1 * np.arange(6), {"units": "degrees_north"})
    data["lon"] = ("lon", 355 + 0.1 * np.arange(8), {"units": "degrees_east"})
    del data["rain_rate"].attrs["grid_mapping"]
    return data


def test_latitude_and_longitude_axes_are_a_crs_and_count_from_greenwich(tmp_path: Path):
    lonlat_dataset().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "a.nc")
    assert rain.dims == ("time", "y", "x")
    assert crs_of(rain).is_geographic
    assert rain["x"].values[0] == pytest.approx(-5)


def test_two_dimensional_lat_lon_is_place_enough(tmp_path: Path):
    data = files.cf_dataset().drop_vars(["crs", "x", "y"])
    del data["rain_rate"].attrs["grid_mapping"]
    lat, lon = np.meshgrid(np.linspace(40, 41, 6), np.linspace(5, 6, 8), indexing="ij")
    data = data.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "a.nc")
    assert rain["lat"].values[0, 0] == 41  # the file began in the south
    np.testing.assert_array_equal(rain.values, data["rain_rate"].values[:, ::-1])


def test_a_grid_mapping_in_cf_words_is_a_crs(tmp_path: Path):
    data = files.cf_dataset()
    data["crs"].attrs = {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": 90.0,
        "straight_vertical_longitude_from_pole": 10.0,
        "standard_parallel": 60.0,
        "earth_radius": 6370040.0,
    }
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert "Polar" in crs_of(open_radar(tmp_path / "a.nc")).coordinate_operation.method_name


def test_a_field_without_any_coordinates_is_refused(tmp_path: Path):
    data = files.cf_dataset().drop_vars(["crs", "x", "y"])
    del data["rain_rate"].attrs["grid_mapping"]
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"expected coordinates x and y, or lat and lon, or a CRS"):
        open_radar(tmp_path / "a.nc")


@pytest.mark.parametrize(("text", "message"), [("not a crs", "CRS"), ("", "")])
def test_a_crs_that_cannot_be_understood_is_refused_and_none_is_allowed(
    text: str, message: str, tmp_path: Path
):
    data = files.cf_dataset()
    data["crs"].attrs = {"crs_wkt": text}
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    if message:
        with pytest.raises(DataError, match=message):
            open_radar(tmp_path / "a.nc")
    else:
        assert crs_of(open_radar(tmp_path / "a.nc")) is None


@pytest.mark.parametrize("missing", ["false_northing", "longitude_of_center"])
def test_a_projection_that_lacks_a_parameter_is_told_or_survives(missing: str, tmp_path: Path):
    data = files.cf_dataset()
    data["crs"].attrs["crs_wkt"] = data["crs"].attrs["crs_wkt"].replace(f'"{missing}"', '"nonsense"')
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    try:
        rain = open_radar(tmp_path / "a.nc")
    except DataError as error:
        assert "CRS" in str(error)  # noqa: PT017 - either way is right, depending on the version of PROJ
    else:
        assert crs_of(rain) is not None


def test_a_local_crs_that_is_nowhere_on_the_earth_is_refused(tmp_path: Path):
    data = files.cf_dataset()
    data["crs"].attrs["crs_wkt"] = 'LOCAL_CS["here",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="CRS"):
        open_radar(tmp_path / "a.nc")


def test_uneven_axes_are_refused(tmp_path: Path):
    data = files.cf_dataset()
    data["x"] = ("x", 1000.0 * np.arange(8) ** 2)
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="evenly spaced values of x"):
        open_radar(tmp_path / "a.nc")


def test_two_rain_fields_need_a_choice_and_a_wrong_name_lists_them(tmp_path: Path):
    data = files.cf_dataset()
    data = data.rename(rain_rate="a_rain").assign(b_rain=data["rain_rate"] * 2)
    data["b_rain"].attrs = data["a_rain"].attrs
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"several: a_rain, b_rain; choose one with variable="):
        open_radar(tmp_path / "a.nc")
    with pytest.raises(DataError, match=r"variable 'snow'.*a_rain, b_rain"):
        open_radar(tmp_path / "a.nc", variable="snow")
    assert float(open_radar(tmp_path / "a.nc", variable="b_rain").max()) == 8


def test_a_single_map_with_a_scalar_time_is_one_frame(tmp_path: Path):
    files.cf_dataset().isel(time=1).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "a.nc")
    assert rain.shape == (1, 6, 8)
    assert rain["time"].values[0] == np.datetime64("2020-05-01T12:05")


@pytest.mark.parametrize("fault", ["no time", "no units", "odd calendar", "no field"])
def test_times_and_fields_that_are_missing_are_told(fault: str, tmp_path: Path):
    data = files.cf_dataset()
    if fault == "no time":
        data = data.isel(time=0).drop_vars("time")
    elif fault == "no units":
        data = data.assign_coords(time=np.arange(3))
    elif fault == "odd calendar":
        data = data.assign_coords(
            time=("time", [1, 2, 3], {"units": "days since 2000-02-29", "calendar": "360_day"})
        )
    else:
        data = data[["crs"]]
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    expected = {"no field": "a variable on"}.get(fault, "time")
    with pytest.raises(DataError, match=expected) as caught:
        open_radar(tmp_path / "a.nc")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_of_both_versions_with_packing_is_read(version: int, tmp_path: Path):
    data = files.cf_dataset()
    encoding = {"rain_rate": {"chunks": (1, 4, 4), "_FillValue": np.float32(-9)}}
    store = tmp_path / "a_folder"
    data.to_zarr(store, zarr_format=version, consolidated=False, encoding=encoding)
    rain = open_radar(store)
    np.testing.assert_array_equal(rain.values, data["rain_rate"].values)
    assert rain.rio.crs.to_epsg() == 3035


@pytest.mark.parametrize("version", [1, 2, 5])
@pytest.mark.parametrize("record", [True, False])
def test_classic_netcdf_is_read_without_a_library(version: int, record: bool, tmp_path: Path):
    data = files.cf_dataset()
    rain = open_radar(files.write_classic(tmp_path / "a.x", version, record))
    np.testing.assert_array_equal(rain.values, data["rain_rate"].values)
    np.testing.assert_array_equal(rain["time"].values, data["time"].values)
    assert rain.rio.crs.to_epsg() == 3035
    assert rain.attrs["title"] == "by hand"


def test_unsigned_bytes_and_a_valid_range_are_understood(tmp_path: Path):
    path = files.write_cf(tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        held = file["rain_rate"]
        scales = [held.dims[axis][0] for axis in range(3)]
        codes = np.zeros((3, 6, 8), np.int8)
        codes[:, 2], codes[:, 3], codes[:, 4] = -56, 10, 1  # 200 as an unsigned byte
        mapping = held.attrs["grid_mapping"]
        del file["rain_rate"]
        data = file.create_dataset("rain_rate", data=codes)
        data.attrs.update({"_Unsigned": "true", "units": "mm/h", "valid_range": np.array([2, 250], np.int16)})
        data.attrs["grid_mapping"] = mapping
        for axis, scale in enumerate(scales):
            data.dims[axis].attach_scale(scale)
    rain = open_radar(path).values[0, :, 0]
    np.testing.assert_array_equal(rain, [np.nan, np.nan, 200, 10, np.nan, np.nan])


def test_reflectivity_and_said_periods_in_cf(tmp_path: Path):
    data = files.cf_dataset(units="dBZ", name="reflectivity")
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert float(open_radar(tmp_path / "a.nc").max()) == pytest.approx((10**0.4 / 200) ** (1 / 1.6))
    sums = files.cf_dataset(units="mm", name="precip")
    sums["precip"].attrs["accumulation_minutes"] = 15
    sums.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    assert float(open_radar(tmp_path / "b.nc").max()) == 16


def test_a_field_on_more_than_three_axes_must_be_cut_first(tmp_path: Path):
    data = files.cf_dataset().expand_dims(level=[1.0, 2.0])
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"a variable on \(time, y, x\)"):
        open_radar(tmp_path / "a.nc")
    data.isel(time=[0]).to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"on \(time, y, x\).*select the other axes first"):
        open_radar(tmp_path / "c.nc")
    data.isel(level=[0]).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    assert open_radar(tmp_path / "b.nc").shape == (3, 6, 8)

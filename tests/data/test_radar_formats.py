"""Each format in a small file written by the tests: values by hand, codes, times, places, credits."""

import gzip
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr

from geoscope.data.formats.rain import (
    depth_factor,
    is_reflectivity,
    rain_rate_from_reflectivity,
    rate_factor,
)
from geoscope.data.radar import open_radar
from geoscope.errors import DataError
from geoscope.grids import crs_of, interval_minutes, lonlat
from tests.data import radar_files as files

RAIN_AT_30_DBZ = (1000 / 200) ** (1 / 1.6)  # Z = 1000


def write_radolan(path: Path, frame: int = 0) -> Path:
    path.write_bytes(gzip.compress(files.radolan_bytes("RY", frame), 1))
    return path


# format: (writer, rain of the shower in mm/h, a word of the credit)
FORMATS: dict[str, tuple[Callable[..., Path], float, str]] = {
    "bom": (files.write_bom, 100 * 0.05 * 12, "Bureau of Meteorology"),
    "knmi": (files.write_knmi, 100 * 0.01 * 12, "KNMI"),
    "odim": (files.write_odim, 4.0, "OPERA"),
    "grib": (files.write_grib, 4.0, "MRMS"),
    "radolan": (write_radolan, 100 * 0.01 * 12, "Deutscher Wetterdienst"),
    "pgm": (files.write_pgm, RAIN_AT_30_DBZ, "Finnish"),
    "gif": (files.write_gif, (10 ** ((120 - 71.5) / 20) / 316) ** (1 / 1.5) * 12, "MeteoSwiss"),
    "geotiff": (files.write_geotiff, RAIN_AT_30_DBZ, "Finnish"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_two_files_of_a_format_become_one_rain_field(kind: str, tmp_path: Path):
    write, rate, credit = FORMATS[kind]
    late = write(tmp_path / "a.x", 1)  # names that sort the wrong way round, and endings that say nothing
    early = write(tmp_path / "b.x", 0)
    rain = open_radar([late, early])
    assert rain.dims == ("time", "y", "x")
    assert (rain.name, rain.dtype, rain.attrs["units"]) == ("rain_rate", np.float32, "mm/h")
    assert rain.attrs["standard_name"] == "rainfall_rate"
    assert credit in rain.attrs["credit"]
    assert rain.attrs["source"]
    assert interval_minutes(rain) == 5
    assert rain["time"].values[0] == np.datetime64(files.START.replace(tzinfo=None))
    assert np.isnan(rain.values[0, 0]).all()  # no data in the northern row
    assert np.nanmin(rain.values) == 0  # dry is not missing
    assert np.nanmax(rain.values) == pytest.approx(rate, rel=1e-5)
    assert (np.diff(rain["y"].values) < 0).all()
    assert (np.diff(rain["x"].values) > 0).all()
    assert crs_of(rain) is not None
    assert crs_of(rain).to_wkt() == rain["spatial_ref"].attrs["spatial_ref"]


@pytest.mark.parametrize("kind", ["bom", "knmi", "odim", "grib", "pgm", "geotiff"])
def test_the_shower_stands_where_it_was_written_and_moves_east(kind: str, tmp_path: Path):
    write, rate, _ = FORMATS[kind]
    rain = open_radar([write(tmp_path / f"{i}.x", i) for i in range(3)])
    for frame in range(3):
        expected = np.zeros((6, 8))
        expected[2:4, 1 + frame : 3 + frame] = rate
        np.testing.assert_allclose(rain.values[frame, 2:], expected[2:], rtol=1e-5)


def test_accumulations_become_rates_and_say_over_how_long(tmp_path: Path):
    hour = open_radar(files.write_odim(tmp_path / "a.h5", quantity="ACRR", minutes=60))
    assert hour.attrs["accumulation_minutes"] == 60
    assert float(hour.max()) == 4.0
    ten = open_radar(files.write_bom(tmp_path / "b.nc", minutes=10))
    assert ten.attrs["accumulation_minutes"] == 10
    assert float(ten.max()) == pytest.approx(100 * 0.05 * 6)


def test_reflectivity_is_kept_when_zr_is_none_and_converted_by_the_given_pair(tmp_path: Path):
    path = files.write_pgm(tmp_path / "a.pgm.gz")
    dbz = open_radar(path, zr=None)
    assert (dbz.name, dbz.attrs["units"], float(dbz.max())) == ("reflectivity", "dBZ", 30.0)
    assert "zr_relation" not in dbz.attrs
    rain = open_radar(path, zr=(223, 1.53))
    assert rain.attrs["zr_relation"] == "Z = 223 R^1.53"
    assert float(rain.max()) == pytest.approx((1000 / 223) ** (1 / 1.53))


def test_marshall_palmer_by_hand():
    dbz = np.array([np.nan, -40.0, -32.0, 10 * np.log10(200), 60.0, 75.0], np.float32)
    rate = rain_rate_from_reflectivity(dbz)
    highest = (1e6 / 200) ** (1 / 1.6)
    np.testing.assert_allclose(rate, [np.nan, 0, 0, 1, highest, highest], rtol=1e-5)


@pytest.mark.parametrize(
    ("units", "factor"),
    [("mm/h", 1), ("mm h-1", 1), ("mm h^-1", 1), ("mm/hr", 1), ("kg m-2 s-1", 3600), ("m s**-1", 3.6e6)],
)
def test_units_of_rain_rate_are_understood(units: str, factor: float):
    assert rate_factor(units) == pytest.approx(factor)


def test_other_units_are_not_taken_for_rain():
    assert rate_factor("K") is None
    assert depth_factor("kg m^-2") == 1
    assert depth_factor("Pa") is None
    assert is_reflectivity("dBZ")
    assert not is_reflectivity("dB")


def test_odim_reflectivity_other_quantities_and_a_second_dataset(tmp_path: Path):
    values = np.array([[-9999000.0, -8888000.0], [30.0, 70.0]])
    rain = open_radar(files.write_odim(tmp_path / "a.h5", quantity="DBZH", values=values))
    highest = (1e6 / 200) ** (1 / 1.6)
    np.testing.assert_allclose(rain.values[0], [[np.nan, 0], [RAIN_AT_30_DBZ, highest]], rtol=1e-5)
    quality = files.write_odim(tmp_path / "b.h5", quantity="QIND")
    with pytest.raises(DataError, match="QIND"):
        open_radar(quality)
    assert open_radar(quality, variable="QIND").name == "qind"


def test_radolan_grids_versions_and_flags(tmp_path: Path):
    codes = np.full((1200, 1100), 50)
    codes[0, 0], codes[0, 1], codes[0, 2], codes[0, 3] = 0x2000 | 7, 0x8000 | 7, 0x4000 | 7, 0x1000 | 7
    path = tmp_path / "rv"
    path.write_bytes(files.radolan_bytes("RV", codes=codes, version=5, lead=10))
    rain = open_radar(path)
    southwest = rain.values[0, -1]  # the file begins in the south
    assert np.isnan(southwest[:3]).all()
    assert southwest[3] == pytest.approx(7 * 0.12)  # an interpolated value is a value
    assert southwest[4] == pytest.approx(50 * 0.12)
    assert rain.attrs["issued"] == "2020-05-01T12:00:00Z"
    assert rain["time"].values[0] - rain["forecast_reference_time"].values == np.timedelta64(10, "m")
    assert "WGS 84" in crs_of(rain).to_wkt() or "6378137" in crs_of(rain).to_wkt()


def test_radolan_reflectivity_has_one_byte_a_pixel(tmp_path: Path):
    codes = np.zeros((900, 900), np.int64)
    codes[0, :4] = (125, 249, 250, 0)
    (tmp_path / "rx").write_bytes(files.radolan_bytes("RX", codes=codes, precision="E+00"))
    dbz = open_radar(tmp_path / "rx", zr=None).values[0, -1]
    np.testing.assert_allclose(dbz[:4], [30.0, np.nan, np.nan, -32.5])


def test_a_tar_of_lead_times_is_one_forecast(tmp_path: Path):
    rain = open_radar(files.write_radolan_tar(tmp_path / "rv.bin"))
    assert list(rain["lead_time"].values / np.timedelta64(1, "m")) == [0, 5, 10]
    assert rain.sizes["time"] == 3


def test_gzipped_grib_is_read_in_memory(tmp_path: Path):
    plain = files.write_grib(tmp_path / "plain")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    xr.testing.assert_identical(open_radar(plain), open_radar(packed))


def test_a_geotiff_without_tags_is_dated_by_its_name_and_says_so(tmp_path: Path):
    path = files.write_geotiff(tmp_path / "radar_202005011205.tif", tags_only="1", units="mm/h")
    rain = open_radar(path)
    assert rain["time"].values[0] == np.datetime64("2020-05-01T12:05")
    assert rain.attrs["time_from"] == "file name"


def test_a_multiband_geotiff_takes_a_time_from_each_band(tmp_path: Path):
    profile = {"driver": "GTiff", "dtype": "float32", "count": 2, "height": 4, "width": 5, "crs": "EPSG:3035"}
    with rasterio.open(
        tmp_path / "stack", "w", **profile, transform=rasterio.Affine(1000, 0, 0, 0, -1000, 0), nodata=-1
    ) as data:
        for band in (1, 2):
            data.write(np.full((4, 5), band - 2, np.float32), band)
            data.set_band_description(band, f"2020-05-01T12:{5 * band:02d}:00Z")
        data.update_tags(units="mm/h")
    rain = open_radar(tmp_path / "stack")
    assert interval_minutes(rain) == 5
    assert np.isnan(rain.values[0]).all()
    assert (rain.values[1] == 0).all()


def test_sevir_with_its_catalogue_has_place_and_time(tmp_path: Path):
    path = files.write_sevir(tmp_path / "SEVIR_VIL_X.h5", catalogue=True)
    vil = open_radar(f"{path}#S1", variable="vil")
    assert (vil.name, vil.attrs["units"]) == ("vil", "1")
    assert vil["time"].values[2] == np.datetime64("2018-06-01T12:00")
    assert np.isnan(vil.values[:, -1]).all()  # row 0 of the file is the south
    assert (vil.values[0, -3:-1, 0:2] == 133).all()
    lon, lat = lonlat(vil)  # half a pixel of 48 km from the catalogue's corner
    assert (lon[-1, 0], lat[-1, 0]) == pytest.approx((-99.74, 35.22), abs=0.02)
    assert np.diff(vil["x"].values) == pytest.approx(48_000)
    assert vil.attrs["event"] == "S1"
    assert "time_is_relative" not in vil.attrs


def test_sevir_by_number_without_a_catalogue_keeps_its_kilometres(tmp_path: Path):
    path = files.write_sevir(tmp_path / "x.h5", side=8)
    vil = open_radar(f"{path}#1")
    assert crs_of(vil) is None
    assert np.diff(vil["x"].values) == pytest.approx(48_000)
    assert "1970-01-01" in vil.attrs["time_is_relative"]


def test_mrms_reflectivity_and_accumulations(tmp_path: Path):
    values = np.full((6, 8), 30.0, np.float32)
    values[0], values[1] = -999, -99
    path = files.write_grib(tmp_path / "a", parameter="10 0", values=values)
    dbz = open_radar(path, zr=None).values[0]
    assert np.isnan(dbz[0]).all()
    np.testing.assert_allclose(dbz[1:, 0], [-32.5, 30, 30, 30, 30], atol=0.01)
    rain = open_radar(path).values[0]
    np.testing.assert_allclose(rain[1:, 0], [0, *[RAIN_AT_30_DBZ] * 4], rtol=1e-3)
    sums = open_radar(files.write_grib(tmp_path / "b", parameter="6 37"))
    assert sums.attrs["accumulation_minutes"] == 60
    assert float(sums.max()) == pytest.approx(4, rel=1e-3)
    index = files.write_grib(tmp_path / "c", parameter="8 0")
    with pytest.raises(DataError, match="the elements RadarQualityIndex; choose with variable="):
        open_radar(index)
    assert open_radar(index, variable="RadarQualityIndex").name == "RadarQualityIndex"


def test_an_odim_composite_placed_by_its_lower_left_corner(tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    upper = open_radar(path)
    lon, lat = -39.5357864125034, 67.0228327624372
    forward = pyproj.Transformer.from_crs("EPSG:4326", crs_of(upper), always_xy=True)
    x, y = forward.transform(lon, lat)
    west, south = forward.transform(x, y - 12_000, direction="INVERSE")
    with h5py.File(path, "a") as file:
        where, what = file["where"].attrs, file["dataset1/data1/what"].attrs
        del where["UL_lon"], where["UL_lat"], what["nodata"]
        where["LL_lon"], where["LL_lat"] = west, south
    lower = open_radar(path)
    np.testing.assert_allclose(lower["y"].values, upper["y"].values, atol=1)
    assert not np.isnan(lower.values).any()  # the file no longer says which code is no data


def test_a_daily_radolan_sum_counts_in_days(tmp_path: Path):
    content = files.radolan_bytes("SF", interval=1).replace(b"INT   1", b"INT   1U1")
    size = len(content)
    content = content.replace(f"BY{size - 2:7d}".encode(), f"BY{size:7d}".encode())
    (tmp_path / "sf").write_bytes(content)
    assert open_radar(tmp_path / "sf").attrs["accumulation_minutes"] == 1440


def test_a_geotiff_of_sums_with_a_period_and_of_something_else(tmp_path: Path):
    sums = files.write_geotiff(
        tmp_path / "a.tif", units="mm", accumulation_minutes="30", time="2020-05-01T12:00:00Z"
    )
    assert float(open_radar(sums).max()) == 255 * 2
    other = files.write_geotiff(
        tmp_path / "b.tif", units="K", name="temperature", time="20200501", AREA_OR_POINT="Area"
    )
    field = open_radar(other)
    assert (field.name, field.attrs["units"]) == ("temperature", "K")


def test_sevir_infrared_is_decoded_to_degrees(tmp_path: Path):
    with h5py.File(tmp_path / "ir.h5", "w") as file:
        file["ir069"] = np.full((1, 4, 4, 3), -4550, np.int16)
    field = open_radar(tmp_path / "ir.h5")
    assert (field.name, field.attrs["units"]) == ("ir069", "degC")
    np.testing.assert_allclose(field.values, -45.5, rtol=1e-6)

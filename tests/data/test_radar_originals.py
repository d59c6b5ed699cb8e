"""The readers against the agencies' own files, read here by other means: h5py, Pillow, raw bytes, stored crops."""

import bz2
import gzip
import io
import json
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
import rioxarray  # noqa: F401 - adds field.rio
import xarray as xr
from PIL import Image

from geoscope.data.radar import open_radar
from geoscope.data.samples import sample
from geoscope.grids import lonlat, pixel_size_km


@pytest.fixture(scope="module")
def raw(shared: Path) -> Path:
    return shared / "realdata/radar/raw"


def stored_crop(shared: Path, name: str) -> tuple[np.ndarray, dict]:
    """Rain (T, H, W) that others cut from the same originals, and where they cut it."""
    with np.load(shared / f"realdata/radar/events/{name}.npz") as held:
        rain = np.where(held["rain"] == 65535, np.nan, held["rain"] / 100.0)
        return rain, json.loads(str(held["meta"]))


def assert_equals_crop(field: xr.DataArray, shared: Path, name: str, dry_below: float = 0.0) -> None:
    """Frame by frame, where the times agree: equal to the crop's rounding, and missing in the same places.

    `dry_below`: the crops set weak rain to 0, the readers do not.
    """
    crop, meta = stored_crop(shared, name)
    rows = slice(meta["crop_row"], meta["crop_row"] + crop.shape[1])
    columns = slice(meta["crop_col"], meta["crop_col"] + crop.shape[2])
    times = {np.datetime64(text.rstrip("Z"), "ns"): i for i, text in enumerate(meta["times"])}
    compared = 0
    for frame in field[:, rows, columns]:
        at = times.get(frame["time"].values)
        if at is not None:
            mine = frame.values
            mine = np.where(mine < dry_below, 0, mine)
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(crop[at]))
            np.testing.assert_allclose(mine, crop[at], rtol=1e-5, atol=0.0051)
            compared += 1
    assert compared == len(field)


def test_rainfields_agree_with_the_stored_event(raw: Path, shared: Path):
    rain = open_radar(raw / "bom66_20201031")
    assert rain.shape == (25, 512, 512)
    assert rain.attrs["units"] == "mm/h"
    assert rain.attrs["accumulation_minutes"] == 10
    assert rain.attrs["interval_minutes"] == 10
    assert "Bureau of Meteorology" in rain.attrs["credit"]
    assert pixel_size_km(rain) == pytest.approx((0.5, 0.5), rel=0.01)
    lon, lat = lonlat(rain)  # the radar at Mt Stapylton stands in the middle
    assert (lon[256, 256], lat[256, 256]) == pytest.approx((153.24, -27.72), abs=0.01)
    assert_equals_crop(rain, shared, "bom66_brisbane_20201031")


def test_knmi_agrees_with_the_stored_event(raw: Path, shared: Path):
    rain = open_radar(str(raw / "knmi_20100826/*.h5"))
    assert rain.shape == (25, 765, 700)
    assert rain.attrs["accumulation_minutes"] == 5
    assert "CC BY 4.0" in rain.attrs["credit"]
    lon, lat = lonlat(rain)  # the file's own corner: 0 E 55.974 N, less half a pixel
    assert (lon[0, 0], lat[0, 0]) == pytest.approx((0.0, 55.974), abs=0.012)
    assert_equals_crop(rain, shared, "knmi_20100826")


def test_meteoswiss_agrees_with_the_stored_event_and_its_palette(raw: Path, shared: Path):
    rain = open_radar(raw / "mch_20150515")
    assert rain.shape == (25, 640, 710)
    assert rain["time"].values[0] == np.datetime64("2015-05-15T15:45")
    assert rain.rio.crs.to_epsg() == 21781
    assert (rain["x"].values[0], rain["y"].values[0]) == (255_500, 479_500)
    assert_equals_crop(rain, shared, "mch_20150515", dry_below=0.005)
    with Image.open(sorted((raw / "mch_20150515").iterdir())[0]) as image:
        index = np.asarray(image)
    np.testing.assert_array_equal(np.isnan(rain.values[0]), index == 255)


def test_fmi_agrees_with_the_stored_event_and_with_its_pixels(raw: Path, shared: Path):
    rain = open_radar(raw / "fmi_20160928", zr=(223.0, 1.53))
    assert rain.shape == (25, 1226, 760)
    assert rain.attrs["zr_relation"] == "Z = 223 R^1.53"
    steps = np.diff(rain["x"].values).mean(), -np.diff(rain["y"].values).mean()
    assert steps == pytest.approx((999.674053, 999.62859), abs=1e-5)  # metersperpixel in the file
    assert_equals_crop(rain, shared, "fmi_20160928", dry_below=0.06)
    path = sorted((raw / "fmi_20160928").iterdir())[3]
    codes = np.frombuffer(gzip.decompress(path.read_bytes())[-1226 * 760 :], np.uint8).reshape(1226, 760)
    dbz = open_radar(path, zr=None)
    assert dbz.attrs["units"] == "dBZ"
    seen = (codes > 0) & (codes < 255)
    np.testing.assert_allclose(dbz.values[0][seen], codes[seen] / 2.0 - 32.0)


def test_fmi_geotiff_is_the_same_storm_as_fmi_pgm(raw: Path):
    tiff = open_radar(sorted((raw / "fmi_geotiff_20160928").iterdir())[0], zr=None)
    pgm = open_radar(sorted((raw / "fmi_20160928").iterdir())[0], zr=None)
    assert tiff.shape == (1, 7316, 4963)
    assert tiff["time"].values[0] == pgm["time"].values[0]
    assert tiff.rio.crs.to_epsg() == 3067
    rows, columns = np.mgrid[300:1000:40, 200:600:40]
    x, y = pgm["x"].values[columns], pgm["y"].values[rows]
    east, north = pyproj.Transformer.from_crs(pgm.rio.crs, tiff.rio.crs, always_xy=True).transform(x, y)
    near = (
        tiff[0]
        .sel(x=xr.DataArray(east.ravel()), y=xr.DataArray(north.ravel()), method="nearest")
        .values.reshape(rows.shape)
    )
    wet = (pgm.values[0][rows, columns] > 5) & (near > 5)
    assert wet.sum() > 20
    difference = np.abs(near - pgm.values[0][rows, columns])[wet]
    assert np.median(difference) < 3  # the grids differ fourfold in size; a shift by kilometres would show


def test_mrms_agrees_with_the_stored_event(raw: Path, shared: Path):
    rain = open_radar(raw / "mrms_20190610_one_frame/PrecipRate_00.00_20190610-000000.grib2")
    assert rain.shape == (1, 3500, 7000)
    assert rain["time"].values[0] == np.datetime64("2019-06-10T00:00")
    assert "interval_minutes" not in rain.attrs
    assert (rain["x"].values[0], rain["y"].values[0]) == pytest.approx((-129.995, 54.995))
    assert_equals_crop(rain, shared, "mrms_20190610_0")


def test_opera_of_2018_agrees_with_the_stored_event(raw: Path, shared: Path):
    rain = open_radar(raw / "opera_20180824_one_frame")
    assert rain["time"].values[0] == np.datetime64("2018-08-24T20:00")
    assert rain.attrs["credit"] == "Radar: EUMETNET OPERA"
    assert (rain["x"].values[0], rain["y"].values[0]) == (1000, -1000)
    lon, lat = lonlat(rain)  # the file names its lower right corner
    assert (lon[-1, -1], lat[-1, -1]) == pytest.approx((29.421, 31.988), abs=0.02)
    assert_equals_crop(rain.clip(max=300), shared, "opera_20180824_0")


def test_opera_cirrus_agrees_with_the_stored_event(raw: Path, shared: Path):
    rain = open_radar(raw / "opera_cirrus_20241126")
    assert rain.shape == (1, 4400, 3800)
    assert rain.attrs["zr_relation"] == "Z = 200 R^1.6"
    assert "CIRRUS" in rain.attrs["source"]
    assert float(rain.max()) == pytest.approx(205.05, abs=0.01)  # 60 dBZ, where the reader stops
    assert_equals_crop(rain, shared, "cirrus_20241126_0", dry_below=0.05)


@pytest.mark.parametrize(("name", "minutes"), [("T_PAAH22", None), ("T_PASH22", 60.0)])
def test_opera_nimbus_agrees_with_its_own_numbers(raw: Path, name: str, minutes: float | None):
    path = next((raw / "opera_nimbus_20241126").glob(f"{name}*"))
    rain = open_radar(path)
    assert rain.attrs.get("accumulation_minutes") == minutes
    assert rain.attrs["zr_relation"] == "Z = 200 R^1.6 (by the producer)"
    with h5py.File(path) as file:
        held = file["dataset1/data1/data"][:]
    np.testing.assert_array_equal(np.isnan(rain.values[0]), held == -9999000)
    np.testing.assert_allclose(rain.values[0][held >= 0], held[held >= 0].astype(np.float32))
    assert set(rain.values[0][held == -8888000]) == {0.0}


@pytest.mark.parametrize(("product", "factor"), [("rw", 0.1), ("ry", 0.01 * 12)])
def test_radolan_rain_agrees_with_its_bytes(raw: Path, product: str, factor: float):
    path = raw / f"dwd_radolan_20140810/raa01-{product}_10000-1408102050-dwd---bin.gz"
    rain = open_radar(path)
    words = np.frombuffer(gzip.decompress(path.read_bytes())[-900 * 900 * 2 :], "<u2").reshape(900, 900)[::-1]
    good = words < 4096  # no flag at all
    np.testing.assert_allclose(rain.values[0][good], words[good] * factor, rtol=1e-5)
    assert np.isnan(rain.values[0][words & 0x2000 > 0]).all()
    assert rain["time"].values[0] == np.datetime64("2014-08-10T20:50")
    assert "Deutscher Wetterdienst" in rain.attrs["credit"]
    # DWD's format description: corners of the 900 x 900 grid
    lon, lat = lonlat(rain)
    assert (lon[-1, 0], lat[-1, 0]) == pytest.approx((3.5889, 46.9526), abs=0.01)
    assert (lon[0, -1], lat[0, -1]) == pytest.approx((15.7208, 54.7405), abs=0.02)


def test_radolan_reflectivity_agrees_with_its_bytes(raw: Path):
    path = raw / "dwd_radolan_20140810/raa01-rx_10000-1408102050-dwd---bin.gz"
    dbz = open_radar(path, zr=None)
    codes = np.frombuffer(gzip.decompress(path.read_bytes())[-900 * 900 :], np.uint8).reshape(900, 900)[::-1]
    np.testing.assert_array_equal(np.isnan(dbz.values[0]), codes >= 249)
    np.testing.assert_allclose(dbz.values[0][codes < 249], codes[codes < 249] / 2.0 - 32.5)


def test_radvor_forecasts_agree_with_their_bytes(raw: Path):
    folder = raw / "dwd_radvor_RE_20221018"
    path = folder / "DE1200_RV2210180700.tar.bz2"
    rain = open_radar(path, chunks=1)
    assert rain.shape == (25, 1200, 1100)
    assert rain["lead_time"].values[-1] == np.timedelta64(2, "h")
    assert rain["forecast_reference_time"].values == np.datetime64("2022-10-18T07:00")
    with tarfile.open(fileobj=io.BytesIO(bz2.decompress(path.read_bytes()))) as tar:
        content = tar.extractfile(tar.getmembers()[2]).read()
    words = np.frombuffer(content[-1200 * 1100 * 2 :], "<u2").reshape(1200, 1100)[::-1]
    good = words < 4096
    np.testing.assert_allclose(rain[2].values[good], words[good] * 0.12, rtol=1e-5)
    # DWD's corners of DE1200 on WGS 84: 55.86208711 N 1.463301510 E is the outer corner in the north-west
    lon, lat = lonlat(rain)
    west, north = pyproj.Transformer.from_crs("EPSG:4326", rain.rio.crs, always_xy=True).transform(
        1.463301510, 55.86208711
    )
    assert (rain["x"].values[0] - 500, rain["y"].values[0] + 500) == pytest.approx((west, north), abs=1)
    assert lat[0, 0] < 55.863
    assert lon[0, 0] > 1.463


def test_radvor_re_is_a_share_and_not_rain(raw: Path):
    share = open_radar(sorted((raw / "dwd_radvor_RE_20221018").glob("RE*"))[:3])
    assert (share.name, share.attrs["units"]) == ("RE", "1")
    assert share.attrs["interval_minutes"] == 5
    assert 0 <= float(share.min()) <= float(share.max()) <= 1


def test_stage_iv_in_classic_netcdf_agrees_with_the_shipped_sample(shared: Path):
    rain = open_radar(shared / "redistributable/test_stageiv_xyt.nc")
    florence = sample("florence-2018")
    np.testing.assert_allclose(rain.values, florence.values, atol=0.006)  # the sample is packed
    np.testing.assert_allclose(rain["lat"].values, florence["lat"].values, atol=1e-4)
    np.testing.assert_array_equal(rain["time"].values, florence["time"].values)
    assert rain.attrs["accumulation_minutes"] == 60


def test_real_vil_comes_back_from_the_published_layout(shared: Path, tmp_path: Path):
    with np.load(shared / "realdata/radar/events/sevir_diffcast_demo0.npz") as held:
        vil = held["vil"]  # (time, row, column), north first as others keep it
    with h5py.File(tmp_path / "SEVIR_VIL_TEST.h5", "w") as file:
        file["vil"] = np.moveaxis(vil[:, ::-1], 0, -1)[None]
    field = open_radar(tmp_path / "SEVIR_VIL_TEST.h5", variable="vil")
    np.testing.assert_array_equal(np.nan_to_num(field.values, nan=255).astype(np.uint8), vil)
    assert field.attrs["interval_minutes"] == 5
    assert "1970" in field.attrs["time_is_relative"]

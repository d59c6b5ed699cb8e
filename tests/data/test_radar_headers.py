"""Headers that do not say what a field needs: each is told in one line, by every reader."""

import bz2
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from geoscope.data import hdf5, radar
from geoscope.data.formats import faults, radolan, raster
from geoscope.data.radar import open_radar
from geoscope.errors import DataError
from tests.data import radar_files as files
from tests.data.radar_refusals import WRITERS, refusal, replace_dataset


@pytest.mark.parametrize(
    ("kind", "item", "attr"),
    [
        ("bom", "precipitation", "grid_mapping"),
        ("bom", "proj", "grid_mapping_name"),
        ("knmi", "geographic/map_projection", "projection_proj4_params"),
        ("knmi", "geographic", "geo_row_offset"),
        ("odim", "where", "projdef"),
    ],
)
def test_hdf5_composites_without_a_crs(kind: str, item: str, attr: str, tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file[item].attrs[attr]
    assert "CRS" in refusal(path)


def test_a_geotiff_without_crs_time_or_north(tmp_path: Path):
    assert "CRS" in refusal(files.write_geotiff(tmp_path / "a.tif", crs=None))
    assert "a time for each of 1 band" in refusal(files.write_geotiff(tmp_path / "b.tif", units="mm/h"))
    path = tmp_path / "c_202005011200.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 4, "width": 4, "crs": "EPSG:3067"}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(1, 0.5, 0, 0, -1, 0)) as data:
        data.write(np.ones((4, 4), np.uint8), 1)
    assert "rows from west to east" in refusal(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"# type stereographic", b"# type mercator     ", "stereographic projection (CRS)"),
        (b"# obstime 202005011200", b"# obstime 20200501xx00", "obstime"),
        (b"CorrectedReflectivity", b"CorrectedSomethingOdd", "composite of reflectivity"),
        (b"# topright 34.903000", b"# topright 14.903000", "corners inside the projection"),
        (b"# bottomleft 18.600000", b"# bottomleft north    ", "bottomleft"),
        (b"\n255\n", b"\n999\n", "eight-bit PGM"),
        (b"\n8 6\n", b"\n8 7\n", "7 x 8 pixels"),
    ],
)
def test_pgm_headers_that_do_not_say_what_is_needed(old: bytes, new: bytes, said: str, tmp_path: Path):
    content = files.pgm_bytes()
    assert old in content
    (tmp_path / "a").write_bytes(content.replace(old, new))
    assert said in refusal(tmp_path / "a")


def test_a_pgm_comment_without_end(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"P5\n#" + b"x" * 100_000)
    assert "one without end" in refusal(tmp_path / "a")


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("made by hand", "AQC image"),
        ("PRDT=AQC999991545 ACCUm=000005", "YYDDDhhmm"),
        ("PRDT=AQC151351545 ACCUm=000000", "AQC image"),
    ],
)
def test_gifs_that_are_not_meteoswiss(comment: str, said: str, tmp_path: Path):
    assert said in refusal(files.write_gif(tmp_path / "a", comment=comment))


def test_a_gif_of_another_size(tmp_path: Path):
    assert "found 8 x 6 pixels" in refusal(files.write_gif(tmp_path / "a", shape=(6, 8)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"RY", b"QX", "product QX"),
        (b"PR E-02", b"PX E-02", "its precision"),
        (b"GP 900x 900", b"GP 500x1620", "a grid of 900 x 900"),
        (b"INT   5", b"INT   0", "pixels of 2 byte(s)"),
        (b"RY011200", b"RY451200", "DDHHMM"),
    ],
)
def test_radolan_headers_that_make_no_sense(old: bytes, new: bytes, said: str, tmp_path: Path):
    content = files.radolan_bytes()
    assert old in content
    (tmp_path / "a").write_bytes(content.replace(old, new, 1))
    assert said in refusal(tmp_path / "a")


def test_a_radolan_header_without_end(tmp_path: Path):
    (tmp_path / "a").write_bytes(files.radolan_bytes()[:60] + b" " * 5000)
    assert "ends in byte 3" in refusal(tmp_path / "a")


@pytest.mark.parametrize(
    ("item", "attr", "value", "said"),
    [
        ("what", "object", b"PVOL", "grid polar volumes first"),
        ("what", "date", b"yesterday", "YYYYMMDD"),
        ("where", "xsize", 99, "a grid that fits its data"),
        ("where", "xscale", 0.0, "a grid that fits its data"),
        ("where", "UL_lon", None, "a corner of the grid"),
        ("where", "UL_lat", 1000.0, "inside the projection"),
    ],
)
def test_odim_headers_that_make_no_sense(item: str, attr: str, value: object, said: str, tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    with h5py.File(path, "a") as file:
        if value is None:
            del file[item].attrs[attr]
        else:
            file[item].attrs[attr] = np.bytes_(value) if isinstance(value, bytes) else value
    assert said in refusal(path)


def test_odim_without_quantities_or_with_a_backward_accumulation(tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file["dataset1"]
    assert "at least one quantity" in refusal(path)
    assert "ends after it starts" in refusal(files.write_odim(tmp_path / "b", quantity="ACRR", minutes=0))


@pytest.mark.parametrize(
    ("item", "attr", "value", "said"),
    [
        ("image1/calibration", "calibration_formulas", b"GEO=PV^2", "a calibration such as"),
        ("image1", "image_geo_parameter", b"ECHO_TOP", "accumulated rain or reflectivity"),
        ("overview", "product_datetime_end", b"soon", "26-AUG-2010"),
        ("overview", "product_datetime_end", b"01-MAY-2019;12:00:00.000", "ends after it starts"),
    ],
)
def test_knmi_headers_that_make_no_sense(item: str, attr: str, value: bytes, said: str, tmp_path: Path):
    path = files.write_knmi(tmp_path / "a")
    with h5py.File(path, "a") as file:
        file[item].attrs[attr] = np.bytes_(value)
    assert said in refusal(path)


def test_knmi_reflectivity_goes_through_zr(tmp_path: Path):
    path = files.write_knmi(tmp_path / "a")
    with h5py.File(path, "a") as file:
        file["image1"].attrs["image_geo_parameter"] = np.bytes_("REFLECTIVITY_[DBZ]")
        file["image1/calibration"].attrs["calibration_formulas"] = np.bytes_("GEO=0.5*PV+-32.0")
    assert "a calibration" in refusal(path)
    with h5py.File(path, "a") as file:
        file["image1/calibration"].attrs["calibration_formulas"] = np.bytes_("GEO = 0.5 * PV - 32.0")
    assert float(open_radar(path, zr=None).max()) == 18


def test_bom_headers_that_make_no_sense(tmp_path: Path):
    path = files.write_bom(tmp_path / "a")
    with h5py.File(path, "a") as file:
        file["start_time"][()] = file["valid_time"][()] + 60
    assert "ends after it starts" in refusal(path)
    other = files.write_bom(tmp_path / "b")
    replace_dataset(other, "x", (5,))
    assert "8 values of x" in refusal(other)
    replace_dataset(other, "precipitation", (8,))
    assert "rain on (y, x)" in refusal(other)


def test_datasets_of_text_are_refused(tmp_path: Path):
    path = files.write_knmi(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file["image1/image_data"]
        file["image1/image_data"] = np.array([[b"a", b"b"]])
    assert "numbers in 'image1/image_data'" in refusal(path)
    with h5py.File(path, "a") as file:
        del file["image1/image_data"]
    assert "a dataset 'image1/image_data'" in refusal(path)
    with h5py.File(path, "a") as file:
        del file["geographic"]
        file["geographic"] = 1
    refusal(path)


def test_sevir_events_must_be_chosen_and_exist(tmp_path: Path):
    path = files.write_sevir(tmp_path / "x.h5")
    assert "2 events (S0, S1, ...); choose one: x.h5#S0" in refusal(path)
    assert "event 'S7', found 2 event(s): S0, S1" in refusal(f"{path}#S7")
    assert "event '2'" in refusal(f"{path}#2")
    assert "no data in any" not in refusal(f"{path}#S1", variable="vis")


def test_a_catalogue_that_does_not_fit_the_file(tmp_path: Path):
    path = files.write_sevir(tmp_path / "x.h5", catalogue=True)
    catalogue = tmp_path / "CATALOG.csv"
    text = catalogue.read_text()
    catalogue.write_text(text.replace("-10:-5:0:5:10", "0:5"))
    assert "5 minute offsets" in refusal(f"{path}#S1")
    catalogue.write_text(text.replace("2018-06-01 12:00:00", "once"))
    assert "CATALOG.csv" in refusal(f"{path}#S1")
    catalogue.write_text(text.replace("384000,384000", "384000,0"))
    assert "corner inside the projection" in refusal(f"{path}#S1")
    catalogue.write_text(text.replace("+proj=laea", "+proj=nonsense"))
    assert "CRS" in refusal(f"{path}#S1")


def test_a_grib_of_another_element_names_it(tmp_path: Path):
    assert "only PrecipRate" in refusal(files.write_grib(tmp_path / "a"), variable="TMP")


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("knmi", "image1/image_data", "an image of (rows, columns)"),
        ("odim", "dataset1/data1/data", "a grid of (rows, columns)"),
        ("sevir", "vil", "one event"),
    ],
)
def test_images_of_the_wrong_number_of_axes(kind: str, name: str, said: str, tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    replace_dataset(path, name, (2, 8, 8, 1) if kind == "sevir" else (8,))
    assert said in refusal(path)


def test_a_sevir_event_without_pixels(tmp_path: Path):
    path = files.write_sevir(tmp_path / "a")
    replace_dataset(path, "vil", (2, 1, 8, 3))
    assert "events of (row, column, time)" in refusal(f"{path}#0")


def test_a_gif_of_many_million_pixels(tmp_path: Path):
    gif = files.write_gif(tmp_path / "a.gif")
    raw = bytearray(gif.read_bytes())
    raw[6:10] = struct.pack("<HH", 5000, 5000)
    gif.write_bytes(raw)
    assert "5000 x 5000" in refusal(gif)


def test_classic_netcdf_of_a_type_that_does_not_exist(tmp_path: Path):
    raw = files.write_classic(tmp_path / "a").read_bytes()
    place = raw.index(b"units") + 8
    (tmp_path / "a").write_bytes(raw[:place] + struct.pack(">i", 77) + raw[place + 4 :])
    assert "code 77" in refusal(tmp_path / "a")


def test_classic_netcdf_whose_lists_make_no_sense(tmp_path: Path):
    raw = files.write_classic(tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(raw[:8] + struct.pack(">i", 99) + raw[12:])
    assert "tag 99" in refusal(tmp_path / "a")
    place = raw.index(b"crs\0", raw.index(b"by hand")) + 4  # the variable's number of dimensions
    (tmp_path / "a").write_bytes(raw[:place] + struct.pack(">ii", 1, 9) + raw[place + 4 :])
    assert "dimensions of 'crs' that exist" in refusal(tmp_path / "a")


def test_an_attribute_without_measure_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = files.write_odim(tmp_path / "a")
    monkeypatch.setattr(hdf5, "_LONGEST_ATTRIBUTE", 50)
    assert "CRS" in refusal(path)  # the projection's text is longer


def test_odim_without_its_group_where(tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file["where"]
    assert "a group 'where', found none" in refusal(path)


def test_a_tar_of_different_products_or_of_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = files.write_radolan_tar(tmp_path / "a", leads=(0, 5))
    plain = bz2.decompress(path.read_bytes())
    (tmp_path / "b").write_bytes(plain[::-1].replace(b"VR", b"YR", 1)[::-1])
    assert "only RV composites of one grid" in refusal(tmp_path / "b")
    monkeypatch.setattr(radolan, "_MOST_MEMBERS", 1)
    assert "at most 1 composites" in refusal(path)


def test_a_raster_of_one_row_or_of_too_many_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 1, "width": 4, "crs": "EPSG:3067"}
    path = tmp_path / "a_202005011200.tif"
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as data:
        data.write(np.ones((1, 1, 4), np.uint8))
    assert "at least 2 x 2 pixels" in refusal(path)
    monkeypatch.setattr(raster, "_MOST_BANDS", 0)
    assert "bands" in refusal(path)


def test_a_group_without_a_zarr_store_inside_and_too_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "folder").mkdir()
    assert "a folder without one" in refusal(str(tmp_path / "fol*"))
    monkeypatch.setattr(radar, "_MOST_FILES", 1)
    for name in "ab":
        files.write_knmi(tmp_path / name)
    assert "at most 1 files" in refusal(str(tmp_path / "[ab]"))


def test_a_file_that_vanishes_while_it_is_read(tmp_path: Path):
    with pytest.raises(DataError, match="found nothing there"), faults.reading(tmp_path / "gone", "a file"):
        (tmp_path / "gone").open()


def test_a_file_that_changes_before_it_is_read_lazily(tmp_path: Path):
    path = files.write_knmi(tmp_path / "a")
    lazy = open_radar(path, chunks=1)
    files.write_knmi(path, shape=(9, 9))
    with pytest.raises(DataError, match=r"frames of \(6, 8\), found shape \(9, 9\)"):
        lazy.compute(scheduler="synchronous")


def test_times_that_are_not_one_a_frame(tmp_path: Path):
    path = files.write_cf(tmp_path / "a")
    with h5py.File(path, "a") as file:
        attrs = dict(file["time"].attrs)
        units = attrs["units"]
        del file["time"]
        file["time"] = np.array([0.0, np.nan, 10.0])
        file["time"].attrs["units"] = units
        file["time"].make_scale("time")
        file["rain_rate"].dims[0].attach_scale(file["time"])
    assert "time" in refusal(path)


def test_messages_stay_on_one_line_whatever_the_file_says():
    assert faults.one_line("a\nb\x00c" + "x" * 1000).startswith("a b c")
    assert len(faults.one_line("x" * 1000)) == 300
    assert faults.human_bytes(500) == "500 bytes"
    assert faults.human_bytes(1 << 60) == "1.02e+03 PiB"

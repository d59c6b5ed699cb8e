"""Bad input: every fault is one line that names the file, what was expected, what came and the cure."""

import bz2
import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from geoscope.data import hdf5, radar
from geoscope.data.formats import compressed, faults, radolan, raster
from geoscope.data.radar import open_radar
from geoscope.errors import DataError
from tests.data import radar_files as files

PETA = 1 << 50


def refusal(path: object, **options: object) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(DataError) as caught:
        open_radar(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1200
    assert "expected" in text
    assert "found" in text
    return text


def write_radolan(path: Path, frame: int = 0) -> Path:
    path.write_bytes(files.radolan_bytes("RY", frame))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "bom": files.write_bom,
    "knmi": files.write_knmi,
    "odim": files.write_odim,
    "grib": files.write_grib,
    "radolan": write_radolan,
    "tar": files.write_radolan_tar,
    "pgm": files.write_pgm,
    "gif": files.write_gif,
    "geotiff": files.write_geotiff,
    "cf": files.write_cf,
    "classic": files.write_classic,
    "sevir": lambda path: files.write_sevir(path),
}


def test_an_empty_file(tmp_path: Path):
    (tmp_path / "a.nc").touch()
    assert "a.nc: expected a radar file, found an empty file; fetch it again" in refusal(tmp_path / "a.nc")


@pytest.mark.parametrize("ending", ["nc", "h5", "tif", "gif", "grib2", "pgm", "gz"])
def test_text_with_the_ending_of_a_radar_file(ending: str, tmp_path: Path):
    path = tmp_path / f"page.{ending}"
    path.write_text("<html><body>404 Not Found</body></html>")
    assert "found text beginning '<html><body>404" in refusal(path)


def test_bytes_that_no_reader_knows(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert "unknown content beginning 50 4b 03 04" in refusal(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_is_cut_short(kind: str, tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    whole = path.read_bytes()
    for share in (0.98, 0.5):
        path.write_bytes(whole[: int(share * len(whole))])
        assert str(path) in refusal(f"{path}#S1" if kind == "sevir" else path)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_variable_that_the_file_does_not_hold(kind: str, tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    assert "'snow'" in refusal(path, variable="snow")


def test_paths_that_lead_nowhere(tmp_path: Path):
    assert "expected an existing file, found nothing there" in refusal(tmp_path / "none.nc")
    assert "files that match the pattern" in refusal(str(tmp_path / "*.nc"))
    assert "a folder of radar files" in refusal(tmp_path)
    with pytest.raises(DataError, match="empty list"):
        open_radar([])
    (tmp_path / "README.md").write_text("hello")
    assert "none that hold radar" in refusal(tmp_path)


@pytest.mark.parametrize(
    "address", ["https://example.org/a.nc", "s3://bucket/a.zarr", "/vsicurl/http://x/a.tif"]
)
def test_remote_addresses_are_refused(address: str):
    assert "expected a path on this computer, found a remote address" in refusal(address)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe, socket or device" in refusal(tmp_path / "pipe")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = files.write_knmi(tmp_path / "a")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop the superuser, who may run this test
    assert "found no permission; change its permissions" in refusal(path)


def test_memory_that_runs_out_is_told(tmp_path: Path):
    with pytest.raises(DataError, match="found out of memory"), faults.reading(tmp_path, "a file"):
        raise MemoryError


# --- Headers that claim too much -------------------------------------------------------------------------


def replace_dataset(path: Path, name: str, shape: tuple[int, ...], dtype: str = "f8") -> None:
    """A dataset of any size that takes no space on disk, with the attributes of the one that it replaces."""
    with h5py.File(path, "a") as file:
        attrs = {k: v for k, v in file[name].attrs.items() if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        del file[name]
        chunks = tuple(min(n, 16) for n in shape)
        file.create_dataset(name, shape=shape, dtype=dtype, chunks=chunks).attrs.update(attrs)


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("bom", "precipitation", (1 << 24, 1 << 24)),
        ("bom", "x", (PETA,)),
        ("knmi", "image1/image_data", (1 << 24, 1 << 24)),
        ("odim", "dataset1/data1/data", (1 << 24, 1 << 24)),
        ("sevir", "vil", (2, 1 << 20, 1 << 20, 49)),
        ("sevir", "id", (PETA,)),
        ("cf", "rain_rate", (3, 1 << 24, 1 << 24)),
    ],
)
def test_hdf5_that_claims_a_petabyte(kind: str, name: str, shape: tuple[int, ...], tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    replace_dataset(path, name, shape)
    refusal(f"{path}#0" if kind == "sevir" and name == "vil" else path)


def test_hdf5_with_one_enormous_chunk(tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file["dataset1/data1/data"]
        file.create_dataset(
            "dataset1/data1/data", shape=(6, 8), maxshape=(None, None), chunks=(1 << 14, 1 << 14), dtype="f8"
        )
    assert "a chunk of" in refusal(path, max_bytes=1 << 20)


def test_hdf5_chunks_that_unpack_to_more_than_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = files.write_knmi(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file["image1/image_data"]
        data = file.create_dataset(
            "image1/image_data", shape=(6, 8), chunks=(6, 8), dtype="u2", compression="gzip"
        )
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(8 << 20), 9))
    monkeypatch.setattr(hdf5, "_FREE_BYTES", 0)
    assert "one that unpacks to more" in refusal(path)


def test_images_that_claim_a_petabyte(tmp_path: Path):
    gif = files.write_gif(tmp_path / "a.gif")
    raw = bytearray(gif.read_bytes())
    raw[6:10] = struct.pack("<HH", 65535, 65535)
    gif.write_bytes(raw)
    refusal(gif)
    pgm = tmp_path / "a.pgm"
    pgm.write_bytes(files.pgm_bytes().replace(b"8 6\n255", b"9999999 9999999\n255"))
    assert "within the cap" in refusal(pgm)
    radolan = tmp_path / "a.bin"
    radolan.write_bytes(files.radolan_bytes().replace(b" 900x 900", b"9999x9999"))
    assert "pixels of 2 byte(s)" in refusal(radolan)
    assert "within the cap" in refusal(radolan, max_bytes=1 << 24)


def test_a_geotiff_that_claims_a_petabyte(tmp_path: Path):
    profile = {"driver": "GTiff", "dtype": "float64", "count": 1, "height": 1 << 21, "width": 1 << 21}
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        **profile,
        crs="EPSG:3067",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
        tiled=True,
        blockxsize=1 << 14,
        blockysize=1 << 14,
        SPARSE_OK="TRUE",
        BIGTIFF="YES",
    ):
        pass
    assert "a band within the cap" in refusal(tmp_path / "a.tif")
    with rasterio.open(
        tmp_path / "b.tif",
        "w",
        **(profile | {"height": 16, "width": 16}),
        crs="EPSG:3067",
        tiled=True,
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
        blockxsize=1 << 12,
        blockysize=1 << 12,
        SPARSE_OK="TRUE",
    ):
        pass
    assert "a block within the cap" in refusal(tmp_path / "b.tif", max_bytes=1 << 20)


def test_zarr_and_classic_netcdf_that_claim_a_petabyte(tmp_path: Path):
    files.cf_dataset().to_zarr(tmp_path / "z", consolidated=False, zarr_format=2)
    meta = tmp_path / "z/rain_rate/.zarray"
    text = meta.read_text()
    squeezed = "".join(text.split())
    assert '"shape":[3,6,8]' in squeezed
    meta.write_text(squeezed.replace('"shape":[3,6,8]', '"shape":[3,33554432,33554432]'))
    refusal(tmp_path / "z")
    meta.write_text(squeezed.replace('"chunks":[3,6,8]', '"chunks":[3,33554432,33554432]'))
    assert "a chunk of 'rain_rate'" in refusal(tmp_path / "z")
    path = files.write_classic(tmp_path / "a.nc")
    raw = bytearray(path.read_bytes())
    raw[4:8] = struct.pack(">I", 1 << 31)  # the number of records
    path.write_bytes(raw)
    refusal(path)


def test_a_gzip_that_unpacks_to_more_than_the_cap(tmp_path: Path):
    path = tmp_path / "a.pgm.gz"
    path.write_bytes(gzip.compress(files.pgm_bytes() + bytes(1 << 24)))
    assert "at most 1 MiB when unpacked" in refusal(path, max_bytes=1_050_000)
    with pytest.raises(DataError, match="a file within the cap"):
        compressed.contents(path, 100)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cut short"):
        compressed.contents(path, 1 << 30)


def test_a_tar_that_claims_more_than_the_cap(tmp_path: Path):
    path = files.write_radolan_tar(tmp_path / "a", leads=(0,))
    assert "a tar within the cap" in refusal(path, max_bytes=3 << 20)


# --- Files that reach into others ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bom", "knmi", "odim", "sevir", "cf"])
def test_hdf5_external_links_are_refused(kind: str, tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
    assert "an external link 'elsewhere'" in refusal(path)


def test_hdf5_external_storage_and_virtual_datasets_are_refused(tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file["dataset1/data1/data"]
        file.create_dataset("dataset1/data1/data", (6, 8), "f8", external=[("/etc/passwd", 0, 384)])
    assert "kept in another file" in refusal(path)
    other = files.write_odim(tmp_path / "b")
    with h5py.File(other, "a") as file:
        del file["dataset1/data1/data"]
        layout = h5py.VirtualLayout((6, 8), "f8")
        layout[:] = h5py.VirtualSource(str(path), "x", shape=(6, 8))
        file.create_virtual_dataset("dataset1/data1/data", layout)
    assert "kept in another file" in refusal(other)


def test_hdf5_groups_that_contain_themselves_end(tmp_path: Path):
    path = files.write_odim(tmp_path / "a")
    with h5py.File(path, "a") as file:
        file["dataset1/loop"] = file["/"]
        file["dangling"] = h5py.SoftLink("/nowhere")
    assert open_radar(path).sizes["time"] == 1


def test_hdf5_with_too_many_objects_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hdf5, "_MOST_OBJECTS", 4)
    assert "at most 4 objects" in refusal(files.write_odim(tmp_path / "a"))


@pytest.mark.parametrize("name", ["a.vrt", "a.tif"])
@pytest.mark.parametrize(
    "source", ["/vsicurl/http://example.org/x.tif", "http://example.org/x.tif", "local.tif"]
)
def test_a_vrt_is_refused_whatever_its_name(name: str, source: str, tmp_path: Path):
    (tmp_path / name).write_text(
        f"<VRTDataset rasterXSize='2' rasterYSize='2'><SourceFilename>{source}</SourceFilename></VRTDataset>"
    )
    text = refusal(tmp_path / name)
    assert "a GDAL VRT" in text
    assert ("points to" in text) == (source != "local.tif")


# --- What each format needs ------------------------------------------------------------------------------


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

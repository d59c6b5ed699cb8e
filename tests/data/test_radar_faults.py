"""Bad input: every fault is one line that names the file, what was expected, what came and the cure."""

import gzip
import os
import struct
import zlib
from pathlib import Path

import h5py
import pytest
import rasterio

from geoscope.data import hdf5
from geoscope.data.formats import compressed, faults
from geoscope.data.radar import open_radar
from geoscope.errors import DataError
from tests.data import radar_files as files
from tests.data.radar_refusals import WRITERS, refusal, replace_dataset

PETA = 1 << 50


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


# --- Headers that claim too much ---


@pytest.mark.parametrize(
    ("kind", "name", "shape", "told"),
    [
        (
            "bom",
            "precipitation",
            (1 << 24, 1 << 24),
            "within the cap of 2 GiB, found a header that claims 2 PiB",
        ),
        ("bom", "x", (PETA,), "expected 8 values of x"),
        ("knmi", "image1/image_data", (1 << 24, 1 << 24), "found a header that claims 2 PiB"),
        ("odim", "dataset1/data1/data", (1 << 24, 1 << 24), "found a header that claims 2 PiB"),
        ("sevir", "vil", (2, 1 << 20, 1 << 20, 49), "found a header that claims 392 TiB"),
        ("sevir", "id", (PETA,), "expected one event, found 2"),
        ("cf", "rain_rate", (3, 1 << 24, 1 << 24), "expected coordinates x and y"),
    ],
)
def test_hdf5_that_claims_a_petabyte(kind: str, name: str, shape: tuple[int, ...], told: str, tmp_path: Path):
    path = WRITERS[kind](tmp_path / "a")
    replace_dataset(path, name, shape)
    assert told in refusal(f"{path}#0" if kind == "sevir" and name == "vil" else path)


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
    assert "Image size (4294836225 pixels) exceeds" in refusal(gif)
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
    assert "expected coordinates x and y" in refusal(tmp_path / "z")
    meta.write_text(squeezed.replace('"chunks":[3,6,8]', '"chunks":[3,33554432,33554432]'))
    assert "a chunk of 'rain_rate'" in refusal(tmp_path / "z")
    path = files.write_classic(tmp_path / "a.nc")
    raw = bytearray(path.read_bytes())
    raw[4:8] = struct.pack(">I", 1 << 31)  # the number of records
    path.write_bytes(raw)
    assert "expected at most 1000000 frames" in refusal(path)


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


# --- Files that reach into others ---


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

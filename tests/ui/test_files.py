"""What comes in from users and what goes out to them: uploads, the server's folder, exports."""

import zipfile

import numpy as np
import pytest
import xarray as xr

from geoscope.errors import DataError
from geoscope.ui import exports
from geoscope.ui.exports import check_size, clean_stem, make_file, make_series_file, needs
from geoscope.ui.nowcast_frames import Series
from geoscope.ui.server_files import allowed_root, files_under_root
from geoscope.ui.uploads import UploadLimits, UploadReceiver, clean_name


def send(receiver, name, *parts, total=None):
    for number, data in enumerate(parts, 1):
        receiver.receive({"name": name, "data": data, "chunk": number, "total_chunks": total or len(parts)})


@pytest.fixture
def receiver():
    receiver = UploadReceiver(UploadLimits(max_file_bytes=10, max_total_bytes=15, max_files=2))
    receiver.start()
    yield receiver
    receiver.close()


def test_chunks_become_a_file(receiver):
    send(receiver, "b.nc", b"123", b"45")
    send(receiver, "a.nc", b"6")
    files = receiver.finish()
    assert [path.name for path in files] == ["a.nc", "b.nc"]
    assert files[1].read_bytes() == b"12345"
    receiver.close()
    assert not files[0].exists()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd.nc", "passwd.nc"),
        ("C:\\rain\\x.nc", "x.nc"),
        (".hidden.nc", "hidden.nc"),
        ("ré<b>.nc", "r__b_.nc"),
        ("..", "file"),
        ("", "file"),
    ],
)
def test_names_from_users_are_cleaned(name, stored):
    assert clean_name(name) == stored


def test_a_name_cannot_leave_the_folder(receiver):
    send(receiver, "../../x.nc", b"1")
    assert receiver.finish()[0].parent.name.startswith("geoscope-upload-")


def send_all(receiver, sends):
    for name, *parts in sends:
        send(receiver, name, *parts)


def refusal(receiver, *sends):
    """In what words the receiver refuses one of these files: (name, part, part, ...) each."""
    with pytest.raises(DataError) as caught:
        send_all(receiver, sends)
    return str(caught.value)


LIMITS = "Up to 2 files, 0 MB each, 0 MB together"


@pytest.mark.parametrize(
    ("sends", "words"),
    [
        (
            [("a.nc", b"123456", b"78901")],
            f"a.nc is too large: {LIMITS}; cut the sequence or use a server folder",
        ),
        (
            [("a.nc", b"12345678"), ("b.nc", b"12345678")],
            f"b.nc is too large: {LIMITS}; cut the sequence or use a server folder",
        ),
        (
            [("a.nc", b"1"), ("b.nc", b"1"), ("c.nc", b"1")],
            f"too many files: {LIMITS}; drop fewer, or use a server folder",
        ),
        (
            [("a.exe", b"1")],
            "a.exe is not a radar file by its name: expected NetCDF, HDF5, GRIB2, GeoTIFF, PGM, GIF or RADOLAN "
            "(.nc .h5 .grib2 .tif .pgm .gif .bin, also with .gz)",
        ),
    ],
    ids=["a file over its limit", "all files over theirs", "too many files", "another type"],
)
def test_what_is_too_much_or_no_radar_file_is_refused_and_nothing_more_is_taken(receiver, sends, words):
    assert refusal(receiver, *sends) == words
    assert refusal(receiver, ("later.nc", b"1")) == "the upload was stopped: drop the files again"


def test_a_radolan_name_is_taken(receiver):
    send(receiver, "raa01-ry_10000-2108230850-dwd---bin", b"1")
    assert len(receiver.finish()) == 1


def test_chunks_out_of_order_are_refused(receiver):
    with pytest.raises(DataError, match="part 2 came where part 1 was expected"):
        receiver.receive({"name": "a.nc", "data": b"1", "chunk": 2, "total_chunks": 2})


def test_an_upload_that_ends_early_is_refused(receiver):
    send(receiver, "a.nc", b"1", total=3)
    with pytest.raises(DataError, match="not complete"):
        receiver.finish()


def test_an_empty_upload_is_refused(receiver):
    with pytest.raises(DataError, match="empty"):
        receiver.finish()


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "storm").mkdir(parents=True)
    for name in ("a.nc", "b.nc", "c.txt"):
        (root / "storm" / name).write_text("x")
    (tmp_path / "secret.nc").write_text("secret")
    (root / "out.nc").symlink_to(tmp_path / "secret.nc")
    monkeypatch.setenv("GEOSCOPE_DATA_ROOT", str(root))
    return root


def test_a_file_a_folder_and_a_pattern_under_the_root(root):
    assert files_under_root("storm/a.nc") == root / "storm" / "a.nc"
    assert files_under_root(" storm ") == root / "storm"
    assert files_under_root("storm/*.nc") == [root / "storm" / "a.nc", root / "storm" / "b.nc"]


@pytest.mark.parametrize(
    "text", ["../secret.nc", "/etc/passwd", "~/x", "storm/../../secret.nc", "http://x/y.nc"]
)
def test_a_path_cannot_leave_the_root(root, text):
    with pytest.raises(DataError, match="not a path inside"):
        files_under_root(text)


@pytest.mark.parametrize("text", ["out.nc", "nothing.nc"])
def test_a_link_out_of_the_root_and_nothing_look_the_same(root, text):
    with pytest.raises(DataError, match="is not in the server's data folder"):
        files_under_root(text)


def test_a_pattern_does_not_follow_a_link_out(root):
    with pytest.raises(DataError, match="matches 0 files"):
        files_under_root("*.nc")


def test_a_folder_with_a_link_out_is_refused(root, tmp_path):
    (root / "storm" / "link.nc").symlink_to(tmp_path / "secret.nc")
    with pytest.raises(DataError, match="a link out of"):
        files_under_root("storm")


@pytest.mark.parametrize("text", ["", "   ", "a\0b"])
def test_no_path_is_said(root, text):
    with pytest.raises(DataError, match="no path was given"):
        files_under_root(text)


def test_without_a_root_nothing_is_opened(monkeypatch):
    monkeypatch.delenv("GEOSCOPE_DATA_ROOT", raising=False)
    assert allowed_root() is None
    with pytest.raises(DataError, match="GEOSCOPE_DATA_ROOT"):
        files_under_root("a.nc")


def quiet(stage, done):
    pass


def test_zarr_comes_zipped_and_reads_back(rain, tmp_path):
    path = make_file(rain, tmp_path / "rain.zarr", quiet)
    assert path.name == "rain.zarr.zip"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "out")
    with xr.open_zarr(tmp_path / "out" / "rain.zarr") as data:
        np.testing.assert_array_equal(data["rain_rate"].values, rain.values)


@pytest.mark.parametrize("ending", ["nc", "tif", "png", "gif"])
def test_the_other_formats_come_as_one_file(rain, tmp_path, ending):
    path = make_file(
        rain.isel(time=slice(0, 2)), tmp_path / f"rain.{ending}", quiet, kind="stepped", theme="dark"
    )
    assert path.is_file()
    assert path.stat().st_size > 0


def test_a_series_as_csv(tmp_path):
    times = np.array(["2020-01-01T00:00", "2020-01-01T00:05"], "datetime64[s]")
    content = Series(times, {"observed": np.array([1.0, np.nan])}, "mm/h", "50.0° N, 10.0° E")
    text = make_series_file(content, tmp_path / "p.csv", {"run_card": '{"model": "x"}'}).read_text()
    assert text.splitlines() == [
        "# place: 50.0° N, 10.0° E",
        '# run_card: {"model": "x"}',
        "valid_time,observed (mm/h)",
        "2020-01-01T00:00:00Z,1",
        "2020-01-01T00:05:00Z,",
    ]


def test_a_file_too_large_for_a_page_is_refused(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"12345")
    assert check_size(path, 5) == path
    with pytest.raises(DataError, match="gives at most"):
        check_size(path, 4)


def test_what_is_missing_for_a_file_is_said():
    assert "Run forecast" in needs("nc", has_run=False, has_series=True)
    assert "point or an area" in needs("csv", has_run=True, has_series=False)
    assert needs("csv", has_run=False, has_series=True) == ""
    assert needs("gif", has_run=True, has_series=False) == ""


def test_file_names_are_clean():
    assert clean_stem("a/b c:<d>") == "a-b-c-d"
    assert clean_stem("//") == "geoscope"
    assert set(exports.FORMATS.values()) == {"nc", "zarr", "tif", "gif", "mp4", "png", "csv"}

"""Many files as one sequence: order, gaps, duplicates, mixtures, laziness and the cap on memory."""

import builtins
import pickle
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geoscope.data.formats import recognise
from geoscope.data.formats.pieces import Piece, Request
from geoscope.data.radar import open_radar
from geoscope.errors import ConfigError, DataError, MissingExtraError
from tests.data import radar_files as files


def storm(folder: Path, frames: list[int]) -> Path:
    for frame in frames:
        files.write_knmi(folder / f"{len(frames) - frame:03d}.h5", frame)
    return folder


def test_a_folder_a_glob_and_a_list_give_the_same_field(tmp_path: Path):
    storm(tmp_path, [2, 0, 1])
    folder = open_radar(tmp_path)
    xr.testing.assert_identical(folder, open_radar(str(tmp_path / "*.h5")))
    xr.testing.assert_identical(folder, open_radar(sorted(tmp_path.iterdir())))
    assert (np.diff(folder["time"].values) == np.timedelta64(5, "m")).all()
    assert folder.attrs["interval_minutes"] == 5
    assert folder.attrs["history"].endswith("from 3 file(s)")


def test_what_lies_beside_radar_files_is_passed_over_in_a_folder_and_only_there(tmp_path: Path):
    storm(tmp_path, [0, 1])
    for name in ("README.md", "CATALOG.csv", ".hidden"):
        (tmp_path / name).write_text("hello")
    (tmp_path / "older").mkdir()
    assert open_radar(tmp_path).sizes["time"] == 2
    with pytest.raises(DataError, match=r"README\.md: expected a radar file, found text"):
        open_radar([*tmp_path.glob("*.h5"), tmp_path / "README.md"])
    (tmp_path / "notes.h5").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.h5: expected a radar file, found text beginning 'hello'"):
        open_radar(tmp_path)


def test_one_frame_is_allowed_and_has_no_interval(tmp_path: Path):
    rain = open_radar(files.write_knmi(tmp_path / "a.h5"))
    assert rain.sizes["time"] == 1
    assert "interval_minutes" not in rain.attrs


def test_a_gap_is_refused_and_its_time_named(tmp_path: Path):
    storm(tmp_path, [0, 1, 2, 4])
    with pytest.raises(DataError, match=r"no frame at 2020-05-01T12:15:00Z; .*fill_gaps='nan'"):
        open_radar(tmp_path)


def test_a_gap_filled_with_nan_linear_or_previous(tmp_path: Path):
    storm(tmp_path, [0, 1, 2, 5])
    nan = open_radar(tmp_path, fill_gaps="nan")
    assert nan.sizes["time"] == 6
    assert nan.attrs["filled_frames"] == "2020-05-01T12:15:00Z 2020-05-01T12:20:00Z"
    assert np.isnan(nan.values[3:5]).all()
    linear = open_radar(tmp_path, fill_gaps="linear").values
    np.testing.assert_allclose(linear[3, 1:], linear[2, 1:] * 2 / 3 + linear[5, 1:] / 3, rtol=1e-6)
    np.testing.assert_allclose(linear[4, 1:], linear[2, 1:] / 3 + linear[5, 1:] * 2 / 3, rtol=1e-6)
    assert np.isnan(linear[3, 0]).all()  # no data on either side stays no data
    previous = open_radar(tmp_path, fill_gaps="previous").values
    np.testing.assert_array_equal(previous[3], previous[2])
    np.testing.assert_array_equal(previous[4], previous[2])


def test_a_sequence_that_is_mostly_gaps_is_refused(tmp_path: Path):
    storm(tmp_path, [0, 1, 2000])
    with pytest.raises(DataError, match=r"found 3 of 2001; open the parts"):
        open_radar(tmp_path, fill_gaps="nan")


def test_uneven_frames_of_one_file_are_told_with_both_times(tmp_path: Path):
    data = files.cf_dataset(4)
    times = data["time"].values.copy()
    times[3] += np.timedelta64(2, "m")
    data.assign_coords(time=times).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"7 minutes between 2020-05-01T12:10:00Z and 2020-05-01T12:17:00Z"):
        open_radar(tmp_path / "a.nc")


def test_frames_of_one_file_in_any_order_are_sorted(tmp_path: Path):
    data = files.cf_dataset(4)
    data = data.assign_coords(lead_time=("time", np.arange(4) * np.timedelta64(300, "s").astype("m8[ns]")))
    data.isel(time=[2, 0, 3, 1]).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    rain = open_radar(tmp_path / "a.nc")
    np.testing.assert_array_equal(rain.values, data["rain_rate"].values)
    np.testing.assert_array_equal(rain["lead_time"].values, data["lead_time"].values)


def test_two_frames_of_one_time_are_refused_by_both_names(tmp_path: Path):
    for name in ("a.h5", "b.h5"):
        files.write_knmi(tmp_path / name, 1)
    with pytest.raises(
        DataError, match=r"b\.h5: expected one frame for each time, found .*12:05:00Z also in .*a\.h5"
    ):
        open_radar(tmp_path)


def test_mixed_grids_and_mixed_quantities_are_refused(tmp_path: Path):
    first = files.write_knmi(tmp_path / "a", 0)
    wide = files.write_knmi(tmp_path / "b", 1, shape=(6, 9))
    with pytest.raises(DataError, match=r"b: expected the grid of .*a, 6 x 8 pixels.*found 6 x 9"):
        open_radar([first, wide])
    other = files.write_odim(tmp_path / "c", 1)
    with pytest.raises(DataError, match="the grid of"):
        open_radar([first, other])
    rate, sums = files.write_odim(tmp_path / "d", 0), files.write_odim(tmp_path / "e", 1, quantity="ACRR")
    with pytest.raises(
        DataError, match=r"expected rain_rate in mm/h as in .*found rain_rate in mm/h over 5 min"
    ):
        open_radar([rate, sums])


def test_a_field_without_any_data_is_refused(tmp_path: Path):
    values = np.full((4, 5), -9999000.0)
    with pytest.raises(DataError, match="no data in any of 1 frames"):
        open_radar(files.write_odim(tmp_path / "a", values=values))


@pytest.mark.parametrize("chunks", [1, 2, {"time": 3}, "auto"])
@pytest.mark.parametrize("fill_gaps", ["nan", "linear", "previous"])
def test_lazy_reading_gives_the_same_field_and_opens_files_late(
    chunks: object, fill_gaps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    storm(tmp_path, [0, 1, 4, 5, 6])
    eager = open_radar(tmp_path, fill_gaps=fill_gaps)
    seen: list[str] = []
    decode = Piece.__init__

    def spy(self: Piece, **given: object) -> None:
        frames = given["frames"]
        given["frames"] = lambda indices: (seen.append("read"), frames(indices))[1]
        decode(self, **given)

    monkeypatch.setattr(Piece, "__init__", spy)
    lazy = open_radar(tmp_path, fill_gaps=fill_gaps, chunks=chunks)
    assert not seen
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)
    assert seen


def test_lazy_fields_travel_to_other_processes(tmp_path: Path):
    lazy = open_radar(storm(tmp_path, [0, 1]), chunks=1)
    there = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(there.compute(scheduler="threads").values, open_radar(tmp_path).values)


def test_chunks_without_dask_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    load = builtins.__import__

    def without_dask(name: str, *rest: object, **more: object):
        if name.startswith("dask"):
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_dask)
    with pytest.raises(MissingExtraError, match=r"pip install geoscope\[scale\]"):
        open_radar(files.write_knmi(tmp_path / "a"), chunks=1)


def test_zarr_without_zarr_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files.cf_dataset().to_zarr(tmp_path / "z", consolidated=False, zarr_format=2)
    load = builtins.__import__

    def without_zarr(name: str, *rest: object, **more: object):
        if name == "zarr":
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_zarr)
    with pytest.raises(MissingExtraError, match=r"pip install geoscope\[radar\]"):
        open_radar(tmp_path / "z")


@pytest.mark.parametrize("chunks", [0, -1, "all", {"time": 0}, 1.5, True])
def test_chunks_that_cannot_work_are_refused(chunks: object, tmp_path: Path):
    with pytest.raises(ConfigError, match="expected frames in a chunk"):
        open_radar(tmp_path, chunks=chunks)


def test_unknown_fill_gaps_and_zr_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="fill_gaps='spline'"):
        open_radar(tmp_path, fill_gaps="spline")
    for zr in ((200,), "200", (0.0, 1.6), (200.0, 0.0), ("a", 1)):
        with pytest.raises(ConfigError, match="zr="):
            open_radar(tmp_path, zr=zr)


def test_a_field_beyond_the_cap_is_refused_before_it_is_read(tmp_path: Path):
    storm(tmp_path, [0, 1, 2, 3])
    with pytest.raises(DataError, match=r"within the cap of .*4 frames of 6 x 8 pixels.*chunks="):
        open_radar(tmp_path, max_bytes=1200)
    assert open_radar(tmp_path, max_bytes=1200, chunks=1).sizes["time"] == 4


def test_many_threads_may_open_hdf5_at_once(tmp_path: Path):
    storm(tmp_path, [0, 1, 2])
    expected = open_radar(tmp_path).values
    same: list[bool] = []

    def work() -> None:
        same.append(np.array_equal(open_radar(tmp_path).values, expected, equal_nan=True))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 4


@pytest.mark.parametrize("kind", ["odim", "knmi", "cf", "pgm", "geotiff"])
def test_reading_takes_no_more_memory_than_the_cap_counts(kind: str, tmp_path: Path):
    path, side = tmp_path / "a", 600
    if kind == "odim":
        files.write_odim(path, quantity="DBZH", values=np.full((side, side), 30.0))
    elif kind == "knmi":
        files.write_knmi(path, shape=(side, side))
    elif kind == "cf":
        axes = {"y": -1000.0 * np.arange(side), "x": 1000.0 * np.arange(side)}
        values = xr.DataArray(np.ones((1, side, side)), dims=("time", "y", "x"), attrs={"units": "mm/h"})
        data = values.assign_coords(time=files.cf_dataset(1)["time"].values, **axes).to_dataset(
            name="rain_rate"
        )
        data.to_netcdf(path, engine="h5netcdf")
    elif kind == "pgm":
        path.write_bytes(files.pgm_bytes(shape=(side, side)))
    else:
        files.write_geotiff(path, shape=(side, side))
    open_radar(path)  # imports and caches are not the file's
    piece = recognise.reader_for(path)(path, Request())[0]
    tracemalloc.start()
    field = open_radar(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= field.nbytes + piece.work_bytes + 2_000_000

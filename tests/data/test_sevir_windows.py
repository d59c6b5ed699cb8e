"""SEVIR: the official filters and splits, windows read lazily, codes that pass a scaling unharmed."""

import os
import pickle
import threading
import warnings

import h5py
import numpy as np
import pytest

from geoscope.data import hdf5
from geoscope.data.sevir_catalogue import read_catalogue
from geoscope.data.sevir_windows import SevirWindows, read_event_codes, rescale_codes, restore_codes
from geoscope.errors import ConfigError, DataError
from tests.data.loaders import assert_same_for_any_workers
from tests.data.sevir_files import COLUMNS, Listed, codes_of, three_splits, write_sevir_folder

THRESHOLDS = (16, 74, 133, 160, 181, 219)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return three_splits(tmp_path_factory.mktemp("sevir"))


# Catalogue


def test_the_official_filters_and_splits(folder):
    catalogue = read_catalogue(folder)
    assert [event.id for event in catalogue.events] == ["R4", "R5", "S1", "S2", "S3", "S7", "S8", "S9"]
    assert {event.id for event in catalogue.split("train")} == {
        "S9",
        "S8",
        "S7",
        "S1",
    }  # the 1st of January too
    assert [event.id for event in catalogue.split("val")] == ["S2", "S3"]
    assert [event.id for event in catalogue.split("test")] == ["R4", "R5"]
    assert catalogue.absent_files() == []


def test_training_events_stand_in_the_published_order(folder):
    # pandas.DataFrame({"id": ["S1", "S7", "S8", "S9"]}).sample(frac=1, random_state=1).id
    published = ["S9", "S8", "S1", "S7"]
    assert [event.id for event in read_catalogue(folder).split("train")] == published
    plain = read_catalogue(folder).split("train", is_shuffled=False)
    assert [event.id for event in plain] == ["S1", "S7", "S8", "S9"]


def test_events_with_missing_pixels_and_ids_listed_twice_are_left_out(tmp_path):
    events = [
        Listed("A"),
        Listed("B", missing="0.01"),
        Listed("C", missing=""),
        Listed("D", rows=2),
        Listed("E", file="vil/2018/other.h5"),
        Listed("E", file="vil/2018/other.h5", missing="3.5"),  # the whole one of the two stays
    ]
    catalogue = read_catalogue(write_sevir_folder(tmp_path, events))
    assert [event.id for event in catalogue.events] == ["A", "E"]
    assert (catalogue.with_missing_pixels, catalogue.duplicates) == (3, 2)


def test_files_may_lie_beside_the_catalogue(folder, tmp_path):
    (tmp_path / "CATALOG.csv").write_bytes((folder / "CATALOG.csv").read_bytes())
    (tmp_path / "vil").symlink_to(folder / "data" / "vil")
    np.testing.assert_array_equal(SevirWindows(tmp_path)[0]["input"], SevirWindows(folder)[0]["input"])


def test_times_with_a_zone_are_brought_to_utc(tmp_path):
    catalogue = read_catalogue(write_sevir_folder(tmp_path, [Listed("A", "2019-01-01 01:00:00+02:00")]))
    assert catalogue.events[0].time == np.datetime64("2018-12-31T23:00:00")


def test_a_catalogue_that_a_spreadsheet_saved_is_read(tmp_path):
    path = write_sevir_folder(tmp_path, [Listed("A")]) / "CATALOG.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [event.id for event in read_catalogue(tmp_path).events] == ["A"]


@pytest.mark.parametrize("column", ["id", "file_name", "file_index", "img_type", "time_utc", "pct_missing"])
def test_a_missing_column_is_named(tmp_path, column):
    write_sevir_folder(tmp_path, [Listed("A")], [name for name in COLUMNS if name != column])
    with pytest.raises(
        DataError, match=rf"CATALOG\.csv: expected columns .*, found no {column} in"
    ) as caught:
        read_catalogue(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0,vil,", ",1.5,vil,", "whole number as file_index in line 2, found '1.5'"),
        (",0,vil,", ",x,vil,", "a number as file_index in line 2, found 'x'"),
        ("2018-06-01 12:00:00", "June", "a time as time_utc in line 2, found 'June'"),
        ("vil/2018/", "../2018/", "a file below the catalogue's folder in line 2"),
        ("vil/2018/", "/vil/2018/", "a file below the catalogue's folder in line 2"),
        ("A,vil", "A,A,vil", "expected 21 columns, found another number in line 2"),
        ("A,vil/2018", '"A,vil/2018', "SEVIR's catalogue"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, old, new, message):
    path = write_sevir_folder(tmp_path, [Listed("A")]) / "CATALOG.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message) as caught:
        read_catalogue(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_file_or_none_is_no_catalogue(tmp_path):
    with pytest.raises(DataError, match=r"SEVIR's folder with CATALOG\.csv in it, found no such file"):
        read_catalogue(tmp_path)
    (tmp_path / "CATALOG.csv").write_text("")
    with pytest.raises(DataError, match=r"found no id, file_name, .* in nothing"):
        read_catalogue(tmp_path)


def test_an_empty_split_is_refused_by_name(tmp_path):
    write_sevir_folder(tmp_path, [Listed("A")])
    catalogue = read_catalogue(tmp_path)
    for split, bounds in (
        ("val", "2019-01-01T00:00:00 to 2019-06-01T00:00:00"),
        ("test", "after 2019-06-01"),
    ):
        with pytest.raises(DataError, match=f"the split '{split}' is empty: expected events {bounds}"):
            catalogue.split(split)
    late = read_catalogue(write_sevir_folder(tmp_path, [Listed("A", "2020-01-01 00:00:00")]))
    with pytest.raises(DataError, match="the split 'train' is empty: expected events up to 2019-01-01"):
        late.split("train")
    with pytest.raises(ConfigError, match="split='dev': expected one of train, val, test"):
        late.split("dev")


# Windows


def test_an_event_of_49_frames_gives_three_windows_of_13_and_12(folder):
    dataset = SevirWindows(folder, "val")
    assert (len(dataset), dataset.windows_per_event) == (6, 3)
    for index, sample in enumerate(dataset):
        event, window = divmod(index, 3)
        assert {name: value.shape for name, value in sample.items()} == {
            "input": (13, 12, 12, 1),
            "target": (12, 12, 12, 1),
        }
        frames = np.concatenate((sample["input"], sample["target"]))[..., 0]
        codes = np.moveaxis(codes_of(4 + event), 2, 0)[12 * window : 12 * window + 25]
        np.testing.assert_array_equal(frames, codes * np.float32(1 / 255))
        assert frames.dtype == np.float32
    for index in (6, -1):
        with pytest.raises(IndexError, match=f"window {index} of 6"):
            dataset[index]


def test_the_low_resolution_protocol_gives_three_windows_of_7_and_6(tmp_path):
    events = [Listed(name, codes=codes_of(number, frames=25)) for number, name in enumerate("AB")]
    dataset = SevirWindows(write_sevir_folder(tmp_path, events), in_frames=7, out_frames=6, stride=6)
    assert len(dataset) == 6
    starts = [round(255 * float(sample["input"][0, 0, 1, 0])) for sample in dataset]
    assert starts == [0, 6, 12, 0, 6, 12]


def test_any_number_of_workers_gives_the_same_batches(folder):
    dataset = SevirWindows(folder)
    _ = dataset[4]  # a block held in this process must not reach a worker's answer
    assert_same_for_any_workers(dataset)
    assert "_held" not in pickle.loads(pickle.dumps(dataset)).__dict__


def test_a_worker_forked_while_another_thread_reads_gets_an_unlocked_door(folder):
    reading, done = threading.Event(), threading.Event()

    def hold() -> None:
        with hdf5.LOCK:
            reading.set()
            done.wait(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    reading.wait()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # from Python 3.12: threads and fork, the very point
        child = os.fork()
    if child == 0:
        os._exit(0 if hdf5.LOCK.acquire(blocking=False) else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_of_the_catalogue_that_is_absent_is_refused_or_left_out(tmp_path):
    root = write_sevir_folder(tmp_path, [Listed("A"), Listed("B", file="vil/2018/lost.h5")])
    (root / "data/vil/2018/lost.h5").unlink()
    with pytest.raises(DataError, match=r"lost\.h5: expected a file that CATALOG\.csv names, found nothing"):
        SevirWindows(root)
    assert [event.id for event in SevirWindows(root, absent="leave out").events] == ["A"]
    assert [path.name for path in read_catalogue(root).absent_files()] == ["lost.h5"]
    next((root / "data/vil/2018").glob("SEVIR*")).unlink()
    with pytest.raises(DataError, match="the split 'train' is empty: none of its 2 files is there"):
        SevirWindows(root, absent="leave out")
    with pytest.raises(ConfigError, match="absent='skip': expected"):
        SevirWindows(root, absent="skip")


def spoiled(root, change):
    """The folder with its first file rewritten: ``change`` is given the codes and answers what to write."""
    path = next((root / "data/vil/2018").glob("*.h5"))
    with h5py.File(path, "r") as file:
        held = {name: file[name][()] for name in file}
    with h5py.File(path, "w") as file:
        for name, values in change(held).items():
            file[name] = values
    return root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held | {"vil": held["vil"].astype(np.float32)}, "found float32"),
        (
            lambda held: held | {"vil": held["vil"][0]},
            "expected vil as uint8 .event, row, column, time., found",
        ),
        (lambda held: {"id": held["id"]}, "a dataset 'vil', found none"),
        (lambda held: held | {"vil": held["vil"][:0]}, "expected event number 0, found 0 events"),
        (lambda held: held | {"id": held["id"][::-1]}, "expected event A at number 0, found B"),
        (lambda held: held | {"vil": held["vil"].astype("S3")}, "expected numbers in 'vil'"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path, change, message):
    root = spoiled(write_sevir_folder(tmp_path, [Listed("A"), Listed("B")]), change)
    with pytest.raises(DataError, match=message) as caught:
        SevirWindows(root, is_shuffled=False)
    assert "\n" not in str(caught.value)


def test_a_file_without_ids_is_trusted(tmp_path):
    root = spoiled(write_sevir_folder(tmp_path, [Listed("A")]), lambda held: {"vil": held["vil"]})
    assert len(SevirWindows(root)) == 3


def test_a_truncated_file_is_refused_by_name(tmp_path):
    root = write_sevir_folder(tmp_path, [Listed("A")])
    path = next((root / "data/vil/2018").glob("*.h5"))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"SEVIR_VIL.*\.h5: expected a SEVIR HDF5 file, found .*cut short"):
        SevirWindows(root)


def test_an_event_of_another_size_is_refused_when_it_is_read(tmp_path):
    small = Listed("B", file="vil/2018/small.h5", codes=codes_of(1, side=8))
    dataset = SevirWindows(write_sevir_folder(tmp_path, [Listed("A"), small]), is_shuffled=False)
    with pytest.raises(DataError, match=r"small\.h5: expected events of shape \(12, 12, 49\), found"):
        dataset[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_frames": 0}, "in_frames=0: expected 1 or more"),
        ({"stride": 0}, "stride=0: expected 1 or more"),
        ({"in_frames": 40}, "in_frames=40 and out_frames=12: expected at most 49 together"),
        ({"rescale": "255"}, "rescale='255': expected one of 01, sevir, none"),
        ({"split": "dev"}, "split='dev'"),
    ],
)
def test_options_that_cannot_be_are_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        SevirWindows(folder, **options)


def test_an_event_alone_is_read_without_its_id(folder):
    path = next((folder / "data/vil/2018").glob("*.h5"))
    np.testing.assert_array_equal(read_event_codes(path, 1), codes_of(1))


# Scaling


@pytest.mark.parametrize("mode", ["01", "sevir", "none"])
def test_every_code_passes_the_scaling_unharmed(mode):
    codes = np.arange(256, dtype=np.uint8)
    scaled = rescale_codes(codes, mode)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(restore_codes(scaled, mode), codes)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_scaling_is_exact_at_the_threshold(threshold):
    scaled = rescale_codes(np.array([threshold - 1, threshold], np.uint8))
    assert (scaled >= np.float32(threshold) * np.float32(1 / 255)).tolist() == [False, True]
    assert (scaled / np.float32(1 / 255) >= threshold).tolist() == [
        False,
        True,
    ]  # as the published code has it
    assert (restore_codes(scaled) >= threshold).tolist() == [False, True]


def test_dividing_by_255_instead_would_lose_the_highest_threshold():
    assert np.float32(219) / np.float32(255) / np.float32(1 / 255) < 219


def test_scalings_by_hand():
    assert rescale_codes(np.array([255], np.uint8))[0] == 1
    assert rescale_codes(np.array([81], np.uint8), "sevir")[0] == pytest.approx((81 - 33.44) / 47.54)
    assert restore_codes(np.array([0.5], np.float32))[0] == pytest.approx(127.5)
    with pytest.raises(ConfigError, match="rescale='x'"):
        restore_codes(np.zeros(1), "x")

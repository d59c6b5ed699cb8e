"""Reading one entry of a large HDF5 file looks at that entry's chunks only, and still finds a bomb there."""

import zlib

import h5py
import numpy as np
import pytest

from geoscope.data import hdf5
from geoscope.errors import DataError


@pytest.fixture
def watched(monkeypatch):
    """Every chunk counts as one that may be a bomb; which ones were unpacked is written down."""
    seen = []
    monkeypatch.setattr(hdf5, "_FREE_BYTES", 0)
    inflates_past = hdf5._inflates_past

    def watch(packed, limit):
        seen.append(np.frombuffer(zlib.decompress(packed), np.uint8)[0])
        return inflates_past(packed, limit)

    monkeypatch.setattr(hdf5, "_inflates_past", watch)
    return seen


def entries(path, chunks, count: int = 6):
    values = np.arange(count, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("vil", data=values, chunks=chunks, compression="gzip")
    return path


@pytest.mark.parametrize(
    ("chunks", "unpacked"), [((1, 4, 4), [3]), ((2, 4, 4), [2]), ((1, 2, 4), [3, 3]), ((6, 4, 4), [0])]
)
def test_only_the_chunks_of_the_entry_are_looked_at(tmp_path, watched, chunks, unpacked):
    path = entries(tmp_path / "a.h5", chunks)
    with hdf5.opened(path) as file:
        hdf5.check_size(file["vil"], path, 1 << 20, (4, 4), first=3)
    assert watched == unpacked


def test_all_chunks_are_looked_at_when_all_will_be_read(tmp_path, watched):
    path = entries(tmp_path / "a.h5", (1, 4, 4))
    with hdf5.opened(path) as file:
        hdf5.check_size(file["vil"], path, 1 << 20)
    assert watched == [0, 1, 2, 3, 4, 5]


def test_a_chunk_that_was_never_written_is_no_bomb(tmp_path, watched):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("vil", (6, 4, 4), np.uint8, chunks=(1, 4, 4), compression="gzip")
        data[0], data[5] = 1, 1
    with hdf5.opened(path) as file:
        hdf5.check_size(file["vil"], path, 1 << 20, (4, 4), first=3)
    assert watched == []


def test_a_bomb_in_the_entry_is_found_and_one_elsewhere_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "_FREE_BYTES", 0)
    path = entries(tmp_path / "a.h5", (1, 4, 4))
    with h5py.File(path, "a") as file:
        file["vil"].id.write_direct_chunk((4, 0, 0), zlib.compress(bytes(4 << 20)))
    with hdf5.opened(path) as file:
        hdf5.check_size(file["vil"], path, 1 << 30, (4, 4), first=3)
        assert (file["vil"][3] == 3).all()
        with pytest.raises(DataError, match="one that unpacks to more"):
            hdf5.check_size(file["vil"], path, 1 << 30, (4, 4), first=4)

"""Frames that are read when they are needed."""

import pickle

import numpy as np
import pytest

import geoscope as gs
from geoscope.data import radar_sequence
from geoscope.inference.archive import frames
from geoscope.inference.archive.frames import LazyFrames
from tests.inference.archive.archives import rain_field


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(frames, "_kept", frames._Kept())


@pytest.mark.parametrize("span", [slice(0, 4), slice(3, 9), slice(5, 6), slice(16, 20), slice(0, 20)])
def test_a_cut_holds_the_frames_asked_for(archive, span):
    rain = rain_field()
    np.testing.assert_array_equal(LazyFrames(rain).cut(span).read(), rain[span].values)
    lazy = gs.open_radar(archive, chunks=4)
    np.testing.assert_array_equal(LazyFrames(lazy).cut(span).read(), rain[span].values)


def test_a_field_cut_in_space_too_comes_back_whole():
    rain = rain_field()
    parts = LazyFrames(rain.chunk({"time": 3, "y": 16, "x": 8}))
    np.testing.assert_array_equal(parts.cut(slice(2, 9)).read(), rain[2:9].values)


def test_a_cut_travels_with_its_own_files_only(archive):
    whole = LazyFrames(gs.open_radar(archive, chunks=1))
    cut = pickle.loads(pickle.dumps(whole.cut(slice(6, 8))))
    assert len(pickle.dumps(cut)) < 0.3 * len(pickle.dumps(whole.cut(slice(0, 20))))
    np.testing.assert_array_equal(cut.read(), rain_field()[6:8].values)


@pytest.fixture
def files_read(monkeypatch) -> list[str]:
    """The names of the files from which a frame was read, in order."""
    names: list[str] = []
    read = radar_sequence._read_into

    def spy(data, piece, places, indices):
        names.append(piece.path.rsplit("/", 1)[-1])
        return read(data, piece, places, indices)

    monkeypatch.setattr(radar_sequence, "_read_into", spy)
    return names


def test_opening_reads_no_frame_and_neighbours_read_none_twice(archive, files_read):
    lazy = LazyFrames(gs.open_radar(archive, chunks=4))
    assert files_read == []
    for start in range(0, 14, 3):
        lazy.cut(slice(start, start + 6)).read()
    assert len(files_read) == len(set(files_read)) == 20


def test_what_is_kept_is_bounded(archive, files_read, monkeypatch):
    monkeypatch.setattr(frames, "KEPT_BYTES", 2 * 4 * 32 * 32 * 4)  # two blocks of four frames
    lazy = LazyFrames(gs.open_radar(archive, chunks=4))
    lazy.cut(slice(0, 20)).read()
    assert len(frames._kept._blocks) == 2
    lazy.cut(slice(12, 20)).read()
    assert len(files_read) == 20
    lazy.cut(slice(0, 1)).read()  # forgotten by now
    assert len(files_read) == 24

"""SEVIR sequences in small files give the windows that SEVIR's own files would."""

import json

import numpy as np
import pytest

from geoscope.data.sevir_windows import restore_codes
from geoscope.data.vil_sequences import VilSequences
from geoscope.errors import ConfigError, DataError


def write(path, frames: int = 20, side: int = 6, dtype: str = "uint8", minutes: float = 5):
    codes = (np.arange(frames)[:, None, None] + np.zeros((1, side, side))).astype(dtype)
    np.savez(path, vil=codes, meta=json.dumps({"dt_minutes": minutes}))
    return path


def test_windows_by_hand(tmp_path):
    dataset = VilSequences([write(tmp_path / "a.npz"), write(tmp_path / "b.npz", frames=5)])
    assert len(dataset) == 2  # 7 + 6 of 20 frames from 0 and 6; the second file is too short
    sample = dataset[1]
    assert sample["input"].shape == (7, 6, 6, 1)
    assert restore_codes(sample["input"])[:, 0, 0, 0].tolist() == [6, 7, 8, 9, 10, 11, 12]
    assert restore_codes(sample["target"])[:, 0, 0, 0].tolist() == [13, 14, 15, 16, 17, 18]
    with pytest.raises(IndexError, match="window 2 of 2"):
        dataset[2]


def test_frames_at_another_interval(tmp_path):
    path = write(tmp_path / "a.npz")
    dataset = VilSequences([path], in_frames=3, out_frames=2, stride=1, interval_minutes=10, rescale="none")
    assert dataset[1]["input"][:, 0, 0, 0].tolist() == [2, 4, 6]
    with pytest.raises(
        DataError, match=r"a\.npz: expected frames every 12 minutes or a part of it, found every 5"
    ):
        VilSequences([path], interval_minutes=12)


def test_real_sequences_are_read(shared):
    paths = sorted((shared / "realdata" / "radar" / "events").glob("sevir_*.npz"))
    dataset = VilSequences(paths, interval_minutes=5)
    assert len(dataset) == 5 * 2 + 3 * 5  # five of 20 frames, three of 40
    assert all(sample["input"].shape == (7, 128, 128, 1) for sample in dataset)
    assert dataset[0]["input"].max() > 0.5


def test_files_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"f\.npz: expected vil as uint8 .time, row, column., found float32"):
        VilSequences([write(tmp_path / "f.npz", dtype="float32")])
    np.savez(tmp_path / "rain.npz", rain=np.zeros(3))
    with pytest.raises(DataError, match=r"rain\.npz: expected an array vil, found rain"):
        VilSequences([tmp_path / "rain.npz"])
    (tmp_path / "cut.npz").write_bytes(write(tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut\.npz: expected a sequence of VIL codes"):
        VilSequences([tmp_path / "cut.npz"])
    with pytest.raises(DataError, match=r"expected sequences of one size, found \(6, 6\) and \(8, 8\)"):
        VilSequences([tmp_path / "a.npz", write(tmp_path / "b.npz", side=8)])


def test_an_empty_split_is_refused_by_name(tmp_path):
    with pytest.raises(
        DataError, match="the split 'val' is empty: expected sequences of 13 frames, found at most 5"
    ):
        VilSequences([write(tmp_path / "a.npz", frames=5)], split="val")
    with pytest.raises(DataError, match="found at most 0 in 0 files"):
        VilSequences([])


def test_options_that_cannot_be_are_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match="stride=0: expected 1 or more"):
        VilSequences([path], stride=0)
    with pytest.raises(ConfigError, match="rescale='x'"):
        VilSequences([path], rescale="x")

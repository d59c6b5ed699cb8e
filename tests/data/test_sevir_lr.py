"""SEVIR-LR: the published reduction, and a conversion that goes on where it was stopped."""

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

import geoscope as gs
from geoscope.data import sevir_lr
from geoscope.data.sevir_lr import Prepared, prepare_sevir_lr, reduce_codes
from geoscope.data.sevir_windows import SevirWindows
from geoscope.errors import Cancelled, ConfigError, DataError
from tests.data.sevir_files import Listed, codes_of, three_splits, write_sevir_folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sevir").mkdir()
    return three_splits(tmp_path / "sevir")


def all_files(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


FILES = [
    "CATALOG.csv",
    "data/vil/2018/SEVIR_VIL_STORMEVENTS_2018_0101_0630.h5",
    "data/vil/2019/SEVIR_VIL_RANDOMEVENTS_2019_0701_1231.h5",
    "data/vil/2019/SEVIR_VIL_STORMEVENTS_2019_0101_0630.h5",
]


def test_a_block_is_its_maximum_and_every_second_frame_is_kept():
    codes = np.zeros((3, 6, 3), np.uint8)
    codes[2, 1, 0], codes[0, 5, 1], codes[1, 3, 2] = 7, 99, 255
    assert reduce_codes(codes).tolist() == [[[7, 0], [0, 255]]]


def test_the_reduction_equals_the_published_one(shared):
    oracle = torch.load(shared / "oracle" / "prediff" / "sevirlr_downsample.pt", weights_only=True)
    reduced = reduce_codes(oracle["vil_NHWT"].numpy())
    np.testing.assert_array_equal(reduced, oracle["sevirlr_NHWT"].numpy())
    assert reduced.dtype == np.uint8


def test_a_folder_is_converted_and_read_as_windows(folder, tmp_path):
    shares = []
    done = prepare_sevir_lr(folder, tmp_path / "lr", progress=lambda stage, share: shares.append(share))
    assert done == Prepared(written=3, kept=0, events=8, left_out=0)
    assert all_files(tmp_path / "lr") == FILES
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    low = SevirWindows.low_resolution(tmp_path / "lr", "val", rescale="none")
    assert (len(low), low.windows_per_event) == (6, 3)
    expected = np.moveaxis(reduce_codes(codes_of(4)), 2, 0)
    np.testing.assert_array_equal(low[0]["input"][..., 0], expected[:7])
    np.testing.assert_array_equal(low[2]["target"][..., 0], expected[19:25])
    assert [event.id for event in low.events] == [event.id for event in SevirWindows(folder, "val").events]


def test_a_share_of_whole_days_is_kept_to_validate(folder, tmp_path):
    prepare_sevir_lr(folder, tmp_path / "lr")
    days = {}
    for split in ("train", "val", "test"):
        windows = SevirWindows(
            tmp_path / "lr", split, in_frames=7, out_frames=6, stride=6, validation_share=0.34
        )
        assert len(windows) == 3 * len(windows.events)
        assert windows[0]["target"].shape == (6, 4, 4, 1)
        days[split] = [(event.id, str(event.time)[:10]) for event in windows.events]
    assert {id for split in ("train", "val") for id, _ in days[split]} == {"S9", "S8", "S7", "S1", "S2", "S3"}
    assert len({day for _, day in days["val"]}) == 1
    assert not {day for _, day in days["train"]} & {day for _, day in days["val"]}
    assert [id for id, _ in days["test"]] == ["R4", "R5"]
    with pytest.raises(ConfigError, match="validation_share=1: expected 0"):
        SevirWindows(tmp_path / "lr", validation_share=1)


def test_an_event_of_the_result_opens_as_any_radar_file(folder, tmp_path):
    prepare_sevir_lr(folder, tmp_path / "lr")
    field = gs.open_radar(f"{tmp_path / 'lr' / FILES[1]}#S9")
    assert field.shape == (25, 4, 4)
    minutes = np.diff(field.time.values) / np.timedelta64(1, "m")
    assert set(minutes) == {10.0}


def test_a_second_call_keeps_what_is_whole(folder, tmp_path):
    out = tmp_path / "lr"
    prepare_sevir_lr(folder, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*.h5")}
    (out / FILES[3]).unlink()
    assert prepare_sevir_lr(folder, out) == Prepared(written=1, kept=2, events=8, left_out=0)
    kept = [path for path in before if path.stat().st_mtime_ns == before[path]]
    assert len(kept) == 2


def test_a_stop_leaves_whole_files_only_and_the_next_call_goes_on(folder, tmp_path):
    out = tmp_path / "lr"

    def stop_in_the_second_file(stage, share):
        if "RANDOM" in stage:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        prepare_sevir_lr(folder, out, progress=stop_in_the_second_file)
    assert all_files(out) == FILES[1:2]  # no part, and no catalogue yet
    (out / "data/vil/2019").mkdir(exist_ok=True)
    (out / "data/vil/2019/.SEVIR_VIL_RANDOMEVENTS_2019_0701_1231.0badcafe.part.h5").write_bytes(
        b"killed here"
    )
    assert prepare_sevir_lr(folder, out) == Prepared(written=2, kept=1, events=8, left_out=0)
    assert all_files(out) == FILES


KILLED = """
import os, signal, sys
from geoscope.data.sevir_lr import prepare_sevir_lr

def kill_in_the_second_file(stage, share):
    if "RANDOM" in stage:
        os.kill(os.getpid(), signal.SIGKILL)

prepare_sevir_lr(sys.argv[1], sys.argv[2], progress=kill_in_the_second_file)
"""


def test_after_a_kill_the_same_call_gives_the_same_folder(folder, tmp_path, repository):
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "lr")]
    assert subprocess.run(command, cwd=repository, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "lr" / "CATALOG.csv").exists()
    assert list((tmp_path / "lr").rglob(".*.part.h5"))
    assert prepare_sevir_lr(folder, tmp_path / "lr") == Prepared(written=2, kept=1, events=8, left_out=0)
    prepare_sevir_lr(folder, tmp_path / "whole")
    assert all_files(tmp_path / "lr") == all_files(tmp_path / "whole") == FILES
    for name in FILES:
        assert (tmp_path / "lr" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_full_disk_leaves_no_part(folder, tmp_path, monkeypatch):
    def full(codes):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sevir_lr, "reduce_codes", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device; free space"):
        prepare_sevir_lr(folder, tmp_path / "lr")
    assert all_files(tmp_path / "lr") == []


def test_a_file_that_was_not_made_from_the_source_is_not_overwritten(folder, tmp_path):
    target = tmp_path / "lr" / FILES[1]
    target.parent.mkdir(parents=True)
    with h5py.File(target, "w") as file:
        file["vil"] = np.zeros((1, 4, 4, 25), np.uint8)
    with pytest.raises(
        DataError, match=r"0630\.h5: expected SEVIR-LR made from .*, found something else; remove it"
    ):
        prepare_sevir_lr(folder, tmp_path / "lr")
    assert all_files(tmp_path / "lr") == FILES[1:2]


def test_absent_files_are_refused_or_left_out(folder, tmp_path):
    (folder / FILES[2]).unlink()
    with pytest.raises(DataError, match=r"1231\.h5: expected a file that CATALOG\.csv names, found nothing"):
        prepare_sevir_lr(folder, tmp_path / "lr")
    done = prepare_sevir_lr(folder, tmp_path / "lr", leave_out_absent=True)
    assert done == Prepared(written=2, kept=0, events=6, left_out=1)
    assert "R4" not in (tmp_path / "lr" / "CATALOG.csv").read_text()
    for path in (folder / "data").rglob("*.h5"):
        path.unlink()
    with pytest.raises(DataError, match="expected VIL files that are there, found none of 3"):
        prepare_sevir_lr(folder, tmp_path / "lr2", leave_out_absent=True)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (codes_of(0, side=10), "rows and columns in multiples of 3"),
        (codes_of(0).astype(np.int16), "vil as uint8"),
    ],
)
def test_a_source_of_another_kind_is_refused(tmp_path, codes, message):
    root = tmp_path / "sevir"
    root.mkdir()
    write_sevir_folder(root, [Listed("A", codes=codes)])
    with pytest.raises(DataError, match=message):
        prepare_sevir_lr(root, tmp_path / "lr")


def test_a_file_without_ids_and_a_catalogue_of_the_needed_columns_are_enough(tmp_path):
    root = tmp_path / "sevir"
    root.mkdir()
    needed = ["id", "file_name", "file_index", "img_type", "time_utc", "pct_missing"]
    write_sevir_folder(root, [Listed("A")], needed)
    with h5py.File(root / FILES[1], "a") as file:
        del file["id"]
    prepare_sevir_lr(root, tmp_path / "lr")
    assert len(SevirWindows.low_resolution(tmp_path / "lr")) == 3


def test_frames_that_do_not_divide_are_refused():
    with pytest.raises(DataError, match="frames of 4 x 6: expected multiples of 3"):
        reduce_codes(np.zeros((4, 6, 2), np.uint8))


def test_folders_that_cannot_be_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="expected another folder than SEVIR's own"):
        prepare_sevir_lr(folder, folder / ".." / "sevir")
    with pytest.raises(ConfigError, match="does not exist; make it first"):
        prepare_sevir_lr(folder, tmp_path / "a" / "b")
    with pytest.raises(DataError, match=r"CATALOG\.csv in it, found no such file"):
        prepare_sevir_lr(tmp_path, tmp_path / "lr")
    (tmp_path / "lr").write_text("a file")
    with pytest.raises(DataError, match="cannot be made"):
        prepare_sevir_lr(folder, tmp_path / "lr")

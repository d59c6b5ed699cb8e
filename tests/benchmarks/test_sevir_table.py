"""The SEVIR table runs end to end on a small folder in SEVIR's layout."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import sevir_table
from geoscope.models.earthformer.checkpoints import published_name
from geoscope.models.earthformer.model import Earthformer
from geoscope.models.earthformer.published import config_from_published
from tests.data.sevir_files import Listed, write_sevir_folder

SIDE = 24
TEST_TIME = "2019-11-01 06:00:00"


def small_kwargs(**changes) -> dict:
    """The released arguments for a net of a few thousand weights on 24 x 24 pixels."""
    kwargs = json.loads(sevir_table.RELEASED.read_text())
    return kwargs | {
        "input_shape": [13, SIDE, SIDE, 1],
        "target_shape": [12, SIDE, SIDE, 1],
        "base_units": 16,
        "num_global_vectors": 2,
        "initial_downsample_stack_conv_dim_list": [8, 8, 16],
        "initial_downsample_stack_conv_num_conv_list": [1, 1, 1],
        **changes,
    }


def published_state(kwargs: dict) -> dict[str, torch.Tensor]:
    """Random weights under the published names."""
    config, is_stacked = config_from_published(kwargs)
    torch.manual_seed(0)
    model = Earthformer(config)
    return {
        published_name(name, config, is_stacked=is_stacked): value
        for name, value in model.state_dict().items()
    }


@pytest.fixture
def sevir(tmp_path) -> Path:
    """Two test events of 24 x 24 pixels: one constant, one in which rain begins at frame 25."""
    constant = np.full((SIDE, SIDE, 49), 100, np.uint8)
    begins = np.zeros((SIDE, SIDE, 49), np.uint8)
    begins[:12, :, 25:] = 200
    return write_sevir_folder(
        tmp_path / "sevir",
        [
            Listed("S1", TEST_TIME, codes=constant),
            Listed("S2", TEST_TIME, codes=begins),
            Listed("S3", codes=constant),
        ],
    )


@pytest.fixture
def kwargs_file(tmp_path) -> Path:
    path = tmp_path / "kwargs.json"
    path.write_text(json.dumps(small_kwargs()))
    return path


def test_the_row_of_persistence_by_hand(sevir, kwargs_file, tmp_path, capsys):
    # Windows start at frames 0, 12, 24: their last past frames are 12, 24, 36, their targets 13-24, 25-36, 37-48.
    # The constant event always hits 16 and 74. The other misses 16 to 181 in half of each target frame of its second
    # window, and hits there in the third. In units of half a frame of leads (12 * 288 pixels):
    # 74: hits 3 windows * 2 + 1, misses 1, false alarms 0 -> 7 / 8; 133 to 181: hits 1, misses 1 -> 1 / 2; 219: 0.
    words = [sevir, "--kwargs", kwargs_file, "--persistence-only", "--json", tmp_path / "table.json"]
    assert sevir_table.main([str(word) for word in words]) == 0
    row = json.loads((tmp_path / "table.json").read_text())[0]
    assert (row["model"], row["origin"], row["windows"]) == ("Persistence", "computed", 6)
    expected = {"16": 7 / 8, "74": 7 / 8, "133": 1 / 2, "160": 1 / 2, "181": 1 / 2, "219": 0.0}
    assert row["csi"] == pytest.approx(expected, abs=1e-7)
    assert row["csi_m"] == pytest.approx(sum(expected.values()) / 6, abs=1e-7)
    # one of six windows is wrong by 200 / 255 in half of its pixels
    assert row["mse_thousandths"] == pytest.approx(1000 * (200 / 255) ** 2 / 12, rel=1e-6)
    said = capsys.readouterr().out
    assert re.search(r"Persistence +computed", said)
    assert "0.2613" in said


@pytest.mark.parametrize("is_lightning", [False, True])
def test_random_weights_run_end_to_end(sevir, kwargs_file, tmp_path, is_lightning):
    state = published_state(small_kwargs())
    if is_lightning:
        state = {"state_dict": {f"torch_nn_module.{name}": value for name, value in state.items()}}
    torch.save(state, tmp_path / "weights.pt")
    words = [sevir, "--kwargs", kwargs_file, "--weights", tmp_path / "weights.pt", "--batch", 4, "--every", 2]
    assert (
        sevir_table.main(
            [str(word) for word in (*words, "--json", tmp_path / "table.json", "--device", "cpu")]
        )
        == 0
    )
    row = json.loads((tmp_path / "table.json").read_text())[1]
    assert (row["model"], row["windows"]) == ("Earthformer", 3)
    assert 0 <= row["csi_m"] <= 1
    assert row["mse_thousandths"] > 0
    assert row["gflops"] > 0
    weights = sum(value.numel() for value in published_state(small_kwargs()).values())
    assert row["parameters_millions"] == pytest.approx(weights / 1e6)


def test_sevir_lr_is_known_by_its_frames(tmp_path):
    codes = np.zeros((SIDE, SIDE, 25), np.uint8)
    root = write_sevir_folder(tmp_path / "lr", [Listed("S1", TEST_TIME, codes=codes)])
    kwargs = small_kwargs(input_shape=[7, SIDE, SIDE, 1], target_shape=[6, SIDE, SIDE, 1])
    windows = sevir_table.open_windows(root, kwargs, "test")
    assert (len(windows), windows.in_frames, windows.out_frames) == (3, 7, 6)


def test_batches_do_not_change_a_row(sevir):
    windows = sevir_table.open_windows(sevir, small_kwargs(), "test")
    one, three = (sevir_table.score("x", sevir_table.persistence(12), windows, size=size) for size in (1, 4))
    assert one == three


def test_a_perfect_forecast_scores_one_at_every_threshold(tmp_path):
    codes = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 49), dtype=np.uint8)
    codes[0] = 219  # exactly at the threshold: a division by 255 would lose it
    root = write_sevir_folder(tmp_path / "sevir", [Listed("S1", TEST_TIME, codes=codes)])
    windows = sevir_table.open_windows(root, small_kwargs(), "test")
    targets = iter([windows[place]["target"][None] for place in range(len(windows))])
    row = sevir_table.score("oracle", lambda past: next(targets), windows)
    assert row.mse_thousandths == 0
    assert list(row.csi.values()) == pytest.approx([1.0] * 6, abs=1e-7)


def test_published_rows_are_quoted_with_their_source(shared):
    text = (shared / "facts" / "published_tables.md").read_text()
    rows = sevir_table.published_rows()
    assert len(rows) == 9
    for row in rows:
        numbers = (row.csi_m, row.csi[219], row.csi[181], row.mse_thousandths)
        cells = " | ".join(f"{number:.4f}" for number in numbers)
        size = (
            "- | -" if row.parameters_millions is None else f"{row.parameters_millions:.1f} | {row.gflops:g}"
        )
        assert f"| {row.model} | {size} | {cells} |" in text
    assert "Amazon Science" in sevir_table.PUBLISHED.read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere", "--persistence-only"], "nowhere: expected SEVIR's folder with CATALOG.csv in it"),
        (["sevir", "--persistence-only", "--split", "val"], "the split 'val' is empty"),
        (
            ["sevir", "--persistence-only"],
            "--kwargs: the model takes 384 x 384 pixels, the events in sevir have 24 x 24",
        ),
        (
            ["sevir", "--persistence-only", "--kwargs", "odd.json"],
            "10 frames in and 5 out; the table is of 13 and 12",
        ),
        (
            ["sevir", "--persistence-only", "--kwargs", "no.json"],
            "--kwargs no.json: expected JSON with input_shape",
        ),
        (
            ["sevir", "--kwargs", "kwargs.json", "--weights", "no.pt"],
            "--weights no.pt: expected a PyTorch checkpoint",
        ),
        (
            ["sevir", "--kwargs", "kwargs.json", "--weights", "kwargs.json"],
            "expected a PyTorch checkpoint of tensors",
        ),
        (["sevir", "--kwargs", "kwargs.json", "--weights", "list.pt"], "expected a state dict, found a list"),
        (
            ["sevir", "--kwargs", "kwargs.json", "--weights", "other.pt"],
            "does not belong to this configuration",
        ),
    ],
)
def test_what_is_missing_or_does_not_fit_is_told_in_one_line(
    sevir, kwargs_file, tmp_path, monkeypatch, capsys, words, line
):
    monkeypatch.chdir(tmp_path)
    odd = small_kwargs(input_shape=[10, SIDE, SIDE, 1], target_shape=[5, SIDE, SIDE, 1])
    Path("odd.json").write_text(json.dumps(odd))
    torch.save([1, 2], "list.pt")
    torch.save({"a": torch.zeros(1)}, "other.pt")
    assert sevir_table.main(words) == 2
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("words", [["x"], ["x", "--persistence-only", "--every", "0"]])
def test_options_that_cannot_work_are_refused(words):
    with pytest.raises(SystemExit, match="2"):
        sevir_table.parse(words)

"""`geoscope prepare` converts a data set and says what it did, or refuses in one line."""

import pytest

from tests.data.sevir_files import three_splits


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sevir").mkdir()
    return three_splits(tmp_path / "sevir")


def test_sevir_lr_is_made_and_a_second_run_keeps_it(run, folder, tmp_path):
    out = str(tmp_path / "lr")
    result = run("prepare", "sevir-lr", str(folder), "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 8 events; 3 files written, 0 kept from before\n"
    assert run("prepare", "sevir-lr", str(folder), "--out", out).stdout.endswith(
        "0 files written, 3 kept from before\n"
    )


def test_absent_files_are_named_with_the_way_out(run, refused, folder, tmp_path):
    next((folder / "data/vil/2018").glob("*.h5")).unlink()
    command = ("prepare", "sevir-lr", str(folder), "--out", str(tmp_path / "lr"))
    assert "--leave-out-absent" in refused(*command)
    assert "1 absent files left out" in run(*command, "--leave-out-absent").stdout


def test_a_folder_that_is_not_sevir_is_refused(refused, tmp_path):
    assert "SEVIR's folder with CATALOG.csv" in refused("prepare", "sevir-lr", str(tmp_path), "--out", "x")


@pytest.mark.parametrize("command", [("prepare",), ("prepare", "--help"), ("prepare", "sevir-lr", "-h")])
def test_the_help_shows_an_example(run, command):
    assert "geoscope prepare sevir-lr SEVIR --out SEVIR-LR" in run(*command).output


@pytest.mark.parametrize(
    ("words", "message"), [(("sevir-lr", "x"), "--out"), (("sevir",), "No such command 'sevir'")]
)
def test_a_command_that_is_not_whole_is_refused(refused, words, message):
    assert message in refused("prepare", *words)

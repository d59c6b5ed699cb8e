"""The race with the published code: what it shows without a copy of it, and when it times nothing."""

import json

import pytest
import torch

from benchmarks import race_published


def test_the_reference_form_is_raced_where_there_is_no_copy(tmp_path, capsys):
    wanted = [
        "--work",
        "sevir-fp32",
        "sevir-train-recompute",
        "--side",
        "24",
        "--repeats",
        "1",
        "--no-memory",
    ]
    assert race_published.main([*wanted, "--json", str(tmp_path / "race.json")]) == 0
    table = capsys.readouterr().out
    assert "reference form" in table
    found = json.loads((tmp_path / "race.json").read_text())["results"]
    assert [row["work"] for row in found] == ["sevir-fp32", "sevir-train-recompute"]
    assert all(row["error"] < 1e-3 for row in found)


@pytest.mark.parametrize(
    ("work", "limit"), [("enso-fp32", 1e-4), ("sevir-bf16", 0.02), ("sevir-train", 1e-3)]
)
def test_nothing_is_timed_that_is_not_equal(work, limit):
    truth = torch.ones(10)
    half = truth * 1.01 if work.endswith("bf16") else None
    near = truth * (1 + 0.9 * limit)
    assert race_published.check_equal(work, truth, near, half) == pytest.approx(0.9 * limit, rel=1e-2)
    for other in (truth * (1 + 1.1 * limit), truth * float("nan")):
        with pytest.raises(race_published.NotEqual, match=f"{work} differs by .*: nothing is timed"):
            race_published.check_equal(work, truth, other, half)


def test_a_work_that_is_not_equal_is_named_and_the_others_are_shown(capsys, monkeypatch):
    monkeypatch.setattr(race_published, "difference", lambda one, other: 1.0 if one.shape[1] == 12 else 0.0)
    wanted = ["--work", "sevir-fp32", "enso-fp32", "--side", "24", "--repeats", "1", "--no-memory"]
    assert race_published.main(wanted) == 1
    said = capsys.readouterr()
    assert "sevir-fp32 differs by 1.0e+00" in said.err
    assert "enso-fp32" in said.out
    assert "sevir-fp32" not in said.out


def test_a_folder_without_the_published_package_is_refused_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="no package earthformer in"):
        race_published.main(["--published", str(tmp_path), "--work", "enso-fp32"])

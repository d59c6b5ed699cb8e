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
    assert race_published.check_equal(work, truth, truth * (1 + 0.9 * limit)) == pytest.approx(
        0.9 * limit, rel=1e-2
    )
    for other in (truth * (1 + 1.1 * limit), truth * float("nan")):
        with pytest.raises(SystemExit, match=f"{work} differs by .*: nothing is timed"):
            race_published.check_equal(work, truth, other)


def test_a_folder_without_the_published_package_is_refused_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="no package earthformer in"):
        race_published.main(["--published", str(tmp_path), "--work", "enso-fp32"])

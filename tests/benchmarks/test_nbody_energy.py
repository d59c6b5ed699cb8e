"""The benchmark of energy control runs end to end at a tiny size."""

import json

import pytest
import torch

from benchmarks import nbody_energy


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_tiny_run_gives_every_row_and_goes_on_where_it_is_done(tmp_path, capsys):
    options = [
        "--out",
        str(tmp_path / "run"),
        "--size",
        "tiny",
        "--sequences",
        "1",
        "--members",
        "1",
        "--steps",
        "2",
    ]
    assert nbody_energy.main([*options, "--json", str(tmp_path / "table.json")]) == 0
    rows = {row["forecast"]: row for row in json.loads((tmp_path / "table.json").read_text())}
    assert list(rows) == ["true frames", "last energy kept", "free", "controlled"]
    assert rows["true frames"]["mse"] == 0
    assert rows["true frames"]["e_mae"] < 1.0  # of about 10
    assert rows["free"]["mse"] > 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["forecast", "e_mse", "e_mae", "e_bias", "mse", "mae"]
    assert nbody_energy.main(options) == 0
    assert capsys.readouterr().out == printed


def test_what_cannot_be_is_one_line(tmp_path, capsys):
    run = tmp_path / "run" / "autoencoder"
    run.mkdir(parents=True)
    (run / "last.pt").write_bytes(b"broken")
    assert nbody_energy.main(["--out", str(tmp_path / "run"), "--size", "tiny"]) == 2
    assert "nbody_energy: no whole checkpoint" in capsys.readouterr().err

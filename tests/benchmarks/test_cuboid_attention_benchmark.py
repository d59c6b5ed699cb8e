"""The benchmark of cuboid attention times nothing that is not equal, and says what it did not measure."""

import json

import pytest
import torch

from benchmarks import cuboid_attention as benchmark
from geoscope.ops.cuboid_attention import Cuboids

SMALL = {
    "small": benchmark.Work((2, 3, 3), Cuboids(size=(2, 1, 1)), 2, 4, extra=2),
    "large": benchmark.Work((2, 3, 3), Cuboids(size=(2, 1, 1)), 2, 4, only_on_gpu=True),
}


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(benchmark, "works", lambda: SMALL)


@pytest.mark.parametrize("extra", [[], ["--backward"]])
def test_equal_ways_are_timed_and_the_gpu_is_not_measured(capsys, tmp_path, extra):
    target = tmp_path / "rows.json"
    assert benchmark.main(["--repeats", "2", "--json", str(target), *extra]) == 0
    printed = capsys.readouterr().out
    assert printed.count("not measured here") == len(benchmark.GPU_ROWS)
    rows = json.loads(target.read_text())["rows"]
    assert [(row["work"], row["impl"]) for row in rows] == [("small", "reference"), ("small", "cpu")]
    assert rows[0]["of_reference"] == 1.0


def test_what_is_not_equal_is_not_timed(capsys, monkeypatch):
    right = benchmark.attend
    monkeypatch.setattr(benchmark, "attend", lambda *a: right(*a) + (0.01 if a[2] == "cpu" else 0.0))
    monkeypatch.setattr(benchmark, "time_in_turns", lambda *_, **__: pytest.fail("it was timed"))
    assert benchmark.main([]) == 1
    assert "not equal to the reference, so nothing is timed: {'small': ['cpu']}" in capsys.readouterr().out


def test_every_work_names_cuboids_that_fit_its_volume(monkeypatch):
    monkeypatch.undo()
    for work in benchmark.works().values():
        assert work.cuboids == work.cuboids.fit(work.shape)

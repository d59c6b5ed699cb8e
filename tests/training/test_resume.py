"""A run killed by `kill -9` at any moment goes on and ends in the same bits; two processes agree with one."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.training.killed_runs import SCENARIOS
from tests.training.tiny_task import weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory, repository):
    """The folder with the results of all scenarios."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "tests.training.killed_runs", str(folder)]
    with (folder / "said.txt").open("w") as said:
        done = subprocess.run(
            command, cwd=repository, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=said, stderr=said
        )
    assert done.returncode == 0, (folder / "said.txt").read_text()
    return folder


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "whole"])
def test_a_killed_run_ends_in_the_same_bits(runs, name):
    ends = json.loads((runs / "results.json").read_text())[name]
    if name != "by_the_clock":  # there a process may be at its end before the kill
        assert ends == [3 if name == "disk_full" else -9] * len(SCENARIOS[name]) + [0]
    whole, killed = weights(runs / "whole" / "weights.pt"), weights(runs / name / "weights.pt")
    assert whole.keys() == killed.keys()
    for key, value in whole.items():
        assert torch.equal(value, killed[key]), key


@pytest.mark.parametrize("name", ["between_checkpoints", "again_and_again"])
def test_the_log_of_a_killed_run_has_every_step_once(runs, name):
    def steps(run, file):
        return [line.split(",")[0] for line in (runs / run / file).read_text().splitlines()]

    assert steps(name, "log.csv") == ["step", *(str(step) for step in range(1, 13))]
    assert steps(name, "scores.csv") == ["step", "4", "8", "12"]
    scores = [(runs / run / "scores.csv").read_text() for run in ("whole", name)]
    assert scores[0] == scores[1]


def test_two_processes_with_gloo_train_what_one_does(runs):
    one, two = weights(runs / "one" / "weights.pt"), weights(runs / "two" / "weights.pt")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-6)
    last = [torch.load(runs / run / "last.pt", weights_only=True) for run in ("one", "two")]
    assert last[0]["step"] == last[1]["step"] == 6
    assert last[0]["best_score"] == pytest.approx(last[1]["best_score"], rel=1e-4)
    scores = [(runs / run / "scores.csv").read_text().splitlines()[-1].split(",") for run in ("one", "two")]
    assert float(scores[1][2]) == 3 * 2  # three validation batches of two, shared by the processes

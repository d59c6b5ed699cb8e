"""`geoscope benchmark` on what ships, and its way to the networks' comparison."""

import json

import pytest

from geoscope.training.video_benchmark import VideoRow

QUICK = ("--size", "48", "--minutes", "60", "--every", "600")


def test_the_table_names_models_scores_and_the_fair_baseline(run):
    result = run("benchmark", "florence-2018", "--models", "persistence", "extrapolation", *QUICK)
    assert result.exit_code == 0, result.output
    for word in (
        "florence-2018",
        "persistence",
        "CSI",
        "FSS",
        "16 px",
        "MAE",
        "gain",
        "ratio",
        "1 issue time,",
    ):
        assert word in result.stdout, word
    assert "extrapolation: fair baseline persistence (each shows observed rain" in result.stdout


def test_files_hold_the_same_and_several_events_are_summed_up(run, tmp_path):
    words = ("benchmark", "florence-2018", "simulated-storms", "-m", "persistence", *QUICK)
    result = run(*words, "--json", "x.json", "--csv", "x.csv", "--thresholds", "1,5")
    assert result.exit_code == 0, result.output
    assert "CSI mean by event" in result.stdout
    assert "mean of the events" in result.stdout
    assert "persistence: no fair baseline here, add extrapolation" in result.stdout
    plain = json.loads((tmp_path / "x.json").read_text())
    assert [row["event"] for row in plain["rows"]] == [
        "florence-2018", "simulated-storms", "all events, pooled", "mean of the events",
    ]  # fmt: skip
    assert list(plain["rows"][0]["csi"]) == ["1", "5"]
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert len(lines) == 5
    assert "csi_1,csi_5" in lines[0]


def test_models_may_stand_before_the_other_options_or_with_commas(run):
    spaced = run("benchmark", "florence-2018", *QUICK, "--models", "persistence", "climatology")
    commas = run("benchmark", "--models=persistence,climatology", *QUICK, "florence-2018")
    for result in (spaced, commas):
        assert result.exit_code == 0, result.output
        assert "climatology" in result.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("nowhere", "--models", "persistence"), "'nowhere' is neither a sample"),
        (("florence-2018", "--models", "oracle"), "oracle"),
        (("florence-2018", "--models", "persistence", "--every", "0"), "every=0.0 must be"),
        (("florence-2018", "--models", "persistence", "--minutes", "-1"), "minutes=-1.0 must be"),
        (("florence-2018", "--models", "persistence", "--thresholds", "5,1"), "--thresholds '5,1' must be rising"),
        (("florence-2018", "--models", "persistence", "--json", "x.txt"), "--json 'x.txt' ends in '.txt'"),
        (("florence-2018", "--models", "persistence", "--csv", "none/x.csv"), "the folder 'none' does not exist"),
        (("florence-2018", "--models", "persistence", "--steps", "5"), "--steps is only for moving-mnist or"),
        (("moving-mnist", "--models", "unet", "--minutes", "60"), "--minutes is only for events of rain"),
        (("moving-mnist", "florence-2018", "--models", "unet"), "stand alone, one at a time"),
        (("moving-mnist", "--models", "oracle"), "oracle"),
        (("florence-2018", "--models"), "--models is followed by no name"),
        (("florence-2018", "--models", "--every", "30"), "--models is followed by no name"),
        (("florence-2018", "--models", "persistence", "--members", "3"), "none of persistence gives members"),
        (("florence-2018", "--models", "persistence", "--minutes", "9000"), "no event could be forecast by all"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(refused, words, line):
    assert line in refused("benchmark", *words)


def test_an_older_file_is_kept(refused, tmp_path):
    (tmp_path / "x.json").write_text("yesterday's")
    assert "exists already" in refused("benchmark", "florence-2018", "-m", "persistence", "--json", "x.json")


@pytest.mark.parametrize("task", ["moving-mnist", "nbody-mnist"])
def test_digits_go_to_the_networks_comparison(run, monkeypatch, tmp_path, task):
    asked = {}

    def compare(*words, progress, **options):
        asked.update(words=words, **options)
        progress("training", 0.5)
        scores = {"mse": 30.5, "mae": 80.25, "ssim": 0.5}
        by_lead = {f"{name}_by_lead": (value,) for name, value in scores.items()}
        return [VideoRow(model="unet", parameters=1234, steps=3, seconds_a_step=0.5, **scores, **by_lead)]

    monkeypatch.setattr("geoscope.training.video_benchmark.compare", compare)
    words = (
        "--models",
        "unet",
        "convlstm",
        "--size",
        "32",
        "--steps",
        "3",
        "--seed",
        "7",
        "--json",
        "x.json",
    )
    result = run("benchmark", task, *words, "--csv", "x.csv")
    assert result.exit_code == 0, result.output
    assert asked == {"words": (task, ["unet", "convlstm"]), "seed": 7, "size": 32, "train_steps": 3}
    assert "1,234" in result.stdout
    assert "80.25" in result.stdout
    assert json.loads((tmp_path / "x.json").read_text())["rows"][0]["mse"] == 30.5
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == "unet,1234,3,0.5,30.5,80.25,0.5"

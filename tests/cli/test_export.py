"""`geoscope export` hands the run to the library and says how to use what came of it."""

from pathlib import Path

from geoscope.inference import export as library


def test_the_run_becomes_a_model(run, monkeypatch):
    seen = []

    def pretend(folder, name, out, *, licence, overwrite):
        seen.append((str(folder), name, str(out), licence, overwrite))
        return Path(out) / f"{name}.toml"

    monkeypatch.setattr(library, "export_run", pretend)
    result = run(
        "export", "runs/mine", "--name", "my-radar", "--out", "zoo", "--licence", "CC0", "--overwrite"
    )
    assert result.exit_code == 0, result.output
    assert seen == [("runs/mine", "my-radar", "zoo", "CC0", True)]
    assert "--model zoo/my-radar.toml" in result.stdout


def test_a_folder_without_a_run_is_refused_in_one_line(refused):
    assert "is not the folder of a finished run" in refused("export", "nowhere", "--name", "mine")

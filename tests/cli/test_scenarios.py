"""`geoscope scenarios` with a stand-in for the model."""

import json

import numpy as np
import pytest
import xarray as xr

from geoscope.errors import DataError
from geoscope.viz.scenario_files import Parts
from tests.ui.scenario_stand_in import StandInRunner

SMALL = ("--sigma", "-2", "0", "2", "--members", "2", "--steps", "2", "--lead-steps", "2")


@pytest.fixture
def runner(monkeypatch):
    runner = StandInRunner()
    monkeypatch.setattr("geoscope.inference.scenarios.load_model", lambda name, device: runner)
    return runner


def read(path):
    engine = "h5netcdf" if path.suffix == ".nc" else "zarr"
    with xr.open_dataset(path, engine=engine, decode_coords="all", decode_timedelta=True) as data:
        return data["rain_rate"].load()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_scenarios_come_back_from_their_file(run, runner, tmp_path, suffix):
    out = tmp_path / f"x{suffix}"
    result = run("scenarios", "florence-2018", "--out", out, "--issue-time", "2018-09-14T05:00", *SMALL)
    assert result.exit_code == 0, result.output
    assert "2 members at 3 sigmas by persistence" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    rain = read(out)
    assert rain.dims == ("sigma", "member", "time", "y", "x")
    assert rain["sigma"].values.tolist() == [-2.0, 0.0, 2.0]
    assert (np.diff(rain["asked_mean"].values) > 0).all()
    np.testing.assert_allclose(rain["achieved_mean"][:, 0], rain["asked_mean"])
    assert rain["plausible"].values.all()
    card = json.loads(rain.attrs["run_card"])
    assert (card["seed"], card["steps"], card["issue_time"]) == (0, 2, "2018-09-14T05:00:00Z")


def test_a_run_that_was_stopped_goes_on_with_the_same_bits(run, runner, tmp_path):
    assert run("scenarios", "florence-2018", "--out", "whole.nc", *SMALL).exit_code == 0
    runner.drawn.clear()
    draw = runner.draw

    def stopped(scene, *, members, **options):
        if list(members) == [1]:
            raise KeyboardInterrupt
        return draw(scene, members=members, **options)

    runner.draw = stopped
    result = run("scenarios", "florence-2018", "--out", "x.nc", *SMALL)
    assert result.exit_code == 130
    assert "what is finished stays in .x.nc.parts; the same command goes on" in result.stderr
    assert not (tmp_path / "x.nc").exists()
    assert runner.drawn == [(-2.0, 0), (0.0, 0), (2.0, 0)]
    runner.draw = draw
    runner.drawn.clear()
    result = run("scenarios", "florence-2018", "--out", "x.nc", *SMALL)
    assert "1 members were there from before" in result.stdout
    assert {member for _, member in runner.drawn} == {1}
    np.testing.assert_array_equal(read(tmp_path / "x.nc").values, read(tmp_path / "whole.nc").values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.nc", "x.nc"]


def test_members_of_another_run_are_not_mixed_in(run, runner, refused, tmp_path):
    draw = runner.draw
    runner.draw = lambda scene, **options: (_ for _ in ()).throw(KeyboardInterrupt)
    assert run("scenarios", "florence-2018", "--out", "x.nc", *SMALL).exit_code == 130
    runner.draw = draw
    words = ("scenarios", "florence-2018", "--out", "x.nc", *SMALL, "--seed", "5")
    assert ".x.nc.parts holds members that were drawn with other options or data" in refused(*words)
    assert run(*words, "--overwrite").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.nc"]


def test_a_member_that_cannot_be_read_says_what_to_do(tmp_path):
    parts = Parts(tmp_path / "x.nc", {})
    (parts.folder / "member-0003.npz").write_bytes(b"half")
    assert parts.has(3)
    with pytest.raises(DataError, match=r"member-0003[.]npz cannot be read: remove it and run again"):
        parts.get(3)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--out", "x.tif"), "'x.tif' ends in '.tif'; expected .nc, .zarr"),
        (("--out", "x.nc", "--sigma", "9"), "must be one or more numbers from -6 to 6"),
        (("--out", "x.nc", "--sigma", "much"), "--sigma is followed by 'much', not by a number"),
        (
            ("--out", "x.nc", "--sigma", "--members", "2"),
            "--sigma is followed by '--members', not by a number",
        ),
        (("--out", "x.nc", "--members", "0"), "members=0 must be a whole number"),
        (("--out", "x.nc", "--steps", "0"), "steps=0 must be a whole number"),
        (("--out", "x.nc", "--seed", "-1"), "seed=-1 must be a whole number"),
        (("--out", "x.nc", "--issue-time", "soon"), "issue_time='soon' is not a time"),
        (("--out", "x.nc", "--region", "none.geojson"), "'none.geojson' cannot be read"),
        (("--out", "x.nc", "--members", "100000"), "scenarios of 3 frames"),
    ],
)
def test_bad_options_are_refused_in_one_line(runner, refused, options, line):
    assert line in refused("scenarios", "florence-2018", *options)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "it is no JSON"),
        ("[1]", "holds no GeoJSON object"),
        ('{"type": "Point", "coordinates": [0, 0]}', "region is GeoJSON of type 'Point'"),
        (
            '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}',
            "region lies outside the field",
        ),
    ],
)
def test_a_region_that_cannot_be_used_is_refused(runner, refused, tmp_path, text, line):
    (tmp_path / "region.geojson").write_text(text)
    words = ("scenarios", "florence-2018", "--out", "x.nc", "--region", "region.geojson")
    assert line in refused(*words)

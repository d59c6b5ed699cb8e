"""Files of pictures, and the one door that writes them: whole or not at all, with the run card inside."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from geoscope.errors import Cancelled, ConfigError, DataError, MissingExtraError
from geoscope.viz import animation
from geoscope.viz.export import save
from tests.viz.test_figure import rain

SMALL = {"width": 320}
ALL = [".nc", ".zarr", ".tif", ".png", ".gif", ".mp4"]


@pytest.fixture
def forecast() -> xr.DataArray:
    field = rain(4, shape=(12, 16), is_forecast=True, run_card='{"model": "persistence", "seed": 0}')
    field[3] = 8.0
    return field


@pytest.mark.parametrize("suffix", ALL)
def test_every_ending_is_written_whole(tmp_path, forecast, suffix):
    shares = []
    path = save(forecast, tmp_path / f"out{suffix}", progress=lambda _, share: shares.append(share), **SMALL)
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert shares == sorted(shares)
    with pytest.raises(ConfigError, match="exists already"):
        save(forecast, path, **SMALL)
    save(forecast, path, overwrite=True, **SMALL)


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("fault", [KeyboardInterrupt, Cancelled])
def test_stopping_leaves_nothing_behind(tmp_path, forecast, suffix, fault):
    def stop(stage, share):
        if share > 0.2:
            raise fault

    with pytest.raises(fault):
        save(forecast, tmp_path / f"out{suffix}", progress=stop, **SMALL)
    assert not list(tmp_path.iterdir())


def test_a_gif_has_every_frame_loops_and_carries_the_run_card(tmp_path, forecast):
    with Image.open(save(forecast, tmp_path / "out.gif", frames_per_second=4, **SMALL)) as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
        assert gif.info["comment"] == forecast.attrs["run_card"].encode()
        durations, frames = [], []
        for index in range(4):
            gif.seek(index)
            durations.append(gif.info["duration"])
            frames.append(np.asarray(gif.convert("RGB")).astype(int))
    assert durations == [250, 250, 250, 1500]
    assert np.abs(frames[3] - frames[2]).max() > 50  # the rain changed


def test_a_gif_keeps_the_colours_of_its_classes(tmp_path, forecast):
    whole = np.asarray(animation.draw_frame(forecast, 0, width=320)).astype(int)
    with Image.open(save(forecast[:1], tmp_path / "out.gif", **SMALL)) as gif:
        reduced = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(reduced - whole).mean() < 1
    assert (reduced == whole).all(axis=-1).mean() > 0.9


def test_a_png_carries_the_run_card_and_one_frame_or_a_sheet(tmp_path, forecast):
    with Image.open(save(forecast, tmp_path / "one.png", frame=2, **SMALL)) as png:
        assert png.text["run_card"] == forecast.attrs["run_card"]
        assert png.text["credit"] == "a test"
        assert png.width == 320
    with Image.open(save(forecast, tmp_path / "sheet.png")) as png:
        assert png.width == 1500


def test_an_mp4_plays_and_carries_the_run_card(tmp_path, forecast):
    path = save(forecast, tmp_path / "out.mp4", frames_per_second=2, **SMALL)
    import imageio_ffmpeg

    said = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path), "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "h264" in said
    assert "yuv420p" in said
    assert '"persistence"' in said
    assert "Duration: 00:00:02" in said


def test_an_encoder_that_fails_is_said_in_one_line(tmp_path, forecast, monkeypatch):
    monkeypatch.setattr(animation, "_encoder", lambda path: "false")
    with pytest.raises(DataError, match=r"the video encoder stopped.*try \.gif"):
        save(forecast, tmp_path / "out.mp4", **SMALL)
    assert not list(tmp_path.iterdir())


def test_what_is_missing_or_unknown_is_named(tmp_path, forecast, monkeypatch):
    with pytest.raises(ConfigError, match=r"'.jpg'.*\.nc, \.zarr, \.tif.*\.mp4"):
        save(forecast, tmp_path / "out.jpg")
    with pytest.raises(ConfigError, match="frames_per_second=0"):
        save(forecast, tmp_path / "out.gif", frames_per_second=0)
    with pytest.raises(ConfigError, match="theme='blue'"):
        save(forecast, tmp_path / "out.png", theme="blue")
    with pytest.raises(DataError, match="time, y, x"):
        save(forecast[0], tmp_path / "out.mp4")
    with pytest.raises(ConfigError, match="does not exist"):
        save(forecast, tmp_path / "missing" / "out.png", frame=0)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"geoscope\[apps\]"):
        save(forecast, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_a_picture_of_members_is_refused(tmp_path, forecast, suffix):
    members = xr.concat([forecast, forecast], "member")
    with pytest.raises(
        ConfigError, match=r"holds one frame after the other, no members: write \.nc or \.zarr"
    ):
        save(members, tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == []

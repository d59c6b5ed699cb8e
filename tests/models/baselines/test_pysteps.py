"""The classical nowcasts of pysteps behind geoscope's door."""

import io
import sys
import threading
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope.data.events import open_event_file
from geoscope.errors import Cancelled, DataError, MissingExtraError
from geoscope.inference.loading import _load
from geoscope.models.baselines import pysteps_run

SINGLE = ("pysteps-extrapolation", "pysteps-sprog", "pysteps-anvil", "pysteps-linda")
ALL = (*SINGLE, "pysteps-steps")


def showers(frames: int = 5, side: int = 48, seed: int = 3) -> xr.DataArray:
    """Smooth random showers that move one pixel east and half a pixel south a frame, with a little decay."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    rain = np.zeros((frames, side, side), np.float32)
    for row, column, size, peak in random.uniform((4, 0, 2, 4), (side - 8, side - 4, 5, 40), (9, 4)):
        for t in range(frames):
            square = (rows - row - 0.5 * t) ** 2 + (columns - column - t) ** 2
            rain[t] += (peak * 0.95**t * np.exp(-square / (2 * size**2))).astype(np.float32)
    rain[rain < 0.1] = 0.0
    time = np.datetime64("2021-06-01T12:00", "ns") + np.arange(frames) * np.timedelta64(5, "m")
    coords = {"time": time, "y": -1000.0 * np.arange(side), "x": 1000.0 * np.arange(side)}
    return xr.DataArray(
        rain, dims=("time", "y", "x"), coords=coords, name="rain_rate", attrs={"units": "mm/h"}
    )


def exam(past: np.ndarray, leads: int) -> dict[str, np.ndarray]:
    """Extrapolation and S-PROG as users call pysteps: Lucas-Kanade on four frames in dB, six cascade levels."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pysteps import motion, nowcasts
        from pysteps.utils import transformation

        meta = {"transform": None, "unit": "mm/h", "accutime": 5, "threshold": 0.1, "zerovalue": 0.0}
        decibel, _ = transformation.dB_transform(
            np.nan_to_num(past[-4:]), meta, threshold=0.1, zerovalue=-15.0
        )
        velocity = motion.get_method("LK")(decibel)
        carried = nowcasts.get_method("extrapolation")(np.nan_to_num(past[-1]), velocity, leads)
        smooth = nowcasts.get_method("sprog")(
            decibel[-3:], velocity, leads, n_cascade_levels=6, precip_thr=-10.0
        )
    rain = 10 ** (smooth / 10)
    rain[smooth <= -10] = 0
    return {"pysteps-extrapolation": carried, "pysteps-sprog": rain}


@pytest.mark.parametrize("event", ["mch_20160711", "dwd_dx_fbg_20080602_1600"])
def test_extrapolation_and_sprog_are_those_of_pysteps_itself(shared, event):
    field = open_event_file(shared / "realdata" / "radar" / "events" / f"{event}.npz")[:9, 80:208, 80:208]
    for name, expected in exam(field.values, 4).items():
        forecast = gs.nowcast(field, name, lead_steps=4).values
        both = np.isfinite(forecast) & np.isfinite(expected)
        np.testing.assert_allclose(forecast[both], expected[both], rtol=1e-5, atol=1e-5)
        verified = np.isfinite(field.values).all(
            axis=0
        )  # where data is missing pysteps alone says dry, not NaN
        scored, alone = np.nan_to_num(forecast)[:, verified], np.nan_to_num(expected)[:, verified]
        for threshold in (0.5, 1, 2, 5, 10):
            assert ((scored >= threshold) == (alone >= threshold)).all()


@pytest.mark.parametrize("name", ALL)
def test_showers_are_carried_on_and_what_flows_in_is_missing(name):
    rain = showers()
    forecast = gs.nowcast(rain, name, lead_steps=2).values
    assert forecast.dtype == np.float32
    if (
        name != "pysteps-steps"
    ):  # the members of STEPS differ in motion: few pixels come from outside in all of them
        assert np.isnan(forecast[1, :, 0]).mean() > 0.5  # from the west comes what nobody has seen
    known = np.isfinite(forecast[0])
    assert known.mean() > 0.5
    assert forecast[0][known].min() >= 0.0
    truth = showers(6).values[5]
    error = np.abs(forecast[0] - truth)[known].mean()
    assert error < np.abs(rain.values[-1] - truth)[known].mean()


@pytest.mark.parametrize("name", ALL)
def test_missing_pixels_stay_missing_where_they_drift(name):
    rain = showers()
    rain[:, 20:40, 5:25] = np.nan
    forecast = gs.nowcast(rain, name, lead_steps=1).values[0]
    assert np.isnan(forecast[25:35, 10:20]).all()
    assert np.isfinite(forecast[5:15, 30:45]).all()


@pytest.mark.parametrize("name", ALL)
def test_no_rain_gives_no_rain_and_keeps_what_is_missing(name):
    rain = showers() * 0
    rain[:, :, :3] = np.nan
    forecast = gs.nowcast(rain, name, lead_steps=2).values
    assert np.isnan(forecast[:, :, :3]).all()
    assert (forecast[:, :, 3:] == 0).all()


def test_members_of_steps_differ_and_a_seed_repeats_them():
    rain = showers()
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - pysteps seeds the global generator
    first, again, other = (
        gs.nowcast(rain, "pysteps-steps", lead_steps=1, members=2, seed=seed).values for seed in (1, 1, 2)
    )
    assert first.shape == (2, 1, 48, 48)
    np.testing.assert_array_equal(first, again)
    assert np.nanmax(np.abs(first - other)) > 0.1
    assert np.nanmax(np.abs(first[0] - first[1])) > 0.1
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_members_of_linda_are_asked_for_with_seed_and_scale(monkeypatch):
    """LINDA-P takes half a minute on the smallest field: here only what it is asked is looked at."""
    from pysteps import nowcasts

    asked = {}

    def linda(rain, velocity, leads, **options):
        asked.update(options, frames=len(rain))
        return np.ones((options["n_ens_members"], leads, *rain.shape[1:]))

    monkeypatch.setattr(nowcasts, "get_method", {"linda": linda}.__getitem__)
    forecast = gs.nowcast(showers(), "pysteps-linda", lead_steps=2, members=3, seed=7)
    assert forecast.shape == (3, 2, 48, 48)
    assert forecast.values.flags.writeable
    assert asked == {
        "frames": 3, "max_num_features": 15, "n_ens_members": 3, "seed": 7, "kmperpixel": 1.0, "timestep": 5.0,
    }  # fmt: skip


def test_dry_members_are_as_many_as_asked_for():
    assert gs.nowcast(showers() * 0, "pysteps-linda", lead_steps=2, members=3).shape == (3, 2, 48, 48)
    assert gs.nowcast(showers() * 0, "pysteps-steps", lead_steps=2, members=3).shape == (3, 2, 48, 48)


@pytest.mark.parametrize("name", ALL)
def test_pysteps_is_quiet_and_does_not_warn(name, capfd):
    gs.nowcast(showers(), name, lead_steps=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["pysteps-sprog", "pysteps-steps"])
def test_progress_follows_the_leads_and_may_cancel(name):
    seen: list[float] = []

    def stop(stage: str, share: float) -> None:
        seen.append(share)
        if share > 0.4:
            raise Cancelled("stopped by the test")

    with pytest.raises(Cancelled):
        gs.nowcast(showers(), name, lead_steps=8, progress=stop)
    assert seen == sorted(seen)
    assert seen[-1] < 0.9
    assert sys.stdout is not None
    gs.nowcast(showers(), name, lead_steps=1)  # and the lock is free again


def test_a_second_run_waits_and_can_be_cancelled_while_it_waits():
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        leave.wait(60)

    quiet = lambda stage, share: None  # noqa: E731
    thread = threading.Thread(target=pysteps_run.run, args=("first", "stage", 1, quiet, hold))
    thread.start()
    assert inside.wait(60)

    def stop(stage: str, share: float) -> None:
        if "waiting" in stage:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        pysteps_run.run("second", "stage", 1, stop, list)
    leave.set()
    thread.join()


def test_another_thread_prints_while_pysteps_runs(capsys):
    def work() -> None:
        thread = threading.Thread(target=lambda: print("from elsewhere", flush=True))
        thread.start()
        thread.join()
        print("from pysteps", flush=True)

    pysteps_run.run("a model", "stage", 1, lambda stage, share: None, work)
    assert capsys.readouterr().out == "from elsewhere\n"


def change(rain: xr.DataArray, how: str) -> xr.DataArray:
    rain = rain.copy()
    if how == "a dry frame":
        rain[-2] = 0.0
    elif how == "a missing frame":
        rain[-2] = np.nan
    elif how == "no texture":
        rain[:] = 5.0
    elif how == "two frames":
        rain = rain[-2:]
    elif how == "twenty pixels":
        rain = rain[:, :20, :20]
    elif how == "another quantity":
        rain.attrs["units"] = "dBZ"
    return rain


@pytest.mark.parametrize(
    ("how", "name", "message"),
    [
        ("a dry frame", "pysteps-sprog", "needs rain in each of the last 4 frames, the one 1 before"),
        ("a dry frame", "pysteps-anvil", "needs rain in each"),
        ("a dry frame", "pysteps-steps", "needs rain in each"),
        ("a dry frame", "pysteps-linda", "needs rain in each"),
        (
            "a missing frame",
            "pysteps-extrapolation",
            "needs data in each of the last 4 frames, the one 1 before",
        ),
        ("a missing frame", "pysteps-sprog", "needs data in each"),
        ("no texture", "pysteps-sprog", r"cannot forecast this field \(pysteps: .*use model='extrapolation'"),
        ("no texture", "pysteps-linda", r"cannot forecast this field \(pysteps: no features found"),
        ("two frames", "pysteps-sprog", "needs 3 frames"),
        ("two frames", "pysteps-anvil", "needs 4 frames"),
        ("twenty pixels", "pysteps-extrapolation", "grids of at least 32 pixels a side"),
        ("another quantity", "pysteps-steps", "takes rain rate in mm/h"),
    ],
)
def test_what_pysteps_cannot_take_is_refused_in_one_line(how, name, message):
    with pytest.raises(DataError, match=message) as caught:
        gs.nowcast(change(showers(), how), name, lead_steps=1)
    assert "\n" not in str(caught.value)


def test_extrapolation_needs_no_rain_in_older_frames():
    forecast = gs.nowcast(change(showers(), "a dry frame"), "pysteps-extrapolation", lead_steps=1)
    assert float(forecast.max()) > 1.0


@pytest.mark.parametrize("package", ["pysteps", "cv2", "skimage"])
def test_a_missing_extra_is_one_clear_line(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    _load.cache_clear()
    with pytest.raises(MissingExtraError) as caught:
        gs.load_model("pysteps-sprog")
    expected = (
        f"pysteps-sprog needs the extra radar ({package} is not installed): pip install 'geoscope[radar]'"
    )
    assert str(caught.value) == expected


def test_memory_faults_are_not_dressed_up():
    def work() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        pysteps_run.run("a model", "stage", 1, lambda stage, share: None, work)

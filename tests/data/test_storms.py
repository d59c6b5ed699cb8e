"""Simulated storms: the same for the same seed, moving as the flow says, with the look of real rain."""

import json
import math

import numpy as np
import pytest

import geoscope as gs
from geoscope import grids
from geoscope.data.storms import Cells, Flow, StormConfig, Texture, draw_cells, rain_of_cells, simulate_storms
from geoscope.errors import ConfigError

SMALL = StormConfig(frames=5, height=64, width=96)


def spectral_slope(rain, pixel_km, shortest_km=4, longest_km=64):
    """Slope of the radially averaged power spectrum of decibels of rain, over wavelengths in km."""
    n = min(rain.shape)
    decibel = 10 * np.log10(np.maximum(rain[:n, :n], 0.1))
    window = np.hanning(n)
    power = np.abs(np.fft.fft2((decibel - decibel.mean()) * window * window[:, None])) ** 2
    cycles = np.fft.fftfreq(n, 1 / n)
    ring = np.rint(np.hypot(cycles, cycles[:, None])).astype(int).ravel()
    mean = np.bincount(ring, power.ravel())[1 : n // 2] / np.bincount(ring)[1 : n // 2]
    wavelength = n * pixel_km / np.arange(1, n // 2)
    used = (wavelength >= shortest_km) & (wavelength <= longest_km)
    return np.polyfit(np.log(1 / wavelength[used]), np.log(mean[used]), 1)[0]


def one_cell(**changes):
    row = {"x": 0, "y": 0, "birth": 0, "lifetime": 1, "peak": 30, "radius": 3, "stretch": 1, "angle": 0}
    return Cells(**{name: np.array([float(value)]) for name, value in (row | changes).items()})


def test_the_field_is_a_rain_field_labelled_simulated():
    rain = simulate_storms(SMALL)
    assert rain.dims == ("time", "y", "x")
    assert rain.shape == (5, 64, 96)
    assert rain.dtype == np.float32
    assert rain.name == "rain_rate"
    assert rain.attrs["units"] == "mm/h"
    assert (np.diff(rain["y"]) == -1000).all()
    assert (np.diff(rain["x"]) == 1000).all()
    assert grids.interval_minutes(rain) == 5
    assert not grids.has_place(rain)
    assert np.isfinite(rain.values).all()
    for label in ("title", "source", "credit", "long_name"):
        assert "simulated" in rain.attrs[label].lower(), label


def test_the_history_remakes_the_field():
    rain = simulate_storms(SMALL)
    config = StormConfig(**json.loads(rain.attrs["history"].removeprefix("simulated with ")))
    np.testing.assert_array_equal(simulate_storms(config), rain)


def test_another_seed_is_another_storm():
    other = StormConfig(frames=5, height=64, width=96, seed=SMALL.seed + 1)
    assert not np.array_equal(simulate_storms(SMALL), simulate_storms(other))


def test_a_path_by_hand():  # u = 10 + 0.5 y, v = 4, y = 6: in 2 h dx = (10 + 3) * 2 + 0.5 * 0.5 * 4 * 4 = 30
    assert Flow(10.0, 4.0, 0.5).path(1.0, 6.0, 2.0) == (31.0, 14.0)


def test_going_there_and_back_is_where_one_began():
    flow = Flow(30.0, -12.0, 0.1)
    assert flow.path(*flow.path(5.0, 7.0, 1.5), -1.5) == pytest.approx((5.0, 7.0))


def test_a_cell_by_hand():
    x, y = np.arange(-40.0, 41), np.arange(40.0, -41, -1)
    still = Flow(0.0, 0.0, 0.0)
    rain = rain_of_cells(one_cell(), still, x, y, hours=0.5)  # in the middle of its life: at its peak
    assert rain[40, 40] == pytest.approx(30)
    assert rain[40, 43] == pytest.approx(30 / math.e)
    assert rain[40, 40 + 19] == 0  # beyond six radii
    assert rain_of_cells(one_cell(), still, x, y, hours=0.25)[40, 40] == pytest.approx(15)
    assert rain_of_cells(one_cell(), still, x, y, hours=1.0).max() == 0
    assert rain_of_cells(one_cell(birth=0.5), still, x, y, hours=0.5).max() == 0


def test_a_cell_moves_with_the_wind_and_north_is_up():
    x, y = np.arange(-40.0, 41), np.arange(40.0, -41, -1)
    rain = rain_of_cells(one_cell(), Flow(40.0, 20.0, 0.0), x, y, hours=0.5)
    row, column = np.unravel_index(rain.argmax(), rain.shape)
    assert (x[column], y[row]) == (20, 10)


def test_the_texture_is_carried_by_the_flow():
    config = StormConfig(frames=2, height=96, width=96, interval_minutes=30, texture_memory_minutes=1e6)
    flow = Flow(12.0, 20.0, 0.2)
    texture = Texture(config, flow, np.random.default_rng(0))
    x, y = np.arange(96.0) - 47.5, 47.5 - np.arange(96.0)
    before, after = texture.factor(x, y, 0.0), texture.factor(x, y, 0.5)
    for row in (20, 60):  # half an hour: 10 km north, and east by the closed form
        start = flow.path(0.0, y[row], 0.5)[0]
        east = round(float(start))
        shifted = before[row, : 96 - east] if east >= 0 else before[row, -east:]
        found = after[row - 10, east:] if east >= 0 else after[row - 10, :east]
        assert np.corrcoef(np.log(shifted), np.log(found))[0, 1] > 0.95


def test_the_texture_has_mean_one_and_the_strength_asked_for():
    config = StormConfig(height=256, width=256, texture_strength=0.5)
    axis = np.arange(256.0)
    log = [
        np.log(Texture(config, Flow(0, 0, 0), np.random.default_rng(seed)).factor(axis, -axis, 0.0))
        for seed in range(8)
    ]
    assert np.std(log) == pytest.approx(0.5, rel=0.1)
    assert np.mean(np.exp(log)) == pytest.approx(1, abs=0.1)


def test_small_scales_of_the_texture_forget_first():
    texture = Texture(StormConfig(), Flow(0, 0, 0), np.random.default_rng(0))
    assert (np.diff(texture.keep[0]) <= 0).all()
    assert texture.keep[0, 3] > 0.9 > 0.3 > texture.keep[0, -1]


def test_cells_grow_and_decay_during_the_sequence():
    config = StormConfig()
    cells = draw_cells(config, Flow(38.0, 14.0, 0.08), np.random.default_rng(0))
    hours = 35 * 5 / 60
    assert (cells.birth < 0).any()  # the first frame is not empty
    assert ((cells.birth > 0) & (cells.birth + cells.lifetime < hours)).sum() > 10


def test_nothing_rains_where_nothing_is_asked_for():
    config = StormConfig(frames=2, height=64, width=64, clusters_per_1e4_km2=0, band_peak_mm_h=0)
    assert float(simulate_storms(config).max()) == 0


def test_the_rain_looks_like_real_rain(shared):
    """Spectral slope, wet fraction and heavy fraction lie in the range of real 1 km, 5 minute composites."""
    names = ("mch_20150515", "mch_20160711", "fmi_20160928", "knmi_20100826", "dwd_radklim_yw_20170816_0055")
    slopes, wet, heavy = [], [], []
    for name in names:
        with np.load(shared / "realdata" / "radar" / "events" / f"{name}.npz") as event:
            frame = event["rain"][len(event["rain"]) // 2]
        rain = np.where(frame == 65535, 0, frame / 100.0)
        slopes.append(spectral_slope(rain, 1.0))
        wet.append((rain > 0.1).mean())
        heavy.append((rain > 8).mean())
    simulated = gs.sample("simulated-storms").values
    slope = np.mean([spectral_slope(frame, 1.0) for frame in simulated[::7]])
    assert min(slopes) < slope < max(slopes)
    assert min(wet) < (simulated > 0.1).mean() < max(wet)
    assert min(heavy) < (simulated > 8).mean() < max(heavy)
    assert 40 < simulated.max() < 200


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("frames", 0, "at least 1"),
        ("height", 15, "at least 16"),
        ("width", 0, "at least 16"),
        ("interval_minutes", 0, "more than zero"),
        ("pixel_km", -1, "more than zero"),
        ("cell_radius_km", float("nan"), "more than zero"),
        ("texture_strength", -0.1, "zero or more"),
        ("clusters_per_1e4_km2", -1, "zero or more"),
        ("seed", -1, "zero or more"),
        ("start", "noon", "a time such as"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(option, value, expected):
    with pytest.raises(ConfigError, match=f"{option}=.*expected {expected}"):
        StormConfig(**{option: value})

"""Simulated storms: cells that move, grow and decay beside a stratiform band in a sheared flow.

For teaching, for tests and for a first look without data; never a stand-in for an observation, and every
field says so in its title, source and credit. What is simulated, in the order of `simulate_storms`:

- the flow: a wind that changes linearly from south to north, so that paths have a closed form and nothing is
  smeared by repeated interpolation (`Flow`);
- the cells: clusters drift with the flow and give birth to cells; each cell lives for some tens of minutes,
  its rain rises and falls as sin^2 and decays exponentially away from its centre (`draw_cells`,
  `rain_of_cells`);
- the band: a broad front of light rain that drifts with the flow (`rain_of_band`);
- the texture: a Gaussian field with a power-law spectrum, carried by the flow, whose small scales forget
  faster than its large ones (`Texture`); its exponential multiplies all rain.

Inside, x runs east and y north in km from the middle of the grid, and time in hours from the first frame.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from geoscope.errors import ConfigError

TRACE_MM_H = 0.1  # below this a radar sees no rain


@dataclass(frozen=True, kw_only=True)
class StormConfig:
    """What is simulated; the defaults look like a summer afternoon seen by a radar composite."""

    seed: int = 3
    frames: int = 36
    height: int = 256
    width: int = 256
    interval_minutes: float = 5.0
    pixel_km: float = 1.0
    start: str = "2001-07-01T12:00"
    wind_east_km_h: float = 38.0
    wind_north_km_h: float = 14.0
    shear_per_h: float = 0.08  # km/h of eastward wind gained per km to the north
    clusters_per_1e4_km2: float = 0.7
    cells_per_cluster_hour: float = 9.0
    cluster_radius_km: float = 24.0
    cell_lifetime_minutes: float = 45.0
    cell_radius_km: float = 2.6
    cell_peak_mm_h: float = 22.0
    band_peak_mm_h: float = 2.0
    band_width_km: float = 30.0
    band_angle_deg: float = 60.0  # from east, counter-clockwise
    texture_strength: float = 0.85  # standard deviation of the natural logarithm of rain
    texture_slope: float = 2.8  # power falls as wavenumber to minus this, in two dimensions
    texture_memory_minutes: float = 40.0  # of features 32 km long; shorter ones forget faster

    def __post_init__(self) -> None:
        for name in ("frames", "height", "width"):
            least = 1 if name == "frames" else 16
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: expected at least {least}")
        may_be_zero = ("clusters_per_1e4_km2", "cells_per_cluster_hour", "band_peak_mm_h", "texture_strength")
        free = ("seed", "start", "wind_east_km_h", "wind_north_km_h", "shear_per_h", "band_angle_deg")
        for name, value in asdict(self).items():
            if name in may_be_zero and not value >= 0:
                raise ConfigError(f"{name}={value}: expected zero or more")
            if name not in (*may_be_zero, *free) and not value > 0:
                raise ConfigError(f"{name}={value}: expected more than zero")
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: expected zero or more")
        try:
            np.datetime64(self.start, "s")
        except ValueError:
            raise ConfigError(f"start={self.start!r}: expected a time such as 2001-07-01T12:00") from None


@dataclass(frozen=True)
class Flow:
    """Wind east ``u0 + shear * y`` and north ``v``, in km/h; y in km."""

    u0: float
    v: float
    shear: float

    def path(self, x: ArrayLike, y: ArrayLike, hours: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Where a parcel that was at (x, y) in km is after ``hours`` (negative: where it came from)."""
        x, y, hours = np.asarray(x), np.asarray(y), np.asarray(hours)
        east = (self.u0 + self.shear * y) * hours + 0.5 * self.shear * self.v * hours**2
        return x + east, y + self.v * hours


@dataclass(frozen=True)
class Cells:
    """Convective cells, one a row: born at (x, y) km and hour ``birth``; peak in mm/h, radius in km."""

    x: np.ndarray
    y: np.ndarray
    birth: np.ndarray
    lifetime: np.ndarray
    peak: np.ndarray
    radius: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray


def simulate_storms(config: StormConfig | None = None) -> xr.DataArray:
    """Simulated rain (time, y, x) in mm/h, float32, row 0 in the north; the same config gives the same rain.

    The field has x and y in metres and no place on the Earth.
    """
    config = config or StormConfig()
    flow = Flow(config.wind_east_km_h, config.wind_north_km_h, config.shear_per_h)
    cell_seed, texture_seed = np.random.SeedSequence(config.seed).spawn(2)
    x, y = _axes_km(config)
    cells = draw_cells(config, flow, np.random.default_rng(cell_seed))
    texture = Texture(config, flow, np.random.default_rng(texture_seed))
    rain = np.empty((config.frames, config.height, config.width), dtype=np.float32)
    for index in range(config.frames):
        hours = index * config.interval_minutes / 60
        smooth = rain_of_cells(cells, flow, x, y, hours) + rain_of_band(config, flow, x, y, hours)
        frame = smooth * texture.factor(x, y, hours)
        rain[index] = np.where(frame >= TRACE_MM_H, frame, 0)
    return _label(rain, x, y, config)


def _axes_km(config: StormConfig) -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(config.width) - (config.width - 1) / 2) * config.pixel_km
    y = ((config.height - 1) / 2 - np.arange(config.height)) * config.pixel_km
    return x, y


def draw_cells(config: StormConfig, flow: Flow, rng: np.random.Generator) -> Cells:
    """All cells that may rain on the grid.

    Clusters are scattered upwind too, and some cells are born before the first frame.
    """
    hours = (config.frames - 1) * config.interval_minutes / 60
    lead_in = 2 * config.cell_lifetime_minutes / 60
    half_x, half_y = config.width * config.pixel_km / 2, config.height * config.pixel_km / 2
    fastest = abs(flow.u0) + abs(flow.shear) * 2 * half_y + abs(flow.v)
    margin = fastest * (hours + lead_in) + 3 * config.cluster_radius_km
    area = 4 * (half_x + margin) * (half_y + margin)
    clusters = rng.poisson(config.clusters_per_1e4_km2 * area / 1e4)
    centre_x = rng.uniform(-half_x - margin, half_x + margin, clusters)
    centre_y = rng.uniform(-half_y - margin, half_y + margin, clusters)
    vigour = rng.lognormal(-0.125, 0.5, clusters)
    births = rng.poisson(config.cells_per_cluster_hour * vigour * (hours + lead_in))
    parent = np.repeat(np.arange(clusters), births)
    n = len(parent)
    birth = rng.uniform(-lead_in, hours, n)
    x, y = flow.path(centre_x[parent], centre_y[parent], birth)
    size = rng.lognormal(-0.08, 0.4, n)  # strong cells are wide and live long
    return Cells(
        x=x + rng.normal(0, config.cluster_radius_km, n),
        y=y + rng.normal(0, config.cluster_radius_km, n),
        birth=birth,
        lifetime=np.minimum(config.cell_lifetime_minutes / 60 * size, lead_in),
        peak=config.cell_peak_mm_h * size * rng.lognormal(0, 0.4, n),
        radius=config.cell_radius_km * size,
        stretch=rng.uniform(1.0, 1.8, n),
        angle=rng.normal(np.arctan2(flow.v, flow.u0), 0.5, n),
    )


def rain_of_cells(cells: Cells, flow: Flow, x: np.ndarray, y: np.ndarray, hours: float) -> np.ndarray:
    """Rain (H, W) in mm/h of the cells alive at ``hours``.

    The grid is ``x`` (W,) rising and ``y`` (H,) falling, in km. A cell's rain is
    peak * sin^2(pi age / lifetime) * exp(-d), where d in radii along and across its axis goes to 6.
    """
    rain = np.zeros((len(y), len(x)))
    age = hours - cells.birth
    centre_x, centre_y = flow.path(cells.x, cells.y, age)
    reach = 6 * cells.radius * cells.stretch
    alive = (age > 0) & (age < cells.lifetime)
    alive &= (centre_x + reach > x[0]) & (centre_x - reach < x[-1])
    alive &= (centre_y + reach > y[-1]) & (centre_y - reach < y[0])
    for i in np.flatnonzero(alive):
        columns = slice(*np.searchsorted(x, [centre_x[i] - reach[i], centre_x[i] + reach[i]]))
        rows = slice(*np.searchsorted(-y, [-centre_y[i] - reach[i], -centre_y[i] + reach[i]]))
        dx, dy = x[columns] - centre_x[i], (y[rows] - centre_y[i])[:, None]
        cos, sin = np.cos(cells.angle[i]), np.sin(cells.angle[i])
        along = (cos * dx + sin * dy) / (cells.radius[i] * cells.stretch[i])
        across = (cos * dy - sin * dx) / cells.radius[i]
        distance = np.hypot(along, across)
        strength = cells.peak[i] * np.sin(np.pi * age[i] / cells.lifetime[i]) ** 2
        rain[rows, columns] += strength * np.where(distance < 6, np.exp(-distance), 0)
    return rain


def rain_of_band(config: StormConfig, flow: Flow, x: np.ndarray, y: np.ndarray, hours: float) -> np.ndarray:
    """Rain (H, W) in mm/h of the band: Gaussian across a bent line that the flow carries and tilts."""
    from_x, from_y = flow.path(x[None, :], y[:, None], -hours)
    angle = np.deg2rad(config.band_angle_deg)
    from_x = from_x + 0.15 * config.width * config.pixel_km  # starts west of the middle, to be seen passing
    along = np.cos(angle) * from_x + np.sin(angle) * from_y
    across = np.cos(angle) * from_y - np.sin(angle) * from_x
    half = config.band_width_km / 2
    bend = half * (np.sin(along / 31) + 0.6 * np.sin(along / 13 + 1))  # waves of about 200 and 80 km
    return config.band_peak_mm_h * np.exp(-0.5 * ((across - bend) / half) ** 2)


class Texture:
    """A Gaussian field of zero mean and unit variance, carried by the flow, made new bit by bit.

    It is periodic on a square larger than the grid. Each Fourier mode is a first-order autoregression in
    time whose memory shrinks with its wavelength: pieces of rain of 2 km live minutes, those of 64 km hours.
    """

    def __init__(self, config: StormConfig, flow: Flow, rng: np.random.Generator) -> None:
        self.flow, self.rng, self.pixel_km = flow, rng, config.pixel_km
        self.strength, self.step_hours = config.texture_strength, config.interval_minutes / 60
        self.period = _fast_length(max(config.height, config.width) * 3 // 2)
        self.kx = np.fft.rfftfreq(self.period, config.pixel_km)  # cycles per km
        self.ky = np.fft.fftfreq(self.period, config.pixel_km)[:, None]
        k = np.hypot(self.kx, self.ky)
        largest_km = 100.0  # no texture beyond the size of a storm system: the spectrum is flat there
        shape = np.maximum(k, 1 / largest_km) ** (-config.texture_slope / 2)
        shape[0, 0] = 0
        doubled = np.where((self.kx == 0) | (self.kx == self.kx[-1]), 1, 2)
        self.shape = shape * self.period / np.sqrt((doubled * shape**2).sum())
        memory_hours = config.texture_memory_minutes / 60 / np.maximum(32 * k, 32 / largest_km)
        self.keep = np.exp(-self.step_hours / memory_hours)
        self.modes = self._noise()
        self.hours = 0.0

    def _noise(self) -> np.ndarray:
        white = self.rng.standard_normal((self.period, self.period))
        return np.fft.rfft2(white) * self.shape

    def factor(self, x: np.ndarray, y: np.ndarray, hours: float) -> np.ndarray:
        """What multiplies the rain (H, W) at ``hours``: lognormal with mean 1. Call it with rising hours."""
        while self.hours < hours - self.step_hours / 2:
            self.modes = self.keep * self.modes + np.sqrt(1 - self.keep**2) * self._noise()
            self.hours += self.step_hours
        _, from_y = self.flow.path(0.0, y, -hours)
        from_x, _ = self.flow.path(
            x[0], y, -hours
        )  # the row's first pixel; the others follow with the same shift
        row_phase = np.exp(-2j * np.pi * self.ky * from_y[0])  # rows count southwards
        rows = np.fft.ifft(self.modes * row_phase, axis=0)[: len(y)]
        rows = rows * np.exp(2j * np.pi * self.kx * from_x[:, None])
        field = np.fft.irfft(rows, self.period, axis=1)[:, : len(x)]
        return np.exp(self.strength * field - self.strength**2 / 2)


def _fast_length(least: int) -> int:
    """The smallest 2^a 3^b 5^c, even, not below ``least``: the Fourier transform is fast there."""
    best = 1 << (least - 1).bit_length()
    for fives in (1, 5, 25):
        for threes in (1, 3, 9):
            twos = 2
            while twos * threes * fives < least:
                twos *= 2
            best = min(best, twos * threes * fives)
    return best


def _label(rain: np.ndarray, x: np.ndarray, y: np.ndarray, config: StormConfig) -> xr.DataArray:
    seconds = np.rint(np.arange(config.frames) * config.interval_minutes * 60).astype("timedelta64[s]")
    times = (np.datetime64(config.start, "s") + seconds).astype("datetime64[ns]")
    return xr.DataArray(
        rain,
        dims=("time", "y", "x"),
        name="rain_rate",
        coords={
            "time": ("time", times, {"standard_name": "time", "long_name": "simulated time"}),
            "y": ("y", y * 1000, {"units": "m", "long_name": "distance north of the middle"}),
            "x": ("x", x * 1000, {"units": "m", "long_name": "distance east of the middle"}),
        },
        attrs={
            "units": "mm/h",
            "long_name": "simulated rain rate",
            "standard_name": "rainfall_rate",
            "title": "Simulated storms (not an observation)",
            "source": f"simulated by geoscope.data.storms with seed {config.seed}; not an observation",
            "credit": "Simulated by geoscope, not an observation",
            "licence": "Apache-2.0",
            "history": "simulated with " + json.dumps(asdict(config)),
        },
    )

"""A field that a page has open: the data, its times, its place on the map, and what to say about it."""

import hashlib
from dataclasses import dataclass

import numpy as np
import xarray as xr

import geoscope as gs
from geoscope import grids
from geoscope.errors import DataError
from geoscope.reprojection import MercatorTable

MAX_BYTES = 2_000_000_000  # of a field in memory, per open field


@dataclass(frozen=True, eq=False)
class OpenField:
    """A field (time, y, x) in memory, ready to be drawn and forecast.

    `times` (N,) are datetime64[s] in UTC, `step` is the interval as timedelta64[s], `missing_share` the part of all
    values that holds no data, in [0, 1]; `digest` is a sha256 over values, times and place.
    """

    source: str
    title: str
    rain: xr.DataArray
    table: MercatorTable
    times: np.ndarray
    step: np.timedelta64
    missing_share: float
    digest: str
    is_simulated: bool = False

    @classmethod
    def of(cls, source: str, title: str, rain: xr.DataArray, *, is_simulated: bool = False) -> "OpenField":
        """Read the field into memory and look its pixels up on the map.

        Raises:
            DataError: it is too large, not evenly spaced in time, or its coordinates make no sense.
        """
        if rain.size * 4 > MAX_BYTES:
            raise DataError(
                f"{title}: the field needs {rain.size * 4 / 1e9:.1f} GB in memory, this page takes at most "
                f"{MAX_BYTES / 1e9:g} GB; open fewer files, or cut the field in Python and save it"
            )
        minutes = grids.interval_minutes(rain)
        values = rain.astype(np.float32).compute()
        table = MercatorTable.for_field(values)
        times = values["time"].values.astype("datetime64[s]")
        digest = hashlib.sha256(np.ascontiguousarray(values.values).tobytes())
        digest.update(times.tobytes() + table.key.encode())
        return cls(
            source=source,
            title=title,
            rain=values,
            table=table,
            times=times,
            step=np.timedelta64(round(minutes * 60), "s"),
            missing_share=float(np.isnan(values.values).mean()),
            digest=digest.hexdigest(),
            is_simulated=is_simulated,
        )

    @property
    def frames(self) -> int:
        """How many frames were observed."""
        return len(self.times)

    @property
    def units(self) -> str:
        """The unit of the values; mm/h for rain rate."""
        return str(self.rain.attrs.get("units", "")) or "no unit"

    @property
    def quantity(self) -> str:
        """What the values are, in words."""
        return str(self.rain.attrs.get("long_name") or self.rain.name or "value").replace("_", " ")

    @property
    def credit(self) -> str:
        """The line that stands under every picture."""
        return str(self.rain.attrs.get("credit") or self.rain.attrs.get("source") or "source not stated")

    def time_at(self, index: int) -> np.datetime64:
        """The valid time of a frame of the page's axis, also past the last observed one."""
        return self.times[0] + index * self.step

    def summary(self) -> list[tuple[str, str]]:
        """What was read, as (label, value) pairs of plain text."""
        rows, cols = self.rain.shape[1:]
        down, across = grids.pixel_size_km(self.rain)
        pixel = f"{across:.3g} km" if abs(down - across) < 0.02 * across else f"{across:.3g} x {down:.3g} km"
        span = self.times[-1] - self.times[0]
        return [
            ("Source", str(self.rain.attrs.get("source") or self.title)),
            ("Quantity", f"{self.quantity}, {self.units}"),
            ("Grid", f"{cols} x {rows} pixels of {pixel}" + ("" if self.table.has_place else ", no place")),
            ("Interval", say_duration(self.step)),
            ("Span", f"{say_time(self.times[0])} - {say_time(self.times[-1])} ({say_duration(span)})"),
            ("Frames", str(self.frames)),
            ("Missing", f"{100 * self.missing_share:.1f} %"),
        ]

    def default_issue(self, lead_steps: int) -> int:
        """The issue frame that leaves ``lead_steps`` frames of truth to verify with, and at least two to start from."""
        return int(np.clip(self.frames // 2, min(3, self.frames - 1), max(self.frames - 1 - lead_steps, 1)))


def open_sample(name: str) -> OpenField:
    """A sample that ships with the library.

    Raises:
        DataError: no such sample.
    """
    info = next((info for info in gs.list_samples() if info.name == name), None)
    rain = gs.sample(name)
    title = info.title if info else name
    return OpenField.of(f"sample:{name}", title, rain, is_simulated=bool(info and info.is_simulated))


def say_time(time: np.datetime64) -> str:
    """A time as "14 Sep 2018 06:00 UTC"."""
    moment = time.astype("datetime64[s]").item()
    return f"{moment.day} {moment:%b %Y %H:%M} UTC"


def say_duration(duration: np.timedelta64) -> str:
    """A duration as "5 min", "3 h" or "1 d 4 h"."""
    minutes = round(duration / np.timedelta64(60, "s"))
    days, rest = divmod(abs(minutes), 1440)
    hours, minutes_left = divmod(rest, 60)
    parts = (
        [f"{days} d"] * bool(days)
        + [f"{hours} h"] * bool(hours)
        + [f"{minutes_left} min"] * bool(minutes_left)
    )
    return ("-" if minutes < 0 else "") + (" ".join(parts) or "0 min")

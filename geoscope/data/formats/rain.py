"""From what a radar file holds to rain in mm/h: accumulations, reflectivity, and the units people write."""

from dataclasses import dataclass, field

import numpy as np

NO_ECHO_DBZ = -32.5  # stands for "looked, nothing there"; the lowest value of 8-bit composites
HIGHEST_DBZ = 60.0  # above it echoes are hail or clutter, and Z-R would give more than 200 mm/h
_NO_ECHO_LIMIT = -32.0


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a file's numbers become: `name` and `attrs` of the field, and the arithmetic to get there."""

    name: str
    attrs: dict[str, object] = field(default_factory=dict)
    factor: float = 1.0
    zr: tuple[float, float] | None = None

    def convert(self, values: np.ndarray) -> np.ndarray:
        """The field (float32, NaN kept) from the file's physical values (dBZ where `zr` is set)."""
        values = np.asarray(values, dtype=np.float32)
        if self.zr is not None:
            return rain_rate_from_reflectivity(values, *self.zr)
        return values if self.factor == 1.0 else values * np.float32(self.factor)


def rain_rate_from_reflectivity(dbz: np.ndarray, a: float = 200.0, b: float = 1.6) -> np.ndarray:
    """Rain rate in mm/h from reflectivity in dBZ by Z = a R^b; exactly 0 up to -32 dBZ; NaN stays NaN.

    Echoes above 60 dBZ count as 60 dBZ: they are hail or clutter, for which no Z-R holds. The defaults are
    Marshall and Palmer (1948), for stratiform rain.
    """
    rate = np.minimum(np.asarray(dbz, dtype=np.float32), np.float32(HIGHEST_DBZ)) * np.float32(0.1 / b)
    np.power(np.float32(10.0), rate, out=rate)
    rate *= np.float32(a ** (-1.0 / b))
    rate[np.asarray(dbz) <= _NO_ECHO_LIMIT] = 0.0
    return rate


def rain_rate(factor: float = 1.0, **attrs: object) -> Quantity:
    """A rain rate; `factor` turns the file's unit into mm/h."""
    about: dict[str, object] = {"units": "mm/h", "long_name": "rain rate", "standard_name": "rainfall_rate"}
    return Quantity(name="rain_rate", attrs=about | attrs, factor=factor)


def accumulated_rain(minutes: float, millimetres: float = 1.0) -> Quantity:
    """The mean rain rate over the `minutes` of an accumulation whose unit is `millimetres` mm."""
    return rain_rate(
        millimetres * 60.0 / minutes,
        long_name=f"rain rate, mean of {minutes:g} minutes",
        accumulation_minutes=float(minutes),
        cell_methods="time: mean",
    )


def reflectivity(zr: tuple[float, float] | None) -> Quantity:
    """Rain rate by Z = a R^b, or reflectivity itself where `zr` is None."""
    if zr is None:
        about: dict[str, object] = {
            "units": "dBZ",
            "long_name": "radar reflectivity",
            "standard_name": "equivalent_reflectivity_factor",
            "no_echo_dbz": NO_ECHO_DBZ,
        }
        return Quantity(name="reflectivity", attrs=about)
    a, b = zr
    rate = rain_rate(zr_relation=f"Z = {a:g} R^{b:g}", reflectivity_cap_dbz=HIGHEST_DBZ)
    return Quantity(name=rate.name, attrs=rate.attrs, zr=(a, b))


# Factor to mm/h of a rate; water of 1 kg m-2 is 1 mm deep.
_RATES = {
    "mm/h": 1.0,
    "mm h-1": 1.0,
    "kg m-2 h-1": 1.0,
    "mm/day": 1 / 24,
    "mm day-1": 1 / 24,
    "mm d-1": 1 / 24,
    "mm/s": 3600.0,
    "mm s-1": 3600.0,
    "kg m-2 s-1": 3600.0,
    "kg/m2/s": 3600.0,
    "m/s": 3.6e6,
    "m s-1": 3.6e6,
}
_DEPTHS = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "kg m-2": 1.0, "kg/m2": 1.0, "cm": 10.0}


def _plain_unit(units: str) -> str:
    text = units.strip().strip("[]").replace("**", "").replace("^", "").replace("·", " ").replace(".", " ")
    for long, short in (("mm/hour", "mm/h"), ("mm/hr", "mm/h"), ("mm hr-1", "mm h-1"), ("hour-1", "h-1")):
        text = text.replace(long, short)
    text = text.replace("kg/(m2 s)", "kg m-2 s-1").replace("kg/m2s", "kg m-2 s-1").replace("mm/hr", "mm/h")
    return " ".join(text.split())


def rate_factor(units: str) -> float | None:
    """mm/h in one of these `units` of a rain rate, or None when they are no rate."""
    return _RATES.get(_plain_unit(units))


def depth_factor(units: str) -> float | None:
    """Millimetres in one of these `units` of accumulated rain, or None when they are no depth."""
    return _DEPTHS.get(_plain_unit(units))


def is_reflectivity(units: str) -> bool:
    """Whether these units are logarithmic reflectivity."""
    return units.strip().lower() in ("dbz", "dbz0")

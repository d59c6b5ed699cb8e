"""How much variance a field has at each wavelength: does the forecast blur, or invent detail?"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from geoscope.errors import ShapeError
from geoscope.metrics.sums import Sums, known_pair, ratio

SHARE_KEPT = 0.5  # of the observed power: with less of it a scale counts as smoothed away
BAND = 2**0.5  # a ring is judged by those from its wavenumber over this to times this: an octave


@dataclass(frozen=True, eq=False)
class SpectrumSums(Sums):
    """Sums over frames of radially averaged power, float64 (wavenumber,), and the frames."""

    frames: Any
    forecast: np.ndarray
    observed: np.ndarray


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ring of each Fourier coefficient (flat) by its rounded radial wavenumber, and the coefficients in each ring."""
    longest = max(height, width)
    down = np.fft.fftfreq(height)[:, None] * longest
    across = np.fft.fftfreq(width)[None, :] * longest
    ring = np.rint(np.hypot(down, across)).astype(np.int64).ravel()
    ring = np.where(ring <= longest // 2, ring, longest // 2 + 1)  # beyond the Nyquist ring: the corners
    return ring, np.bincount(ring, minlength=longest // 2 + 2)


def radial_power(field: np.ndarray) -> np.ndarray:
    """Radially averaged power of (H, W) at 0, 1, ... max(H, W) // 2 waves per longest side, in the unit squared.

    The power of a coefficient is its squared magnitude over the number of pixels; unknown values count as zero.
    On a square field this is the `rapsd` of pysteps.
    """
    if field.ndim != 2:
        raise ShapeError(f"a spectrum needs a field (H, W), not the shape {field.shape}")
    filled = np.where(np.isnan(field), 0.0, field).astype(np.float64)
    power = np.square(np.abs(np.fft.fft2(filled))).ravel() / field.size
    ring, often = _rings(*field.shape)
    total = np.bincount(ring, weights=power, minlength=len(often))
    return (total / np.maximum(often, 1))[:-1]


def sum_spectra(forecast: Any, observed: Any) -> SpectrumSums:
    """Power of one frame (H, W) of each field, both zero where either is unknown, so that the gaps are the same.

    A frame without any known pixel does not count. No window is applied: edges leak into all wavelengths of both
    fields alike, which is why the ratio says more than either.

    Raises:
        ShapeError: the two arrays differ in shape or are not (H, W).
    """
    forecast, observed, known = known_pair(forecast, observed)
    powers = [radial_power(np.where(known, field, np.nan)) for field in (forecast, observed)]
    return SpectrumSums(int(known.any()), powers[0], powers[1])


def spectrum_of_forecast(sums: SpectrumSums) -> np.ndarray:
    """Mean power of the forecast by wavenumber."""
    return ratio(sums.forecast, np.asarray(sums.frames)[..., None])


def spectrum_of_observed(sums: SpectrumSums) -> np.ndarray:
    """Mean power of the observations by wavenumber."""
    return ratio(sums.observed, np.asarray(sums.frames)[..., None])


def spectrum_ratio(sums: SpectrumSums) -> np.ndarray:
    """Power of the forecast over that observed, by wavenumber: below 1 is blurred, above 1 too rough."""
    return ratio(sums.forecast, sums.observed)


def smoothed_from(share: np.ndarray, least: float = SHARE_KEPT) -> int | None:
    """The wavenumber from which on a forecast keeps less than ``least`` of the observed power; None if it keeps it.

    ``share`` (wavenumber,) is a `spectrum_ratio`, from 0 waves on. Single rings are noisy, so each is judged by the
    median of the octave around it; rings without any power are left out.
    """
    waves = np.arange(len(share))
    kept = last = 0
    for wave in waves[1:]:
        band = share[(waves >= wave / BAND) & (waves <= wave * BAND) & (waves > 0)]
        band = band[np.isfinite(band)]
        if band.size:
            last = int(wave)
            kept = last if np.median(band) >= least else kept
    return None if kept == last else kept + 1


def wavelengths(height: int, width: int) -> np.ndarray:
    """Wavelength in pixels of each ring of `radial_power`; infinite for the mean."""
    waves = np.arange(max(height, width) // 2 + 1, dtype=np.float64)
    return np.divide(max(height, width), waves, out=np.full(waves.shape, np.inf), where=waves > 0)

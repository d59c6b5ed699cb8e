"""sRGB and CIELAB, to build colour scales whose lightness is known.

Source: IEC 61966-2-1 (sRGB) and CIE 15:2004 (L*a*b*), white point D65, 2 degree observer.
"""

import numpy as np

_RGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _RGB_TO_XYZ.sum(axis=1)


def to_linear(rgb: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] of sRGB values 0..255, any shape (..., 3)."""
    value = np.asarray(rgb, dtype=np.float64) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def from_linear(linear: np.ndarray) -> np.ndarray:
    """sRGB uint8 of linear light, clipped to what a screen can show."""
    value = np.clip(linear, 0.0, 1.0)
    coded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.round(coded * 255.0).astype(np.uint8)


def srgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """L* (0..100), a*, b* of sRGB values 0..255, shape (..., 3)."""
    xyz = to_linear(rgb) @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def _lab_to_linear(lab: np.ndarray) -> np.ndarray:
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f**3 > 216 / 24389, f**3, (116 * f - 16) * 27 / 24389) * _WHITE
    return xyz @ np.linalg.inv(_RGB_TO_XYZ).T


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """sRGB uint8 of L*a*b* (..., 3); what no screen can show loses chroma, not lightness or hue."""
    lab = np.asarray(lab, dtype=np.float64)
    low, high = np.zeros(lab.shape[:-1]), np.full(lab.shape[:-1], 2.0)  # of the chroma asked for
    for _ in range(20):
        middle = (low + high) / 2
        linear = _lab_to_linear(lab * np.stack([np.ones_like(middle), middle, middle], axis=-1))
        fits = ((linear > -1e-4) & (linear < 1 + 1e-4)).all(axis=-1)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    low = np.minimum(low, 1.0)
    return from_linear(_lab_to_linear(lab * np.stack([np.ones_like(low), low, low], axis=-1)))

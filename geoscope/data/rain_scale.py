"""Rain on the scale of a network of frames, and back."""

import numpy as np

_FINE = 10.0  # 1 / 0.1 mm/h: rain of a tenth of a millimetre an hour is told from none
_FULL_MM_H = 100.0  # becomes 1


def encode_rain(rain: np.ndarray) -> np.ndarray:
    """Rain in mm/h on a network's scale: log(1 + 10 R) / log(1 + 10 * 100), so 0 is 0 and 100 mm/h is 1."""
    return (np.log1p(_FINE * rain) / np.log1p(_FINE * _FULL_MM_H)).astype(np.float32)


def decode_rain(values: np.ndarray) -> np.ndarray:
    """Back to mm/h; what lies below zero is no rain."""
    rain = np.expm1(np.maximum(values, 0) * np.log1p(_FINE * _FULL_MM_H)) / _FINE
    return rain.astype(np.float32)

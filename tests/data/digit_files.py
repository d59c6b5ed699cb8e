"""MNIST's file of digits and the random numbers of a published N-body set, small, for the tests that read them."""

import struct

import numpy as np


def write_digits(folder, images: np.ndarray) -> None:
    """MNIST's training file in ``folder``, with ``images`` (N, 28, 28) and the first two again."""
    images = np.concatenate((images, images[:2]))  # a file of MNIST holds twelve at least
    header = struct.pack(">4I", 0x803, len(images), 28, 28)
    (folder / "train-images-idx3-ubyte").write_bytes(header + images.astype(np.uint8).tobytes())


def numbers(count: int = 2) -> dict[str, np.ndarray]:
    """The arrays of a file for ``count`` sequences of three digits out of twelve."""
    random = np.random.default_rng(0)
    return {
        "digit_indices": random.integers(0, 12, (count, 3)),
        "affine_transforms_multipliers": random.uniform(0, 1, (count, 3, 2)),
        "init_velocity_angle": random.uniform(0, 6, (count, 3)),
        "init_velocity_magnitude": random.uniform(0, 2, (count, 3)),
    }

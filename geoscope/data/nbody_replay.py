"""N-body MNIST with the random numbers of a published set: the very sequences, made again from MNIST's digits.

The generator published with Earthformer (Gao et al. 2022) draws all its random numbers first and keeps them in an
`.npz`; its numbers cannot be drawn again from a seed. With that file and MNIST's training file the same sequences come
out. What the published sets leave at rest (scale, rotation, brightness, random acceleration) is not simulated.
"""

from pathlib import Path

import numpy as np

from geoscope.data.digits import load_digits
from geoscope.data.formats.faults import check_bytes, fault, reading
from geoscope.data.frame_samples import frame_sample
from geoscope.data.nbody_mnist import NBodyConfig, simulate

_AT_REST = {
    "appearance_mult": 1.0,
    "scale_variation": 1.0,
    "base_rotation_angle": 0.0,
    "random_acceleration_magnitude": 0.0,
}
_LARGEST = 1 << 30
_CURE = "take the file of the published set"


class ReplayedNBody:
    """The sequences of a published file of random numbers as a map-style dataset; samples as from `NBodyMnist`."""

    def __init__(self, path: str | Path, folder: str | Path, config: NBodyConfig | None = None) -> None:
        """``folder`` holds the MNIST file whose digits the published numbers count, the training file.

        Raises:
            DataError: a file is missing or damaged, asks for digits that are not there, or for what is not simulated.
        """
        self.path, self.config = Path(path), config or NBodyConfig()
        digits = load_digits(folder)
        self.images, self.source = digits.images, f"N-body MNIST, {self.path.name}, digits of {digits.source}"
        with (
            reading(self.path, "random numbers of N-body MNIST"),
            self.path.open("rb") as file,  # numpy leaves a damaged file open
            np.load(file, allow_pickle=False) as archive,
        ):
            check_bytes(self.path, self.path.stat().st_size, _LARGEST, "random numbers")
            self.chosen = self._array(archive, "digit_indices", ())
            self.place = self._array(archive, "affine_transforms_multipliers", (2,))
            self.angle = self._array(archive, "init_velocity_angle", ())
            self.speed = self._array(archive, "init_velocity_magnitude", ())
            for name, value in _AT_REST.items():
                if name in archive.files and not (archive[name] == value).all():
                    raise fault(self.path, f"{name} = {value:g} throughout", "other values", _CURE)
        highest = int(self.chosen.max(initial=0))
        if self.chosen.min(initial=0) < 0 or highest >= len(self.images):
            cure = "name the folder of MNIST's training file"
            raise fault(
                self.path, f"digits below {len(self.images)}, those of {digits.source}", highest, cure
            )

    def _array(self, archive: np.lib.npyio.NpzFile, name: str, rest: tuple[int, ...]) -> np.ndarray:
        """One array (N, digits, ...) of the file."""
        if name not in archive.files:
            raise fault(self.path, f"an array {name}", ", ".join(archive.files) or "nothing", _CURE)
        array = archive[name]
        count = len(array) if name == "digit_indices" else len(self.chosen)
        if array.shape != (count, self.config.digits, *rest) or not np.isfinite(array).all():
            expected = f"{name} of {self.config.digits} digits a sequence, finite"
            raise fault(self.path, expected, f"shape {array.shape}", _CURE)
        return array

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        images = self.images[self.chosen[index]]
        frames = simulate(images, self.place[index], self.angle[index], self.speed[index], self.config)
        return frame_sample(frames, self.config.in_frames)

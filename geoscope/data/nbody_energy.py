"""Total energy of N-body digits, and the sequences with the energy of each frame beside it.

The pull of `nbody_mnist.accelerations` is the slope of a potential: for "r0" G m m' sqrt(d^2 + s^2) for each pair at
distance d with softening s, for "r1" half of G m m' ln(d^2 + s^2), for "r2" -G m m' / sqrt(d^2 + s^2). Kinetic and
potential energy together stay nearly the same along a sequence: the time step, the walls and above all the speed limit
of the published generator change them a little. Units: canvas pixels squared a raw step squared, for mass 1.

Source: the energy that PreDiff (Gao et al. 2023) controls on N-body MNIST. Its code and units are not public, so its
E.MSE and E.MAE are on another scale than energies from here.
"""

import numpy as np

from geoscope.data.frame_samples import SPLITS, frame_sample
from geoscope.data.nbody_mnist import Film, NBodyConfig, NBodyMnist, accelerations
from geoscope.errors import ShapeError


def kinetic_energy(velocities: np.ndarray, config: NBodyConfig) -> np.ndarray:
    """Half of mass times speed squared, added over bodies: (..., N, 2) to (...), float64."""
    return 0.5 * config.mass * np.square(velocities.astype(np.float64)).sum(axis=(-2, -1))


def potential_energy(positions: np.ndarray, config: NBodyConfig) -> np.ndarray:
    """The potential of all pairs of corners, (..., N, 2) to (...), float64; zero for a single body or without force."""
    first, second = np.triu_indices(positions.shape[-2], k=1)
    x = positions.astype(np.float64)
    squared = np.square(x[..., first, :] - x[..., second, :]).sum(axis=-1) + config.softening**2
    pairs = {
        "none": np.zeros_like(squared),
        "r0": np.sqrt(squared),
        "r1": 0.5 * np.log(squared),
        "r2": -1.0 / np.sqrt(squared),
    }[config.force]
    return config.gravity * config.mass**2 * pairs.sum(axis=-1)


def total_energy(positions: np.ndarray, velocities: np.ndarray, config: NBodyConfig) -> np.ndarray:
    """Kinetic and potential energy (...) of states (..., N, 2), float64.

    Raises:
        ShapeError: positions and velocities are not both (..., N, 2).
    """
    if positions.shape != velocities.shape or positions.ndim < 2 or positions.shape[-1] != 2:
        raise ShapeError(
            f"positions {positions.shape} and velocities {velocities.shape}: expected (..., N, 2) both"
        )
    return kinetic_energy(velocities, config) + potential_energy(positions, config)


def film_energy(film: Film, config: NBodyConfig) -> np.ndarray:
    """Energies (T,) float64 of the frames of a film.

    The simulator's velocity leads to a place; the one that belongs to the place is half a step of pull further. With
    it the energy is kept to the second order of the step.
    """
    pull = np.stack([accelerations(place.astype(np.float64), config) for place in film.positions])
    return total_energy(film.positions, film.velocities + pull / 2, config)


class NBodyEnergies(NBodyMnist):
    """`NBodyMnist` with a third array in each sample, ``energy`` (T + T',) float32: that of each frame."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        film = self.film_of(index)
        energy = film_energy(film, self.config).astype(np.float32)
        return {**frame_sample(film.frames, self.config.in_frames), "energy": energy}

    def film_of(self, index: int) -> Film:
        """Sample ``index`` with its states and digits."""
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count}")
        random = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        chosen = self.images[random.integers(0, len(self.images), self.config.digits)]
        return self.film(chosen, random)

"""Energies of N-body digits: by hand, conserved, and read again out of the frames."""

import numpy as np
import pytest

from geoscope.data.nbody_energy import NBodyEnergies, film_energy, potential_energy, total_energy
from geoscope.data.nbody_mnist import Film, NBodyConfig, NBodyMnist, accelerations, simulate_states
from geoscope.data.nbody_tracker import read_energy, track_digits, velocities_from_places
from geoscope.errors import ConfigError, ShapeError


def test_by_hand():
    """Two bodies 3 and 4 apart, softening 12: the root of 25 + 144 is 13; speeds 5 and 1."""
    config = NBodyConfig(digits=2, softening=12.0, gravity=0.5, mass=2.0)
    places, velocities = np.array([[1.0, 1], [4, 5]]), np.array([[3.0, 4], [0, 1]])
    assert total_energy(places, velocities, config) == pytest.approx(0.5 * 2 * (25 + 1) + 0.5 * 4 * 13)
    assert potential_energy(places, NBodyConfig(softening=12.0, force="r2")) == pytest.approx(-0.05 / 13)
    assert potential_energy(places, NBodyConfig(force="none")) == 0
    assert potential_energy(places[:1], config) == 0


@pytest.mark.parametrize("force", ["r0", "r1", "r2"])
def test_the_pull_is_the_slope_of_the_potential(force):
    config = NBodyConfig(force=force)
    places = np.random.default_rng(0).uniform(0, 100, (3, 2))
    for body in range(3):
        for axis in range(2):
            way = np.zeros((3, 2))
            way[body, axis] = 1e-4
            slope = potential_energy(places + way, config) - potential_energy(places - way, config)
            assert accelerations(places, config)[body, axis] == pytest.approx(
                -slope / 2e-4, rel=1e-4, abs=1e-9
            )


def test_without_walls_and_limit_the_energy_stays():
    config = NBodyConfig(size=4096, speed_limit=100.0)
    start = np.array([[4000.0, 4000], [4030, 4010], [3990, 4040]])
    velocity = np.array([[0.5, 0], [-0.3, 0.4], [0, -0.6]])
    states = simulate_states(start, velocity, np.full((3, 2), 20), 400, config)
    energy = film_energy(Film(np.zeros(0), *states, ()), config)
    assert np.ptp(energy) < 0.01 * energy.mean()  # measured 0.0014
    assert np.ptp(energy) < np.ptp(potential_energy(states[0], config)) / 50


def test_sequences_come_with_their_energies():
    samples, plain = NBodyEnergies(count=3, seed=5), NBodyMnist(count=3, seed=5)
    sample = samples[1]
    for name in ("input", "target"):
        np.testing.assert_array_equal(sample[name], plain[1][name])
    assert (sample["energy"].shape, sample["energy"].dtype) == ((20,), np.float32)
    film = samples.film_of(1)
    np.testing.assert_allclose(sample["energy"], film_energy(film, samples.config), rtol=1e-6)
    assert film.positions.shape == film.velocities.shape == (20, 3, 2)
    for index in (3, -1):
        with pytest.raises(IndexError):
            samples[index]


def test_velocities_by_hand():
    """A body that speeds up along x, and turns at a wall along y."""
    config = NBodyConfig(steps_per_frame=1, speed_limit=50.0)
    places = np.array([[0.0, 0], [1, 3], [3, 6], [6, 4]])[:, None]
    found = velocities_from_places(places, config)[:, 0]
    np.testing.assert_allclose(found[:, 0], [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(found[:, 1], [3, 3, 3, -2])
    with pytest.raises(ShapeError, match="1 frames of places: expected 2"):
        velocities_from_places(places[:1], config)


@pytest.fixture(scope="module")
def film():
    config = NBodyConfig(in_frames=3, out_frames=3)
    return NBodyEnergies(count=1, seed=3, split="test", config=config).film_of(0), config


def test_digits_are_found_again_to_a_quarter_pixel_and_energies_with_them(film):
    film, config = film
    past = film.positions[:3]
    places = track_digits(film.frames[3:], film.digits, past, config)
    assert np.abs(places - film.positions[3:]).max() < 0.3  # measured 0.14; places are multiples of 0.25
    energy = read_energy(film.frames[3:], film.digits, past, config)
    assert np.abs(energy - film_energy(film, config)[3:]).max() < 0.5  # of about 10


def test_blurred_and_noisy_frames_still_show_where_the_digits_are(film):
    film, config = film
    frames = film.frames[3:]
    blurred = (frames + np.roll(frames, 1, 1) + np.roll(frames, 1, 2) + np.roll(frames, (1, 1), (1, 2))) / 4
    noisy = np.clip(blurred + np.random.default_rng(0).normal(0, 0.05, frames.shape), 0, 1)
    places = track_digits(noisy, film.digits, film.positions[:3], config)
    # the blur itself moves them by half a pixel of a frame, one of the canvas
    assert np.abs(places - 1.0 - film.positions[3:]).max() < 1.0


def test_what_cannot_be_tracked_is_refused(film):
    film, config = film
    with pytest.raises(ConfigError, match="no digits to look for"):
        track_digits(film.frames, (), film.positions[:1], config)
    with pytest.raises(ShapeError, match=r"expected \(time, 64, 64\)"):
        track_digits(film.frames[:, :32], film.digits, film.positions[:1], config)
    with pytest.raises(ShapeError, match=r"expected \(1 or more frames, 3, 2\)"):
        track_digits(film.frames, film.digits, film.positions[0], config)
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., N, 2\) both"):
        total_energy(film.positions, film.velocities[:2], config)

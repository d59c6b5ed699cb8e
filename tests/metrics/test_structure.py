"""Spectrum, similarity and objects, by hand and merged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics import objects, similarity, spectrum
from geoscope.metrics.accumulate import Verification

NAN = float("nan")
RNG = np.random.default_rng(2)


def test_a_single_wave_has_its_power_in_its_ring():
    columns = np.arange(16)
    wave = 3.0 * np.cos(2 * np.pi * 4 * columns / 16) * np.ones((16, 1)) + 2.0
    power = spectrum.radial_power(wave)
    assert power[0] == pytest.approx((2 * 256) ** 2 / 256)
    ring = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(16) * 16, np.fft.fftfreq(16) * 16))) == 4
    assert power[4] == pytest.approx(2 * (1.5 * 256) ** 2 / 256 / ring.sum())
    np.testing.assert_allclose(np.delete(power, [0, 4]), 0, atol=1e-18)
    assert spectrum.wavelengths(16, 16)[4] == 4
    assert np.isinf(spectrum.wavelengths(16, 12)[0])


def test_a_wave_keeps_its_wavelength_whatever_the_shape():
    rows = np.arange(12)[:, None]
    power = spectrum.radial_power(np.cos(2 * np.pi * rows / 6) * np.ones((1, 24)))
    assert int(power.argmax()) == 4  # 24 / 6 waves on the longest side
    assert spectrum.wavelengths(12, 24)[4] == 6


def test_the_ratio_is_the_square_of_the_factor():
    truth = RNG.normal(size=(9, 12))
    sums = spectrum.sum_spectra(0.5 * truth, truth)
    np.testing.assert_allclose(spectrum.spectrum_ratio(sums), 0.25)
    np.testing.assert_allclose(
        spectrum.spectrum_of_forecast(sums), 0.25 * spectrum.spectrum_of_observed(sums)
    )


@pytest.mark.parametrize(
    ("share", "wave"),
    [
        (np.ones(20), None),
        (np.where(np.arange(20) < 6, 1.0, 0.1), 6),
        (np.where(np.arange(20) == 12, 1.0, np.where(np.arange(20) < 6, 1.0, 0.1)), 6),  # one ring is noise
        (np.full(20, 0.1), 1),
        (np.where(np.arange(20) < 3, 0.1, 2.0), None),  # too rough at the end: nothing is smoothed away there
        (np.array([1.0, NAN, NAN, NAN]), None),  # a dry field
    ],
)
def test_from_where_on_a_forecast_is_smooth(share, wave):
    assert spectrum.smoothed_from(share) == wave


def test_gaps_are_the_same_in_both_fields():
    truth, guess = RNG.normal(size=(2, 8, 8))
    truth[2, 3] = guess[5] = NAN
    blank = np.isnan(truth) | np.isnan(guess)
    sums = spectrum.sum_spectra(guess, truth)
    np.testing.assert_allclose(sums.observed, spectrum.radial_power(np.where(blank, 0, truth)))
    assert spectrum.sum_spectra(guess * NAN, truth).frames == 0


def test_equal_fields_are_similar_and_flat_ones_differ_by_their_means():
    field = RNG.uniform(0, 50, (12, 13))
    assert similarity.structural_similarity(
        similarity.sum_similarity(field, field, value_range=50)
    ) == pytest.approx(1)
    sums = similarity.sum_similarity(np.full((11, 12), 4.0), np.full((11, 12), 3.0), value_range=100)
    assert sums.windows == 2
    assert similarity.structural_similarity(sums) == pytest.approx((2 * 12 + 1) / (25 + 1))


def test_windows_with_a_gap_are_left_out():
    one, other = RNG.uniform(0, 50, (2, 16, 16))
    one[0, 0] = other[15, 15] = NAN
    sums = similarity.sum_similarity(one, other, value_range=50)
    assert sums.windows == 36 - 2
    inner = similarity.sum_similarity(one[1:, :], other[1:, :], value_range=50)
    assert inner.windows == 30 - 1
    blank = similarity.sum_similarity(one * NAN, other, value_range=50)
    assert np.isnan(similarity.structural_similarity(blank))


def flood(is_wet):
    """Labels by walking from pixel to pixel."""
    labels, count = np.zeros(is_wet.shape, int), 0
    for start in zip(*np.nonzero(is_wet), strict=True):
        if labels[start]:
            continue
        count += 1
        walk = [start]
        while walk:
            row, column = walk.pop()
            if not (0 <= row < is_wet.shape[0] and 0 <= column < is_wet.shape[1]):
                continue
            if is_wet[row, column] and not labels[row, column]:
                labels[row, column] = count
                walk += [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return labels, count


@settings(max_examples=80)
@given(is_wet=hnp.arrays(bool, (7, 9)))
def test_objects_are_those_of_a_walk(is_wet):
    labels, count = objects.label_objects(is_wet)
    walked, expected = flood(is_wet)
    assert count == expected
    pairs = set(zip(labels.ravel().tolist(), walked.ravel().tolist(), strict=True))
    assert len(pairs) == expected + (not is_wet.all())  # one name for each, the dry ground included
    assert ((labels == 0) == ~is_wet).all()


def test_sal_by_hand():
    observed, forecast = np.zeros((3, 4)), np.zeros((3, 4))
    observed[0, 0] = 4.0
    forecast[0, [2, 3]] = 4.0  # twice the rain in an object twice as large, 2.5 pixels to the east
    sums = objects.sum_sal(forecast, observed)
    assert objects.sal_amplitude(sums) == pytest.approx(2 * (8 - 4) / 12)
    assert objects.sal_structure(sums) == pytest.approx(2 * (2 - 1) / 3)  # scaled volumes 8 / 4 and 4 / 4
    assert objects.sal_location(sums) == pytest.approx(2.5 / 5)
    swapped = objects.sum_sal(observed, forecast)
    both = sums + swapped
    assert objects.sal_structure(both) == objects.sal_amplitude(both) == 0
    assert objects.sal_structure_magnitude(both) == pytest.approx(2 / 3)
    assert objects.sal_amplitude_magnitude(both) == pytest.approx(2 / 3)


def test_scattered_objects_lie_further_from_their_centre():
    observed, forecast = np.zeros((3, 4)), np.zeros((3, 4))
    observed[1, [1, 2]] = 1.0  # one object at the centre of mass, column 1.5
    forecast[1, [0, 3]] = 1.0  # two objects, 1.5 to either side
    assert objects.sal_location(objects.sum_sal(forecast, observed)) == pytest.approx(2 * 1.5 / 5)


def test_dry_frames_have_no_objects():
    wet = np.ones((3, 4))
    one_dry = objects.sum_sal(wet * 0, wet)
    assert objects.sal_amplitude(one_dry) == -2
    assert np.isnan(objects.sal_structure(one_dry))
    for nothing in (objects.sum_sal(wet * 0, wet * 0), objects.sum_sal(wet * NAN, wet)):
        assert np.isnan(objects.sal_amplitude(nothing))
    assert (one_dry + objects.sum_sal(wet, wet)).object_frames == 1


@settings(max_examples=10)
@given(cut=st.integers(0, 3), seed=st.integers(0, 99))
def test_merged_halves_are_the_whole(cut, seed):
    fields = np.random.default_rng(seed).gamma(0.3, 5, (2, 3, 12, 13))
    fields[np.random.default_rng(seed + 1).uniform(size=fields.shape) < 0.02] = NAN
    families = {"spectrum": True, "sal": True, "similarity_range": 50.0}
    leads = np.array([5, 10, 5])

    def fed(part):
        return Verification((1,), **families).update(fields[0][part], fields[1][part], leads[part])

    whole, merged = fed(slice(None)), fed(slice(cut)) + fed(slice(cut, None))
    for name in (
        "ssim",
        "sal_structure",
        "sal_amplitude",
        "sal_location",
        "spectrum_ratio",
        "sal_structure_magnitude",
    ):
        np.testing.assert_allclose(merged.overall(name), whole.overall(name), rtol=1e-9, err_msg=name)


def test_fields_that_do_not_suit_are_refused():
    field = np.zeros((12, 12))
    for count in (spectrum.sum_spectra, objects.sum_sal):
        with pytest.raises(ShapeError, match=r"\(H, W\)"):
            count(field[None], field[None])
    with pytest.raises(ShapeError, match="11 x 11"):
        similarity.sum_similarity(field[:5], field[:5], value_range=1)
    with pytest.raises(ConfigError, match="value_range=0"):
        similarity.sum_similarity(field, field, value_range=0)
    with pytest.raises(ConfigError, match="similarity_range=-1"):
        Verification(similarity_range=-1)
    with pytest.raises(ConfigError, match="probability_bins=0"):
        Verification(probability_bins=0)
    with pytest.raises(ShapeError, match="do not add up"):
        spectrum.sum_spectra(field, field) + spectrum.sum_spectra(field[:4, :4], field[:4, :4])

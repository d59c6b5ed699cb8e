"""Colour scales: hand-worked classes, lightness, colour blindness, and the classes that are not rain."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoscope.errors import ConfigError
from geoscope.viz import colours
from geoscope.viz.colour_space import from_linear, lab_to_srgb, srgb_to_lab, to_linear
from geoscope.viz.colours import (
    DRY,
    FIRST,
    NO_DATA,
    OUTCOME,
    OUTSIDE,
    RAIN,
    RAIN_DIFFERENCE,
    RAIN_PERCEPTUAL,
    probability_scale,
    scale_for,
)

SCALES = [RAIN, RAIN_PERCEPTUAL, RAIN_DIFFERENCE]

# Complete colour vision deficiency: matrices for linear sRGB of Machado, Oliveira and Fernandes (2009).
# Severity 1. Neighbours count as distinct when their CIE 1976 difference exceeds 4 (2.3 is just noticeable).
DEFICIENCIES = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def seen(rgb, deficiency):
    return srgb_to_lab(from_linear(to_linear(rgb) @ np.array(DEFICIENCIES[deficiency]).T))


def test_lab_of_known_colours():
    lab = srgb_to_lab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 255], [0, 0, 0]]))
    np.testing.assert_allclose(
        lab, [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [0, 0, 0]], atol=0.03
    )


def test_lab_comes_back_and_unshowable_colours_keep_their_lightness():
    rgb = np.array([[12, 200, 99], [250, 128, 3], [77, 77, 78]], np.uint8)
    np.testing.assert_array_equal(lab_to_srgb(srgb_to_lab(rgb)), rgb)
    assert srgb_to_lab(lab_to_srgb(np.array([[60.0, 150.0, -90.0]])))[0, 0] == pytest.approx(60, abs=0.5)


def test_rain_classes_by_hand():
    values = np.array(
        [[np.nan, -1, 0, 0.0999], [0.1, 0.19, 0.2, 0.5], [1.99, 2, 119.9, 120], [500, np.inf, 6, 5.999]]
    )
    expected = [[NO_DATA, DRY, DRY, DRY], [3, 3, 4, 5], [6, 7, 15, 16], [16, 16, 9, 8]]
    result = RAIN.classify(values)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_difference_classes_by_hand():
    values = np.array([-80, -50, -0.51, -0.5, -0.49, 0, 0.49, 0.5, 0.99, 1, 49, 50, np.nan], np.float32)
    # ten classes below zero (3..12) and ten above (13..22); an edge belongs to the bin above it
    np.testing.assert_array_equal(
        RAIN_DIFFERENCE.classify(values), [3, 4, 12, DRY, DRY, DRY, DRY, 13, 13, 14, 21, 22, NO_DATA]
    )


@pytest.mark.parametrize("scale", SCALES, ids=lambda s: s.name)
@given(
    values=hnp.arrays(np.float32, 50, elements=st.floats(-300, 300, width=32) | st.just(np.float32(np.nan)))
)
def test_classes_are_those_of_a_plain_search(scale, values):
    bins = np.searchsorted(np.array(scale.edges, np.float32), values, side="right")
    if scale.kind == "diverging":
        middle = len(scale.edges) // 2
        plain = np.where(bins == middle, DRY, np.where(bins > middle, bins + 2, bins + 3))
    else:
        plain = np.where(bins == 0, DRY, bins + 2)
    np.testing.assert_array_equal(scale.classify(values), np.where(np.isnan(values), NO_DATA, plain))


@pytest.mark.parametrize("scale", SCALES, ids=lambda s: s.name)
def test_every_edge_begins_its_own_class(scale):
    edges = np.array(scale.edges, np.float32)
    below = np.nextafter(edges, np.float32(-np.inf))
    assert (scale.classify(edges) != scale.classify(below)).all()


@pytest.mark.parametrize("scale", [RAIN, RAIN_PERCEPTUAL], ids=lambda s: s.name)
def test_lightness_falls_on_light_and_rises_on_dark(scale):
    light, dark = (srgb_to_lab(scale.palette(t)[FIRST:, :3])[:, 0] for t in ("light", "dark"))
    assert (np.diff(light) < 0).all()
    assert (np.diff(dark) > 0).all()
    assert np.ptp(light) > 75
    assert np.ptp(dark) > 70


def test_a_difference_is_lightest_or_darkest_in_the_middle():
    for theme, sign in (("light", 1), ("dark", -1)):
        lightness = sign * srgb_to_lab(RAIN_DIFFERENCE.palette(theme)[FIRST:, :3])[:, 0]
        assert (np.diff(lightness[:10]) > 0).all()
        assert (np.diff(lightness[10:]) < 0).all()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_neighbouring_rain_classes_differ_for_colour_blind_eyes(theme, deficiency):
    lab = seen(RAIN.palette(theme)[FIRST:, :3], deficiency)
    assert np.linalg.norm(np.diff(lab, axis=0), axis=1).min() > 4
    gap = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 100 * np.eye(len(lab))
    assert gap.min() > 4  # no two classes at all look the same


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_wet_and_dry_differences_are_told_apart_by_colour_blind_eyes(theme, deficiency):
    lab = seen(RAIN_DIFFERENCE.palette(theme)[FIRST:, :3], deficiency)
    assert np.linalg.norm(lab[:10] - lab[:9:-1], axis=1).min() > 8


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dry_no_data_and_outside_look_different_on_the_map(theme):
    picture = RAIN.rgba(np.array([[OUTSIDE, NO_DATA, DRY, FIRST]] * 9, np.uint8), theme)
    land = 245.0 if theme == "light" else 35.0
    alpha = picture[..., 3:] / 255.0
    shown = picture[..., :3] * alpha + land * (1 - alpha)
    assert (picture[:, 0, 3] == 0).all()  # outside: nothing drawn
    assert len(np.unique(shown[:, 1], axis=0)) == 2  # no data: hatched
    dry, empty, wet = shown[0, 2], shown[0, 0], shown[0, 3]
    for one, other in ((dry, empty), (dry, wet), (empty, wet)):
        assert np.abs(one - other).max() > 2
    assert np.abs(shown[:, 1] - dry).max(axis=1).min() > 20


def test_opacity_scales_every_class_and_palettes_are_copies():
    classes = np.array([[DRY, FIRST]], np.uint8)
    assert RAIN.rgba(classes, opacity=0.5)[0, 1, 3] == 128
    RAIN.palette()[:] = 0
    assert RAIN.palette()[FIRST, 3] == 255
    assert RAIN.classes == len(RAIN.palette()) == 17


def test_labels_and_titles_for_the_colour_bar():
    assert RAIN.labels()[:4] == ["0.1", "0.2", "0.5", "1"]
    assert RAIN.title == "Rain rate (mm/h)"
    assert RAIN_DIFFERENCE.labels()[0] == "-50"
    assert RAIN_DIFFERENCE.labels()[-1] == "+50"
    assert len(RAIN.hex_colours("dark")) == 14
    assert RAIN.hex_colours()[0].startswith("#")


def quantity(units, values=(0.0, 10.0), name="vil", **attrs):
    return xr.DataArray(np.array(values), dims="x", name=name, attrs={"units": units, **attrs})


def test_the_scale_follows_the_units():
    assert scale_for(quantity("mm/h")) is RAIN
    assert scale_for(quantity("mm h-1"), "diverging") is RAIN_DIFFERENCE
    assert scale_for(xr.DataArray([1.0], dims="x", name="rain_rate"), "perceptual") is RAIN_PERCEPTUAL
    vil = scale_for(quantity("kg m-2", long_name="vertically integrated liquid"))
    assert vil.title == "Vertically integrated liquid (kg m-2)"
    assert vil.edges[0] == 0.1
    assert scale_for(quantity("dBZ")).edges[-1] == 65
    assert scale_for(quantity("dBZ"), "diverging").title == "Difference of vil (dBZ)"


@given(low=st.floats(-1e4, 1e4), span=st.floats(0, 1e4))
def test_an_unknown_quantity_gets_round_steps_over_its_range(low, span):
    field = quantity("K", (low, low + span))
    scale = scale_for(field)
    assert 2 <= len(scale.edges) <= 16
    assert scale.edges[0] <= low + span + 1
    scale.classify(field.values)
    scale_for(field, "diverging").classify(field.values)
    scale_for(field, "perceptual").classify(field.values)


def test_the_range_of_a_sequence_is_taken_from_some_of_its_frames():
    values = np.linspace(270.0, 294.0, 100)[:, None, None] * np.ones((1, 4, 4))
    scale = scale_for(xr.DataArray(values, dims=("time", "y", "x"), name="t", attrs={"units": "K"}))
    assert scale.edges[0] == 272
    assert scale.edges[-1] in (292, 294)


def test_steps_are_round_numbers_also_without_any_value():
    assert scale_for(quantity("K", (270.0, 294.0))).edges[:3] == (272.0, 274.0, 276.0)
    assert scale_for(quantity("K", (np.nan, np.nan))).edges[0] == pytest.approx(0.1)
    assert colours.round_step(0.03) == pytest.approx(0.05)


def test_scales_that_cannot_work_are_refused_by_name():
    with pytest.raises(ConfigError, match="theme='blue'"):
        RAIN.palette("blue")
    with pytest.raises(ConfigError, match="kind='rainbow'"):
        scale_for(quantity("mm/h"), "rainbow")
    with pytest.raises(ConfigError, match="rising numbers"):
        colours.ColourScale("x", "stepped", "x", "", (1.0, 0.5))
    with pytest.raises(ConfigError, match="mirror"):
        colours.ColourScale("x", "diverging", "x", "", (-1.0, 2.0))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chance_grows_in_one_direction_and_looks_like_no_amount(theme):
    scale = probability_scale(5.0)
    assert scale.title == "Probability of ≥ 5 mm/h (%)"
    np.testing.assert_array_equal(
        scale.classify(np.array([0.0, 4.9, 5.0, 100.0])), [DRY, DRY, FIRST, FIRST + 10]
    )
    colours = scale.palette(theme)[FIRST:, :3].astype(int)
    steps = np.diff(colours.sum(axis=1))
    assert (steps < 0).all() if theme == "light" else (steps > 0).all()
    rain = RAIN.palette(theme)[FIRST:, :3].astype(int)
    nearest = np.abs(colours[:, None] - rain[None]).sum(-1).min(axis=1)
    assert (nearest > 30).mean() > 0.6


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_outcomes_have_a_class_and_a_colour_each(theme):
    codes = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    np.testing.assert_array_equal(OUTCOME.classify(codes), [DRY, FIRST, FIRST + 1, FIRST + 2, NO_DATA])
    assert OUTCOME.labels() == ["hit", "miss", "false alarm"]
    hit, miss, alarm = OUTCOME.palette(theme)[FIRST:, :3].astype(int)
    assert miss[0] > alarm[0] + 90  # red and blue: also with red-green blindness
    assert alarm[2] > miss[2] + 90
    assert np.ptp(hit) < min(np.ptp(miss), np.ptp(alarm))  # what is right recedes


@pytest.mark.parametrize("kind", ["probability", "outcome"])
def test_a_field_has_no_scale_of_chances_by_itself(kind):
    with pytest.raises(ConfigError, match="stepped, perceptual or diverging"):
        scale_for(xr.DataArray(np.zeros((2, 2))), kind)

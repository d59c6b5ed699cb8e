"""Line charts as SVG: where points land, what gaps and empty charts look like, that texts are safe."""

import re

import numpy as np
import pytest

from geoscope.viz.line_svg import BOTTOM, LEFT, RIGHT, TOP, line_chart_svg

LOOK = {"name": "a <b>", "colour": "#123456", "dash": "solid"}


def chart(lines, **options):
    return line_chart_svg(lines, x_label="Lead (min)", y_label="CSI", width=400, height=240, **options)


def points(text):
    return [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', text)[0].split()]


def test_corners_of_the_spans_are_corners_of_the_plot():
    text = chart([{"x": [0.0, 60.0], "y": [0.0, 1.0], **LOOK}], x_span=(0, 60), y_span=(0, 1))
    assert points(text) == [(LEFT, 240 - BOTTOM), (400 - RIGHT, TOP)]
    for words in ("Lead (min)", "CSI", ">60<", ">0.2<"):
        assert words in text


def test_a_logarithmic_axis_may_run_backwards():
    text = chart(
        [{"x": [100.0, 10.0, 1.0], "y": [1.0, 2.0, 3.0], **LOOK}],
        x_span=(100, 1),
        y_span=(1, 3),
        is_log_x=True,
    )
    xs = [x for x, _ in points(text)]
    assert xs[0] == LEFT
    assert xs[1] == pytest.approx((LEFT + 400 - RIGHT) / 2, abs=0.1)
    assert ">50<" in text


def test_a_gap_interrupts_the_line_and_nothing_is_drawn_where_nothing_is():
    values = np.array([1.0, 2.0, np.nan, 2.0, 1.0])
    text = chart([{"x": np.arange(5.0), "y": values, **LOOK}])
    assert text.count("<polyline") == 2
    assert text.count("<circle") == 4
    assert "nan" not in text
    assert "<polyline" not in chart(
        [{"x": np.arange(2.0), "y": np.array([0.0, -1.0]), **LOOK}], is_log_y=True
    )


def test_an_empty_chart_still_has_its_axes():
    assert "CSI" in chart([])
    assert "<polyline" not in chart([])


def test_names_are_escaped():
    assert "a &lt;b&gt;" in chart([{"x": [0.0, 1.0], "y": [1.0, 1.0], **LOOK}])

"""Regions of a field: shares of pixels counted by hand, every way to give one, and what is refused."""

import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr

from geoscope.errors import ConfigError
from geoscope.inference.regions import region_weights


@pytest.fixture
def rain() -> xr.DataArray:
    """20 x 30 pixels of one degree's tenth, x from 10 east, y from 50 north down."""
    return xr.DataArray(
        np.ones((2, 20, 30), np.float32),
        dims=("time", "y", "x"),
        coords={"y": 50.0 - 0.1 * np.arange(20), "x": 10.0 + 0.1 * np.arange(30)},
    ).rio.write_crs("EPSG:4326")


RING = [(10.45, 49.55), (11.45, 49.55), (11.45, 48.75), (10.45, 48.75)]  # on the edges of 10 x 8 pixels


def test_nothing_is_all_of_the_field(rain):
    assert region_weights(rain, None) is None


def test_a_polygon_on_pixel_edges_is_whole_pixels(rain):
    weights = region_weights(rain, RING)
    expected = np.zeros((20, 30), np.float32)
    expected[5:13, 5:15] = 1.0
    np.testing.assert_array_equal(weights, expected)


def test_a_pixel_that_is_half_inside_weighs_a_half(rain):
    half = [(x + 0.05, y) for x, y in RING]
    weights = region_weights(rain, half)
    assert weights[6, 5] == pytest.approx(0.5)
    assert weights[6, 15] == pytest.approx(0.5)
    assert weights.sum() == pytest.approx(80.0)


@pytest.mark.parametrize("wrap", ["plain", "feature", "collection"])
def test_geojson_in_degrees_is_the_same_polygon(rain, wrap):
    geometry = {"type": "Polygon", "coordinates": [[*RING, RING[0]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    collection = {"type": "FeatureCollection", "features": [feature]}
    given = {"plain": geometry, "feature": feature, "collection": collection}[wrap]
    np.testing.assert_array_equal(region_weights(rain, given), region_weights(rain, RING))


def test_geojson_is_brought_to_the_field_s_projection(rain):
    projected = rain.rio.write_crs("EPSG:3857").assign_coords(
        x=1_113_000.0 + 1_000.0 * np.arange(30), y=6_446_000.0 - 1_000.0 * np.arange(20)
    )
    ring = [(10.05, 49.98), (10.2, 49.98), (10.2, 49.9), (10.05, 49.9), (10.05, 49.98)]
    weights = region_weights(projected, {"type": "Polygon", "coordinates": [ring]})
    # 0.15 degrees of longitude are 16.7 km of Mercator, 0.08 of latitude at 50 degrees 13.9
    assert weights.sum() == pytest.approx(16.7 * 13.9, rel=0.05)


def test_a_mask_is_taken_as_it_is(rain):
    mask = np.zeros((20, 30), bool)
    mask[:5] = True
    assert region_weights(rain, mask).sum() == 150
    assert region_weights(rain, xr.DataArray(mask, dims=("y", "x"))).dtype == np.float32


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (np.ones((20, 29)), r"region has shape \(20, 29\), the field's frames \(20, 30\)"),
        (np.full((20, 30), 2.0), "must hold values from 0 to 1"),
        (np.full((20, 30), np.nan), "must hold values from 0 to 1"),
        (
            [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)],
            "region lies outside the field, or has no area: its x run from 10",
        ),
        ([(10.5, 49.0), (11.0, 49.0), (11.5, 49.0)], "has no area"),
        ([(10.5, 49.0), (10.7, 49.0), (10.7, 49.2)], "fewer than 16: draw a larger one"),
        ([(10.5, 49.0), (11.0, 49.0)], "a polygon of three or more points"),
        ("Bavaria", "a polygon of three or more points"),
        ({"type": "Point", "coordinates": [10, 49]}, "GeoJSON of type 'Point': give a Polygon"),
        ({"type": "FeatureCollection", "features": []}, "GeoJSON of type 'FeatureCollection'"),
    ],
)
def test_what_is_no_region_is_refused(rain, region, words):
    with pytest.raises(ConfigError, match=words):
        region_weights(rain, region)


def test_degrees_need_a_place_and_polygons_need_axes(rain):
    geometry = {"type": "Polygon", "coordinates": [[*RING, RING[0]]]}
    nowhere = rain.drop_vars("spatial_ref")
    with pytest.raises(ConfigError, match="the field has no place on the Earth"):
        region_weights(nowhere, geometry)
    bent = rain.drop_vars(("x", "y")).assign_coords(
        x=(("y", "x"), np.ones((20, 30))), y=(("y", "x"), np.ones((20, 30)))
    )
    with pytest.raises(ConfigError, match="give the region as a mask"):
        region_weights(bent, RING)

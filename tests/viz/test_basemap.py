"""The base map: clipping by hand, known places on land and at sea, graticule and a true scale bar."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoscope.errors import ConfigError
from geoscope.grids import great_circle_km
from geoscope.reprojection import WORLD_WIDTH, from_mercator, to_mercator
from geoscope.viz import basemap
from geoscope.viz.natural_earth import repack

SQUARE = (0.0, 0.0, 10.0, 10.0)


def extent_of(west, south, east, north):
    x, y = to_mercator([west, east], [south, north])
    return (float(x[0]), float(y[0]), float(x[1]), float(y[1]))


CAROLINA = extent_of(-80, 32, -74, 37)


def area(ring):
    x, y = ring.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def covers(polygons, lon, lat):
    px, py = (float(v) for v in to_mercator(lon, lat))
    inside = False
    for ring in (ring for rings in polygons for ring in rings):
        for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if (ay > py) != (by > py) and px < (bx - ax) * (py - ay) / (by - ay) + ax:
                inside = not inside
    return inside


def test_a_ring_is_cut_at_the_edge_by_hand():
    ring = np.array([[5.0, 5], [15, 5], [15, 8], [5, 8]])
    np.testing.assert_allclose(area(basemap.clip_ring(ring, SQUARE)), 15)
    assert len(basemap.clip_ring(ring + 20, SQUARE)) == 0
    np.testing.assert_allclose(
        area(basemap.clip_ring((ring - 6) * 100, SQUARE)), 100
    )  # all around the extent


@given(st.lists(st.tuples(st.floats(-20, 30), st.floats(-20, 30)), min_size=3, max_size=3))
def test_a_clipped_triangle_never_grows_and_stays_inside(corners):
    ring = np.array(corners)
    cut = basemap.clip_ring(ring, SQUARE)
    if len(cut):
        assert cut.min() >= -1e-9
        assert cut.max() <= 10 + 1e-9
        assert area(cut) <= area(ring) + 1e-6


def test_a_line_is_cut_into_the_pieces_inside_by_hand():
    zigzag = np.array([[-5.0, 5], [5, 5], [5, 15], [7, 15], [7, 5]])
    pieces = basemap.clip_lines(
        [zigzag, np.array([[20.0, 20], [30, 30]]), np.array([[-5.0, -5], [15, 15]])], SQUARE
    )
    assert [p.tolist() for p in pieces] == [[[0, 5], [5, 5], [5, 10]], [[7, 10], [7, 5]], [[0, 0], [10, 10]]]


def test_land_and_sea_are_where_they_are():
    land = basemap.land(CAROLINA)
    assert covers(land, -78.6, 35.8)  # Raleigh
    assert not covers(land, -75.0, 33.0)  # the Atlantic
    caspian = basemap.land(extent_of(40, 30, 60, 50))
    assert not covers(caspian, 51.0, 42.0)  # a hole in the land
    assert covers(caspian, 44.5, 40.2)  # Yerevan


@settings(max_examples=12, deadline=None)
@given(lon=st.floats(-175, 150), lat=st.floats(-70, 65), size=st.floats(1, 60))
def test_every_layer_stays_inside_its_extent(lon, lat, size):
    x0, y0, x1, y1 = extent = extent_of(lon, lat, lon + size, min(lat + size, 84))
    lines = [*basemap.coast(extent), *basemap.borders(extent)]
    rings = [r for rings in basemap.land(extent) for r in rings]
    rings += [r for _, rings in basemap.countries(extent) for r in rings]
    for points in [*lines, *rings, *(g.points for g in basemap.graticule(extent))]:
        assert points[:, 0].min() >= x0 - 1e-3
        assert points[:, 0].max() <= x1 + 1e-3
        assert points[:, 1].min() >= y0 - 1e-3
        assert points[:, 1].max() <= y1 + 1e-3


def test_countries_carry_their_names():
    names = {name for name, _ in basemap.countries(extent_of(5, 45, 12, 49))}
    assert {"Switzerland", "Germany", "Italy", "Austria"} <= names
    assert basemap.borders(extent_of(5, 45, 12, 49))


def test_the_world_repeats_past_the_antimeridian():
    fiji = extent_of(177, -19, 179, -16)
    moved = (fiji[0] + WORLD_WIDTH, fiji[1], fiji[2] + WORLD_WIDTH, fiji[3])
    for here, there in zip(basemap.coast(fiji), basemap.coast(moved), strict=True):
        np.testing.assert_allclose(there - here, np.array([[WORLD_WIDTH, 0.0]] * len(here)), atol=1e-3)
    across = basemap.land(extent_of(170, 60, 200, 70))  # Chukotka on both sides
    assert covers(across, 176, 66)
    assert covers(across, 188, 66)


def test_a_wide_map_uses_the_coarse_files():
    world = (-WORLD_WIDTH / 2, -1.5e7, WORLD_WIDTH / 2, 1.5e7)
    assert sum(map(len, basemap.coast(world))) < sum(map(len, basemap.coast(world, "50m"))) / 5


def test_graticule_labels_are_round_degrees():
    grid = basemap.graticule(CAROLINA)
    assert [g.label for g in grid if g.is_meridian] == ["80°W", "78°W", "76°W", "74°W"]
    assert [g.label for g in grid if not g.is_meridian] == ["32°N", "33°N", "34°N", "35°N", "36°N", "37°N"]
    np.testing.assert_allclose(from_mercator(*grid[1].points[0])[0], -78)
    labels = {g.label for g in basemap.graticule(extent_of(170, -30, 200, 20))}
    assert {"180°", "170°W", "0°", "20°S"} <= labels
    assert {"0.2°E", "0.5°N"} <= {g.label for g in basemap.graticule(extent_of(0.1, 0.05, 0.9, 0.95), 8)} | {
        "0.5°N"
    }


@pytest.mark.parametrize("south", [-5.0, 34.0, 60.0])
def test_the_scale_bar_is_true_on_the_ground(south):
    x0, y0, x1, y1 = extent = extent_of(-80, south, -74, south + 6)
    bar = basemap.scale_bar(extent)
    lon, lat = from_mercator([x0, x0 + bar.length], [(y0 + y1) / 2] * 2)
    assert great_circle_km(lon[0], lat[0], lon[1], lat[1]) == pytest.approx(bar.km, rel=2e-3)
    assert bar.label == f"{bar.km:g} km"
    assert 0.08 < bar.length / (x1 - x0) <= 0.25
    assert str(bar.km)[0] in "125"


def test_a_plain_map_has_a_plain_scale_bar():
    bar = basemap.scale_bar((0.0, 0.0, 3000.0, 2000.0), has_place=False)
    assert (bar.km, bar.length, bar.label) == (0.5, 500.0, "500 m")


def test_wrong_extents_and_scales_are_refused():
    with pytest.raises(ConfigError, match="extent"):
        basemap.coast((0.0, 0.0, -1.0, 1.0))
    with pytest.raises(ConfigError, match="'10m'"):
        basemap.land(CAROLINA, "10m")


def test_the_packed_files_are_the_shapefiles(shared):
    folder = shared / "redistributable/natural_earth/shapefiles/natural_earth"
    for scale in ("110m", "50m"):
        with np.load(basemap._FOLDER / f"ne_{scale}.npz", allow_pickle=False) as file:
            for name, array in repack.pack(folder, scale).items():
                np.testing.assert_array_equal(file[name], array)


def test_the_maker_says_what_it_misses(tmp_path):
    header = (
        b"\x03"
        + bytes(3)
        + (0).to_bytes(4, "little")
        + (65).to_bytes(2, "little")
        + (11).to_bytes(2, "little")
    )
    column = b"other".ljust(11, b"\0") + b"C" + bytes(4) + bytes([10]) + bytes(15)
    (tmp_path / "a.dbf").write_bytes(header.ljust(32, b"\0") + column + b"\r")
    with pytest.raises(SystemExit, match="no column called name"):
        repack.read_names(tmp_path / "a.dbf")

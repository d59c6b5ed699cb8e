"""The index table from Web Mercator pixels to field pixels, against analytic places and against pyproj."""

import numpy as np
import pyproj
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geoscope import grids, reprojection
from geoscope.errors import ConfigError, DataError, ShapeError
from geoscope.reprojection import WORLD_WIDTH, MercatorTable, from_mercator, to_mercator

LAEA = "+proj=laea +lat_0=55 +lon_0=10 +x_0=1950000 +y_0=-2100000 +datum=WGS84 +units=m"
POLAR = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +a=6370040 +b=6370040 +units=km"


def placed(shape, x, y, crs=None, lonlat=None) -> xr.DataArray:
    coords = {"y": y, "x": x} if x is not None else {}
    if crs is not None:
        wkt = pyproj.CRS.from_user_input(crs).to_wkt()
        coords["spatial_ref"] = xr.DataArray(0, attrs={"crs_wkt": wkt})
    if lonlat is not None:
        coords |= {"lon": (("y", "x"), lonlat[0]), "lat": (("y", "x"), lonlat[1])}
    return xr.DataArray(
        np.arange(np.prod(shape), dtype=np.float32).reshape(shape), dims=("y", "x"), coords=coords
    )


def projected(h=40, w=30, pixel=4000.0, crs=LAEA, x0=1.8e6, y0=-2.0e6) -> xr.DataArray:
    return placed((h, w), x0 + pixel * np.arange(w), y0 - pixel * np.arange(h), crs)


def geographic(lon0=100.0, lat0=40.0, h=20, w=25, step=0.1) -> xr.DataArray:
    return placed((h, w), lon0 + step * np.arange(w), lat0 - step * np.arange(h), "EPSG:4326")


def curvilinear(field: xr.DataArray) -> xr.DataArray:
    return placed(field.shape, None, None, lonlat=grids.lonlat(field))


GRIDS = {
    "projected": projected(),
    "projected in km": projected(pixel=4.0, crs=POLAR, x0=-300.0, y0=-4000.0),
    "geographic": geographic(),
    "geographic 0..360": geographic(lon0=250.0),
    "curvilinear": curvilinear(projected()),
    "plain": placed((12, 9), 500.0 * np.arange(9), 3000.0 - 500.0 * np.arange(12)),
    "no coordinates": xr.DataArray(np.zeros((6, 5)), dims=("y", "x")),
    "uneven": placed((6, 5), np.array([0, 1, 3, 6, 10.0]), np.array([9, 7, 4, 3, 2, 0.0])),
    "antimeridian": geographic(lon0=178.5, lat0=-17.0),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_centre_of_every_pixel_comes_back_as_that_pixel(name):
    field = GRIDS[name]
    table = MercatorTable.for_field(field)
    rows, cols = np.indices(field.shape)
    mx, my = table.position_of(rows, cols)
    x0, y0, x1, y1 = table.extent
    assert ((mx > x0) & (mx < x1) & (my > y0) & (my < y1)).all()
    found = table.pixels_at(mx, my)
    np.testing.assert_array_equal(found[0], rows)
    np.testing.assert_array_equal(found[1], cols)


@pytest.mark.parametrize("name", GRIDS)
def test_every_pixel_of_the_field_is_seen_and_the_first_row_is_north(name):
    field = GRIDS[name]
    table = MercatorTable.for_field(field)
    picture = table.apply(np.arange(field.size, dtype=np.float64).reshape(field.shape))
    assert set(np.unique(picture[~table.outside]).astype(int)) == set(range(field.size))
    rows = picture[~np.isnan(picture).all(1)] // field.shape[1]
    assert np.nanmean(rows[0]) < np.nanmean(rows[-1])


def test_mercator_metres_agree_with_pyproj():
    lon, lat = np.array([0.0, 10.0, -179.0, 77.5]), np.array([0.0, 55.0, -80.0, 84.9])
    ours = to_mercator(lon, lat)
    theirs = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(lon, lat)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(from_mercator(*ours), (lon, lat), atol=1e-12)


def test_a_mercator_field_is_its_own_picture():
    field = placed(
        (4, 3), np.array([500.0, 1500.0, 2500.0]), np.array([3500.0, 2500, 1500, 500]), "EPSG:3857"
    )
    table = MercatorTable.for_field(field, width=3)
    assert table.shape == (4, 3)
    np.testing.assert_allclose(table.extent, (0, 0, 3000, 4000), atol=1e-6)
    np.testing.assert_array_equal(table.apply(field.values), field.values)


def test_a_geographic_grid_lies_where_the_formula_says():
    table = MercatorTable.for_field(geographic())
    west, south = to_mercator(99.95, 38.05)
    east, north = to_mercator(102.45, 40.05)
    np.testing.assert_allclose(table.extent, (west, south, east, north), atol=1e-3)
    assert table.pixel_at(*to_mercator(100.24, 39.76)) == (2, 2)
    assert table.pixel_at(*to_mercator(99.9, 39.0)) is None
    assert table.pixel_at(float("nan"), 0.0) is None
    np.testing.assert_allclose(table.lonlat_at(*to_mercator(101.0, 39.0)), (101.0, 39.0))


def test_the_picture_agrees_with_pyproj_pixel_by_pixel():
    field = projected()
    table = MercatorTable.for_field(field, width=50)
    x0, _, x1, y1 = table.extent
    pixel = (x1 - x0) / 50
    back = pyproj.Transformer.from_crs("EPSG:3857", LAEA, always_xy=True)
    picture = table.apply(field.values)
    for i, j in [(5, 9), (30, 25), (20, 44), (0, 0), (table.shape[0] - 1, 49)]:
        x, y = back.transform(
            x0 + (j + 0.5) * pixel, y1 - (i + 0.5) * (y1 - table.extent[1]) / table.shape[0]
        )
        row, col = round((-2.0e6 - y) / 4000), round((x - 1.8e6) / 4000)
        inside = 0 <= row < 40 and 0 <= col < 30
        assert table.outside[i, j] == (not inside)
        if inside:
            assert picture[i, j] == field.values[row, col]


def test_latitudes_and_longitudes_alone_give_the_picture_that_the_projection_gives():
    field = projected(h=60, w=80, pixel=2000.0)
    by_crs, by_lonlat = (MercatorTable.for_field(f, width=200) for f in (field, curvilinear(field)))
    np.testing.assert_allclose(by_crs.extent, by_lonlat.extent, atol=60.0)  # metres, of 2000 m pixels
    rows = np.arange(by_crs.shape[0])[:: by_crs.shape[0] // 40]
    x0, y0, x1, y1 = by_crs.extent
    mx, my = np.meshgrid(np.linspace(x0, x1, 60), y1 - (rows + 0.5) * (y1 - y0) / by_crs.shape[0])
    one, other = by_crs.pixels_at(mx, my), by_lonlat.pixels_at(mx, my)
    differ = (one[0] != other[0]) | (one[1] != other[1])
    assert differ.mean() < 0.02  # points within a few metres of an edge
    both = (one[0] >= 0) & (other[0] >= 0)
    assert np.abs(one[0] - other[0])[both].max() <= 1
    assert np.abs(one[1] - other[1])[both].max() <= 1


@settings(max_examples=25, deadline=None)
@given(turn=st.floats(0, 360), shear=st.floats(-0.8, 0.8), bend=st.floats(-0.004, 0.004), flip=st.booleans())
def test_any_smooth_curvilinear_grid_is_inverted(turn, shear, bend, flip):
    row, col = np.indices((23, 31)).astype(float)
    v, u = row - 11, (col - 15) * (-1 if flip else 1)
    u, v = u + shear * v + bend * v * v, v + bend * u * v
    angle = np.deg2rad(turn)
    lon = 20 + 0.05 * (u * np.cos(angle) - v * np.sin(angle))
    lat = 50 - 0.05 * (u * np.sin(angle) + v * np.cos(angle))
    table = MercatorTable.for_field(placed(row.shape, None, None, lonlat=(lon, lat)), width=40)
    found = table.pixels_at(*to_mercator(lon, lat))
    np.testing.assert_array_equal(found[0], row)
    np.testing.assert_array_equal(found[1], col)


def test_pixels_without_a_known_place_are_outside():
    field = curvilinear(projected())
    lat = field["lat"].values.copy()
    lat[:10] = np.nan
    lost = placed(field.shape, None, None, lonlat=(field["lon"].values, lat))
    table = MercatorTable.for_field(lost, width=60)
    shown = table.apply(np.repeat(np.arange(40.0)[:, None], 30, 1))
    assert np.nanmin(shown) >= 10


def test_outside_is_nan_for_rain_and_class_zero_for_classes():
    table = MercatorTable.for_field(projected())
    assert table.outside.any()
    assert not table.outside.all()
    rain = table.apply(np.ones((40, 30), np.float32))
    assert rain.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(rain), table.outside)
    classes = table.apply(np.full((40, 30), 5, np.uint8))
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes == 0, table.outside)
    np.testing.assert_array_equal(table.apply(np.full((40, 30), 5, np.uint8), fill=9) == 9, table.outside)


def test_a_field_across_the_antimeridian_stays_in_one_piece():
    for field in (GRIDS["antimeridian"], curvilinear(GRIDS["antimeridian"])):
        table = MercatorTable.for_field(field)
        assert table.extent[2] - table.extent[0] < 0.01 * WORLD_WIDTH
        assert table.extent[0] < WORLD_WIDTH / 2 < table.extent[2] or (
            table.extent[0] < -WORLD_WIDTH / 2 < table.extent[2]
        )
        mx, my = table.position_of(0, 20)  # 180.5 degrees east
        np.testing.assert_allclose(table.lonlat_at(mx, my), (-179.5, -17.0), atol=1e-9)


def test_a_grid_around_the_pole_reaches_round_the_world():
    field = projected(h=50, w=50, pixel=50.0, crs=POLAR, x0=-1225.0, y0=1225.0)
    table = MercatorTable.for_field(field, width=300)
    assert table.extent[2] - table.extent[0] == pytest.approx(WORLD_WIDTH)
    assert not table.outside[0].any()
    with pytest.raises(DataError, match="run around a pole"):
        MercatorTable.for_field(curvilinear(field))


def test_a_table_is_made_once_a_grid(monkeypatch):
    field = projected(h=11, w=12)
    table = MercatorTable.for_field(field)
    assert MercatorTable.for_field(field + 1) is table
    assert MercatorTable.for_field(field, width=64) is not table
    for number in range(reprojection._CACHE_SIZE):
        MercatorTable.for_field(geographic(lon0=number, h=4, w=4))
    assert MercatorTable.for_field(field) is not table  # the cache is bounded


def test_a_field_without_a_place_is_drawn_as_it_is():
    field = GRIDS["plain"]
    table = MercatorTable.for_field(field)
    assert not table.has_place
    assert table.shape == (12, 9)
    assert table.extent == (-250.0, -2750.0, 4250.0, 3250.0)
    assert table.lonlat_at(0, 0) is None
    values = np.random.default_rng(0).random((12, 9))
    np.testing.assert_array_equal(table.apply(values), values)


def test_a_polygon_selects_the_pixels_whose_centres_it_holds():
    table = MercatorTable.for_field(GRIDS["plain"])
    mask = table.pixels_within([400, 1600, 1600, 400], [1400, 1400, 2600, 2600])
    rows, cols = np.nonzero(mask)
    assert set(rows) == {1, 2, 3}  # y = 2500, 2000, 1500
    assert set(cols) == {1, 2, 3}
    with pytest.raises(ShapeError, match="at least 3"):
        table.pixels_within([0, 1], [0, 1])


def test_wrong_input_is_refused_by_name():
    with pytest.raises(ConfigError, match="width=1 "):
        MercatorTable.for_field(projected(), width=1)
    with pytest.raises(ShapeError, match=r"\(3, 3\)"):
        MercatorTable.for_field(projected()).apply(np.zeros((3, 3)))
    with pytest.raises(DataError, match="coordinate x"):
        MercatorTable.for_field(placed((3, 3), np.array([0.0, 2, 1]), np.array([2.0, 1, 0])))
    with pytest.raises(DataError, match="longitudes span"):
        MercatorTable.for_field(geographic(lon0=0, w=38, step=10.0, h=3))
    with pytest.raises(DataError, match="no finite value"):
        MercatorTable.for_field(placed((3, 3), None, None, lonlat=(np.full((3, 3), np.nan),) * 2))
    with pytest.raises(DataError, match="at least 2 x 2"):
        MercatorTable.for_field(placed((1, 3), None, None, lonlat=(np.zeros((1, 3)),) * 2))
    with pytest.raises(DataError, match="lies on the Earth"):
        MercatorTable.for_field(projected(x0=1e12, y0=1e12))
    swapped = xr.DataArray(
        np.zeros((2, 3)), dims=("a", "b"), coords={"y": ("b", [2.0, 1.0, 0.0]), "x": ("a", [0.0, 1.0])}
    )
    with pytest.raises(DataError, match="coordinates describe"):
        MercatorTable.for_field(swapped)

"""Interval, pixel size and place of a field, by hand and on the shipped event."""

import numpy as np
import pytest
import xarray as xr

import geoscope as gs
from geoscope import grids
from geoscope.errors import DataError


def field(**coords) -> xr.DataArray:
    return xr.DataArray(np.zeros((3, 4, 5), np.float32), dims=("time", "y", "x"), coords=coords)


def times(*minutes: int) -> np.ndarray:
    return np.datetime64("2020-01-01T00:00", "ns") + np.array(minutes) * np.timedelta64(1, "m")


def test_a_kilometre_in_metres_is_a_kilometre():
    assert grids.pixel_size_km(field(y=-1000.0 * np.arange(4), x=500.0 * np.arange(5))) == (1.0, 0.5)


def test_a_degree_at_60_north_is_half_as_wide_as_high():
    here = field(lat=("y", 61.5 - np.arange(4.0)), lon=("x", np.arange(5.0)))
    height, width = grids.pixel_size_km(here)
    assert height == pytest.approx(111.195, abs=0.01)
    assert width == pytest.approx(111.195 * np.cos(np.deg2rad(60.5)), abs=0.05)


def test_the_scale_of_a_projection_does_not_count():
    """Stage IV pixels are 4.763 km in their projection, true at 60 north, and about 4 km on the ground."""
    assert grids.pixel_size_km(gs.sample("florence-2018")) == pytest.approx((4.02, 4.02), abs=0.03)


def test_one_degree_of_a_great_circle():
    assert float(grids.great_circle_km(*map(np.array, (0.0, 0.0, 0.0, 1.0)))) == pytest.approx(
        111.195, abs=1e-3
    )


def test_the_interval_is_that_of_even_frames():
    assert grids.interval_minutes(field(time=times(0, 5, 10))) == 5.0


def test_uneven_frames_are_refused_with_the_place_of_the_gap():
    uneven = xr.DataArray(np.zeros((4, 1, 1)), dims=("time", "y", "x"), coords={"time": times(0, 5, 10, 25)})
    with pytest.raises(DataError, match=r"15 minutes between 2020-01-01T00:10:00Z"):
        grids.interval_minutes(uneven)


def test_one_frame_has_no_interval():
    with pytest.raises(DataError, match="one frame has no interval"):
        grids.interval_minutes(field(time=times(0, 5, 10)).isel(time=[0]))


def test_a_field_without_place_says_how_to_get_one():
    bare = field(y=np.arange(4.0), x=np.arange(5.0))
    assert not grids.has_place(bare)
    with pytest.raises(DataError, match=r"rio\.write_crs"):
        grids.lonlat(bare)
    with pytest.raises(DataError, match="no pixel size"):
        grids.pixel_size_km(field())
    with pytest.raises(DataError, match="too small"):
        grids.pixel_size_km(field(lat=("y", np.arange(4.0)), lon=("x", np.arange(5.0))).isel(y=[0]))

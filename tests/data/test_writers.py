"""Files of fields: what goes in comes out, nothing half-written stays, and what cannot be written is refused."""

import errno
import json
import os
import sys

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import rioxarray  # noqa: F401 - fields get their .rio
import xarray as xr

from geoscope.data.whole_files import whole_file
from geoscope.data.writers import plain_attrs, write_forecast, write_point_csv
from geoscope.errors import Cancelled, ConfigError, DataError, DownloadError, MissingExtraError

RUN_CARD = json.dumps({"model": "persistence", "seed": 0})


def forecast(kind="projected") -> xr.DataArray:
    rng = np.random.default_rng(3)
    values = rng.gamma(0.4, 6, (3, 20, 15)).astype(np.float32)
    values[:, :2] = np.nan
    issued = np.datetime64("2024-06-01T12:00", "ns")
    leads = (np.arange(1, 4) * np.timedelta64(5, "m")).astype("timedelta64[ns]")
    field = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        name="rain_rate",
        coords={
            "time": issued + leads,
            "lead_time": ("time", leads),
            "forecast_reference_time": issued,
            "y": 6.0e6 - 2000.0 * np.arange(20),
            "x": 1.0e6 + 2000.0 * np.arange(15),
        },
        attrs={
            "units": "mm/h",
            "credit": "a test",
            "model": "persistence",
            "run_card": RUN_CARD,
            "seed": np.int64(3),
            "is_simulated": True,
            "thresholds": (0.5, 1.0),
            "nothing": None,
            "nested": {"a": [1, "b"]},
        },
    )
    if kind == "plain":
        return field
    field = field.rio.write_crs("EPSG:3857")
    if kind == "curvilinear":
        x, y = np.meshgrid(field.x, field.y)
        lon, lat = pyproj.Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True).transform(x, y)
        field = field.drop_vars(["x", "y", "spatial_ref"])
        field = field.assign_coords(lon=(("y", "x"), lon), lat=(("y", "x"), lat))
    return field


@pytest.mark.parametrize("kind", ["projected", "curvilinear", "plain"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_field_comes_back_from_netcdf_and_zarr_as_it_was(tmp_path, kind, suffix):
    field = forecast(kind)
    path = write_forecast(field, tmp_path / f"out{suffix}")
    back = xr.open_dataarray(path, engine="h5netcdf" if suffix == ".nc" else "zarr").load()
    xr.testing.assert_equal(back, field)
    assert back.dtype == np.float32
    assert back.attrs["run_card"] == RUN_CARD
    assert back.attrs["seed"] == 3
    assert (back.rio.crs is not None) == (kind == "projected")
    with xr.open_dataset(path, engine="h5netcdf" if suffix == ".nc" else "zarr") as dataset:
        assert dataset.attrs["Conventions"].startswith("CF-")
        assert dataset.attrs["run_card"] == RUN_CARD
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def with_chances(kind="projected") -> xr.Dataset:
    field = forecast(kind)
    members = xr.concat([field, field * 2], "member", coords="minimal").assign_coords(member=[0, 1])
    chance = (members >= xr.DataArray([1.0, 5.0], dims="threshold", coords={"threshold": [1.0, 5.0]})).mean(
        "member"
    )
    return xr.Dataset(
        {
            "rain_rate": members.assign_attrs(field.attrs),
            "exceedance_probability": chance.transpose("threshold", ...)
            .astype(np.float32)
            .assign_attrs(units="1"),
        }
    )


@pytest.mark.parametrize("kind", ["projected", "curvilinear"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_members_and_probabilities_come_back_side_by_side(tmp_path, kind, suffix):
    both = with_chances(kind)
    path = write_forecast(both, tmp_path / f"out{suffix}")
    engine = "h5netcdf" if suffix == ".nc" else "zarr"
    with xr.open_dataset(path, engine=engine, decode_coords="all", decode_timedelta=True) as back:
        for name in both.data_vars:
            assert back[name].dims == both[name].dims
            np.testing.assert_array_equal(back[name].values, both[name].values)
            assert set(back[name].coords) == set(both[name].coords)
        assert back.attrs["run_card"] == RUN_CARD
        assert back["exceedance_probability"].attrs["units"] == "1"
    members = write_forecast(both["rain_rate"], tmp_path / f"members{suffix}")
    with xr.open_dataset(members, engine=engine) as back:
        assert back["rain_rate"].shape == (2, 3, 20, 15)


def test_a_geotiff_refuses_what_it_would_lose(tmp_path):
    both = with_chances()
    with pytest.raises(ConfigError, match=r"\.tif holds one frame after the other, no members: write \.nc"):
        write_forecast(both, tmp_path / "out.tif")
    with pytest.raises(ConfigError, match="no probabilities"):
        write_forecast(both["exceedance_probability"], tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has dimensions \(time, y, x\)"):
        write_forecast(xr.Dataset({"a": ("z", [1.0])}), tmp_path / "out.nc")
    with pytest.raises(DataError, match=r"has dimensions \(time, y, x\)"):
        write_forecast(xr.Dataset(), tmp_path / "out.nc")


def test_a_lazy_field_is_computed_and_written(tmp_path):
    field = forecast().chunk(time=1)
    back = xr.open_dataarray(write_forecast(field, tmp_path / "out.nc"), engine="h5netcdf")
    xr.testing.assert_equal(back.load(), forecast())


def test_a_name_with_a_slash_stays_one_variable(tmp_path):
    field = forecast().rename("rain/rate")
    assert (
        xr.open_dataarray(write_forecast(field, tmp_path / "out.nc"), engine="h5netcdf").name == "rain_rate"
    )


def test_the_geotiff_is_cloud_optimised_and_says_its_times(tmp_path):
    field = forecast()
    path = write_forecast(field, tmp_path / "out.tif")
    with rasterio.open(path) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.descriptions == ("2024-06-01T12:05:00Z", "2024-06-01T12:10:00Z", "2024-06-01T12:15:00Z")
        assert raster.tags(2) == {"lead_minutes": "10", "valid_time": "2024-06-01T12:10:00Z"}
        assert raster.tags()["run_card"] == RUN_CARD
        assert raster.tags()["forecast_reference_time"] == "2024-06-01T12:00:00Z"
        assert raster.crs.to_epsg() == 3857
        assert raster.bounds == (999000.0, 5961000.0, 1029000.0, 6001000.0)
        np.testing.assert_array_equal(raster.read(), field.values)
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


def test_a_curvilinear_field_becomes_a_regular_grid_of_degrees(tmp_path):
    field = forecast("curvilinear")
    with rasterio.open(write_forecast(field, tmp_path / "out.tiff")) as raster:
        assert raster.crs.to_epsg() == 4326
        assert "nearest pixel" in raster.tags()["resampling"]
        picture = raster.read(1)
        for row, col in [(5, 3), (19, 14), (2, 0)]:
            at = raster.index(float(field.lon[row, col]), float(field.lat[row, col]))
            assert picture[at] == field.values[0, row, col]


def test_a_geotiff_needs_a_place_and_even_pixels(tmp_path):
    with pytest.raises(DataError, match="does not say where"):
        write_forecast(forecast("plain"), tmp_path / "out.tif")
    x = forecast().x.values.copy()
    x[3] += 500
    with pytest.raises(DataError, match="coordinate x is not evenly spaced"):
        write_forecast(forecast().assign_coords(x=x), tmp_path / "out.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".tif"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt, Cancelled, ValueError])
def test_what_stops_the_writing_leaves_nothing_behind(tmp_path, suffix, fault):
    def stop(stage, share):
        if share > 0.3:
            raise fault

    with pytest.raises(fault):
        write_forecast(forecast(), tmp_path / f"out{suffix}", progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "writer"), [(".nc", "to_netcdf"), (".zarr", "to_zarr")])
def test_a_fault_in_the_middle_keeps_the_older_file(tmp_path, monkeypatch, suffix, writer):
    path = write_forecast(forecast(), tmp_path / f"out{suffix}")
    true_writer = getattr(xr.Dataset, writer)

    def break_after(self, target, **options):
        true_writer(self, target, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, writer, break_after)
    with pytest.raises(KeyboardInterrupt):
        write_forecast(forecast() * 2, path, overwrite=True)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = xr.open_dataarray(path, engine="h5netcdf" if suffix == ".nc" else "zarr")
    xr.testing.assert_equal(back.load(), forecast())


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".tif", ".csv"])
def test_an_existing_file_is_kept_unless_said_otherwise(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"

    def write(**options):
        if suffix == ".csv":
            return write_point_csv(path, {"observed": forecast()[:, 9, 9]}, **options)
        return write_forecast(forecast(), path, **options)

    write()
    with pytest.raises(ConfigError, match="exists already"):
        write()
    assert write(overwrite=True) == path
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_renamed_gives_the_older_one_back(tmp_path, monkeypatch):
    target = tmp_path / "out.zarr"
    target.mkdir()
    (target / "old").touch()
    true_rename = os.rename

    def refuse(source, destination):
        if ".part" in str(source):
            raise OSError("refused")
        true_rename(source, destination)

    monkeypatch.setattr("os.rename", refuse)
    with pytest.raises(DataError, match="refused"), whole_file(target, overwrite=True) as part:
        part.mkdir()
    assert (target / "old").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_one_clear_line_and_an_error_of_geoscope_stays_itself(tmp_path):
    with (
        pytest.raises(DataError, match=r"out\.nc cannot be written: No space left on device"),
        whole_file(tmp_path / "out.nc"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DownloadError), whole_file(tmp_path / "out.nc"):
        raise DownloadError("cut off")
    assert not list(tmp_path.iterdir())


def test_progress_goes_forward_to_the_end(tmp_path):
    for suffix in (".nc", ".zarr", ".tif"):
        shares = []
        write_forecast(
            forecast(), tmp_path / f"out{suffix}", progress=lambda _, share, s=shares: s.append(share)
        )
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_what_cannot_be_written_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"'.docx'.*\.nc, \.zarr"):
        write_forecast(forecast(), tmp_path / "out.docx")
    with pytest.raises(ConfigError, match="does not exist"):
        write_forecast(forecast(), tmp_path / "missing" / "out.nc")
    with pytest.raises(DataError, match="transpose"):
        write_forecast(forecast()[0], tmp_path / "out.nc")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match=r"geoscope\[apps\]"):
        write_forecast(forecast(), tmp_path / "out.zarr")
    assert not list(tmp_path.iterdir())


def test_a_point_is_a_table_of_times(tmp_path):
    observed = forecast()[:, 9, 9]
    later = (observed[1:] * np.float32(np.nan)).drop_attrs()
    later[0] = 2.5
    path = write_point_csv(
        tmp_path / "point.csv",
        {"observed": observed, "forecast": later},
        about={"place": "35.1 N\n77.2 W", "run_card": {"model": "persistence"}},
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["# place: 35.1 N 77.2 W", '# run_card: {"model": "persistence"}', lines[2]]
    assert lines[2] == "valid_time,observed (mm/h),forecast"
    assert lines[3] == f"2024-06-01T12:05:00Z,{float(observed[0]):.6g},"
    assert lines[5].endswith(",")
    table = pd.read_csv(path, comment="#", parse_dates=["valid_time"])
    np.testing.assert_allclose(table["observed (mm/h)"], observed, rtol=1e-5)
    assert table["forecast"].tolist()[1] == 2.5


def test_a_point_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"as \.csv"):
        write_point_csv(tmp_path / "a.txt", {"observed": forecast()[:, 0, 0]})
    with pytest.raises(ConfigError, match="no series"):
        write_point_csv(tmp_path / "a.csv", {})
    with pytest.raises(DataError, match="select one pixel"):
        write_point_csv(tmp_path / "a.csv", {"observed": forecast()})


def test_attributes_become_what_a_file_can_hold():
    plain = plain_attrs(
        {1: True, "n": None, "d": {"a": 1}, "t": (1, 2), "s": "x", "f": np.float32(0.5), "l": ["a"]}
    )
    np.testing.assert_array_equal(plain.pop("t"), [1, 2])
    assert plain == {"1": 1, "d": '{"a": 1}', "s": "x", "f": 0.5, "l": '["a"]'}

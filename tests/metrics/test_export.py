"""Scores as lists, rows and NetCDF, whatever their dimensions."""

import json

import numpy as np
import pytest
import xarray as xr

from geoscope.metrics.accumulate import Verification
from geoscope.metrics.export import as_plain, as_rows, for_netcdf

MEMBERS = np.random.default_rng(0).gamma(0.5, 4, (3, 2, 6, 7))
SCORES = (
    Verification((1, 900), scales=(1, 3))
    .update_ensemble(MEMBERS, MEMBERS[0] + 0.5, [5, 10])
    .to_dataset()
    .assign_attrs(units="mm/h", csi_mean_low=0.1, csi_mean_high=0.9, model="test")
)


def rows_of(score, **wanted):
    header, *rows = as_rows(SCORES)
    named = [dict(zip(header, row, strict=True)) for row in rows]
    return [row for row in named if row["score"] == score and all(row[k] == v for k, v in wanted.items())]


def test_json_holds_every_score_and_null_where_there_is_none():
    plain = json.loads(json.dumps(as_plain(SCORES), allow_nan=False))
    assert plain["lead_minutes"] == [5, 10]
    assert plain["threshold_mm_h"] == [1, 900]
    assert plain["scores"]["csi"][0][1] is None
    assert plain["scores"]["crps"] == SCORES.crps.values.tolist()
    assert plain["warning"][0] is None  # the first one never warns
    assert plain["rank"] == [0, 1, 2, 3]
    assert plain["pooled"]["crps"] == SCORES.attrs["crps"]
    assert plain["about"] == {"units": "mm/h", "model": "test"}
    assert "threshold" in as_plain(SCORES.assign_attrs(units="dBZ"))


def test_rows_hold_one_number_each():
    (row,) = rows_of("csi", lead_minutes=10.0, threshold=1.0)
    assert row["value"] == float(SCORES.csi[1, 0])
    assert row["scale"] == row["rank"] == ""
    (row,) = rows_of("fss", lead_minutes="all", threshold=1.0, scale=3)
    assert row["value"] == float(SCORES.fss_pooled[1, 0])
    (row,) = rows_of("csi", lead_minutes=5.0, threshold=900.0)
    assert row["value"] == ""
    (row,) = rows_of("csi_mean")
    assert (row["value"], row["low"], row["high"]) == (SCORES.attrs["csi_mean"], 0.1, 0.9)
    assert len({len(row) for row in as_rows(SCORES)}) == 1


def test_netcdf_keeps_everything(tmp_path):
    for_netcdf(SCORES.assign_attrs(odd=None)).to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "s.nc", engine="h5netcdf", decode_timedelta=True) as again:
        xr.testing.assert_equal(again.load(), SCORES)
        assert again.attrs["csi_mean"] == pytest.approx(SCORES.attrs["csi_mean"])

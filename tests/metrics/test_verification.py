"""gs.verify: hand-worked scores, matching by valid time, missing data, and what it refuses."""

import numpy as np
import pyproj
import pytest
import xarray as xr

import geoscope as gs
from geoscope.errors import ConfigError, DataError
from geoscope.metrics.verification import verify

T0 = np.datetime64("2024-06-01T12:00", "ns")
STEP = np.timedelta64(10, "m")


def field(values, start=0, issued=None, **attrs) -> xr.DataArray:
    values = np.asarray(values, np.float32)
    steps, height, width = values.shape
    times = T0 + STEP * np.arange(start, start + steps)
    rain = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={"time": times, "y": -1000.0 * np.arange(height), "x": 1000.0 * np.arange(width)},
        name="rain_rate",
        attrs={"units": "mm/h", **attrs},
    )
    if issued is not None:
        rain = rain.assign_coords(
            forecast_reference_time=T0 + STEP * issued, lead_time=("time", times - (T0 + STEP * issued))
        )
    return rain


FORECAST = field([[[3, 2, 0, 0]], [[0, 0, 6, 1]]], start=1, issued=0, model="persistence", run_card="{}")
OBSERVED = field([[[9, 9, 9, 9]], [[0, 2, 5, 1]], [[0, 1, 6, np.nan]], [[7, 7, 7, 7]]])


def test_scores_by_hand():
    scores = verify(FORECAST, OBSERVED, thresholds=(2, 5))
    assert scores.csi.dims == ("lead_time", "threshold")
    assert [int(v) for v in scores.lead_time.values.astype("m8[m]").astype(int)] == [10, 20]
    # lead 10, >= 2: hit, miss, false alarm, correct negative; lead 20: one hit, two correct negatives
    np.testing.assert_array_equal(scores.hits, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(scores.misses, [[1, 1], [0, 0]])
    np.testing.assert_array_equal(scores.false_alarms, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(scores.correct_negatives, [[1, 3], [2, 2]])
    np.testing.assert_allclose(scores.csi, [[1 / 3, 0], [1, 1]])
    np.testing.assert_allclose(scores.pod, [[0.5, 0], [1, 1]])
    np.testing.assert_allclose(scores.far, [[0.5, np.nan], [0, 0]])
    np.testing.assert_allclose(scores.success_ratio, [[0.5, np.nan], [1, 1]])
    np.testing.assert_allclose(scores.frequency_bias, [[1, 0], [1, 1]])
    np.testing.assert_allclose(scores.csi_pooled, [2 / 4, 1 / 2])
    np.testing.assert_allclose(scores.mae, [(3 + 0 + 5 + 1) / 4, 1 / 3])
    np.testing.assert_allclose(scores.mean_error, [(3 - 5 - 1) / 4, -1 / 3])
    np.testing.assert_allclose(scores.rmse, [(35 / 4) ** 0.5, (1 / 3) ** 0.5])
    np.testing.assert_array_equal(scores.pixels, [4, 3])
    assert scores.attrs["csi_mean"] == pytest.approx(0.5)
    assert scores.attrs["mae"] == pytest.approx(10 / 7)
    assert scores.attrs["mean_error"] == pytest.approx(-4 / 7)
    assert (scores.attrs["frames"], scores.attrs["model"], scores.attrs["units"]) == (
        2,
        "persistence",
        "mm/h",
    )
    np.testing.assert_array_equal(scores.time, FORECAST.time)


def test_the_face_of_the_library_has_it():
    assert gs.verify is verify


def test_a_perfect_forecast_scores_one_and_thresholds_without_events_are_left_out():
    scores = verify(OBSERVED[1:].assign_coords(forecast_reference_time=T0), OBSERVED, (1, 50))
    assert scores.attrs["csi_mean"] == 1
    assert scores.attrs["mae"] == 0
    assert np.isnan(scores.csi_pooled.values[1])


def test_without_any_event_the_mean_is_nan():
    dry = field(np.zeros((2, 2, 2)))
    assert np.isnan(verify(dry, dry).attrs["csi_mean"])


def test_frames_are_matched_by_time_and_not_by_order():
    backwards = OBSERVED.isel(time=slice(None, None, -1))
    xr.testing.assert_identical(verify(FORECAST, backwards), verify(FORECAST, OBSERVED))


def test_the_lead_is_supposed_only_when_nothing_says_it():
    plain = FORECAST.drop_vars(["lead_time", "forecast_reference_time"])
    scores = verify(plain, OBSERVED)
    assert "one interval before" in scores.attrs["lead_time_note"]
    np.testing.assert_array_equal(scores.lead_time, verify(FORECAST, OBSERVED).lead_time)
    by_reference = verify(FORECAST.drop_vars("lead_time"), OBSERVED)
    np.testing.assert_array_equal(by_reference.lead_time, scores.lead_time)
    with pytest.raises(DataError, match="one frame has no interval"):
        verify(plain[:1], OBSERVED)


def test_nothing_in_common_is_said_with_both_periods():
    with pytest.raises(DataError, match=r"2024-06-01T12:10Z to 2024-06-01T12:20Z.*2024-06-01T15:20Z"):
        verify(FORECAST, field(np.ones((3, 1, 4)), start=20))
    with pytest.raises(DataError, match="no pixel is known"):
        verify(FORECAST, OBSERVED * np.nan)


def test_fields_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match=r"forecast \(1, 4\) and observed \(2, 4\)"):
        verify(FORECAST, field(np.ones((3, 2, 4))))
    with pytest.raises(DataError, match="coordinate x"):
        verify(FORECAST, OBSERVED.assign_coords(x=OBSERVED.x + 500))
    with pytest.raises(DataError, match="units differ"):
        verify(FORECAST, OBSERVED.assign_attrs(units="dBZ"))
    with pytest.raises(DataError, match="dimensions"):
        verify(FORECAST, OBSERVED.rename(x="lon"))
    with pytest.raises(DataError, match="no coordinate time"):
        verify(FORECAST, OBSERVED.drop_vars("time"))
    with pytest.raises(DataError, match="twice"):
        verify(FORECAST, xr.concat([OBSERVED, OBSERVED], "time"))
    with pytest.raises(ConfigError, match="thresholds"):
        verify(FORECAST, OBSERVED, ())
    there, here = (
        f.assign_coords(spatial_ref=xr.DataArray(0, attrs={"crs_wkt": pyproj.CRS.from_epsg(code).to_wkt()}))
        for f, code in ((FORECAST, 3035), (OBSERVED, 3857))
    )
    with pytest.raises(DataError, match="the grids differ: forecast in ETRS89"):
        verify(there, here)


def test_units_written_in_another_way_are_the_same():
    scores = verify(FORECAST, OBSERVED.assign_attrs(units="mm h-1"))
    xr.testing.assert_identical(scores, verify(FORECAST, OBSERVED))

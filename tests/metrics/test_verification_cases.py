"""gs.verify on ensembles, probabilities and archives; on grids, times, regions and units that differ."""

import numpy as np
import pyproj
import pytest
import xarray as xr

from geoscope.errors import Cancelled, ConfigError, DataError
from geoscope.metrics.bootstrap import interval
from geoscope.metrics.verification import verify, verify_each
from tests.metrics.test_verification import FORECAST, OBSERVED, STEP, T0, field

RNG = np.random.default_rng(5)
TRUTH = field(RNG.gamma(0.5, 4, (6, 12, 14)))
GUESS = field(RNG.gamma(0.5, 4, (3, 12, 14)), start=1, issued=0)


def ensemble(*factors):
    return xr.concat([GUESS * factor for factor in factors], "member").assign_attrs(GUESS.attrs)


def archive(*issues):
    fields = [TRUTH.values[i + 1 : i + 3] + i for i in issues]
    times, leads = T0 + STEP * np.array(issues), STEP * np.array([1, 2])
    coordinates = {"issue_time": times, "lead_time": leads, "y": TRUTH.y, "x": TRUTH.x}
    dimensions = ("issue_time", "lead_time", "y", "x")
    return xr.DataArray(np.stack(fields), coordinates, dimensions, attrs=TRUTH.attrs)


def with_chances(values, thresholds):
    names = ("threshold", "time", "y", "x")
    chances = xr.DataArray(values, dims=names, coords={"threshold": list(thresholds)})
    return xr.Dataset({"rain_rate": GUESS, "exceedance_probability": chances})


def test_an_ensemble_is_scored_by_its_mean_and_as_an_ensemble():
    scores = verify(ensemble(0.5, 1.5), TRUTH)
    plain = verify(GUESS, TRUTH)
    np.testing.assert_allclose(scores.csi, plain.csi)
    np.testing.assert_allclose(scores.mae, plain.mae, rtol=1e-6)
    truth = TRUTH.values[1:4].astype(float)
    low, high = 0.5 * GUESS.values.astype(float), 1.5 * GUESS.values.astype(float)
    by_hand = (abs(low - truth) + abs(high - truth)) / 2 - abs(high - low) / 4
    np.testing.assert_allclose(scores.crps, by_hand.mean((1, 2)), rtol=1e-5)
    assert scores.attrs["crps"] == pytest.approx(by_hand.mean(), rel=1e-5)
    assert scores.attrs["crps_fair"] == pytest.approx((by_hand - abs(high - low) / 4).mean(), rel=1e-5)
    assert scores.rank_histogram.sizes["rank"] == 3
    assert {"brier", "roc_area", "economic_value", "reliability_frequency"} <= set(scores.data_vars)


def test_probabilities_are_scored_beside_the_field():
    chance = np.stack([(TRUTH.values[1:4] >= level).astype(float) for level in (1, 5)])
    scores = verify(with_chances(chance, (1, 5)), TRUTH, thresholds=(1, 2, 5))
    np.testing.assert_allclose(scores.brier_pooled, [0, np.nan, 0])  # there is no probability at 2
    np.testing.assert_allclose(scores.roc_area_pooled, [1, np.nan, 1])
    np.testing.assert_allclose(scores.csi, verify(GUESS, TRUTH, thresholds=(1, 2, 5)).csi)
    with pytest.raises(ConfigError, match=r"probabilities at \(1.0, 5.0\) only"):
        verify(with_chances(chance, (1, 5)), TRUTH, thresholds=(7,))
    with pytest.raises(DataError, match="divide percentages by 100"):
        verify(with_chances(100 * chance, (1, 5)), TRUTH, thresholds=(1,))
    with pytest.raises(DataError, match="expected one field and exceedance_probability"):
        verify(xr.Dataset({"rain": GUESS}), TRUTH)
    with pytest.raises(DataError, match="expected \\('threshold', 'time'"):
        verify(with_chances(chance, (1, 5)).isel(threshold=0), TRUTH)


def test_an_archive_is_the_sum_of_its_issue_times():
    scores = verify(archive(0, 1, 3), TRUTH, draws=50)
    assert scores.attrs["issue_times"] == 3
    np.testing.assert_allclose(scores.mae, [4 / 3, 4 / 3], rtol=1e-6)
    assert scores.attrs["frames"] == 6
    each = verify_each(archive(0, 1, 3), TRUTH)
    assert [one.overall("mae") for one in each] == pytest.approx([0, 1, 3])
    assert (scores.attrs["mae_low"], scores.attrs["mae_high"]) == interval(each, "mae", draws=50)
    assert (scores.csi_pooled_low <= scores.csi_pooled_high).all()
    shuffled = archive(0, 1, 3).transpose("y", "x", "lead_time", "issue_time")
    np.testing.assert_allclose(verify(shuffled, TRUTH).mae, scores.mae)


def test_issue_times_after_the_observations_are_left_out():
    late = archive(0, 3).assign_coords(issue_time=[T0, T0 + 99 * STEP])
    assert verify(late, TRUTH, draws=10).attrs["issue_times"] == 1


def test_several_forecasts_are_several_issue_times():
    each = [
        GUESS,
        (GUESS + 1).assign_coords(time=GUESS.time + 2 * STEP),
        GUESS.assign_coords(time=GUESS.time + 99 * STEP),
    ]
    scores = verify(each, TRUTH, draws=20)
    assert scores.attrs["issue_times"] == 2
    assert scores.attrs["frames"] == 6
    assert scores.attrs["mae_low"] <= scores.attrs["mae"] <= scores.attrs["mae_high"]
    with pytest.raises(DataError, match="no valid time"):
        verify(each[2:], TRUTH)
    with pytest.raises(DataError, match="no forecast to verify"):
        verify([], TRUTH)


def test_issue_times_without_a_known_pixel_do_not_count():
    blank = archive(0, 1, 3)
    blank[1] = np.nan
    assert len(verify_each(blank, TRUTH)) == 2


def test_grids_that_differ_are_refused_with_a_way_out():
    with pytest.raises(DataError, match=r"the grids differ: .*coordinate x.*align='common'"):
        verify(GUESS, TRUTH.assign_coords(x=TRUTH.x + 3000))
    with pytest.raises(ConfigError, match="align='near'"):
        verify(GUESS, TRUTH, align="near")


def test_common_keeps_the_pixels_that_both_have():
    cut = TRUTH.isel(y=slice(2, 10), x=slice(3, None))
    scores = verify(GUESS, cut, align="common")
    expected = verify(GUESS.isel(y=slice(2, 10), x=slice(3, None)), cut)
    xr.testing.assert_allclose(scores, expected)
    assert scores.attrs["align"] == "common"
    upside_down = cut.isel(y=slice(None, None, -1))
    xr.testing.assert_allclose(verify(GUESS, upside_down, align="common"), expected)
    with pytest.raises(DataError, match=r"no pixel is in both grids: forecast x from 0 to 13000"):
        verify(GUESS, TRUTH.assign_coords(x=TRUTH.x + 400), align="common")
    with pytest.raises(DataError, match="align='nearest' instead"):
        verify(GUESS, TRUTH.drop_vars("x").isel(x=slice(3)), align="common")


def test_nearest_takes_the_pixel_around():
    shifted = TRUTH.assign_coords(x=TRUTH.x + 400)
    xr.testing.assert_allclose(
        verify(GUESS, shifted, align="nearest"), verify(GUESS, TRUTH).assign_attrs(align="nearest")
    )
    by_two = TRUTH.isel(x=slice(None, None, 2))  # an observed pixel reaches 1000 m to each side
    scores = verify(GUESS, by_two, align="nearest")
    assert scores.pixels.values.tolist() == [12 * 14] * 3
    with pytest.raises(DataError, match="do not overlap"):
        verify(GUESS, TRUTH.assign_coords(x=TRUTH.x + 90000), align="nearest")
    with pytest.raises(DataError, match="do not both say where they are"):
        verify(GUESS, TRUTH.drop_vars("x").isel(x=slice(3)), align="nearest")


def on_map(rain, code):
    crs = pyproj.CRS.from_epsg(code)
    x, y = pyproj.Transformer.from_crs(4326, code, always_xy=True).transform(10.0, 52.0)
    reference = xr.DataArray(0, attrs={"crs_wkt": crs.to_wkt()})
    return rain.assign_coords(x=rain.x + x, y=rain.y + y, spatial_ref=reference)


def test_nearest_finds_its_way_between_projections():
    stretch = 1 / np.cos(np.deg2rad(52))  # a Mercator metre is so much shorter at 52 degrees north
    rain = TRUTH.assign_coords(x=TRUTH.x * stretch, y=TRUTH.y * stretch)
    scores = verify(
        on_map(TRUTH[1:4], 32632).assign_coords(GUESS.coords["lead_time"].coords),
        on_map(rain, 3857),
        align="nearest",
    )
    assert scores.pixels.values[0] > 100
    assert scores.correlation.values[0] > 0.8  # the same field, a fraction of a pixel apart


def test_nearest_takes_the_time_around():
    late = TRUTH.assign_coords(time=TRUTH.time + np.timedelta64(2, "m"))
    with pytest.raises(DataError, match="between each other: give align='nearest'"):
        verify(GUESS, late)
    scores = verify(GUESS, late, align="nearest")
    np.testing.assert_allclose(scores.mae, verify(GUESS, TRUTH).mae)


def test_a_region_keeps_to_its_pixels():
    box = (2000, -5000, 6000, -1000)
    inside = {"y": slice(1, 6), "x": slice(2, 7)}
    expected = verify(GUESS.isel(inside), TRUTH.isel(inside), scales=(3,))
    xr.testing.assert_allclose(verify(GUESS, TRUTH, region=box, scales=(3,)), expected)
    mask = np.zeros((12, 14), bool)
    mask[1:6, 2:7] = True
    mask[1, 2] = False
    assert verify(GUESS, TRUTH, region=mask).pixels.values.tolist() == [24] * 3
    with pytest.raises(DataError, match="holds no pixel"):
        verify(GUESS, TRUTH, region=(90000, 0, 91000, 1))
    for wrong in ((1, 2, 3), mask[:3], "all"):
        with pytest.raises(ConfigError, match="must be a box"):
            verify(GUESS, TRUTH, region=wrong)


def test_thresholds_in_another_unit_are_refused():
    with pytest.raises(ConfigError, match="thresholds are in 'dBZ', but the fields are in 'mm/h'"):
        verify(GUESS, TRUTH, (10, 20), threshold_units="dBZ")
    verify(GUESS, TRUTH, (1, 2), threshold_units="mm h-1")
    reflectivity = [rain.assign_attrs(units="dBZ") for rain in (GUESS, TRUTH)]
    with pytest.raises(ConfigError, match="the default thresholds are in 'mm/h'"):
        verify(*reflectivity)
    assert "threshold_note" not in verify(*reflectivity, (10, 20)).attrs
    assert "another unit" in verify(GUESS, TRUTH, (16000, 20000)).attrs["threshold_note"]


def test_missing_and_infinite_fields_are_told_apart():
    with pytest.raises(DataError, match="all of forecast is missing"):
        verify(FORECAST * np.nan, OBSERVED)
    with pytest.raises(DataError, match="all of observed is missing"):
        verify(FORECAST, OBSERVED * np.nan)
    west, east = (GUESS.where(GUESS.x < 5000), TRUTH.where(TRUTH.x > 5000))
    with pytest.raises(DataError, match="where one is known the other is not"):
        verify(west, east)
    with pytest.raises(DataError, match="forecast holds infinite values at 2024-06-01T12:10:00Z"):
        verify(GUESS * np.inf, TRUTH)
    with pytest.raises(DataError, match="observed holds infinite values"):
        verify(GUESS, TRUTH + np.inf)


def test_archives_without_their_coordinates_are_refused():
    with pytest.raises(DataError, match="coordinates issue_time and lead_time"):
        verify(archive(0, 1).drop_vars("lead_time"), TRUTH)
    with pytest.raises(DataError, match="perhaps 'member'"):
        verify(archive(0, 1).rename(y="row"), TRUTH)
    for nothing in (archive(0, 1)[:0], GUESS[:0]):
        with pytest.raises(DataError, match="holds no frame"):
            verify(nothing, TRUTH)


def test_progress_may_stop_it():
    def progress(stage, share):
        assert stage == "verifying"
        if share > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        verify(GUESS, TRUTH, progress=progress)


def test_every_family_finds_its_place_in_the_table():
    wide = (
        GUESS.pad(x=(0, 4), y=(0, 4), constant_values=0.0),
        TRUTH.pad(x=(0, 4), y=(0, 4), constant_values=0.0),
    )
    guess, truth = (rain.assign_coords(x=np.arange(18.0), y=np.arange(16.0)) for rain in wide)
    scores = verify(
        guess,
        truth,
        scales=(1, 3),
        pools=(4,),
        tolerances=(1,),
        log_error=True,
        spectrum=True,
        similarity_range=50,
        sal=True,
    )
    assert scores.fss.dims == ("lead_time", "scale", "threshold")
    assert scores.fss_pooled.dims == ("scale", "threshold")
    share = (truth[1:4] >= 5).mean(("y", "x"))
    np.testing.assert_allclose(scores.fss_useful.sel(threshold=5), 0.5 + share / 2)
    assert scores.pool_csi.dims == ("lead_time", "pool", "threshold")
    assert scores.tolerant_csi.dims == ("lead_time", "tolerance", "threshold")
    assert scores.spectrum_ratio.dims == ("lead_time", "wavenumber")
    for name in ("ssim", "sal_structure", "sal_amplitude", "sal_location", "rms_log_error"):
        assert np.isfinite(scores[name]).all()
        assert np.isfinite(scores.attrs[name])

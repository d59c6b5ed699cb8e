"""Second opinions: pysteps, scores and scikit-image on random fields with missing data."""

import warnings

import numpy as np
import pytest
import xarray as xr

from geoscope.metrics import (
    contingency,
    continuous,
    ensemble,
    neighbourhood,
    objects,
    probability,
    similarity,
    spectrum,
)

with warnings.catch_warnings():  # the packages' own business
    warnings.simplefilter("ignore")
    import scores as other
    import scores.spatial
    from pysteps.utils.spectral import rapsd
    from pysteps.verification import (
        detcatscores,
        detcontscores,
        ensscores,
        probscores,
        salscores,
        spatialscores,
    )
    from scores.fast.fss.typing import FssComputeMethod
    from skimage.metrics import structural_similarity

pytestmark = pytest.mark.filterwarnings("ignore")  # of those packages
LEVELS = (0.5, 2.0, 8.0)


def rain(seed, *shape):
    """Smooth random showers with dry ground and gaps."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=shape)
    for axis in (-1, -2):
        noise = sum(np.roll(noise, step, axis) for step in range(-3, 4))
    field = np.where(noise > 0, np.exp(noise / 4) - 1 + 0.01 * generator.uniform(size=shape), 0.0)
    field[generator.uniform(size=shape) < 0.03] = np.nan
    return field


FORECAST, OBSERVED = rain(0, 40, 48), rain(1, 40, 48)
BLANK = np.isnan(FORECAST) | np.isnan(OBSERVED)
FCST, TRUTH = (np.where(BLANK, np.nan, field) for field in (FORECAST, OBSERVED))
MEMBERS = np.stack([rain(10 + i, 40, 48) for i in range(6)])
DAMP = np.random.default_rng(3)
MOIST = (  # the same without ties
    MEMBERS + DAMP.uniform(0.1, 0.2, MEMBERS.shape),
    OBSERVED + DAMP.uniform(0.1, 0.2, OBSERVED.shape),
)


@pytest.mark.parametrize("k", range(3))
def test_events_agree(k):
    counts = contingency.count_events(FORECAST, OBSERVED, LEVELS)
    # det_cat_fct takes events above, not at, the threshold: the same here, where no value lies on one
    names = {
        "CSI": contingency.critical_success_index,
        "POD": contingency.probability_of_detection,
        "FAR": contingency.false_alarm_ratio,
        "BIAS": contingency.frequency_bias,
        "HSS": contingency.heidke_skill_score,
        "GSS": contingency.equitable_threat_score,
        "F1": contingency.f1_score,
    }
    theirs = detcatscores.det_cat_fct(FCST[~BLANK], TRUTH[~BLANK], LEVELS[k], scores=list(names))
    for name, formula in names.items():
        assert formula(counts)[k] == pytest.approx(theirs[name]), name
    table = other.categorical.ThresholdEventOperator(
        default_event_threshold=LEVELS[k]
    ).make_contingency_manager(xr.DataArray(FCST), xr.DataArray(TRUTH))
    assert float(table.critical_success_index()) == pytest.approx(
        contingency.critical_success_index(counts)[k]
    )
    assert float(table.success_ratio()) == pytest.approx(contingency.success_ratio(counts)[k])
    assert float(table.equitable_threat_score()) == pytest.approx(
        contingency.equitable_threat_score(counts)[k]
    )


def test_errors_agree():
    sums = continuous.sum_errors(FORECAST, OBSERVED)
    theirs = detcontscores.det_cont_fct(FCST, TRUTH, scores=["ME", "MAE", "RMSE", "corr_p"])
    ours = (
        continuous.mean_error,
        continuous.mean_absolute_error,
        continuous.root_mean_square_error,
        continuous.correlation,
    )
    for formula, name in zip(ours, ("ME", "MAE", "RMSE", "corr_p"), strict=True):
        assert formula(sums) == pytest.approx(theirs[name]), name
    pearson = other.continuous.correlation.pearsonr(xr.DataArray(FCST), xr.DataArray(TRUTH))
    assert continuous.correlation(sums) == pytest.approx(float(pearson))


@pytest.mark.parametrize("scale", [1, 2, 5, 16])
@pytest.mark.parametrize("level", LEVELS)
def test_fractions_skill_agrees(scale, level):
    sums = neighbourhood.sum_fractions(FORECAST, OBSERVED, (level,), (scale,))
    ours = neighbourhood.fractions_skill_score(sums)[0, 0]
    assert ours == pytest.approx(spatialscores.fss(FCST, TRUTH, level, scale))
    fields = (xr.DataArray(np.nan_to_num(field, nan=-1.0), dims=("y", "x")) for field in (FCST, TRUTH))
    theirs = other.spatial.fss_2d(
        *fields,
        event_threshold=level,
        window_size=(scale, scale),
        spatial_dims=("y", "x"),
        zero_padding=True,
        threshold_operator=np.greater_equal,
        compute_method=FssComputeMethod.NUMPY,
    )
    # scores also takes windows whose middle lies one pixel beyond the far edges: a little more dry ground in its sums
    assert ours == pytest.approx(float(theirs), abs=0.02)


def test_crps_agrees():
    sums = ensemble.sum_ensemble(MEMBERS, OBSERVED)
    moist, seen = MOIST  # where the truth equals a member, pysteps leaves the gap beside it out
    assert ensemble.crps(ensemble.sum_ensemble(moist, seen)) == pytest.approx(probscores.CRPS(moist, seen))
    blank = np.isnan(MEMBERS).any(0) | np.isnan(OBSERVED)
    known = xr.DataArray(np.where(blank, np.nan, MEMBERS), dims=("m", "y", "x"))
    for method, formula in (("ecdf", ensemble.crps), ("fair", ensemble.crps_fair)):
        theirs = other.probability.crps_for_ensemble(
            known, xr.DataArray(OBSERVED, dims=("y", "x")), "m", method=method
        )
        assert formula(sums) == pytest.approx(float(theirs)), method


def test_ranks_agree_where_nothing_ties():
    moist, seen = MOIST
    ours = ensemble.rank_histogram(ensemble.count_ranks(moist, seen))
    np.testing.assert_allclose(ours, ensscores.rankhist(moist, seen))
    wet = ensemble.rank_histogram(ensemble.count_ranks(moist, seen, smallest=0.001))
    np.testing.assert_allclose(wet, ensscores.rankhist(moist, seen, X_min=0.001))
    dims = ("m", "y", "x")
    theirs = other.probability.rank_histogram(
        xr.DataArray(np.where(np.isnan(moist).any(0), np.nan, moist), dims=dims),
        xr.DataArray(seen, dims=dims[1:]),
        "m",
    )
    np.testing.assert_allclose(ours, theirs)


def test_ties_agree_with_random_ranks_on_average():
    np.random.seed(0)  # noqa: NPY002 - pysteps draws from numpy's global generator
    drawn = np.mean([ensscores.rankhist(MEMBERS, OBSERVED, X_min=0.5) for _ in range(30)], axis=0)
    ours = ensemble.rank_histogram(ensemble.count_ranks(MEMBERS, OBSERVED, smallest=0.5))
    np.testing.assert_allclose(ours, drawn, atol=0.01)


def test_reliability_and_roc_agree():
    level = 0.5
    chance = probability.member_share(MEMBERS, (level,))[0] * 0.98 + 0.01  # away from the bins' edges
    table = probability.count_probability(chance, OBSERVED, level, bins=10)
    diagram = probscores.reldiag_init(level, n_bins=10, min_count=0)
    probscores.reldiag_accum(diagram, chance, OBSERVED)
    mean, often = probscores.reldiag_compute(diagram)
    np.testing.assert_array_equal(table.pixels, diagram["sample_size"])
    ours = probability.reliability_curve(table)
    known = table.pixels > 0
    np.testing.assert_allclose(ours[0][known], np.asarray(mean)[known])
    np.testing.assert_allclose(ours[1][known], np.asarray(often)[known])

    roc = probscores.ROC_curve_init(level, n_prob_thrs=11)
    probscores.ROC_curve_accum(roc, chance, OBSERVED)
    false_alarms, detection, area = probscores.ROC_curve_compute(roc, compute_area=True)
    curve = probability.roc_curve(table)
    np.testing.assert_allclose(curve[0], false_alarms[::-1])
    np.testing.assert_allclose(curve[1], detection[::-1])
    assert probability.roc_area(table) == pytest.approx(area)

    seen = xr.DataArray(np.where(np.isnan(OBSERVED), np.nan, level <= OBSERVED))
    theirs = other.probability.roc_curve_data(xr.DataArray(chance), seen, np.arange(11) / 10)
    assert probability.roc_area(table) == pytest.approx(float(theirs.AUC))
    brier = other.probability.brier_score(xr.DataArray(chance), seen)
    assert probability.brier_score(table) == pytest.approx(float(brier))


def test_economic_value_agrees():
    level, ratios = 0.5, np.array([0.1, 0.3, 0.5, 0.8])
    chance = probability.member_share(MEMBERS, (level,))[0] * 0.98 + 0.01
    table = probability.count_probability(chance, OBSERVED, level, bins=10)
    seen = xr.DataArray(np.where(np.isnan(OBSERVED), np.nan, level <= OBSERVED))
    theirs = other.probability.relative_economic_value(
        xr.DataArray(chance),
        seen,
        cost_loss_ratios=ratios.tolist(),
        probability_thresholds=(np.arange(11) / 10).tolist(),
        generate_maximum_rev=True,
    )
    np.testing.assert_allclose(probability.economic_value(table, ratios), theirs["maximum"], atol=1e-9)


def test_the_spectrum_agrees():
    field = np.nan_to_num(FCST)[:40, :40]
    # pysteps leaves out the last ring, that of two pixels
    np.testing.assert_allclose(spectrum.radial_power(field)[:-1], rapsd(field, fft_method=np.fft))


def test_similarity_agrees_without_gaps():
    f, o = np.nan_to_num(FORECAST), np.nan_to_num(OBSERVED)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 20.0}
    theirs = structural_similarity(f, o, **options)
    ours = similarity.structural_similarity(similarity.sum_similarity(f, o, value_range=20.0))
    assert ours == pytest.approx(theirs)


def test_amplitude_and_the_centres_agree():
    f, o = np.nan_to_num(FCST), np.nan_to_num(TRUTH)
    sums = objects.sum_sal(f, o)
    assert objects.sal_amplitude(sums) == pytest.approx(salscores.sal_amplitude(f, o))
    assert objects.sal_location(sums) >= salscores._sal_l1_param(f, o) - 1e-12

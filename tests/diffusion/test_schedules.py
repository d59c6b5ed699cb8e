"""The schedules equal the published ones, and what is derived from them keeps its meaning."""

import math

import pytest
import torch

from geoscope.diffusion.schedules import (
    Schedule,
    cosine_betas,
    make_schedule,
    published_schedule,
    with_zero_terminal_snr,
)
from geoscope.diffusion.timesteps import published_ddim_timesteps
from geoscope.errors import ConfigError
from tests.diffusion.oracle import GOLDEN, read_case

ARGUMENTS = {
    "beta_schedule": "name",
    "timesteps": "steps",
    "linear_start": "start",
    "linear_end": "end",
    "v_posterior": "variance_mix",
}


def check_case(case):
    kwargs = dict(case["kwargs"])
    prediction = kwargs.pop("parameterization", "eps")
    schedule = published_schedule(**{ARGUMENTS[name]: value for name, value in kwargs.items()})
    ours = {
        "betas": schedule.betas,
        "alphas_cumprod": schedule.alpha_bar,
        "alphas_cumprod_prev": schedule.alpha_bar_previous,
        "sqrt_alphas_cumprod": schedule.alpha,
        "sqrt_one_minus_alphas_cumprod": schedule.sigma,
        "log_one_minus_alphas_cumprod": (1 - schedule.alpha_bar).log(),
        "sqrt_recip_alphas_cumprod": 1 / schedule.alpha,
        "sqrt_recipm1_alphas_cumprod": schedule.sigma / schedule.alpha,
        "posterior_variance": schedule.posterior_variance,
        "posterior_log_variance_clipped": schedule.posterior_log_variance,
        "posterior_mean_coef1": schedule.posterior_weight_clean,
        "posterior_mean_coef2": schedule.posterior_weight_noisy,
    }
    published = case["buffers"]
    for name, values in ours.items():
        # Measured: the same bits. A libm may round a cosine or a logarithm otherwise, by one unit.
        torch.testing.assert_close(values.float(), published[name], rtol=2e-7, atol=0, msg=name)
    # Published from 1 - abar in float32, which errs by 2e-4 at the first steps; ours in float64.
    weights = schedule.elbo_weights(prediction).float()
    torch.testing.assert_close(weights, published["lvlb_weights"], rtol=4e-4, atol=0)


def test_every_published_schedule_is_ours_by_its_name(shared):
    case = read_case("schedules")
    assert len(case["cases"]) == 9
    for each in case["cases"]:
        check_case(each)
    for name, betas in case["raw_betas"].items():
        torch.testing.assert_close(published_schedule(name).betas, betas, rtol=0, atol=1e-15)
    assert torch.equal(cosine_betas(50), case["betas_for_alpha_bar_cos50"])


def test_the_published_ddim_steps_and_their_deviations_are_ours(shared):
    alpha_bar = published_schedule().alpha_bar
    for name, row in read_case("schedules")["ddim_params"].items():
        kind, count, eta = name.split("_")
        steps = published_ddim_timesteps(1000, int(count), kind)
        assert torch.equal(steps, row["timesteps"])
        here = alpha_bar[steps]
        before = torch.cat([alpha_bar[:1], here[:-1]])
        sigmas = float(eta) * ((1 - before) / (1 - here) * (1 - here / before)).sqrt()
        torch.testing.assert_close(here, row["alphas"], rtol=0, atol=1e-15)
        torch.testing.assert_close(before, row["alphas_prev"], rtol=0, atol=1e-15)
        torch.testing.assert_close(sigmas, row["sigmas"], rtol=0, atol=1e-12)


def test_two_short_schedules_equal_the_golden_ones():
    for case in read_case("short_schedules", GOLDEN)["cases"]:
        check_case(case)


def test_the_reverse_step_by_hand():
    schedule = Schedule(torch.tensor([0.5, 0.5], dtype=torch.float64))  # abar: 1/2, 1/4
    assert schedule.alpha_bar.tolist() == [0.5, 0.25]
    assert schedule.posterior_variance.tolist() == [0.0, pytest.approx(0.5 * 0.5 / 0.75)]
    assert schedule.posterior_weight_clean.tolist() == [1.0, pytest.approx(0.5 * math.sqrt(0.5) / 0.75)]
    assert schedule.posterior_weight_noisy.tolist() == [0.0, pytest.approx(0.5 * math.sqrt(0.5) / 0.75)]
    assert schedule.half_log_snr.tolist() == [pytest.approx(0.0), pytest.approx(math.log(1 / math.sqrt(3)))]
    assert Schedule(schedule.betas, 1.0).posterior_variance.tolist() == [0.5, 0.5]


def test_between_two_steps_the_variance_stays_one_and_lambda_is_halfway():
    schedule = make_schedule("cosine", 50)
    alpha, sigma = schedule.at(torch.tensor([10.5, 11.0]))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-15)
    halfway = (schedule.half_log_snr[10] + schedule.half_log_snr[11]) / 2
    assert math.log(alpha[0] / sigma[0]) == pytest.approx(float(halfway), abs=1e-12)
    assert float(alpha[1]) == float(schedule.alpha[11])
    shaped, _ = schedule.at(torch.tensor([3, 4]), torch.zeros(2, 5, 6))
    assert shaped.shape == (2, 1, 1)
    assert shaped.dtype == torch.float32


@pytest.mark.parametrize("name", ["scaled_linear", "linear", "sqrt", "cosine"])
def test_a_stretched_schedule_ends_in_noise_alone_and_begins_as_it_did(name):
    schedule = make_schedule(name, 100)
    stretched = with_zero_terminal_snr(schedule)
    assert float(stretched.alpha[-1]) == 0.0
    assert float(stretched.half_log_snr[-1]) == -math.inf
    assert float(stretched.alpha[0]) == pytest.approx(float(schedule.alpha[0]), abs=1e-15)
    assert (stretched.half_log_snr.diff() < 0).all()
    gaps = schedule.alpha.diff() / stretched.alpha.diff()
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps), rtol=1e-9, atol=0)


def test_the_published_pairs_of_names_are_kept_apart():
    assert torch.equal(published_schedule("linear").betas, make_schedule("scaled_linear").betas)
    assert torch.equal(published_schedule("sqrt_linear").betas, make_schedule("linear").betas)
    assert not torch.equal(published_schedule("linear").betas, make_schedule("linear").betas)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_schedule("quadratic"), "schedule 'quadratic' is not known"),
        (lambda: make_schedule(steps=0), "steps=0 must be 1 or more"),
        (lambda: make_schedule("cosine", start=1e-4), "'cosine' has no option 'start'"),
        (lambda: published_schedule("scaled_linear"), "'scaled_linear' is not published"),
        (lambda: Schedule(torch.zeros(3)), "must be a list of numbers above 0"),
        (lambda: make_schedule(variance_mix=2.0), "variance_mix=2.0 must be from 0"),
        (lambda: make_schedule().elbo_weights("v"), "not 'v'"),
        (lambda: make_schedule().at(torch.tensor([1000])), "are not all within 0 and 999"),
        (lambda: with_zero_terminal_snr(make_schedule(steps=1)), "a schedule of 1 step"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call()

"""DDPM and DDIM: the published chain, the distribution they draw from, and how they may be cut short."""

from itertools import pairwise

import pytest
import torch

from geoscope.diffusion.levels import (
    exploding_levels,
    exploding_path,
    flow_levels,
    flow_times,
    karras_sigmas,
    levels_of,
)
from geoscope.diffusion.noise import member_noise
from geoscope.diffusion.process import as_denoise, posterior
from geoscope.diffusion.samplers.ancestral import sample_ddim, sample_ddpm
from geoscope.diffusion.samplers.flow import sample_flow_euler
from geoscope.diffusion.samplers.steps import clean_estimate
from geoscope.diffusion.schedules import make_schedule
from geoscope.diffusion.timesteps import even_timesteps
from geoscope.errors import ConfigError
from tests.diffusion.oracle import GOLDEN, read_case
from tests.diffusion.problems import GAUSSIAN, exact_moments, observed_order

SCHEDULE = make_schedule()


def replayed(answers, states):
    """A network that gives the recorded answers, and records the states it is asked about."""

    def network(x, t):
        states.append(x)
        return answers[len(states) - 1]

    return as_denoise(network, SCHEDULE.at, "eps")


def check_chain(start, timesteps, eta, answers, expected, final, noises):
    states: list = []
    levels = levels_of(SCHEDULE, timesteps, ends_at_first=True)
    end = sample_ddim(replayed(answers, states), start, levels, noises.__getitem__, eta=eta)
    # Measured: 4.4e-7 of the largest value, about 40, at the end of the chain.
    for ours, published in zip([*states[1:], end], [*expected[:-1], final], strict=True):
        torch.testing.assert_close(ours, published, rtol=0, atol=2e-6 * float(published.abs().max()))


def test_a_golden_ddim_chain_is_ours():
    case = read_case("ddim_chain", GOLDEN)
    check_chain(
        case["x_T"],
        case["timesteps"],
        case["eta"],
        case["eps"],
        case["states"],
        case["final"],
        case["noises"],
    )


def test_the_published_ddim_chains_are_ours_with_and_without_noise(shared):
    case = read_case("ddim_chain")
    whole = [row for row in case["rows"] if len(row["traj"]) == len(row["timesteps"])]
    assert {row["eta"] for row in whole} == {0.0, 0.5}
    for row in whole:
        noises = [
            torch.randn(case["x_T"].shape, generator=torch.Generator().manual_seed(2000 + step))
            for step in range(row["n"])
        ]
        answers, states = [step["eps"] for step in row["traj"]], [step["x"] for step in row["traj"]]
        check_chain(case["x_T"], row["timesteps"], row["eta"], answers, states, row["final"], noises)


def test_ddpm_at_every_step_is_the_posterior_step_by_step():
    schedule = make_schedule("cosine", 12, variance_mix=0.3)
    noise = member_noise(1, 4, (3,))
    denoise = GAUSSIAN.denoise(schedule.at)
    x = noise.first().double()
    end = sample_ddpm(
        denoise,
        x,
        levels_of(schedule, torch.arange(12)),
        lambda i: noise(i).double(),
        temperature=0.7,
        variance_mix=0.3,
    )
    for i, step in enumerate(range(11, -1, -1)):
        t = torch.full((4,), step)
        mean, variance, _ = posterior(schedule, denoise(x, t), x, t)
        x = mean + (0.7 * variance.sqrt() * noise(i).double() if step else 0)
    torch.testing.assert_close(end, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", [sample_ddpm, lambda *a: sample_ddim(*a, eta=1.0)], ids=["ddpm", "ddim1"])
def test_the_ancestral_samplers_draw_from_the_data(sampler):
    schedule = make_schedule("cosine", 1000)
    errors = []
    for count in (25, 50, 100):
        levels = levels_of(schedule, even_timesteps(1000, count))
        mean, covariance = exact_moments(
            lambda start, noise, levels=levels: sampler(GAUSSIAN.denoise(schedule.at), start, levels, noise),
            count,
            3,
        )
        torch.testing.assert_close(mean, GAUSSIAN.mean, rtol=0, atol=0.02)
        errors.append(float((covariance - GAUSSIAN.covariance).abs().max()))
    assert errors[2] < 0.06
    assert observed_order(errors) == pytest.approx(1.0, abs=0.1)


def test_ddim_with_all_its_noise_is_ddpm():
    levels = levels_of(SCHEDULE, even_timesteps(1000, 20))
    noise = member_noise(3, 5, (3,))
    start, denoise = noise.first().double(), GAUSSIAN.denoise(SCHEDULE.at)
    ancestral = sample_ddpm(denoise, start, levels, noise)
    torch.testing.assert_close(
        sample_ddim(denoise, start, levels, noise, eta=1.0), ancestral, rtol=0, atol=1e-9
    )
    assert not torch.allclose(sample_ddpm(denoise, start, levels, noise, temperature=0.0), ancestral)


def test_the_rest_of_a_chain_continues_it():
    levels = levels_of(SCHEDULE, even_timesteps(1000, 10))
    noise = member_noise(3, 2, (3,))
    denoise = GAUSSIAN.denoise(SCHEDULE.at)
    seen: list = []

    def watched(x, t):
        seen.append(x)
        return denoise(x, t)

    end = sample_ddpm(watched, noise.first().double(), levels, noise)
    rest = sample_ddpm(denoise, seen[6], levels.begun_at(6), lambda i: noise(i + 6))
    assert torch.equal(rest, end)


def test_without_noise_ddim_is_the_euler_step_of_flow_matching():
    times = flow_times(9)
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def denoise(x, t):
        return torch.tanh(x) + t[:, None]

    flow = sample_flow_euler(lambda x, t: (x - denoise(x, t)) / t[:, None], noise, times)
    torch.testing.assert_close(sample_ddim(denoise, noise, flow_levels(times)), flow, rtol=0, atol=1e-12)


def test_on_exploding_levels_ddim_is_the_euler_step_of_karras():
    sigmas = karras_sigmas(6)
    levels = exploding_levels(sigmas)
    denoise = GAUSSIAN.denoise(exploding_path)
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = noise * sigmas[0]
    for sigma, following in pairwise(sigmas):
        x = x + (following - sigma) * (x - denoise(x, sigma.expand(4))) / sigma
    torch.testing.assert_close(sample_ddim(denoise, levels.first_state(noise), levels), x, rtol=0, atol=1e-11)


def test_the_shift_moves_each_mean_by_deviations_of_the_step():
    levels = levels_of(make_schedule("linear", 3), torch.arange(3))
    schedule = make_schedule("linear", 3)
    told = []

    def shift(x, t):
        told.append(t.tolist())
        return torch.ones_like(x)

    def denoise(x, t):
        return torch.zeros_like(x)

    start = torch.zeros(1, 2, dtype=torch.float64)
    end = sample_ddpm(denoise, start, levels, lambda i: torch.zeros(1, 2), shift=shift)
    x = -schedule.posterior_variance[2].sqrt()  # from 0, by one deviation
    x = x * schedule.posterior_weight_noisy[1] - schedule.posterior_variance[1].sqrt()
    torch.testing.assert_close(end, torch.full_like(end, float(x * schedule.posterior_weight_noisy[0])))
    assert told == [[2], [1], [0]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d, x, levels: sample_ddim(d, x, levels, eta=0.5), "hand in step_noise"),
        (lambda d, x, levels: sample_ddim(d, x, levels, eta=1.5), "eta=1.5 must be from 0"),
        (lambda d, x, levels: clean_estimate(d, x, levels, 2), "level 2 has no noise left"),
    ],
)
def test_a_chain_that_cannot_be_drawn_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call(lambda x, t: x, torch.zeros(1, 2), levels_of(SCHEDULE, torch.tensor([9, 5])))

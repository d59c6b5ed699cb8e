"""Guidance: on Gaussian data the conditional distribution is known, and the guided samplers draw from it."""

import math

import pytest
import torch

from geoscope.diffusion.guidance import (
    guide_by_noisy_network,
    guide_through_denoiser,
    guide_through_estimate,
    meet_target,
)
from geoscope.diffusion.levels import Levels, exploding_path, flow_path, levels_of
from geoscope.diffusion.noise import member_noise
from geoscope.diffusion.published_guidance import batch_coupled_gradient, batch_coupled_shift
from geoscope.diffusion.samplers.choice import sample
from geoscope.diffusion.schedules import make_schedule, with_zero_terminal_snr
from geoscope.diffusion.timesteps import even_lambda_timesteps, even_timesteps
from geoscope.errors import ConfigError
from tests.diffusion.problems import (
    GAUSSIAN,
    Gaussian,
    exact_moments,
    lambda_levels,
    lambda_path,
    observed_order,
)

SCHEDULE = make_schedule()
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
PAIR = torch.tensor([[0.5, 0.3, 0.2], [0.0, 1.0, -1.0]], dtype=torch.float64)
WHITE = Gaussian(GAUSSIAN.mean, 0.8 * torch.eye(3, dtype=torch.float64))


def linear(weights):
    return lambda clean: clean @ weights.mT if weights.ndim == 2 else clean @ weights


def conditional(problem, weights, target, tolerance):
    """Mean and covariance of Gaussian data given that weights x_0 is normal about ``target``."""
    rows = torch.atleast_2d(weights)
    spread = rows @ problem.covariance @ rows.T + tolerance**2 * torch.eye(len(rows))
    gain = torch.linalg.solve(spread, rows @ problem.covariance).T
    wanted = torch.as_tensor(target, dtype=torch.float64).reshape(-1)
    mean = problem.mean + gain @ (wanted - rows @ problem.mean)
    return mean, problem.covariance - gain @ rows @ problem.covariance


def guided_moments(guided, count, name="dpm++2m"):
    """Mean and covariance at the end of the ODE, begun where the state is noise but for a part in 10^5."""
    levels = lambda_levels(count, -12.0, 8.0)
    levels = Levels((*levels.times, 0.0), (*levels.alphas, 1.0), (*levels.sigmas, 0.0))
    return exact_moments(
        lambda first, noise: sample(name, guided, first, levels, step_noise=noise), count + 1, 3
    )


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
@pytest.mark.parametrize(("weights", "target"), [(WEIGHTS, 1.5), (PAIR, (1.0, -2.0))], ids=["one", "two"])
def test_through_the_denoiser_the_samples_are_those_of_the_conditional_distribution(
    weights, target, tolerance
):
    wanted = torch.tensor(target, dtype=torch.float64)
    guided = guide_through_denoiser(
        GAUSSIAN.denoise(lambda_path), lambda_path, linear(weights), wanted, tolerance=tolerance
    )
    mean, covariance = conditional(GAUSSIAN, weights, target, tolerance)
    errors = []
    for count in (40, 80, 160):
        ours = guided_moments(guided, count)
        errors.append(max(float((ours[0] - mean).abs().max()), float((ours[1] - covariance).abs().max())))
    assert errors[-1] < 1e-3
    assert observed_order(errors) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ["ddim", "dpm++2m", "dpm++2s", "heun", "ddpm"])
def test_every_sampler_takes_a_guided_denoiser_and_meets_the_target_in_ten_steps(name):
    denoise = GAUSSIAN.denoise(SCHEDULE.at)
    noise = member_noise(3, 6, (3,))
    asked = torch.linspace(-2.0, 3.0, 6, dtype=torch.float64)
    guided = guide_through_denoiser(denoise, SCHEDULE.at, linear(WEIGHTS), asked)
    levels = levels_of(SCHEDULE, even_timesteps(1000, 10))
    end = sample(name, guided, noise.first().double(), levels, step_noise=noise)
    torch.testing.assert_close(end @ WEIGHTS, asked, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tolerance", [0.0, 0.4])
def test_the_cheap_ways_are_exact_for_white_data(tolerance):
    unit = Gaussian(GAUSSIAN.mean, torch.eye(3, dtype=torch.float64))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(-3.0, 3.0, 5, dtype=torch.float64)
    quantity = linear(PAIR)
    target = torch.tensor([0.5, -1.0], dtype=torch.float64)
    for problem, variance in ((unit, 1.0), (WHITE, 0.8)):
        denoise = problem.denoise(lambda_path)
        accurate = guide_through_denoiser(denoise, lambda_path, quantity, target, tolerance=tolerance)(x, t)
        cheap = guide_through_estimate(
            denoise, lambda_path, quantity, target, tolerance=tolerance, prior_variance=variance
        )(x, t)
        torch.testing.assert_close(cheap, accurate, rtol=0, atol=1e-10)
    by_network = guide_by_noisy_network(
        unit.denoise(lambda_path),
        lambda_path,
        lambda x, t: quantity(unit.denoise(lambda_path)(x, t)),
        target,
        tolerance=tolerance,
    )(x, t)
    accurate = guide_through_denoiser(
        unit.denoise(lambda_path), lambda_path, quantity, target, tolerance=tolerance
    )(x, t)
    torch.testing.assert_close(by_network, accurate, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "path", [lambda_path, exploding_path, flow_path], ids=["preserving", "exploding", "flow"]
)
def test_the_moved_estimate_is_the_conditional_mean_at_every_level(path):
    """Given x_t, Gaussian data are Gaussian: both conditions together are a linear problem."""
    t = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64)
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    guided = guide_through_denoiser(GAUSSIAN.denoise(path), path, linear(WEIGHTS), 1.5, tolerance=0.2)(x, t)
    alphas, sigmas = path(t, x)
    for row, alpha, sigma, ours in zip(x, alphas[:, 0], sigmas[:, 0], guided, strict=True):
        rows = torch.cat([alpha * torch.eye(3, dtype=torch.float64), WEIGHTS[None]])
        noise = torch.diag(torch.cat([(sigma**2).expand(3), torch.tensor([0.04], dtype=torch.float64)]))
        gain = torch.linalg.solve(rows @ GAUSSIAN.covariance @ rows.T + noise, rows @ GAUSSIAN.covariance).T
        said = torch.cat([row, row.new_tensor([1.5])])
        torch.testing.assert_close(
            ours, GAUSSIAN.mean + gain @ (said - rows @ GAUSSIAN.mean), rtol=0, atol=1e-10
        )


def two_storms(path):
    """Data (u, b): u standard normal, b = 0.8 u + 2 or 0.8 u - 2, each with deviation 0.2; the exact denoiser."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 0.68]], dtype=torch.float64)
    means = torch.tensor([[0.0, 2.0], [0.0, -2.0]], dtype=torch.float64)

    def denoise(x, t):
        alpha, sigma = path(t, x)
        spread = (alpha**2)[..., None] * covariance + (sigma**2)[..., None] * torch.eye(2)
        estimates, shares = [], []
        for mean in means:
            off = x - alpha * mean
            pull = torch.linalg.solve(spread, off[..., None])[..., 0]
            estimates.append(mean + alpha * (pull @ covariance))
            shares.append(-(off * pull).sum(1) / 2)  # both spreads are the same, so their determinants cancel
        share = torch.softmax(torch.stack(shares, 1), 1)
        return share[:, :1] * estimates[0] + share[:, 1:] * estimates[1]

    return denoise


@pytest.mark.parametrize("asked", [0.0, 2.0])
@pytest.mark.parametrize("name", ["dpm++2m", "heun", "ddpm"])
def test_what_belongs_to_the_asked_value_follows_it_and_what_does_not_stays_open(name, asked):
    """Given u, the value b has two peaks at 0.8 u + 2 and 0.8 u - 2; ten or twenty steps find both, where they are."""
    noise = member_noise(0, 600, (2,))
    guided = guide_through_denoiser(two_storms(SCHEDULE.at), SCHEDULE.at, lambda clean: clean[:, 0], asked)
    levels = levels_of(SCHEDULE, even_timesteps(1000, 30 if name == "ddpm" else 10))
    end = sample(name, guided, noise.first().double(), levels, step_noise=noise)
    torch.testing.assert_close(end[:, 0], torch.full_like(end[:, 0], asked), rtol=0, atol=1e-9)
    off = end[:, 1] - 0.8 * asked
    upper, lower = off[off > 0], off[off <= 0]
    assert 0.4 < len(upper) / 600 < 0.6
    assert float(upper.mean()) == pytest.approx(2.0, abs=0.1)
    assert float(lower.mean()) == pytest.approx(-2.0, abs=0.1)
    for peak in (upper, lower):
        assert float(peak.std()) == pytest.approx(0.2, abs=0.06)


def curved(clean):
    """Not linear: the mean of what is above zero, softly."""
    return torch.nn.functional.softplus(4 * clean).flatten(1).mean(1) / 4


def guides(denoise, path, target):
    network = lambda x, t: curved(denoise(x, t))  # noqa: E731
    return {
        "denoiser": guide_through_denoiser(denoise, path, curved, target),
        "estimate": guide_through_estimate(denoise, path, curved, target),
        "network": guide_by_noisy_network(denoise, path, network, target),
    }


@pytest.mark.parametrize("way", ["denoiser", "estimate", "network"])
def test_what_is_achieved_rises_with_what_is_asked_for_every_member(way):
    denoise = GAUSSIAN.denoise(SCHEDULE.at)
    levels = levels_of(SCHEDULE, even_lambda_timesteps(SCHEDULE, 10))
    noise = member_noise(8, 5, (3,))
    achieved = []
    for asked in (0.3, 0.6, 0.9, 1.2, 1.5):
        guided = guides(denoise, SCHEDULE.at, asked)[way]
        achieved.append(curved(sample("dpm++2m", guided, noise.first().double(), levels)))
    by_member = torch.stack(achieved)
    assert (by_member.diff(dim=0) > 0).all()
    if way != "network":  # the network's reading of a noisy state is not the quantity of the sample
        asked = torch.tensor([0.3, 0.6, 0.9, 1.2, 1.5], dtype=torch.float64)[:, None]
        torch.testing.assert_close(by_member, asked.expand_as(by_member), rtol=0, atol=0.05)


@pytest.mark.parametrize("way", ["denoiser", "estimate", "network"])
def test_a_guided_sample_does_not_feel_the_others(way):
    denoise = GAUSSIAN.denoise(SCHEDULE.at)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([0, 300, 600, 999])
    asked = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    together = guides(denoise, SCHEDULE.at, asked)[way](x, t)
    for i in range(4):
        alone = guides(denoise, SCHEDULE.at, asked[i : i + 1])[way](x[i : i + 1], t[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", ["denoiser", "estimate", "network"])
def test_guidance_stays_finite_without_signal_and_where_nothing_is_felt(way):
    schedule = with_zero_terminal_snr(SCHEDULE)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    problem = Gaussian(GAUSSIAN.mean.float(), GAUSSIAN.covariance.float())
    silent = guides(problem.denoise(schedule.at), schedule.at, 1.0)[way](x, torch.tensor([999, 999]))
    assert silent.isfinite().all()
    plain = problem.denoise(schedule.at)
    flat = {
        "denoiser": guide_through_denoiser(plain, schedule.at, lambda clean: 0 * clean.sum(1), 1e3),
        "estimate": guide_through_estimate(
            plain, schedule.at, lambda clean: torch.zeros(2) + clean[:, 0] * 0, 1e3
        ),
        "network": guide_by_noisy_network(plain, schedule.at, lambda x, t: 0 * x.sum(1), 1e3),
    }[way]
    t = torch.tensor([10, 500])
    torch.testing.assert_close(flat(x, t), plain(x, t), rtol=0, atol=0)


@pytest.mark.parametrize("turn", [0.5, 1.5, 1.57, 3.0])
def test_a_denoiser_that_is_wrong_cannot_make_a_move_long(turn):
    """A derivative that turns a gradient aside: the move is at most ten times the shortest that meets the target."""
    turned = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]).double()
    x, t = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([100, 500, 900])

    def denoise(x, t):
        return x @ turned

    guided = guide_through_denoiser(denoise, SCHEDULE.at, lambda clean: clean[:, 0], 2.0)
    move = guided(x, t) - denoise(x, t)
    assert (move.norm(dim=1) <= 20.0 + 1e-9).all()
    met = turn == 0.5
    assert torch.allclose(move[:, 0], torch.tensor(2.0).double()) == met


def test_a_linear_target_is_met_at_once_and_by_the_shortest_way():
    clean = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    asked = torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    met = meet_target(clean, linear(WEIGHTS), asked, iterations=2)
    torch.testing.assert_close(met @ WEIGHTS, asked, rtol=0, atol=1e-12)
    shortest = (asked - clean @ WEIGHTS).abs() / WEIGHTS.norm()
    torch.testing.assert_close((met - clean).norm(dim=1), shortest, rtol=0, atol=1e-12)


def test_a_curved_target_is_met_in_a_few_steps_and_never_left_further_off():
    clean = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    asked = torch.tensor([0.01, 0.2, 0.5, 1.0, 2.0, -1.0], dtype=torch.float64)  # the last is out of reach
    departures = [
        (curved(meet_target(clean, curved, asked, iterations=count)) - asked).abs() for count in range(1, 13)
    ]
    assert (torch.stack(departures).diff(dim=0) <= 1e-12).all()
    assert (departures[7][:5] < 1e-6).all()
    assert float(departures[0][5]) > float(departures[-1][5]) >= 1.0


def test_a_sample_that_is_near_enough_stays_where_it_is():
    clean = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    asked = curved(clean) + torch.tensor([0.0, 0.05, 0.5], dtype=torch.float64)
    met = meet_target(clean, curved, asked, within=0.1)
    assert torch.equal(met[:2], clean[:2])
    assert abs(float(curved(met)[2] - asked[2])) <= 0.1


def test_strength_nought_is_no_guidance_and_a_wide_tolerance_hardly_any():
    denoise = GAUSSIAN.denoise(SCHEDULE.at)
    x, t = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([10, 500])
    plain = denoise(x, t)
    off = guide_through_denoiser(denoise, SCHEDULE.at, linear(WEIGHTS), 9.0, strength=0.0)
    wide = guide_through_denoiser(denoise, SCHEDULE.at, linear(WEIGHTS), 9.0, tolerance=1e4)
    assert torch.equal(off(x, t), plain)
    torch.testing.assert_close(wide(x, t), plain, rtol=0, atol=1e-6)


def test_the_published_gradient_has_unit_length_and_couples_the_batch():
    def alignment(x, t):
        return x.mean(2, keepdim=True) + t[:, None, None] / 1000  # (B, T, 1)

    x = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([3, 400, 998])
    target = torch.tensor([[0.2], [0.9], [-0.3]], dtype=torch.float64)
    gradient = batch_coupled_gradient(alignment, x, t, target, 50.0)
    departure = x.mean((1, 2)) + t / 1000 - target[:, 0]
    by_hand = 50.0 * departure[:, None, None] / departure.norm() / 8
    torch.testing.assert_close(gradient, by_hand.expand_as(gradient), rtol=0, atol=1e-12)
    alone = batch_coupled_gradient(alignment, x[:1], t[:1], target[:1], 50.0)
    assert not torch.allclose(alone, gradient[:1])
    nearer = batch_coupled_gradient(alignment, x, t, x.mean((1, 2))[:, None] + t[:, None] / 1000 - 1e-6)
    assert float(nearer.norm()) == pytest.approx(50.0 * (8 * (1 / 8) ** 2) ** 0.5)
    torch.testing.assert_close(batch_coupled_shift(alignment, target)(x, t), gradient)


def test_a_correction_that_cannot_be_is_refused():
    for options, words in (({"within": -1.0}, "within=-1.0"), ({"iterations": 0}, "iterations=0 1 or more")):
        with pytest.raises(ConfigError, match=words):
            meet_target(torch.zeros(1, 2), curved, 1.0, **options)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda d: guide_through_denoiser(d, lambda_path, curved, 1.0, tolerance=-1.0), "tolerance=-1.0"),
        (lambda d: guide_through_estimate(d, lambda_path, curved, 1.0, strength=-1.0), "strength=-1.0"),
        (
            lambda d: guide_through_estimate(d, lambda_path, curved, 1.0, prior_variance=0.0),
            "prior_variance=0.0",
        ),
        (
            lambda d: guide_through_denoiser(d, lambda_path, lambda clean: clean.mean(), 1.0),
            r"quantity has shape \(\); it must be \(B,\) or \(B, K\) for B=2",
        ),
        (
            lambda d: guide_through_denoiser(d, lambda_path, lambda clean: (clean > 0).double().mean(1), 1.0),
            "the guided quantity has no gradient: count softly",
        ),
        (
            lambda d: guide_through_estimate(d, lambda_path, linear(PAIR), torch.zeros(3)),
            r"target has shape \(3,\); it must be a number or \(2, 2\)",
        ),
        (
            lambda d: guide_through_denoiser(lambda x, t: x.detach(), lambda_path, curved, 1.0),
            "an estimate without a gradient",
        ),
    ],
)
def test_guidance_that_cannot_be_is_refused(build, words):
    with pytest.raises(ConfigError, match=words):
        build(GAUSSIAN.denoise(lambda_path))(torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2))

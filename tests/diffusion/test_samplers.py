"""What all samplers promise: the same noise gives the same bits, members stand alone, progress and cancelling."""

import pytest
import torch

from geoscope.diffusion.levels import exploding_levels, exploding_path, flow_times, karras_sigmas, levels_of
from geoscope.diffusion.noise import MemberNoise, member_noise
from geoscope.diffusion.samplers.ancestral import sample_ddim, sample_ddpm
from geoscope.diffusion.samplers.choice import SAMPLERS, sample
from geoscope.diffusion.samplers.dpm_solver import sample_dpm_solver_2m, sample_dpm_solver_2s
from geoscope.diffusion.samplers.flow import sample_flow_euler, sample_flow_heun
from geoscope.diffusion.samplers.heun import Churn, sample_heun
from geoscope.diffusion.schedules import make_schedule, with_zero_terminal_snr
from geoscope.diffusion.timesteps import even_lambda_timesteps, even_timesteps
from geoscope.errors import Cancelled, ConfigError
from tests.diffusion.problems import GAUSSIAN, exact_moments, observed_order

SCHEDULE = make_schedule()
LEVELS = levels_of(SCHEDULE, even_timesteps(1000, 8))
NAMES = ["ddpm", "ddim", "dpm++2m", "dpm++2s", "heun"]


def small_network(x, t):
    """Not linear, without a meaning, and different at each time."""
    return torch.tanh(x.roll(1, -1) * 0.7 + torch.sin(t.to(x.dtype) / 300)[:, None, None])


def run(name, noise, network=small_network, progress=None, eta=0.5):
    return sample(
        name,
        network,
        noise.first(),
        LEVELS,
        step_noise=noise,
        eta=eta if name == "ddim" else 0.0,
        progress=progress,
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_noise_gives_the_same_bits(name):
    noise = member_noise(11, 3, (4, 5))
    assert torch.equal(run(name, noise), run(name, member_noise(11, 3, (4, 5))))
    assert not torch.equal(run(name, noise), run(name, member_noise(12, 3, (4, 5))))


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_the_same_in_any_batch_and_order(name):
    whole = run(name, member_noise(11, 4, (4, 5)))
    turned = run(name, member_noise(11, [3, 1], (4, 5)))
    # Measured: the same bits for this network; a batch of another size may sum in another order.
    torch.testing.assert_close(turned, whole[[3, 1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_progress_is_told_by_step_and_may_stop_the_sampler(name):
    told = []
    run(name, member_noise(0, 1, (4, 5)), progress=lambda stage, share: told.append((stage, share)))
    assert told == [("sampling", step / 8) for step in range(9)]
    asked = []

    def network(x, t):
        asked.append(int(t[0]))
        return small_network(x, t)

    def stop(stage, share):
        if share >= 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        run(name, member_noise(0, 1, (4, 5)), network, stop)
    assert len(asked) == (8 if name == "heun" else 4)


@pytest.mark.parametrize("name", NAMES)
def test_no_sampler_keeps_gradients_or_changes_its_start(name):
    start = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    before = start.detach().clone()
    end = sample(name, small_network, start, LEVELS, step_noise=member_noise(0, 2, (4, 5)))
    assert not end.requires_grad
    assert torch.equal(start.detach(), before)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm++2m", "dpm++2s", "heun"])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_way_from_no_signal_to_no_noise_is_finite_and_ends_at_the_last_estimate(name, count):
    schedule = with_zero_terminal_snr(SCHEDULE)
    timesteps = even_timesteps(1000, count) if count < 3 else even_lambda_timesteps(schedule, count)
    last = []

    def network(x, t):
        last.append(small_network(x, t))
        return last[-1]

    noise = member_noise(0, 2, (4, 5))
    end = sample(name, network, noise.first(), levels_of(schedule, timesteps), step_noise=noise)
    torch.testing.assert_close(end, last[-1], rtol=0, atol=1e-6)


def test_few_steps_of_second_order_are_worth_many_of_first():
    levels = levels_of(SCHEDULE, even_timesteps(1000, 20))
    start = member_noise(5, 64, (3,)).first().double()
    denoise = GAUSSIAN.denoise(SCHEDULE.at)
    errors = {
        name: float((sample(name, denoise, start, levels) - GAUSSIAN.end(start, levels)).abs().max())
        for name in ("ddim", "dpm++2m", "dpm++2s", "heun")
    }
    assert errors["dpm++2m"] < 0.25 * errors["ddim"]
    assert errors["dpm++2s"] < 0.5 * errors["ddim"]
    assert errors["heun"] < 0.5 * errors["ddim"]


def churned_moments(count, churn):
    levels = exploding_levels(karras_sigmas(count))
    denoise = GAUSSIAN.denoise(exploding_path)
    return exact_moments(
        lambda first, noise: sample_heun(denoise, levels.first_state(first), levels, noise, churn=churn),
        count,
        3,
    )


def test_churn_draws_from_the_data_in_second_order_and_none_is_the_plain_method():
    errors = []
    for count in (20, 40, 80):
        mean, covariance = churned_moments(count, Churn(amount=5.0))
        torch.testing.assert_close(mean, GAUSSIAN.mean, rtol=0, atol=0.01)
        errors.append(float((covariance - GAUSSIAN.covariance).abs().max()))
    assert observed_order(errors) > 1.8
    plain, outside = churned_moments(20, None), churned_moments(20, Churn(amount=5.0, lowest=100.0))
    torch.testing.assert_close(plain[1], outside[1], rtol=0, atol=1e-12)
    assert not torch.allclose(plain[1], churned_moments(20, Churn(amount=5.0))[1], atol=1e-6)


def test_flow_samplers_tell_progress_and_hear_the_time():
    told, times = [], []

    def velocity(x, t):
        times.append(float(t[0]))
        return -x

    noise = torch.ones(1, 2)
    for sampler in (sample_flow_euler, sample_flow_heun):
        sampler(velocity, noise, flow_times(2), progress=lambda stage, share: told.append(share))
    assert told == [0.0, 0.5, 1.0] * 2
    assert times == [1.0, 0.5, 1.0, 0.5, 0.5, 0.0]


def test_the_noise_of_a_member_is_its_own():
    noise = member_noise(4, 3, (2, 500))
    assert torch.equal(member_noise(4, [2, 0], (2, 500))(7), noise(7)[[2, 0]])
    flat = torch.stack([noise.first(), noise(0), noise(1), member_noise(5, 3, (2, 500)).first()]).reshape(
        12, -1
    )
    related = flat.corrcoef() - torch.eye(12)
    assert float(related.abs().max()) < 0.12  # of 66 pairs of 1000 values
    assert float(flat.std()) == pytest.approx(1.0, abs=0.03)
    like = torch.zeros(1, dtype=torch.float64)
    assert member_noise(4, 3, (2, 500), like).first().dtype == torch.float64


def test_every_name_is_a_sampler():
    assert set(SAMPLERS) == set(NAMES)
    functions = {sample_ddpm, sample_ddim, sample_dpm_solver_2m, sample_dpm_solver_2s, sample_heun}
    assert {function for function, *_ in SAMPLERS.values()} == functions


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample("plms", small_network, torch.zeros(1, 4, 5), LEVELS), "sampler 'plms' is not known"),
        (lambda: sample("ddpm", small_network, torch.zeros(1, 4, 5), LEVELS), "'ddpm' draws noise"),
        (
            lambda: sample("heun", small_network, torch.zeros(1, 4, 5), LEVELS, eta=0.5),
            "eta=0.5 is for 'ddim'",
        ),
        (lambda: member_noise(0, 0, (3,)), r"members=\(\) must be one or more"),
        (lambda: MemberNoise(0, (-1,), (3,)), "must be one or more numbers from 0 on"),
        (lambda: member_noise(0, 1, (3, 0)), r"shape=\(3, 0\) must be"),
        (lambda: Churn(amount=-1.0), "churn amount=-1.0 must be 0 or more"),
        (
            lambda: sample_heun(small_network, torch.zeros(1, 4, 5), LEVELS, churn=Churn(amount=1.0)),
            "hand in step_noise",
        ),
        (
            lambda: sample_heun(
                small_network,
                torch.zeros(1, 4, 5),
                LEVELS,
                lambda i: torch.zeros(()),
                churn=Churn(amount=1.0),
            ),
            "needs those of exploding_levels",
        ),
    ],
)
def test_what_cannot_be_sampled_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call()

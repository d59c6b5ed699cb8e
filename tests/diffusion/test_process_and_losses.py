"""Noising, predictions, losses and the moving average: the published numbers, and values worked by hand."""

import math

import pytest
import torch

from geoscope.diffusion.averaging import update_average, warmed_up_keep
from geoscope.diffusion.levels import flow_path
from geoscope.diffusion.losses import denoising_batch, error_of_each, min_snr_weights, published_loss
from geoscope.diffusion.process import (
    as_denoise,
    clamped,
    clean_from,
    noise_from,
    posterior,
    preconditioned,
    q_sample,
    target_of,
)
from geoscope.diffusion.schedules import Schedule, make_schedule, with_zero_terminal_snr
from geoscope.errors import ConfigError
from tests.diffusion.oracle import GOLDEN, read_case

SCHEDULE = make_schedule()


def check_steps(case):
    x, answer = case["zt"], case["net_out"]
    for row in case["rows"]:
        t = row["t"]
        clean = clean_from(row["parameterization"], answer, x, *SCHEDULE.at(t, x))
        clean = clean.clamp(-1, 1) if row["clip"] else clean
        mean, variance, log_variance = posterior(SCHEDULE, clean, x, t)
        deviation = (0.5 * log_variance).exp() * (t > 0).float().reshape(variance.shape)
        drawn = mean + deviation * row["noise"]
        # Measured: 9e-8 of the largest value, and 1e-6 absolute where x_0 of hundreds is clipped to 1.
        for name, ours in (("x0", clean), ("mean", mean), ("p_sample", drawn)):
            largest = float(row[name].abs().max())
            torch.testing.assert_close(ours, row[name], rtol=0, atol=2e-7 * largest + 1e-5 * row["clip"])
        torch.testing.assert_close(variance, row["var"], rtol=2e-7, atol=0)
        torch.testing.assert_close(log_variance, row["logvar"], rtol=2e-7, atol=0)
        torch.testing.assert_close(q_sample(SCHEDULE, x, t, answer), row["q_sample"], rtol=0, atol=1e-6)


def test_one_published_step_is_ours(shared):
    check_steps(read_case("one_step"))


def test_one_published_step_equals_the_golden_one():
    check_steps(read_case("one_step", GOLDEN))


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "velocity"])
def test_every_prediction_leads_back_to_the_data_and_the_noise(kind):
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.1, 0.5, 0.9])
    path = flow_path if kind == "velocity" else make_schedule("cosine", 1000).at
    alpha, sigma = path(t if kind == "velocity" else 1000 * t, clean)
    x = alpha * clean + sigma * noise
    predicted = target_of(kind, clean, noise, alpha, sigma)
    torch.testing.assert_close(clean_from(kind, predicted, x, alpha, sigma), clean, rtol=0, atol=1e-12)
    torch.testing.assert_close(noise_from(kind, predicted, x, alpha, sigma), noise, rtol=0, atol=1e-12)


def test_without_any_signal_v_still_says_what_the_data_are():
    schedule = with_zero_terminal_snr(SCHEDULE)
    clean, noise = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(1)).unbind()
    t = torch.tensor([999])
    x, target = denoising_batch(schedule, clean, t, noise, "v")
    assert torch.equal(x, noise)
    denoise = as_denoise(lambda x, t: target, schedule.at, "v")
    assert torch.equal(denoise(x, t), clean)
    assert torch.equal(clamped(denoise, -0.1, 0.1)(x, t), clean.clamp(-0.1, 0.1))


def test_preconditioning_asks_a_network_for_unit_variance():
    """For white data of the supposed deviation the best answer of the network is nought, at every sigma."""
    told = []

    def network(x, t):
        told.append((float(x.std()), t.tolist()))
        return torch.zeros_like(x)

    generator = torch.Generator().manual_seed(0)
    for sigma in (0.01, 0.5, 40.0):
        clean = 0.5 * torch.randn(1, 20_000, generator=generator)
        x = clean + sigma * torch.randn(1, 20_000, generator=generator)
        t = torch.tensor([sigma])
        best = x * 0.25 / (0.25 + sigma**2)
        torch.testing.assert_close(preconditioned(network)(x, t), best)
        assert told[-1] == (pytest.approx(1.0, abs=0.02), [pytest.approx(math.log(sigma) / 4)])


def test_the_loss_by_hand_and_its_gradient_by_the_log_variance():
    predicted = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    target = torch.zeros(2, 2)
    assert error_of_each(predicted, target, "l2").tolist() == [5.0, 2.0]
    assert error_of_each(predicted, target, "l1").tolist() == [2.0, 1.0]
    log_variance = torch.zeros(1000)
    log_variance[13], log_variance[777] = 0.3, -0.2
    log_variance.requires_grad_()
    t = torch.tensor([13, 777])
    loss = published_loss(predicted, target, t, SCHEDULE, log_variance=log_variance, elbo_weight=0.01)
    weighted = (5 / math.exp(0.3) + 0.3 + 2 / math.exp(-0.2) - 0.2) / 2
    weights = SCHEDULE.elbo_weights()[t]
    assert loss.simple.item() == pytest.approx(3.5)
    assert loss.weighted.item() == pytest.approx(weighted, rel=1e-6)
    assert loss.bound.item() == pytest.approx(float((weights * torch.tensor([5.0, 2.0])).mean()), rel=1e-6)
    assert loss.total.item() == pytest.approx(weighted + 0.01 * loss.bound.item(), rel=1e-6)
    loss.total.backward()
    assert float(log_variance.grad[13]) == pytest.approx((1 - 5 / math.exp(0.3)) / 2, rel=1e-6)
    assert log_variance.grad.count_nonzero() == 2


def test_weights_multiply_the_error_of_each_sample():
    predicted = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    weights = torch.tensor([2.0, 0.5])
    loss = published_loss(predicted, torch.zeros(2, 2), torch.tensor([13, 777]), SCHEDULE, weights=weights)
    assert loss.total.item() == (2.0 * 5.0 + 0.5 * 2.0) / 2
    assert loss.simple.item() == 3.5


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
def test_min_snr_weighs_the_same_error_in_the_data_whatever_is_predicted(kind):
    """An error d in x_0 is an error d alpha/sigma in eps and d/sigma in v."""
    t = torch.tensor([0, 200, 500, 999])
    alpha, sigma = SCHEDULE.at(t)
    snr = (alpha / sigma) ** 2
    of_the_data = {"eps": snr, "x0": torch.ones(4), "v": 1 / sigma**2}[kind]
    weights = min_snr_weights(SCHEDULE, t, kind) * of_the_data
    torch.testing.assert_close(weights, torch.minimum(snr, torch.tensor(5.0)).double(), rtol=1e-9, atol=0)


def test_min_snr_is_finite_where_no_signal_is_left():
    schedule = with_zero_terminal_snr(SCHEDULE)
    t = torch.tensor([999])
    assert min_snr_weights(schedule, t, "eps").tolist() == [1.0]
    assert min_snr_weights(schedule, t, "v").tolist() == [0.0]


def test_an_average_warms_up_as_published(shared):
    case = read_case("train_steps")
    assert int(case["ema_buffers"]["num_updates"]) == 4
    assert [warmed_up_keep(n) for n in (1, 2)] == [2 / 11, 3 / 12]
    assert warmed_up_keep(10**6) == 0.9999


def test_an_average_moves_towards_the_weights():
    average, weights = {"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([3.0, 2.0])}
    update_average(average, weights, 0.75)
    assert average["a"].tolist() == [1.5, 2.0]
    with pytest.raises(ConfigError, match="'b' is in one only"):
        update_average(average, {**weights, "b": torch.zeros(1)}, 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, t: clean_from("score", x, x, t, t), "prediction 'score' is not known"),
        (lambda x, t: target_of("score", x, x, t, t), "prediction 'score' is not known"),
        (lambda x, t: error_of_each(x, x, "l3"), "loss 'l3' is not known"),
        (lambda x, t: published_loss(x, x, t, SCHEDULE, prediction="v", elbo_weight=1), "leave it 0"),
        (lambda x, t: min_snr_weights(SCHEDULE, t, "score"), "prediction 'score' is not known"),
        (lambda x, t: min_snr_weights(SCHEDULE, t, limit=0), "limit=0 must be above 0"),
        (lambda x, t: warmed_up_keep(0), "updates=0 must be 1 or more"),
        (lambda x, t: warmed_up_keep(3, 1.0), "keep=1.0 at least 0 and below 1"),
    ],
)
def test_what_cannot_be_predicted_or_weighed_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call(torch.zeros(2, 3), torch.tensor([1, 2]))


def test_a_schedule_of_one_step_has_one_weight():
    assert len(Schedule(torch.tensor([0.5])).elbo_weights()) == 1

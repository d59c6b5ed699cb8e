"""The ways that samplers go: how many steps, from where to where, and what the network is told."""

import math

import pytest
import torch

from geoscope.diffusion.levels import (
    Levels,
    exploding_levels,
    exploding_path,
    flow_levels,
    flow_path,
    flow_times,
    karras_sigmas,
    levels_of,
)
from geoscope.diffusion.schedules import make_schedule, with_zero_terminal_snr
from geoscope.diffusion.timesteps import even_lambda_timesteps, even_timesteps, published_ddim_timesteps
from geoscope.errors import ConfigError

SCHEDULE = make_schedule()


@pytest.mark.parametrize("count", [1, 2, 7, 10, 300, 999, 1000])
def test_even_steps_are_as_many_as_asked_and_begin_at_the_last(count):
    steps = even_timesteps(1000, count)
    assert len(steps) == count
    assert int(steps[0]) == 999
    assert (steps.diff() < 0).all()
    assert int(steps[-1]) >= 0
    assert int((-steps.diff()).max() if count > 1 else 1) <= math.ceil(1000 / count)


def test_the_published_spacing_has_its_known_surprises():
    assert len(published_ddim_timesteps(1000, 300)) == 334
    assert len(published_ddim_timesteps(1000, 7)) == 8
    assert int(published_ddim_timesteps(1000, 10)[-1]) == 901
    assert published_ddim_timesteps(1000, 100, "quad").unique().numel() < 100
    with pytest.raises(ConfigError, match="not all within 0 and 999"):
        levels_of(SCHEDULE, published_ddim_timesteps(1000, 1000))


@pytest.mark.parametrize("count", [2, 10, 50])
@pytest.mark.parametrize("is_silent", [False, True])
def test_steps_even_in_lambda_go_from_the_last_to_the_first(count, is_silent):
    schedule = with_zero_terminal_snr(SCHEDULE) if is_silent else SCHEDULE
    levels = levels_of(schedule, even_lambda_timesteps(schedule, count))
    assert levels.steps == count
    assert levels.times[0] == 999
    assert levels.times[-2] == 0
    gaps = torch.tensor(levels.half_log_snr[is_silent:-1]).diff()
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps), rtol=1e-4, atol=0)
    assert not levels.is_discrete


def test_the_levels_of_a_schedule_end_clean_or_where_the_published_chain_does():
    levels = levels_of(SCHEDULE, torch.tensor([1, 500, 999]))
    assert levels.times == (999.0, 500.0, 1.0, 0.0)
    assert (levels.alphas[-1], levels.sigmas[-1]) == (1.0, 0.0)
    assert levels.half_log_snr[-1] == math.inf
    published = levels_of(SCHEDULE, torch.tensor([1, 500, 999]), ends_at_first=True)
    assert published.sigmas[-1] == pytest.approx(0.01)
    told = levels.time(1, torch.zeros(3, 2))
    assert told.tolist() == [500, 500, 500]
    assert told.dtype == torch.long


def test_the_rest_of_a_way_begins_where_it_is_told():
    levels = exploding_levels(karras_sigmas(5))
    rest = levels.begun_at(2)
    assert rest.sigmas == levels.sigmas[2:]
    noise = torch.ones(1, 2)
    assert torch.equal(levels.first_state(noise), 80.0 * noise)
    assert torch.equal(rest.first_state(noise), noise)
    assert rest.time(0, noise).dtype == torch.float32
    assert rest.time(0, noise.double()).dtype == torch.float64


def test_karras_levels_by_hand():
    sigmas = karras_sigmas(3, lowest=1.0, highest=9.0, curve=2.0)  # roots 3, 2, 1
    torch.testing.assert_close(sigmas, torch.tensor([9.0, 4.0, 1.0, 0.0], dtype=torch.float64))
    assert float(karras_sigmas(18)[0]) == pytest.approx(80.0)
    assert float(karras_sigmas(18)[-2]) == pytest.approx(0.002)


def test_flow_times_are_even_or_shifted_towards_the_noise():
    assert flow_times(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert flow_times(2, shift=3.0).tolist() == [1.0, 0.75, 0.0]
    assert flow_levels(flow_times(2)).alphas == (0.0, 0.5, 1.0)


def test_paths_give_what_multiplies_the_state():
    x = torch.zeros(2, 3, 3)
    alpha, sigma = flow_path(torch.tensor([0.25, 1.0]), x)
    assert alpha.flatten().tolist() == [0.75, 0.0]
    assert sigma.shape == (2, 1, 1)
    alpha, sigma = exploding_path(torch.tensor([5.0, 0.5]), x)
    assert alpha.flatten().tolist() == [1.0, 1.0]
    assert sigma.flatten().tolist() == [5.0, 0.5]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: even_timesteps(10, 11), "count=11 must be from 1 to 10"),
        (lambda: even_lambda_timesteps(SCHEDULE, 1), "count=1 must be from 2 to 1000"),
        (lambda: published_ddim_timesteps(10, 0), "count=0 must be from 1 to 10"),
        (lambda: published_ddim_timesteps(10, 5, "cubic"), "kind 'cubic' is not known"),
        (lambda: levels_of(SCHEDULE, torch.tensor([5, 5])), "noise must fall from level to level"),
        (lambda: Levels((1.0,), (1.0,), (1.0,)), "do not make levels"),
        (lambda: Levels((1.0, 0.0), (1.0,), (1.0, 0.0)), "do not make levels"),
        (lambda: Levels((1.0, 0.0), (1.0, -1.0), (1.0, 0.0)), "is none"),
        (lambda: levels_of(SCHEDULE, torch.tensor([5, 9])).begun_at(2), "level 2 is not among the 2"),
        (lambda: karras_sigmas(1), "count=1 must be 2 or more"),
        (lambda: karras_sigmas(5, 3.0, 2.0), "lowest=3.0 and highest=2.0"),
        (lambda: flow_times(0), "count=0 must be 1 or more"),
        (lambda: flow_times(3, shift=0.0), "shift=0.0 above 0"),
        (lambda: flow_levels(torch.tensor([0.5, 0.7])), "noise must fall"),
    ],
)
def test_a_way_that_cannot_be_gone_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call()

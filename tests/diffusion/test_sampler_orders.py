"""Each sampler converges as its order says, on data where the exact end of the ODE is known."""

import pytest
import torch

from geoscope.diffusion.levels import exploding_levels, exploding_path, flow_levels, flow_path, flow_times
from geoscope.diffusion.samplers.ancestral import sample_ddim
from geoscope.diffusion.samplers.dpm_solver import sample_dpm_solver_2m, sample_dpm_solver_2s
from geoscope.diffusion.samplers.flow import sample_flow_euler, sample_flow_heun
from geoscope.diffusion.samplers.heun import sample_heun
from tests.diffusion.problems import GAUSSIAN, MIXTURE, lambda_levels, lambda_path, observed_order

SAMPLERS = {
    "ddim": (sample_ddim, 1),
    "dpm++2m": (sample_dpm_solver_2m, 2),
    "dpm++2s": (sample_dpm_solver_2s, 2),
    "heun": (sample_heun, 2),
}


def noise_for(problem, count=64):
    width = 3 if problem is GAUSSIAN else 1
    return torch.randn(count, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def exploding_ways(count):
    return exploding_levels(torch.logspace(1.0, -1.5, count + 1, dtype=torch.float64))


@pytest.mark.parametrize("problem", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    ("ways", "path"),
    [(lambda_levels, lambda_path), (exploding_ways, exploding_path)],
    ids=["preserving", "exploding"],
)
def test_the_error_falls_with_the_order_of_the_sampler(problem, name, ways, path):
    sampler, order = SAMPLERS[name]
    errors = []
    for count in (40, 80, 160, 320):
        levels = ways(count)
        start = levels.first_state(noise_for(problem))
        end = sampler(problem.denoise(path), start, levels)
        errors.append(float((end - problem.end(start, levels)).abs().max()))
    assert observed_order(errors) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("sampler", "order"), [(sample_flow_euler, 1), (sample_flow_heun, 2)])
@pytest.mark.parametrize("problem", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_flow_matching_converges_all_the_way_to_the_data(problem, sampler, order):
    errors = []
    denoise = problem.denoise(flow_path)

    def velocity(x, t):
        # (x - x_0) / t, with the derivative's limit at t = 0: the noise has mean 0 there
        is_end = bool(t[0] == 0)
        return x.new_zeros(()) - x if is_end else (x - denoise(x, t)) / t[:, None]

    for count in (40, 80, 160, 320):
        times = flow_times(count)
        start = noise_for(problem)
        end = sampler(velocity, start, times)
        errors.append(float((end - problem.end(start, flow_levels(times))).abs().max()))
    assert observed_order(errors) == pytest.approx(order, abs=0.15)

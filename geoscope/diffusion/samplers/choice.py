"""The samplers of a denoiser by name, with one call for all."""

from collections.abc import Callable

from torch import Tensor

from geoscope.diffusion.levels import Denoise, Levels, Progress, StepNoise
from geoscope.diffusion.samplers.ancestral import sample_ddim, sample_ddpm
from geoscope.diffusion.samplers.dpm_solver import sample_dpm_solver_2m, sample_dpm_solver_2s
from geoscope.diffusion.samplers.heun import sample_heun
from geoscope.errors import ConfigError

SAMPLERS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "ddpm": (sample_ddpm, "draws noise at every step; needs hundreds of steps"),
    "ddim": (sample_ddim, "first order; deterministic, or with eta above 0 in part drawn"),
    "dpm++2m": (sample_dpm_solver_2m, "second order, one evaluation a step: 10 to 20 steps"),
    "dpm++2s": (sample_dpm_solver_2s, "second order without memory, for strong guidance: 10 to 30 steps"),
    "heun": (sample_heun, "second order, two evaluations a step"),
}


def sample(
    name: str,
    denoise: Denoise,
    start: Tensor,
    levels: Levels,
    *,
    step_noise: StepNoise | None = None,
    eta: float = 0.0,
    progress: Progress | None = None,
) -> Tensor:
    """A sample by the sampler of that ``name``, from the state ``start`` (B, ...) through ``levels``.

    ``step_noise`` is heard by "ddpm", which needs it, and by "ddim" with ``eta`` above 0.

    Raises:
        ConfigError: the name is not known, "ddpm" has no noise to draw, or ``eta`` is given to another than "ddim".
        Cancelled: ``progress`` asked to stop.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"sampler {name!r} is not known: choose one of {', '.join(SAMPLERS)}")
    if eta and name != "ddim":
        raise ConfigError(f"eta={eta} is for 'ddim', not {name!r}: leave it out")
    if name == "ddpm":
        if step_noise is None:
            raise ConfigError("the sampler 'ddpm' draws noise at each step: hand in step_noise")
        return sample_ddpm(denoise, start, levels, step_noise, progress=progress)
    if name == "ddim":
        return sample_ddim(denoise, start, levels, step_noise, eta=eta, progress=progress)
    return SAMPLERS[name][0](denoise, start, levels, progress=progress)

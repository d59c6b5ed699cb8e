"""What every sampler does between two levels: ask for x_0, count, and take the step that is exact for a fixed x_0."""

from collections.abc import Iterator

from torch import Tensor

from geoscope.diffusion.levels import Denoise, Levels, Progress
from geoscope.errors import ConfigError

STAGE = "sampling"


def counted(levels: Levels, progress: Progress | None, start: int = 0) -> Iterator[int]:
    """The numbers of the steps, telling ``progress`` before each and after the last."""
    for step in range(start, levels.steps):
        if progress is not None:
            progress(STAGE, step / levels.steps)
        yield step
    if progress is not None:
        progress(STAGE, 1.0)


def clean_estimate(denoise: Denoise, x: Tensor, levels: Levels, level: int) -> Tensor:
    """x_0 as ``denoise`` sees it from the state ``x`` at a level.

    Raises:
        ConfigError: the level has no noise, so there is nothing to ask.
    """
    if levels.sigmas[level] == 0.0:
        raise ConfigError(f"level {level} has no noise left: only the last level of a way may be clean")
    return denoise(x, levels.time(level, x))


def step_with_fixed_clean(x: Tensor, clean: Tensor, levels: Levels, start: int, end: int) -> Tensor:
    """The state at level ``end`` when x_0 = ``clean`` all the way from ``x`` at level ``start``.

    alpha' x_0 + (sigma'/sigma)(x - alpha x_0): the DDIM step without noise, DPM-Solver++ of first order, and on a
    straight path or at alpha = 1 the Euler step.
    """
    ratio = levels.sigmas[end] / levels.sigmas[start]
    return ratio * x + (levels.alphas[end] - ratio * levels.alphas[start]) * clean

"""The tasks that `geoscope train TASK --config RECIPE.toml` knows."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from geoscope.errors import ConfigError

Progress = Callable[[str, float], None]
NOWCASTER = "nowcaster"
RECIPE = "recipe.toml"


def _train(
    opener: Callable[[Path], tuple[Any, Any]], config_path: Path, out: Path, progress: Progress
) -> None:
    """Train what ``opener`` makes of the recipe.

    Weights, logs, pictures, checkpoints and a copy of the recipe go to the folder ``out``; a run that was stopped
    goes on there.

    Raises:
        ConfigError: the recipe cannot work; DataError: the data are missing, damaged or empty; TrainingError: see
            `geoscope.training.engine.fit`.
    """
    from geoscope.training.engine import fit

    settings, task = opener(config_path)
    _keep_recipe(config_path, out)
    fit(task, settings, out, progress)


def _keep_recipe(config_path: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if config_path.resolve() != (out / RECIPE).resolve():
        shutil.copyfile(config_path, out / RECIPE)


def open_task(config_path: Path) -> tuple[Any, Any]:
    """The engine's settings and the nowcast task of a recipe: what its table [model] names, its data opened.

    Raises:
        ConfigError: the recipe cannot work; DataError: the data are missing, damaged or empty.
    """
    from geoscope.training import recipe

    tables = recipe.read(config_path)
    where = config_path.name
    model = tables.get("model", {"name": NOWCASTER})
    if not isinstance(model, dict) or "name" not in model:
        raise ConfigError(
            f"{where}: [model] must be a table with a name, such as {NOWCASTER!r} or 'earthformer'"
        )
    name = model["name"]
    if name == NOWCASTER:
        from geoscope.training import nowcast

        tables.pop("model", None)
        if len(model) > 1:
            raise ConfigError(f"{where}: [model] of the nowcaster has only a name, got {', '.join(model)}")
        settings, own = recipe.split(tables, nowcast.NowcasterRecipe, where, nowcast.DEFAULTS)
        return settings, nowcast.NowcasterTask(own, settings, config_path.parent)
    return _open_frames(tables, name, where, config_path.parent)


def _open_frames(tables: dict[str, Any], name: str, where: str, beside: Path) -> tuple[Any, Any]:
    from geoscope.models.networks import NAMES
    from geoscope.training import frame_data, frames, recipe
    from geoscope.zoo.tables import build, nearest

    if name not in NAMES:
        raise ConfigError(
            f"{where}: [model] name {name!r} is not known; {nearest(str(name), (NOWCASTER, *NAMES))}"
        )
    settings, own = recipe.split(tables, frames.FramesRecipe, where, frames.DEFAULTS)
    model = build(frames.ModelTable, own.model, f"{where}: [model]")
    table = frame_data.read_table(own.data, where)
    data = frame_data.open_table(table, beside, settings.seed)
    return settings, frames.FramesTask(model, data, settings)


def open_autoencoder(config_path: Path) -> tuple[Any, Any]:
    """The engine's settings and the task of a recipe for PreDiff's autoencoder.

    Raises:
        ConfigError: the recipe cannot work; DataError: the data are missing, damaged or empty.
    """
    from geoscope.training import autoencoder

    settings, own, data = _open_own(config_path, autoencoder.AutoencoderRecipe, autoencoder.DEFAULTS)
    return settings, autoencoder.open_autoencoder(own, data, settings, config_path.name)


def open_denoiser(config_path: Path) -> tuple[Any, Any]:
    """The engine's settings and the task of a recipe for PreDiff's denoiser.

    Raises:
        ConfigError: the recipe cannot work; DataError, WeightsError: data or the autoencoder are missing or damaged.
    """
    from geoscope.training import denoiser, latents

    settings, own, data = _open_own(config_path, denoiser.DenoiserRecipe, latents.DEFAULTS)
    return settings, denoiser.open_denoiser(own, data, settings, config_path.name, config_path.parent)


def open_alignment(config_path: Path) -> tuple[Any, Any]:
    """The engine's settings and the task of a recipe for PreDiff's alignment network.

    Raises:
        ConfigError: the recipe cannot work; DataError, WeightsError: data or the autoencoder are missing or damaged.
    """
    from geoscope.training import alignment, latents

    settings, own, data = _open_own(config_path, alignment.AlignmentRecipe, latents.DEFAULTS)
    return settings, alignment.open_alignment(own, data, settings, config_path.name, config_path.parent)


def _open_own(config_path: Path, kind: type[Any], defaults: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The engine's settings, the task's own tables and its data."""
    from geoscope.training import frame_data, recipe

    where = config_path.name
    settings, own = recipe.split(recipe.read(config_path), kind, where, defaults)
    table = frame_data.read_table(own.data, where)
    return settings, own, frame_data.open_table(table, config_path.parent, settings.seed)


OPENERS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "nowcast": open_task,
    "autoencoder": open_autoencoder,
    "denoiser": open_denoiser,
    "alignment": open_alignment,
}


def train_scenarios(config_path: Path, out: Path, progress: Progress) -> None:
    """Train a scenario model, stage after stage; what ``out`` has of it is not done again.

    Raises:
        ConfigError: the recipe cannot work, or ``out`` holds a run of another; DataError: the data are missing, damaged
            or empty; TrainingError: see `geoscope.training.engine.fit`.
    """
    from geoscope.training.scenarios.recipe import read_plan
    from geoscope.training.scenarios.run import ScenarioRun

    plan = read_plan(config_path)
    _keep_recipe(config_path, out)
    ScenarioRun(plan, out, progress).run()


TASKS: dict[str, Callable[[Path, Path, Progress], None]] = {
    **{name: partial(_train, opener) for name, opener in OPENERS.items()},
    "scenarios": train_scenarios,
}

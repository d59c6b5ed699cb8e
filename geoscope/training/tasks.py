"""The tasks that `geoscope train TASK --config RECIPE.toml` knows."""

from collections.abc import Callable
from pathlib import Path

Progress = Callable[[str, float], None]


def train_nowcast(config_path: Path, out: Path, progress: Progress) -> None:
    """Train the compact nowcaster by the recipe in ``config_path``; weights and log go to the folder ``out``."""
    from geoscope.training import nowcast, recipe
    from geoscope.training.engine import fit

    settings, own = recipe.split(
        recipe.read(config_path), nowcast.NowcasterRecipe, config_path.name, nowcast.DEFAULTS
    )
    fit(nowcast.NowcasterTask(own, settings, config_path.parent), settings, out, progress)


TASKS: dict[str, Callable[[Path, Path, Progress], None]] = {"nowcast": train_nowcast}

"""The tasks that `geoscope train TASK --config RECIPE.toml` knows."""

from collections.abc import Callable
from pathlib import Path

Progress = Callable[[str, float], None]


def train_nowcast(config_path: Path, out: Path, progress: Progress) -> None:
    """Train the compact nowcaster by the recipe in ``config_path``; weights and log go to the folder ``out``."""
    from geoscope.training.nowcast import TrainingConfig, train_nowcaster

    train_nowcaster(TrainingConfig.from_toml(config_path), out, config_path.parent, progress)


TASKS: dict[str, Callable[[Path, Path, Progress], None]] = {"nowcast": train_nowcast}

"""The recipe of the scenario model: one TOML file for all of its stages."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoscope.errors import ConfigError
from geoscope.models.scenarios.config import PRESETS, ScenarioConfig
from geoscope.training import recipe as recipes
from geoscope.training.engine import Settings
from geoscope.training.scenarios.alignment import AlignmentTable
from geoscope.training.scenarios.autoencoder import AutoencoderTable
from geoscope.training.scenarios.cases import CaseTable
from geoscope.training.scenarios.outlook import OutlookTable
from geoscope.training.scenarios.windows import WindowTable
from geoscope.training.splits import GroupRule, Trace, check_splits, read_group_rule
from geoscope.training.storms import event_paths
from geoscope.zoo.tables import build, nearest

# What the tables of the networks need not say. The rest are the defaults of `Settings`.
DEFAULTS: dict[str, Any] = {"weight_decay": 1e-2, "precision": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class ScenarioRecipe:
    """What a recipe says at its top level.

    events: the folder of storm events, relative to the recipe. held_out, censored: beginnings of file names; what is
    held out is not read, what is censored is believed within a range of mm/h. groups: a table of storms and sources as
    `geoscope.training.splits` reads it, relative to the recipe (none: each file is a storm and a source of its own).
    preset: of `geoscope.models.scenarios.config`. seed, threads: of all stages whose table does not say otherwise.
    """

    events: str
    held_out: tuple[str, ...] = ()
    censored: dict[str, tuple[float, float]] = field(default_factory=dict)
    groups: str = ""
    preset: str = "small"
    seed: int = 0
    threads: int = 1
    cases: CaseTable = field(default_factory=CaseTable)
    autoencoder: dict[str, Any]
    denoiser: dict[str, Any]
    alignment: dict[str, Any]
    outlook: OutlookTable = field(default_factory=OutlookTable)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"preset={self.preset!r} is not known; {nearest(self.preset, sorted(PRESETS))}")
        if self.threads < 1:
            raise ConfigError(f"threads={self.threads} must be above zero")

    @property
    def config(self) -> ScenarioConfig:
        """The model's."""
        return PRESETS[self.preset]()


@dataclass(frozen=True)
class Plan:
    """A recipe that was read and checked: files to train on, whose storms they show, settings of each network."""

    recipe: ScenarioRecipe
    paths: list[Path]
    rule: GroupRule
    autoencoder: tuple[Settings, AutoencoderTable]
    denoiser: tuple[Settings, WindowTable]
    alignment: tuple[Settings, AlignmentTable]


def read_plan(path: Path) -> Plan:
    """The plan of the recipe in ``path``; no event is opened.

    Raises:
        ConfigError: an unknown key, a wrong type, or settings that cannot work.
        DataError: no events, none that is not held out, or a storm on both sides.
    """
    where = path.name
    tables = recipes.read(path)
    try:
        recipe = build(ScenarioRecipe, tables, where)
    except ConfigError as error:
        raise error if str(error).startswith(where) else ConfigError(f"{where}: {error}") from None
    shared = {**DEFAULTS, "seed": recipe.seed, "threads": recipe.threads}
    autoencoder = recipes.split(recipe.autoencoder, AutoencoderTable, f"{where}: [autoencoder]", shared)
    denoiser = recipes.split(recipe.denoiser, WindowTable, f"{where}: [denoiser]", shared)
    alignment = recipes.split(recipe.alignment, AlignmentTable, f"{where}: [alignment]", shared)
    for name, (settings, _) in (
        ("autoencoder", autoencoder),
        ("denoiser", denoiser),
        ("alignment", alignment),
    ):
        if settings.devices > 1:
            raise ConfigError(
                f"{where}: [{name}] devices={settings.devices}: the stages follow each other in one process; leave it 1"
            )
    rule = read_group_rule(path.parent / recipe.groups) if recipe.groups else GroupRule()
    paths = event_paths(recipe.events, path.parent, leave_out=recipe.held_out)
    if recipe.held_out:
        kept_out = [each for each in event_paths(recipe.events, path.parent) if each not in paths]
        if kept_out:
            check_splits({"training": _traces(paths, rule), "held out": _traces(kept_out, rule)})
    return Plan(recipe, paths, rule, autoencoder, denoiser, alignment)


def _traces(paths: list[Path], rule: GroupRule) -> list[Trace]:
    """What names tell of files that nobody opens."""
    return [Trace(each.stem, rule.group_of(each.stem), rule.source_of(each.stem), size=1) for each in paths]

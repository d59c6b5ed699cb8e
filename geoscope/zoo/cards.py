"""Model cards: what a model is, what it saw in training, what it takes, how good it is and where it fails.

A card is a TOML file `geoscope/zoo/cards/NAME.toml`, read into `ModelCard` and checked when it is read. What
a baseline does not have (weights, training) its card leaves out.
"""

import datetime
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from geoscope.errors import ConfigError
from geoscope.zoo.tables import build

CARDS = Path(__file__).parent / "cards"
WEIGHTS = Path(__file__).parent / "weights"
KINDS = ("learned", "baseline", "published")
FORECAST_TYPES = ("carried", "error-minimising", "generative")


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """What the model takes: history in frames, intervals in minutes, pixels in km, grid in pixels a side.

    Pairs are the least and the most; None means that the card sets no bound.
    """

    quantity: str = ""
    units: str = ""
    history_frames: int | None = None
    min_frames: int | None = None
    interval_minutes: tuple[float, float] | None = None
    pixel_km: tuple[float, float] | None = None
    grid: tuple[int, int] | None = None
    layout: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelOutput:
    """What the model gives."""

    quantity: str = ""
    units: str = ""
    lead_frames: int | None = None
    max_lead_minutes: float | None = None
    max_lead_steps: int | None = None
    layout: str = ""


@dataclass(frozen=True, kw_only=True)
class WeightsPart:
    """One of several files of published weights: ``name`` of the network in it, ``file`` in the cache, where from."""

    name: str
    file: str
    url: str
    parameters: int = 0
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights are: ``file`` ships in geoscope/zoo/weights, ``url`` or ``parts`` are fetched into the cache.

    ``gone`` says what a failed fetch should say of places that are no more. ``kwargs`` names a JSON file beside the
    card with the published constructor arguments, for parts by their names. Without ``sha256`` the one found at the
    first fetch is recorded beside the file and checked from then on.
    """

    file: str = ""
    url: str = ""
    bytes: int | None = None
    sha256: str | None = None
    format: str = "safetensors"
    kwargs: str = ""
    note: str = ""
    parts: tuple[WeightsPart, ...] = ()
    gone: str = ""

    @property
    def is_fetched(self) -> bool:
        """Whether they do not ship."""
        return bool(self.url or self.parts)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights came about, in enough detail to do it again."""

    data: tuple[str, ...] = ()
    split: str = ""
    command: str = ""
    seed: int | None = None
    date: datetime.date | str | None = None
    duration_minutes: float | None = None
    hardware: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """A stored input and its output, in geoscope/zoo/weights; loading refuses an answer off by more."""

    file: str
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model of the zoo. `scores` are rows of a table; rows with the same `table` stand together.

    `forecast_type` says what a single field of it is: "carried" (observed rain, unchanged or moved), "error-minimising"
    (smoothed towards what can be foretold) or "generative" (one of many that may come true). `fair_against` names the
    models that may be compared with it; empty leaves that to `geoscope.zoo.fairness`.
    """

    name: str
    title: str
    task: str
    kind: str
    summary: str
    architecture: str = ""
    parameters: int = 0
    licence: str = ""
    forecast_type: str = ""
    fair_against: tuple[str, ...] = ()
    input: ModelInput | None = None
    output: ModelOutput | None = None
    weights: Weights | None = None
    training: Training | None = None
    scores: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    scores_note: str = ""
    limits: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    self_check: SelfCheck | None = None
    own_folder: Path | None = field(default=None, init=False)  # of a card that did not ship

    @property
    def folder(self) -> Path:
        """Where the weights and the self-check of this card are."""
        return self.own_folder or WEIGHTS

    def weights_path(self) -> Path | None:
        """The file with the weights, its size and sha256 verified; None when the model has no weights.

        Raises:
            WeightsError: not there or not fetched yet, or damaged; the message says which and what to do.
        """
        from geoscope.zoo.weights_files import locate

        return locate(self)

    def to_markdown(self) -> str:
        """The card as a page of Markdown."""
        from geoscope.zoo.markdown import render

        return render(self)


def list_models(task: str | None = None) -> list[ModelCard]:
    """The cards of all models, or of those for one ``task``: learned, then baselines, then published.

    Raises:
        ConfigError: no model has this task, or a card is not right.
    """
    cards = sorted((card(name) for name in _names()), key=lambda one: (KINDS.index(one.kind), one.name))
    if task is None:
        return cards
    tasks = sorted({one.task for one in cards})
    if task not in tasks:
        raise ConfigError(f"no model is for the task {task!r}; there are {', '.join(tasks)}")
    return [one for one in cards if one.task == task]


def card(name: str) -> ModelCard:
    """The card of the model called ``name``, or of your own: the path of a card, as `geoscope export` writes it.

    Raises:
        ConfigError: no model has this name, no card is there, or the card is not right.
    """
    if is_path(name):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise ConfigError(
                f"no model is called {name!r} and no card is at that path; give one that geoscope export wrote"
            )
        own = _read(path)
        object.__setattr__(own, "own_folder", path.parent)
        return own
    names = _names()
    if name not in names:
        raise ConfigError(f"no model is called {name!r}; there are {', '.join(names)}")
    return read_card(CARDS / f"{name}.toml")


def is_path(name: str) -> bool:
    """Whether ``name`` is the path of a card and not the name of a model."""
    return name.endswith(".toml")


def _names() -> list[str]:
    return sorted(path.stem for path in CARDS.glob("*.toml"))


@lru_cache(maxsize=64)
def read_card(path: Path) -> ModelCard:
    """Read and check one card.

    Raises:
        ConfigError: not TOML, an unknown or missing key, a value of the wrong type, or a card that
            contradicts itself; the message names the file and the key.
    """
    return _read(path)


def _read(path: Path) -> ModelCard:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not TOML: {error}") from None
    one = build(ModelCard, table, path.name)
    if one.name != path.stem:
        raise ConfigError(f"{path.name}: name is {one.name!r}, expected {path.stem!r} as the file is called")
    if one.kind not in KINDS:
        raise ConfigError(f"{path.name}: kind is {one.kind!r}, expected one of {', '.join(KINDS)}")
    if one.forecast_type and one.forecast_type not in FORECAST_TYPES:
        raise ConfigError(
            f"{path.name}: forecast_type is {one.forecast_type!r}, expected one of {', '.join(FORECAST_TYPES)}"
        )
    _check_weights(one, path.name)
    _check_bounds(one, path.name)
    return one


def _check_weights(one: ModelCard, where: str) -> None:
    weights = one.weights
    if weights is None:
        if one.kind != "baseline":
            raise ConfigError(f"{where}: a {one.kind} model needs [weights]")
        return
    if bool(weights.file) + bool(weights.url) + bool(weights.parts) != 1:
        raise ConfigError(f"{where}: [weights] needs either file (it ships), or url or parts (it is fetched)")
    if weights.file and not weights.sha256:
        raise ConfigError(f"{where}: [weights] with a file needs its sha256")
    for sha256 in (weights.sha256, *(part.sha256 for part in weights.parts)):
        if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
            raise ConfigError(f"{where}: [weights] sha256 must be 64 hexadecimal digits in lower case")
    files = (weights.file, weights.kwargs, *(part.file for part in weights.parts))
    for label in (*files, one.self_check.file if one.self_check else ""):
        if Path(label).name != label:
            raise ConfigError(f"{where}: {label!r} must be a file's name without folders")


def _check_bounds(one: ModelCard, where: str) -> None:
    if one.input is None:
        return
    for key in ("interval_minutes", "pixel_km", "grid"):
        bounds = getattr(one.input, key)
        if bounds is not None and not 0 < bounds[0] <= bounds[1]:
            raise ConfigError(f"{where}: input {key} is {list(bounds)}, expected [least, most], above zero")

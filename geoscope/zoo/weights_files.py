"""Where a model's weights are on this machine, and whether they are the right ones."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from geoscope.data.download import cache_folder, recorded_sha256
from geoscope.errors import WeightsError

if TYPE_CHECKING:
    from geoscope.zoo.cards import ModelCard


def locate(card: ModelCard) -> Path | None:
    """The verified weights of ``card``: a file, or the folder of its parts; None when it has none.

    Raises:
        WeightsError: missing, of another size, or with another sha256 than the card's (or the recorded one).
    """
    weights = card.weights
    if weights is None:
        return None
    if weights.parts:
        for part in weights.parts:
            _verify(card, fetched_path(card) / part.file, part.bytes, part.sha256)
        return fetched_path(card)
    path = card.folder / weights.file if weights.file else fetched_path(card)
    _verify(card, path, weights.bytes, weights.sha256)
    return path


def _verify(card: ModelCard, path: Path, expected_bytes: int | None, sha256: str | None) -> None:
    is_fetched = card.weights is not None and card.weights.is_fetched
    cure = f"run: geoscope fetch {card.name}" if is_fetched else reinstall(card)
    if not path.is_file():
        state = "have not been fetched yet" if is_fetched else f"are not {_home(card)} ({path.name})"
        raise WeightsError(f"the weights of {card.name} {state}; {cure}")
    size = path.stat().st_size
    if expected_bytes is not None and size != expected_bytes:
        raise WeightsError(
            f"{path} has {size} bytes, expected {expected_bytes}: the weights of {card.name} are damaged; {cure}"
        )
    expected = sha256 or recorded_sha256(path)
    found = sha256_of(path)
    if expected is None:
        raise WeightsError(f"{path} was not fetched by geoscope: no sha256 is recorded for it; {cure}")
    if found != expected:
        raise WeightsError(
            f"{path} has sha256 {found[:12]}..., expected {expected[:12]}...: the weights of {card.name} are "
            f"damaged; {cure}"
        )


def reinstall(card: ModelCard) -> str:
    """What to do when a file that belongs to ``card`` is damaged."""
    return "run geoscope export again" if card.own_folder else "install geoscope again"


def _home(card: ModelCard) -> str:
    return f"in {card.own_folder}" if card.own_folder else "in this installation"


def fetched_path(card: ModelCard) -> Path:
    """Where the fetched weights of ``card`` are kept, there or not: a file, or a folder for parts."""
    if card.weights is None or not card.weights.is_fetched:
        raise WeightsError(f"{card.name} has no weights to fetch")
    if card.weights.parts:
        return cache_folder() / "weights" / card.name
    return cache_folder() / "weights" / card.weights.url.rsplit("/", 1)[-1]


def sha256_of(path: Path) -> str:
    """The file's sha256 in hexadecimal; remembered until the file changes."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Getting published weights, which are too large to ship, from where their card says."""

import zipfile
from pathlib import Path

from geoscope.data.download import Progress, download, record_sha256, recorded_sha256
from geoscope.errors import ConfigError, DownloadError, WeightsError
from geoscope.zoo.cards import ModelCard, Weights, WeightsPart, card, list_models
from geoscope.zoo.weights_files import fetched_path, locate, sha256_of


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The weights of the model ``name``, fetched into the cache unless they are there already.

    A file, or the folder of its parts. Where no sha256 is known the one found first is recorded and must match from
    then on; a file that was copied into the cache by hand is recorded so, too. ``progress(stage, done)`` gets done in
    0..1.

    Raises:
        ConfigError: no such model, or one whose weights ship or that has none.
        DownloadError: as `geoscope.data.download.download`, or something else came than weights.
    """
    one = card(name)
    weights = one.weights
    if weights is None or not weights.is_fetched:
        names = ", ".join(other.name for other in list_models() if other.weights and other.weights.is_fetched)
        state = "has no weights" if weights is None else "ships with geoscope"
        raise ConfigError(f"{name} {state}, there is nothing to fetch; fetch takes {names}")
    path = fetched_path(one)
    files = [(path / part.file, part) for part in weights.parts] or [(path, weights)]
    for place, part in files:
        if place.is_file() and part.sha256 is None and recorded_sha256(place) is None:
            record_sha256(place)
    try:
        locate(one)
    except WeightsError:
        pass  # absent or damaged: fetch it again
    else:
        return path
    for number, (place, part) in enumerate(files):
        _fetch_one(one, place, part, _share(progress, number, len(files)))
    return path


def _fetch_one(one: ModelCard, place: Path, part: Weights | WeightsPart, progress: Progress | None) -> None:
    """Fetch one file unless it is there and whole; with parts, what comes must be an archive of tensors."""
    expected = part.sha256 or recorded_sha256(place)
    if place.is_file() and expected is not None and sha256_of(place) == expected:
        return
    try:
        download(part.url, place, sha256=part.sha256, size=part.bytes, progress=progress)
        if isinstance(part, WeightsPart) and not zipfile.is_zipfile(place):
            forget(place)
            raise DownloadError(
                f"{part.url}: a page came instead of the weights; fetch {part.file} with a browser"
            )
    except DownloadError as error:
        gone = one.weights.gone if one.weights else ""
        if not gone:
            raise
        raise DownloadError(f"{error}; {gone}") from None


def forget(path: Path) -> None:
    """Remove a fetched file and the record of its sha256."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".sha256").unlink(missing_ok=True)


def _share(progress: Progress | None, number: int, count: int) -> Progress | None:
    """``progress`` for file ``number`` of ``count``."""
    if progress is None or count == 1:
        return progress
    return lambda stage, done: progress(f"{stage} ({number + 1} of {count})", (number + done) / count)

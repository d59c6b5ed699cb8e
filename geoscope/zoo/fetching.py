"""Getting published weights, which are too large to ship, from where their card says."""

from pathlib import Path

from geoscope.data.download import Progress, download, record_sha256, recorded_sha256
from geoscope.errors import ConfigError, WeightsError
from geoscope.zoo.cards import card, list_models
from geoscope.zoo.weights_files import fetched_path, locate


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The weights of the model ``name``, fetched into the cache unless they are there already.

    Where no sha256 is known the one found first is recorded and must match from then on; a file that was
    copied into the cache by hand is recorded so, too. ``progress(stage, done)`` gets done in 0..1.

    Raises:
        ConfigError: no such model, or one whose weights ship or that has none.
        DownloadError: as `geoscope.data.download.download`.
    """
    one = card(name)
    if one.weights is None or not one.weights.url:
        names = ", ".join(other.name for other in list_models() if other.weights and other.weights.url)
        state = "has no weights" if one.weights is None else "ships with geoscope"
        raise ConfigError(f"{name} {state}, there is nothing to fetch; fetch takes {names}")
    path = fetched_path(one)
    if path.is_file():
        if one.weights.sha256 is None and recorded_sha256(path) is None:
            record_sha256(path)
        try:
            locate(one)
        except WeightsError:
            pass  # damaged: fetch it again
        else:
            return path
    return download(
        one.weights.url, path, sha256=one.weights.sha256, size=one.weights.bytes, progress=progress
    )

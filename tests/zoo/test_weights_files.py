"""Weights are verified where they ship and where they are fetched."""

import hashlib

import pytest

from geoscope.data.download import recorded_sha256
from geoscope.errors import ConfigError, WeightsError
from geoscope.zoo import cards, fetching
from geoscope.zoo.cards import ModelCard, Weights
from geoscope.zoo.weights_files import fetched_path

CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "http://127.0.0.1:9/one.pt"


def model(**weights):
    kind = "published" if "url" in weights else "learned"
    texts = {"name": "one", "title": "One", "task": "nowcast", "summary": "A model."}
    return ModelCard(kind=kind, weights=Weights(**weights) if weights else None, **texts)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty folder for weights that ship."""
    monkeypatch.setattr(cards, "WEIGHTS", tmp_path)
    return tmp_path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for fetched weights."""
    monkeypatch.setenv("GEOSCOPE_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture
def downloads(monkeypatch):
    """What would have been fetched, instead of fetching it."""
    asked = []

    def download(url, target, **options):
        asked.append((url, options))
        target.write_bytes(CONTENT)
        return target

    monkeypatch.setattr(fetching, "download", download)
    return asked


def test_shipped_weights_are_found(shelf):
    (shelf / "one.safetensors").write_bytes(CONTENT)
    one = model(file="one.safetensors", sha256=SHA256, bytes=len(CONTENT))
    assert one.weights_path() == shelf / "one.safetensors"


def test_weights_that_should_ship_and_do_not_are_named(shelf):
    with pytest.raises(WeightsError, match=r"one are not in this installation \(one.safetensors\); install"):
        model(file="one.safetensors", sha256=SHA256).weights_path()


def test_damaged_weights_are_refused(shelf):
    one = model(file="one.safetensors", sha256=SHA256)
    (shelf / "one.safetensors").write_bytes(CONTENT)
    assert one.weights_path() is not None
    (shelf / "one.safetensors").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match=f"expected {SHA256[:12]}.*damaged; install geoscope again"):
        one.weights_path()


def test_weights_of_another_size_are_refused(shelf):
    (shelf / "one.safetensors").write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"has 700 bytes, expected 701: the weights of one are damaged"):
        model(file="one.safetensors", sha256=SHA256, bytes=701).weights_path()


def test_weights_not_fetched_yet_say_how_to_fetch_them(cache):
    with pytest.raises(WeightsError, match="have not been fetched yet; run: geoscope fetch one"):
        model(url=URL).weights_path()


def test_a_fetched_file_without_a_record_is_not_trusted(cache):
    (cache / "one.pt").write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"no sha256 is recorded for it; run: geoscope fetch one"):
        model(url=URL).weights_path()


def test_a_model_without_weights_has_none_to_fetch():
    with pytest.raises(WeightsError, match="one has no weights to fetch"):
        fetched_path(model())


def test_fetching_gets_published_weights(cache, downloads, monkeypatch):
    path = fetching.fetch("earthformer-sevir")
    assert path == cache / "earthformer_sevir.pt"
    url = "https://earthformer.s3.amazonaws.com/pretrained_checkpoints/earthformer_sevir.pt"
    assert downloads == [(url, {"sha256": None, "size": None, "progress": None})]


def test_a_file_copied_by_hand_is_recorded_and_then_trusted(cache, downloads):
    (cache / "earthformer_sevir.pt").write_bytes(CONTENT)
    path = fetching.fetch("earthformer-sevir")
    assert downloads == []
    assert recorded_sha256(path) == SHA256
    assert cards.card("earthformer-sevir").weights_path() == path


def test_fetched_weights_that_were_damaged_are_fetched_again(cache, downloads):
    (cache / "earthformer_sevir.pt").write_bytes(CONTENT)
    fetching.fetch("earthformer-sevir")
    (cache / "earthformer_sevir.pt").write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsError, match="damaged; run: geoscope fetch earthformer-sevir"):
        cards.card("earthformer-sevir").weights_path()
    fetching.fetch("earthformer-sevir")
    assert len(downloads) == 1
    assert cards.card("earthformer-sevir").weights_path() is not None


def test_a_baseline_cannot_be_fetched():
    with pytest.raises(
        ConfigError, match=r"has no weights, .*fetch takes earthformer-icar-enso, earthformer-sevir"
    ):
        fetching.fetch("persistence")


def test_weights_that_ship_need_no_fetching(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "card", lambda name: model(file="one.safetensors", sha256=SHA256))
    with pytest.raises(ConfigError, match="one ships with geoscope, there is nothing to fetch"):
        fetching.fetch("one")


def test_an_unknown_model_cannot_be_fetched():
    with pytest.raises(ConfigError, match="no model is called 'oracle'"):
        fetching.fetch("oracle")

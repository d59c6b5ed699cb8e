"""The card of PreDiff's published weights: three files, a host that is gone, and copies that people bring."""

import json
import zipfile

import pytest
import torch

import geoscope as gs
from geoscope.errors import ConfigError, DownloadError, WeightsError
from geoscope.inference import loading
from geoscope.models.prediff import checkpoints, presets, published
from geoscope.models.prediff.config import AlignmentConfig, AutoencoderConfig, DenoiserConfig
from geoscope.models.prediff.latent_diffusion import LatentDiffusion
from geoscope.zoo import fetching
from geoscope.zoo.cards import CARDS, card, read_card
from geoscope.zoo.weights_files import fetched_path

NAME = "prediff-sevirlr"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the parts would be, empty."""
    monkeypatch.setenv("GEOSCOPE_CACHE", str(tmp_path))
    return tmp_path / "weights" / NAME


def write(path, content=b"weights"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", content)


def test_its_arguments_are_the_presets():
    kwargs = json.loads((CARDS / card(NAME).weights.kwargs).read_text())
    assert published.autoencoder_config(kwargs["autoencoder"]) == presets.autoencoder_sevir_lr()
    for found, expected in (
        (published.denoiser_config(kwargs["denoiser"]), presets.denoiser_sevir_lr()),
        (published.alignment_config(kwargs["alignment"]), presets.alignment_sevir_lr()),
    ):
        assert found.levels == expected.levels
        for name in ("volume", "channels", "depth", "heads", "attention_dropout", "time_width", "positions"):
            assert getattr(found, name) == getattr(expected, name), name


def test_without_a_network_one_line_says_what_is_left_to_do(folder, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(DownloadError) as caught:
        fetching.fetch(NAME)
    said = str(caught.value)
    assert "\n" not in said
    assert "HKUST OneDrive" in said
    assert "404 since 2025" in said
    assert str(folder / "pretrained_sevirlr_vae_8x8x64_v1.pt") in said


def test_each_part_is_fetched_once_and_again_when_it_is_damaged(folder, monkeypatch):
    asked, shares = [], []

    def download(url, target, *, sha256, size, progress):
        asked.append(target.name)
        progress("fetching", 0.5)
        write(target)
        fetching.record_sha256(target)
        return target

    monkeypatch.setattr(fetching, "download", download)
    assert fetching.fetch(NAME, lambda stage, done: shares.append((stage, done))) == folder
    assert asked == [part.file for part in card(NAME).weights.parts]
    assert shares[1] == ("fetching (2 of 3)", 0.5)
    assert card(NAME).weights_path() == fetched_path(card(NAME)) == folder
    fetching.fetch(NAME)
    assert len(asked) == 3
    write(folder / asked[1], b"other")
    with pytest.raises(WeightsError, match="damaged; run: geoscope fetch prediff-sevirlr"):
        card(NAME).weights_path()
    fetching.fetch(NAME, lambda stage, done: None)
    assert asked[3:] == asked[1:2]


def test_a_page_instead_of_weights_is_thrown_away(folder, monkeypatch):
    def download(url, target, **options):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("<html>too many people have viewed this file</html>")
        fetching.record_sha256(target)

    monkeypatch.setattr(fetching, "download", download)
    with pytest.raises(DownloadError, match=r"a page came instead of the weights; .*the original host"):
        fetching.fetch(NAME)
    assert list(folder.iterdir()) == []


def test_copies_that_are_put_there_are_recorded_and_kept(folder, monkeypatch):
    with pytest.raises(WeightsError, match="have not been fetched yet; run: geoscope fetch prediff-sevirlr"):
        card(NAME).weights_path()
    for part in card(NAME).weights.parts:
        write(folder / part.file)
    with pytest.raises(WeightsError, match="no sha256 is recorded for it"):
        card(NAME).weights_path()
    assert fetching.fetch(NAME) == folder
    assert card(NAME).weights_path() == folder


TINY = {
    "autoencoder": AutoencoderConfig(widths=(8, 8), blocks=1, groups=4, latent_channels=2),
    "denoiser": DenoiserConfig(
        input_shape=(2, 4, 4, 2), target_shape=(2, 4, 4, 2), base_width=8, heads=2, depth=(1,)
    ),
    "alignment": AlignmentConfig(shape=(2, 4, 4, 2), base_width=8, heads=2, depth=(1,)),
}


def test_the_three_files_come_as_one_model(folder, monkeypatch):
    from geoscope.models.prediff.alignment import AlignmentNetwork
    from geoscope.models.prediff.autoencoder import FrameAutoencoder
    from geoscope.models.prediff.denoiser import LatentDenoiser

    made = {"autoencoder": FrameAutoencoder, "denoiser": LatentDenoiser, "alignment": AlignmentNetwork}
    for name, kind in made.items():
        monkeypatch.setattr(
            checkpoints,
            f"{name}_from_published",
            lambda kwargs, state, kind=kind, name=name: kind(TINY[name]),
        )
    folder.mkdir(parents=True)
    for part in card(NAME).weights.parts:
        torch.save({"x": torch.zeros(1)}, folder / part.file)
    fetching.fetch(NAME)
    loading._load.cache_clear()
    model = gs.load_model(NAME, device="cpu")
    assert isinstance(model, LatentDiffusion)
    assert model.card.name == NAME
    assert model.sample(torch.zeros(2, 8, 8, 1), 2, steps=2).shape == (2, 2, 8, 8, 1)
    loading._load.cache_clear()


def test_weights_have_one_kind_of_place(tmp_path):
    text = (CARDS / f"{NAME}.toml").read_text().replace(NAME, "one", 1)
    path = tmp_path / "one.toml"
    path.write_text(text.replace("[weights]\n", '[weights]\nurl = "https://x/y"\n'))
    with pytest.raises(ConfigError, match=r"needs either file .* or url or parts"):
        read_card(path)
    other = tmp_path / "two" / "one.toml"
    other.parent.mkdir()
    other.write_text(text.replace('file = "pre', 'file = "../pre', 1))
    with pytest.raises(ConfigError, match="must be a file's name without folders"):
        read_card(other)

"""PreDiff's published checkpoints: as many parameters, names one to one, strict loading, and every refusal."""

import pytest
import torch

from geoscope.models.prediff import presets
from geoscope.models.prediff.alignment import AlignmentNetwork
from geoscope.models.prediff.autoencoder import FrameAutoencoder
from geoscope.models.prediff.checkpoints import published_autoencoder_name, published_name
from geoscope.models.prediff.denoiser import LatentDenoiser
from geoscope.nn.published_layers import INDEX_NAME, index_maps
from tests.models.prediff.oracle import read_keys

PUBLISHED = {
    "vae": (FrameAutoencoder, presets.autoencoder_sevir_lr, published_autoencoder_name, 84_499_393),
    "unet": (LatentDenoiser, presets.denoiser_sevir_lr, published_name, 136_817_538),
    "align": (AlignmentNetwork, presets.alignment_sevir_lr, published_name, 8_937_033),
}


def on_meta(name: str) -> torch.nn.Module:
    """A published network without values."""
    network, preset, _, _ = PUBLISHED[name]
    with torch.device("meta"):
        return network(preset())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_as_many_parameters_as_the_published_network(name):
    assert sum(p.numel() for p in on_meta(name).parameters()) == PUBLISHED[name][3]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_keys_are_ours_one_to_one(shared, name):
    model, theirs = on_meta(name), PUBLISHED[name][2]
    keys = list(read_keys(shared / "facts" / f"prediff_{name}_keys.txt"))
    own = {theirs(key): tuple(parameter.shape) for key, parameter in model.named_parameters()}
    assert own == {key: shape for key, shape, kind in keys if kind == "torch.float32"}
    maps = {theirs(f"{key}.") + INDEX_NAME: tuple(index.shape) for key, index in index_maps(model).items()}
    assert maps == {key: shape for key, shape, kind in keys if kind == "torch.int64"}

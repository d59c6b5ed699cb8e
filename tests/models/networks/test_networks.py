"""What holds for every network of frames: shapes, gradients, that it learns, how large it is, what it refuses."""

import math

import pytest
import torch
from torch import Tensor, nn

from geoscope.errors import ConfigError, ShapeError
from geoscope.models.networks import NAMES, build
from geoscope.models.networks.frames import FrameNetwork, Frames, Hints, parameter_count, scheduled_hints
from geoscope.nn.recomputation import recompute_blocks

# Parameters: the small preset for 10 -> 10 frames of 64x64, the published one for 13 -> 12 frames of 384x384, and
# what the Earthformer paper's table for SEVIR says, in millions. Rainformer: see its docstring; Earthformer's is the
# model of the released configuration, which is smaller than the table's.
SIZES = {
    "unet": (469_482, 16_583_628, 16.6),
    "convlstm": (537_953, 13_718_913, 14.0),
    "predrnn": (268_288, 46_612_480, 46.6),
    "phydnet": (416_660, 13_710_612, 13.7),
    "e3d-lstm": (88_048, 35_630_736, 35.6),
    "rainformer": (1_134_110, 150_653_921, None),
    "earthformer": (430_085, 8_659_677, 8.66),
}
RECURRENT = ("predrnn", "phydnet", "e3d-lstm")


def small(
    name: str, *, side: int = 16, in_frames: int = 3, out_frames: int = 4, channels: int = 1
) -> nn.Module:
    torch.manual_seed(0)
    return build(name, in_frames=in_frames, out_frames=out_frames, height=side, width=side, channels=channels)


def moving_blobs(count: int, frames: int, side: int = 16) -> Tensor:
    """Blobs that cross the square at their own speeds, (count, frames, side, side, 1) in [0, 1]."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    sequences = []
    for index in range(count):
        row, column, down, right = 5 + 4 * index, 4 + 3 * index, 1.5 - index, 1.0 + 0.5 * index
        sequences.append(
            torch.stack(
                [
                    torch.exp(-((rows - row - down * t) ** 2 + (columns - column - right * t) ** 2) / 8.0)
                    for t in range(frames)
                ]
            )
        )
    return torch.stack(sequences)[..., None]


@pytest.mark.parametrize("name", NAMES)
def test_frames_in_frames_out(name):
    network = small(name, channels=2).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 16, 16, 2)).shape == (2, 4, 16, 16, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_need_not_be_square_and_one_frame_is_enough(name):
    torch.manual_seed(0)
    network = build(name, in_frames=1, out_frames=1, height=16, width=32).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 16, 32, 1)).shape == (1, 1, 16, 32, 1)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(name):
    network = small(name)
    x = torch.rand(2, 3, 16, 16, 1)
    (network(x).square().mean() + network.auxiliary_loss()).backward()
    for path, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{path} has no gradient"
        assert torch.isfinite(parameter.grad).all(), f"{path} has a gradient that is no number"
    assert sum(p.grad.abs().sum().item() for p in network.parameters()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_set_is_learnt_by_heart(name):
    network = small(name, out_frames=2).train()
    sequences = moving_blobs(2, 5)
    x, target = sequences[:, :3], sequences[:, 3:]
    rate = 2e-3 if name == "earthformer" else 5e-3  # attention learns nothing at the higher one
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        error = (network(x) - target).square().mean()
        (error + network.auxiliary_loss()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(error.item())
    dark = float(target.square().mean())  # what a forecast of nothing errs
    assert min(losses[-5:]) < dark / 5
    assert min(losses[-5:]) < losses[0] / 5


@pytest.mark.parametrize("name", NAMES)
def test_recomputing_activations_changes_no_gradient(name):
    gradients = []
    for is_recomputed in (False, True):
        network = small(name).train()
        if is_recomputed:
            recompute_blocks(
                [part for parts in network.modules() if isinstance(parts, nn.ModuleList) for part in parts]
            )
        x = torch.rand(1, 3, 16, 16, 1, generator=torch.Generator().manual_seed(1))
        (network(x).square().mean() + network.auxiliary_loss()).backward()
        gradients.append({path: parameter.grad for path, parameter in network.named_parameters()})
    for path, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][path], gradient, msg=path)


@pytest.mark.parametrize("name", NAMES)
def test_without_training_nothing_is_drawn(name):
    network = small(name).eval()
    x = torch.rand(1, 3, 16, 16, 1)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", NAMES)
def test_samples_of_a_batch_do_not_see_each_other(name):
    network = small(name).eval()
    x = torch.rand(2, 3, 16, 16, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:], network(x[1:]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_small_preset_has_its_size(name):
    network = build(name, in_frames=10, out_frames=10, height=64, width=64)
    assert parameter_count(network) == SIZES[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_published_preset_has_its_size(name):
    with torch.device("meta"):
        network = build(name, in_frames=13, out_frames=12, height=384, width=384, size="published")
    _, count, table = SIZES[name]
    assert parameter_count(network) == count
    assert table is None or count / 1e6 == pytest.approx(table, rel=0.025)


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("name", NAMES)
def test_the_published_preset_takes_the_usual_grids(name, side):
    with torch.device("meta"):
        network = build(name, in_frames=10, out_frames=10, height=side, width=side, size="published")
    assert parameter_count(network) > 5e6


@pytest.mark.parametrize("name", NAMES)
def test_a_state_goes_into_a_network_built_again(name):
    first, second = small(name), build(name, in_frames=3, out_frames=4, height=16, width=16)
    second.load_state_dict(first.state_dict())
    x = torch.rand(1, 3, 16, 16, 1)
    with torch.no_grad():
        assert torch.equal(first.eval()(x), second.eval()(x))


@pytest.mark.parametrize("name", RECURRENT)
def test_hints_replace_what_the_network_reads_next(name):
    network = small(name).eval()
    assert network.takes_hints
    x, truth = torch.rand(2, 3, 16, 16, 1), torch.rand(2, 4, 16, 16, 1)
    nothing = Hints(truth, torch.zeros(2, 3, dtype=torch.bool))
    second = Hints(truth, torch.tensor([[False, True, False], [False, False, False]]))
    with torch.no_grad():
        plain = network(x)
        torch.testing.assert_close(network(x, nothing), plain)
        shown = network(x, second)
    torch.testing.assert_close(shown[:, :2], plain[:, :2])  # before the hint
    torch.testing.assert_close(shown[1], plain[1])  # another sample
    assert (shown[0, 2:] - plain[0, 2:]).abs().max() > 1e-4


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RECURRENT])
def test_other_networks_take_no_hints(name):
    assert not small(name).takes_hints


def test_hints_are_drawn_with_the_share_and_the_seed():
    target = torch.zeros(200, 6, 2, 2, 1)
    drawn = [scheduled_hints(target, 0.25, torch.Generator().manual_seed(1)).shown for _ in range(2)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (200, 5)
    assert drawn[0].float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert scheduled_hints(target, 1.0).shown.all()
    assert not scheduled_hints(target, 0.0).shown.any()


def test_a_share_above_one_is_refused():
    with pytest.raises(ConfigError, match=r"share of true frames 1\.5"):
        scheduled_hints(torch.zeros(1, 2, 1, 1, 1), 1.5)


@pytest.mark.parametrize("name", RECURRENT)
def test_hints_of_another_shape_are_refused(name):
    network = small(name)
    hints = Hints(torch.zeros(2, 4, 16, 16, 1), torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match="hints have target"):
        network(torch.zeros(2, 3, 16, 16, 1), hints)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 4, 16, 16, 1), (2, 3, 16, 8, 1), (2, 3, 16, 16, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_frames_of_another_shape_are_refused(name, shape):
    with pytest.raises(
        ShapeError, match="expected \\(B, T, H, W, C\\) with \\(T, H, W, C\\) = \\(3, 16, 16, 1\\)"
    ):
        small(name)(torch.zeros(shape))


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'convlstm'"):
        build("conv-lstm", in_frames=1, out_frames=1, height=16, width=16)


def test_a_size_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="size='huge' of network unet"):
        build("unet", in_frames=1, out_frames=1, height=16, width=16, size="huge")  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["in_frames", "out_frames", "height", "width", "channels"])
def test_lengths_below_one_are_refused(field):
    lengths = {"in_frames": 2, "out_frames": 2, "height": 32, "width": 32, "channels": 1, field: 0}
    with pytest.raises(ConfigError, match=f"{field}=0: give at least 1"):
        Frames(**lengths)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "earthformer"])
def test_a_grid_that_does_not_split_is_refused(name):
    with pytest.raises(ConfigError, match=r"width=33: this .* needs a multiple of"):
        build(name, in_frames=2, out_frames=2, height=32, width=33)


def test_there_is_no_auxiliary_loss_unless_a_network_has_one():
    network = small("unet")
    assert isinstance(network, FrameNetwork)
    assert network.auxiliary_loss().item() == 0.0
    assert math.isfinite(small("phydnet").auxiliary_loss().item())

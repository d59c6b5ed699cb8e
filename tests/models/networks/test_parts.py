"""The parts of the networks, against values worked by hand, and what their configs refuse."""

import pytest
import torch

from geoscope.errors import ConfigError
from geoscope.models.networks.convlstm import ConvLstmCell, ConvLstmConfig, convlstm_published
from geoscope.models.networks.e3d_lstm import E3dLstm, E3dLstmConfig, recall
from geoscope.models.networks.earthformer import earthformer_published
from geoscope.models.networks.frames import Frames, from_channels, from_patches, to_channels, to_patches
from geoscope.models.networks.phydnet import PhyCell, PhyDNet, PhyDNetConfig, moments
from geoscope.models.networks.predrnn import PredRnn, PredRnnConfig
from geoscope.models.networks.rainformer import BalancedBlock, ChannelAttention, RainformerConfig, WindowBlock
from geoscope.models.networks.unet import UNetConfig

FRAMES = Frames(in_frames=3, out_frames=2, height=16, width=16)


def test_patches_and_channels_are_undone():
    x = torch.rand(2, 3, 8, 12, 2)
    assert torch.equal(from_patches(to_patches(x, 4), 4), x)
    assert torch.equal(from_channels(to_channels(x), 2), x)


def test_a_patch_holds_its_square():
    x = torch.arange(16.0).reshape(1, 1, 4, 4, 1)
    assert to_patches(x, 2)[0, 0, :, 0, 1].tolist() == [2.0, 3.0, 6.0, 7.0]


def test_an_lstm_step_by_hand():
    cell = ConvLstmCell(1, 1, 1)
    with torch.no_grad():
        cell.gates.weight.zero_()
        cell.gates.bias.zero_()
        cell.gates.bias[3] = 1.0  # candidate; the three gates are at sigmoid(0) = 1/2
        state = cell(torch.zeros(1, 1, 1, 1), cell.zeros(torch.zeros(1, 1, 1, 1), 1, 1))
    candidate = torch.tanh(torch.tensor(1.0)).item()
    assert state.memory.item() == pytest.approx(0.5 * candidate)
    assert state.hidden.item() == pytest.approx(0.5 * torch.tanh(torch.tensor(0.5 * candidate)).item())


def test_a_cell_without_input_reads_its_state_alone():
    cell = ConvLstmCell(0, 2, 3)
    assert cell(None, cell.zeros(torch.zeros(1, 1, 4, 4), 4, 4)).hidden.shape == (1, 2, 4, 4)


def test_moments_of_a_difference_kernel_are_its_derivative():
    first = torch.zeros(3, 3)
    first[1, 0], first[1, 2] = -0.5, 0.5
    assert moments(first).tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    assert moments(laplacian).tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


def test_kernels_that_are_derivatives_have_no_moment_error():
    cell = PhyCell(2, 3)
    place = torch.tensor([-1.0, 0.0, 1.0])
    powers = torch.stack([place**0, place, place**2 / 2])
    inverse = torch.linalg.inv(powers)
    with torch.no_grad():
        for order in range(9):
            unit = torch.zeros(3, 3)
            unit[order // 3, order % 3] = 1.0
            cell.derivatives.weight[order] = inverse @ unit @ inverse.T
    assert cell.moment_error().item() == pytest.approx(0.0, abs=1e-10)
    assert PhyCell(2, 3).moment_error().item() > 0.01


def test_an_unknown_frame_does_not_correct_the_physics():
    torch.manual_seed(0)
    cell, state = PhyCell(4, 3), torch.rand(2, 4, 8, 8)
    one, other = torch.rand(2, 4, 8, 8), torch.rand(2, 4, 8, 8)
    known = torch.tensor([False, True])
    moved = cell(one, known, state) - cell(other, known, state)
    assert moved[0].abs().max() == 0
    assert moved[1].abs().max() > 0


def test_the_moment_loss_is_weighted():
    torch.manual_seed(0)
    network = PhyDNet(PhyDNetConfig(frames=FRAMES, moment_weight=2.0))
    assert network.auxiliary_loss().item() == pytest.approx(2 * network.physics.moment_error().item())


def test_recall_finds_the_memory_that_is_asked_for():
    # Scores 20 and -20: all weight on the memory that points the same way.
    asked = torch.tensor([20.0, 0.0]).reshape(1, 2, 1, 1, 1)
    near, far = (
        torch.tensor([1.0, 5.0]).reshape(1, 2, 1, 1, 1),
        torch.tensor([-1.0, 7.0]).reshape(1, 2, 1, 1, 1),
    )
    torch.testing.assert_close(recall(asked, [far, near]), near)


def test_recall_looks_at_every_place():
    memory = torch.rand(1, 3, 2, 4, 5)
    found = recall(torch.zeros_like(memory), [memory])  # equal scores: the mean of all places
    torch.testing.assert_close(found, memory.mean((2, 3, 4), keepdim=True).expand_as(memory))


def test_decoupling_is_one_for_equal_gains_and_zero_without_training():
    torch.manual_seed(0)
    network = PredRnn(PredRnnConfig(frames=FRAMES, decoupling=0.5))
    x = torch.rand(1, 3, 16, 16, 1)
    network.train()(x)
    loss = network.auxiliary_loss().item()
    assert 0.0 < loss <= 0.5
    assert network.auxiliary_loss().item() == 0.0  # given once
    network.eval()(x)
    assert network.auxiliary_loss().item() == 0.0


def test_the_first_predrnn_has_no_decoupling():
    network = PredRnn(PredRnnConfig(frames=FRAMES, decoupling=0.0)).train()
    network(torch.rand(1, 3, 16, 16, 1))
    assert network.adapter is None
    assert network.auxiliary_loss().item() == 0.0


def test_channel_attention_by_hand():
    attention = ChannelAttention(2, 1)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.zero_()
    x = torch.rand(1, 2, 3, 3)
    torch.testing.assert_close(attention(x), x / 2)  # sigmoid(0)


def test_a_window_sees_nothing_of_its_neighbours_and_a_shifted_one_does():
    torch.manual_seed(0)
    x, changed = torch.rand(1, 8, 8, 4), None
    for is_shifted in (False, True):
        block = WindowBlock(4, 2, 4, 4, 1, is_shifted=is_shifted).eval()
        block.channels = torch.nn.Identity()  # which looks at the whole field
        changed = x.clone()
        changed[:, 0, 5] += 1.0
        difference = (block(changed) - block(x)).abs().amax((0, 3))
        assert bool((difference[:, :4] > 0).any()) is is_shifted


def test_a_window_larger_than_the_grid_is_clipped():
    config = RainformerConfig(frames=FRAMES, window=16)
    block = BalancedBlock(config, 8, 2, (4, 6))
    assert block(torch.rand(1, 8, 4, 6)).shape == (1, 8, 4, 6)


def test_the_published_earthformer_is_that_of_the_grid():
    assert earthformer_published(FRAMES).body.encoder_depth == (4, 4)
    large = Frames(in_frames=3, out_frames=4, height=192, width=192)
    assert earthformer_published(large).body.global_vectors.count == 8


@pytest.mark.parametrize(("side", "stride"), [(384, 3), (64, 2)])
def test_the_published_convlstm_starts_with_the_stride_that_fits(side, stride):
    assert convlstm_published(Frames(in_frames=1, out_frames=1, height=side, width=side)).strides[0] == stride


def test_odd_strides_of_a_convlstm_return_to_the_grid():
    from geoscope.models.networks.convlstm import ConvLstm

    frames = Frames(in_frames=1, out_frames=2, height=24, width=36)
    config = ConvLstmConfig(frames=frames, widths=(4, 4), down=(5, 3), up=(6, 4), strides=(3, 2))
    assert ConvLstm(config)(torch.rand(1, 1, 24, 36, 1)).shape == (1, 2, 24, 36, 1)


def test_an_e3d_lstm_reads_a_window_of_frames():
    torch.manual_seed(0)
    network = E3dLstm(E3dLstmConfig(frames=FRAMES, window=3, kernel=(3, 3, 3))).eval()
    x = torch.rand(1, 3, 16, 16, 1)
    assert network(x).shape == (1, 2, 16, 16, 1)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (UNetConfig, {"widths": ()}, r"widths=\(\): give one width"),
        (UNetConfig, {"convolutions": 0}, "convolutions=0"),
        (UNetConfig, {"groups": 7}, "do not all split into groups=7"),
        (ConvLstmConfig, {"up": (4,)}, r"up=\(4,\): give one number"),
        (ConvLstmConfig, {"kernel": 4}, "kernel=4.*give odd numbers"),
        (ConvLstmConfig, {"up": (4, 4, 1)}, "no kernel may be below its stride"),
        (PredRnnConfig, {"widths": (4, 8)}, "give all layers the same"),
        (PredRnnConfig, {"kernel": 2}, "kernel=2: give an odd number"),
        (PredRnnConfig, {"patch": 0}, "patch=0"),
        (PredRnnConfig, {"decoupling": -1.0}, r"decoupling=-1\.0"),
        (PhyDNetConfig, {"residual_widths": (32, 16)}, "the last must be width=32"),
        (PhyDNetConfig, {"groups": 32}, "give a multiple of twice groups=32"),
        (PhyDNetConfig, {"kernel": 4}, "kernel=4: give an odd number of at least 3"),
        (PhyDNetConfig, {"moment_weight": -1.0}, r"moment_weight=-1\.0"),
        (E3dLstmConfig, {"widths": (4, 8)}, "give all layers the same"),
        (E3dLstmConfig, {"kernel": (2, 3, 3)}, "give three odd lengths"),
        (E3dLstmConfig, {"recall": 0}, "recall=0: give at least 1 each"),
        (RainformerConfig, {"heads": (2,)}, r"heads=\(2,\): give one number"),
        (RainformerConfig, {"window": 1}, "window=1: give at least"),
        (RainformerConfig, {"widths": (4, 4, 4)}, "too narrow to be spread"),
    ],
)
def test_a_config_that_cannot_work_is_refused(config, options, message):
    with pytest.raises(ConfigError, match=message):
        config(frames=FRAMES, **options)

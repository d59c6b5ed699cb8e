"""Noise of a given spectrum: unit variance, smoothness in order, and a spectrum that is found again."""

import pytest
import torch

from geoscope.errors import ShapeError
from geoscope.models.scenarios.texture import SCALES_PX, coloured, fit_variances, spectral_shapes


def only(index: int) -> torch.Tensor:
    return torch.eye(len(SCALES_PX))[index]


def neighbours(field: torch.Tensor) -> float:
    """Correlation of pixels beside each other."""
    return float((field[..., 1:] * field[..., :-1]).mean() / field.square().mean())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 65)])
def test_each_scale_has_unit_variance(height, width):
    white = torch.randn(20, height, width, generator=torch.Generator().manual_seed(0))
    shapes = spectral_shapes(height, width)
    assert shapes.shape == (len(SCALES_PX), height, width // 2 + 1)
    for index in range(len(SCALES_PX)):
        assert float(coloured(white, only(index)).var()) == pytest.approx(1.0, abs=0.2)
    torch.testing.assert_close(coloured(white, only(0)), white, rtol=0, atol=1e-5)


def test_larger_scales_are_smoother():
    white = torch.randn(10, 64, 64, generator=torch.Generator().manual_seed(1))
    found = [neighbours(coloured(white, only(index))) for index in range(len(SCALES_PX))]
    assert found == sorted(found)
    # a blur of white noise by s correlates over a distance d as exp(-d^2 / (4 s^2))
    assert found[3] == pytest.approx(2.718 ** (-1 / (4 * SCALES_PX[3] ** 2)), abs=0.02)


def test_a_spectrum_is_found_again():
    variances = torch.tensor([0.3, 0.0, 0.0, 0.7, 0.0])
    white = torch.randn(40, 96, 96, generator=torch.Generator().manual_seed(2))
    found = fit_variances(coloured(white, variances))
    assert float(found.sum()) == pytest.approx(1.0)
    assert float(found[0]) == pytest.approx(0.3, abs=0.08)
    assert float(found[2:4].sum()) == pytest.approx(0.7, abs=0.12)


def test_a_variance_for_each_scale_or_none():
    with pytest.raises(ShapeError, match="give 5, one for each scale"):
        coloured(torch.zeros(4, 4), torch.ones(2))

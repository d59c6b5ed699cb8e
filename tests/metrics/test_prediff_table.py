"""The columns of PreDiff's table, by hand, merged, and equal to the published scores for one member."""

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics.prediff import prediff_scores, sum_prediff


def test_by_hand():
    """Two members on four pixels: the mean 100 hits 74 twice, misses it once; 16 is a false alarm once."""
    members = np.array([[[100.0, 150], [0, 20]], [[100, 50], [0, 20]]])[None, :, None]
    observed = np.array([[100.0, 100], [80, 0]])[None, None]
    scores = prediff_scores(sum_prediff(members, observed, (16, 74), (1, 2)), (16, 74), (1, 2))
    assert scores["csi_16"] == pytest.approx(2 / 4, abs=1e-4)
    assert scores["csi_74"] == pytest.approx(2 / 3, abs=1e-4)
    assert scores["csi"] == pytest.approx((2 / 4 + 2 / 3) / 2, abs=1e-4)
    assert scores["csi_pool2"] == pytest.approx(1.0, abs=1e-3)
    assert scores["mae"] * 255 == pytest.approx((0 + 0 + 80 + 20) / 4)
    assert scores["mse"] * 255**2 == pytest.approx((80**2 + 20**2) / 4)
    # |150 - 100| and |50 - 100| have the mean 50, the members differ by 100: 50 - 100 / 4 = 25
    assert scores["crps"] * 255 == pytest.approx((0 + 25 + 80 + 20) / 4)
    assert scores["crps_fair"] * 255 == pytest.approx((0 + 0 + 80 + 20) / 4)


def test_one_member_is_the_published_table_and_its_crps_the_absolute_error(shared):
    data = torch.load(shared / "oracle/prediff/metrics.pt", weights_only=True)
    forecast, observed = (255 * data[name][..., 0] for name in ("pred", "target"))
    scores = prediff_scores(sum_prediff(forecast[:, None], observed))
    for column, case in (
        ("csi", "sevir_0"),
        ("csi_pool4", "sevir_pool4_0"),
        ("csi_pool16", "sevir_pool16_0"),
    ):
        assert scores[column] == pytest.approx(data["skill"][case]["score"]["avg"]["csi"], abs=1e-6)
    assert scores["crps"] == pytest.approx(scores["mae"], rel=1e-6)
    assert np.isnan(scores["crps_fair"])


def test_batches_add_up():
    random = np.random.default_rng(0)
    members, observed = random.uniform(0, 255, (5, 3, 2, 16, 16)), random.uniform(0, 255, (5, 2, 16, 16))
    members[0, 1, 0, 3, 4] = np.nan
    observed[4, 1, 2, 2] = np.nan
    whole = prediff_scores(sum_prediff(members, observed))
    halves = sum(sum_prediff(members[part], observed[part]) for part in (slice(2), slice(2, 5)))
    assert prediff_scores(halves) == pytest.approx(whole, rel=1e-12)
    assert list(whole)[:9] == [
        "crps", "crps_fair", "mse", "mae", "spread_skill", "csi", "csi_16", "csi_74", "csi_133",
    ]  # fmt: skip


def test_what_cannot_be_is_refused():
    field = np.zeros((1, 2, 1, 16, 16))
    with pytest.raises(ShapeError, match="expected \\(batch, member, time, row, column\\)"):
        sum_prediff(field, field)
    with pytest.raises(ConfigError, match="pools="):
        sum_prediff(field, field[:, 0], pools=(0,))
    with pytest.raises(ShapeError, match="do not fit 1 pools"):
        prediff_scores(sum_prediff(field, field[:, 0]), pools=(1,))

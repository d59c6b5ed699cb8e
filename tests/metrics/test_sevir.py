"""The published SEVIR scores: by hand, against the numbers of the published code, and over batches."""

import json

import numpy as np
import pytest
import torch

from geoscope.errors import ConfigError, ShapeError
from geoscope.metrics import sevir_scores
from geoscope.metrics.sevir import SEVIR_THRESHOLDS, count_sevir, scores_of_counts

NAMES = {"csi": "csi", "pod": "pod", "sucr": "sucr", "published_bias": "bias"}


def test_by_hand():
    prediction, target = np.array([200, 100, 0, 100.0]), np.array([200, 0, 100, 100.0])
    scores = sevir_scores(prediction, target, thresholds=(74, 181))
    assert [scores[name].tolist() for name in ("hits", "misses", "false_alarms")] == [[2, 1], [1, 0], [1, 0]]
    assert scores["hits"].dtype == np.int64
    assert scores["csi"][74] == pytest.approx(2 / 4.0001)
    assert scores["pod"][74] == scores["sucr"][74] == pytest.approx(2 / 3.0001)
    assert scores["bias"][74] == pytest.approx(3 / 3.0001)
    assert scores["published_bias"][74] == pytest.approx((3 / 3.0001 / np.log(2)) ** 2)
    assert scores["csi_m"] == pytest.approx((2 / 4.0001 + 1 / 1.0001) / 2)


def through_the_network_s_scale(pixels):
    """Pixels divided by 255 and scaled back, as the oracle did: 219 comes back a little below 219."""
    return (pixels.astype(np.float32) / np.float32(255)) / np.float32(1 / 255)


def batches(shared):
    folder = shared / "oracle/earthformer/metrics"
    with np.load(folder / "sevir_inputs.npz") as data:
        pairs = [
            tuple(through_the_network_s_scale(data[f"{name}{i}"]) for name in ("pred", "target"))
            for i in (0, 1)
        ]
    return pairs, json.loads((folder / "sevir_scores.json").read_text())


def assert_equal(scores, oracle):
    for ours, theirs in (("hits", "hits"), ("misses", "misses"), ("false_alarms", "fas")):
        np.testing.assert_array_equal(scores[ours], np.asarray(oracle[theirs]))
    table = oracle.get("scores", oracle.get("score"))
    for ours, theirs in NAMES.items():
        for level in SEVIR_THRESHOLDS:
            row = table[str(level)] if str(level) in table else table[level]
            np.testing.assert_allclose(scores[ours][level], np.asarray(row[theirs]), rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(scores[f"{ours}_m"], np.asarray(table["avg"][theirs]), rtol=2e-6)


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("pool", [1, 4, 16])
def test_equal_to_the_published_code_over_two_batches(shared, mode, pool):
    pairs, oracle = batches(shared)
    counts = sum(count_sevir(*pair, mode=mode, pool=pool) for pair in pairs)
    case = f"mode{mode}" if pool == 1 else f"prediff_pool{pool}_mode{mode}"
    assert_equal(scores_of_counts(counts, mode=mode), oracle[case])
    both = (np.concatenate(each) for each in zip(*pairs, strict=True))
    assert_equal(sevir_scores(*both, mode=str(mode), pool=pool), oracle[case])


def test_missing_values_count_as_in_the_published_code(shared):
    pairs, oracle = batches(shared)
    prediction, target = (torch.tensor(values) for values in pairs[0])
    prediction[0, 0, :4] = float("nan")
    target[1, 2, 5:9] = float("nan")
    case = next(name for name in oracle if "nan" in name)
    assert_equal(sevir_scores(prediction, target), oracle[case])


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize(("pool", "name"), [(1, "sevir"), (4, "sevir_pool4"), (16, "sevir_pool16")])
def test_equal_to_the_published_code_of_prediff(shared, mode, pool, name):
    data = torch.load(shared / "oracle/prediff/metrics.pt", weights_only=True)
    fields = data["pred"] * 255.0, data["target"] * 255.0
    assert_equal(sevir_scores(*fields, mode=mode, pool=pool), data["skill"][f"{name}_{mode}"])


def test_pixels_at_a_threshold_are_events():
    pixels = np.array(SEVIR_THRESHOLDS, np.uint8)
    assert sevir_scores(pixels, pixels)["hits"].tolist() == [6, 5, 4, 3, 2, 1]
    assert sevir_scores(through_the_network_s_scale(pixels), pixels)["hits"].tolist() == [6, 5, 4, 3, 2, 0]


def test_the_layout_says_where_time_is():
    rng = np.random.default_rng(0)
    prediction, target = rng.uniform(0, 255, (2, 2, 3, 8, 8, 1))
    by_lead = sevir_scores(prediction, target, mode=1, pool=4)
    assert by_lead["csi"][74].shape == by_lead["csi_m"].shape == (3,)
    moved = (np.moveaxis(values[..., 0], 1, -1) for values in (prediction, target))
    np.testing.assert_array_equal(
        sevir_scores(*moved, mode=1, pool=4, layout="NHWT")["hits"], by_lead["hits"]
    )
    plain = sevir_scores(prediction[..., 0], target[..., 0], mode=1, pool=4)
    np.testing.assert_array_equal(plain["hits"], by_lead["hits"])
    single = sevir_scores(prediction[0, ..., 0], target[0, ..., 0], mode=1)
    assert single["hits"].shape == (6, 3)


def test_scores_of_nothing_are_zero_as_published():
    scores = sevir_scores(np.zeros((2, 2)), np.zeros((2, 2)))
    assert scores["csi_m"] == scores["pod_m"] == scores["published_bias_m"] == 0


def test_what_does_not_fit_is_refused():
    field = np.zeros((1, 2, 4, 4, 1))
    with pytest.raises(ConfigError, match="mode=3"):
        sevir_scores(field, field, mode=3)
    with pytest.raises(ConfigError, match="layout='NTH'"):
        sevir_scores(field, field, mode=1, layout="NTH")
    with pytest.raises(ConfigError, match="layout=None"):
        sevir_scores(np.zeros((2, 2)), np.zeros((2, 2)), mode=1)
    with pytest.raises(ShapeError, match="layout='NTHW'"):
        sevir_scores(field, field, layout="NTHW")
    with pytest.raises(ShapeError, match="same shape"):
        sevir_scores(field, field[:, :1])
    with pytest.raises(ShapeError, match="no block of 16"):
        sevir_scores(field, field, pool=16)
    with pytest.raises(ConfigError, match="thresholds="):
        sevir_scores(field, field, ())
    with pytest.raises(ConfigError, match="pool="):
        sevir_scores(field, field, pool=0)
    with pytest.raises(ShapeError, match="in mode 1"):
        scores_of_counts(count_sevir(field, field), mode=1)

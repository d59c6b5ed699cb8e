"""Frechet distances by hand, against the published code, and of videos."""

import numpy as np
import pytest
import torch

from geoscope.errors import DataError, ShapeError
from geoscope.metrics.frechet import FrechetVideoDistance, feature_moments, frechet_distance, video_clips


def test_of_two_numbers_each_by_hand():
    # means 1 and 5, deviations sqrt(2) and 2 sqrt(2): (1 - 5)^2 + (sqrt 2 - 2 sqrt 2)^2
    first, second = (feature_moments(np.array(x)[:, None]) for x in ([0.0, 2.0], [3.0, 7.0]))
    assert frechet_distance(first, second) == pytest.approx(16 + 2)


def test_independent_features_add_their_distances():
    x = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], float)
    first, second = feature_moments(x), feature_moments(x * [3, 5] + [0, 10])
    unit = (4 / 3) ** 0.5  # deviation of +-1, unbiased
    assert frechet_distance(first, second) == pytest.approx(100 + (2 * unit) ** 2 + (4 * unit) ** 2)


def test_equal_to_the_published_code(shared):
    data = torch.load(shared / "oracle/prediff/metrics.pt", weights_only=True)
    distance = frechet_distance(feature_moments(data["frechet_f1"]), feature_moments(data["frechet_f2"]))
    assert distance == pytest.approx(float(data["frechet_torchmetrics_double"]), rel=1e-12)
    assert distance == pytest.approx(float(data["frechet_fvd_py"]), rel=1e-5)  # float32


def test_batches_add_up_and_features_far_from_zero_lose_no_digits():
    x = np.random.default_rng(0).standard_normal((60, 5)) * 1e-3 + 1e6
    whole = feature_moments(x)
    parts = sum(feature_moments(part) for part in np.array_split(x, [1, 7, 30]))
    np.testing.assert_allclose(parts.covariance, np.cov(x, rowvar=False), rtol=1e-6, atol=1e-13)
    assert frechet_distance(whole, parts) < 1e-14


def test_fewer_videos_than_features():
    random = np.random.default_rng(1)
    x = random.standard_normal((4, 30))
    assert frechet_distance(feature_moments(x), feature_moments(x)) < 1e-12
    assert frechet_distance(feature_moments(x), feature_moments(x + 2)) == pytest.approx(4 * 30)
    assert frechet_distance(feature_moments(x), feature_moments(-3 * x)) > 0


def test_six_frames_stand_twice_and_fill_the_network_s_square():
    frames = np.linspace(0, 1, 6)[None, :, None, None] * np.ones((2, 1, 8, 12))
    clips = video_clips(frames)
    assert clips.shape == (2, 3, 12, 224, 224)
    expected = np.repeat(2 * np.linspace(0, 1, 6) - 1, 2)
    np.testing.assert_allclose(clips[1, 2, :, 100, 7], expected, atol=1e-6)
    assert video_clips(torch.zeros(1, 9, 16, 16, 3), side=16).shape == (1, 3, 9, 16, 16)


def test_the_middle_of_wide_frames_is_taken():
    frames = np.zeros((1, 9, 4, 8))
    frames[..., 2:6] = 1.0
    assert bool((video_clips(frames, side=4) == 1.0).all())


def features(clips):
    return clips.flatten(2).mean(-1)[:, :2] + clips[:, 1:, 0, 0, 0]


def test_a_video_distance_is_zero_for_equal_sets_and_merges():
    random = np.random.default_rng(2)
    observed, forecast = random.uniform(0, 1, (2, 6, 6, 8, 8))
    equal = FrechetVideoDistance(features)
    equal.add(observed, observed)
    assert equal.distance() < 1e-12
    whole, one, two = (FrechetVideoDistance(features) for _ in range(3))
    whole.add(forecast, observed)
    one.add(forecast[:2], observed[:4])
    two.add(forecast[2:], observed[4:])
    one.merge(two)
    one.merge(FrechetVideoDistance(features))
    assert one.distance() == pytest.approx(whole.distance(), rel=1e-9)
    assert whole.distance() > 0


def test_what_cannot_be_is_refused():
    one, two = feature_moments(np.zeros((3, 2))), feature_moments(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match="features of length 2 and 4"):
        frechet_distance(one, two)
    with pytest.raises(ShapeError, match="features of length 2 and 4 do not add up"):
        _ = one + two
    with pytest.raises(ShapeError, match="expected \\(N, D\\)"):
        feature_moments(np.zeros(3))
    with pytest.raises(DataError, match="no finite numbers"):
        feature_moments(np.full((2, 2), np.nan))
    with pytest.raises(DataError, match="covariance of 1 feature vectors: expected 2 or more"):
        frechet_distance(feature_moments(np.zeros((1, 2))), one)
    with pytest.raises(DataError, match="no videos"):
        FrechetVideoDistance(features).distance()
    with pytest.raises(ShapeError, match="C 1 or 3"):
        video_clips(np.zeros((1, 9, 8, 8, 2)))
    with pytest.raises(ShapeError, match="4 frames, each twice, are fewer than the 9"):
        video_clips(np.zeros((1, 4, 8, 8)))
    with pytest.raises(DataError, match=r"lie in \[0, 1\]"):
        video_clips(np.full((1, 9, 8, 8), 7.0))

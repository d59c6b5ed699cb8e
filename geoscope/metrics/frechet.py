"""Frechet distance of two sets of features, and with it the Frechet video distance, for any feature network.

The published video distances (Unterthiner et al. 2018; Gao et al. 2023, PreDiff) use the 400 logits of an I3D network
trained on Kinetics. Its weights are not part of geoscope: a network is handed in, and a number stands for nothing
without the name of that network. `video_clips` prepares frames as PreDiff does for I3D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geoscope.errors import DataError, ShapeError
from geoscope.metrics.sums import as_array

if TYPE_CHECKING:
    from torch import Tensor

I3D_SIDE, I3D_LEAST_FRAMES = 224, 9


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Number, mean (D,) and scatter (D, D) about the mean of feature vectors, float64; adds up over batches.

    The scatter is kept about the mean of its own batch and moved when batches are added (Chan, Golub and LeVeque 1983),
    so that features far from zero lose no digits.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    def __add__(self, other: Self) -> Self:
        """The moments of both.

        Raises:
            ShapeError: the features have other lengths.
        """
        if self.mean.shape != other.mean.shape:
            raise ShapeError(
                f"features of length {len(self.mean)} and {len(other.mean)} do not add up: use one network for both"
            )
        count = self.count + other.count
        way = other.mean - self.mean
        mean = self.mean + way * (other.count / max(count, 1))
        between = np.outer(way, way) * (self.count * other.count / max(count, 1))
        return type(self)(count, mean, self.scatter + other.scatter + between)

    def __radd__(self, start: int) -> Self:
        """Let `sum(list)` work, whose start is 0."""
        return self

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (D, D).

        Raises:
            DataError: fewer than two feature vectors.
        """
        if self.count < 2:
            raise DataError(
                f"a covariance of {self.count} feature vectors: expected 2 or more, add more videos"
            )
        return self.scatter / (self.count - 1)


def feature_moments(features: Any) -> FeatureMoments:
    """Moments of feature vectors (N, D), numpy or torch, N 1 or more.

    Raises:
        ShapeError: not (N, D) with N and D above zero.
        DataError: a feature that is no finite number.
    """
    x = as_array(features).astype(np.float64)
    if x.ndim != 2 or not x.size:
        raise ShapeError(f"features of shape {x.shape}: expected (N, D), a vector for each of N videos")
    if not np.isfinite(x).all():
        raise DataError("features that are no finite numbers: look at the network and at its frames")
    mean = x.mean(axis=0)
    centred = x - mean
    return FeatureMoments(len(x), mean, centred.T @ centred)


def frechet_distance(first: FeatureMoments, second: FeatureMoments) -> float:
    """Squared Frechet distance of the two Gaussians with these moments, 0 or more.

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2). The last trace is the sum of the singular values of S1 S2, where
    S is the symmetric root of C: no root of a matrix that is not symmetric, nothing imaginary to drop, and right where
    there are fewer videos than features.

    Raises:
        ShapeError: the features have other lengths; DataError: fewer than two of one kind.
    Source: Dowson and Landau 1982.
    """
    if first.mean.shape != second.mean.shape:
        raise ShapeError(
            f"features of length {len(first.mean)} and {len(second.mean)}: use one network for both sets"
        )
    means = float(np.square(first.mean - second.mean).sum())
    c1, c2 = first.covariance, second.covariance
    shared = float(np.linalg.svd(_root(c1) @ _root(c2), compute_uv=False).sum())
    return max(0.0, means + float(np.trace(c1) + np.trace(c2)) - 2.0 * shared)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root; what rounding makes negative counts as zero."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def video_clips(frames: Any, *, side: int = I3D_SIDE, least_frames: int = I3D_LEAST_FRAMES) -> Tensor:
    """Clips (N, 3, T', side, side) float32 in [-1, 1] for I3D, of frames (N, T, H, W) or (N, T, H, W, C) in [0, 1].

    As PreDiff prepares them: with fewer than ``least_frames`` frames each stands twice in a row; one channel becomes
    three alike; the shorter side is brought to ``side`` by bilinear interpolation, and the middle is cut out.

    Raises:
        ShapeError: other axes, other channels than 1 or 3, or too few frames even when each stands twice.
        DataError: frames outside [0, 1] or unknown.
    """
    import torch
    from torch.nn import functional as F

    x = torch.as_tensor(frames if hasattr(frames, "detach") else as_array(frames)).detach().float()
    x = x[..., None] if x.ndim == 4 else x
    if x.ndim != 5 or x.shape[-1] not in (1, 3) or not x.numel():
        raise ShapeError(
            f"frames of shape {tuple(x.shape)}: expected (N, T, H, W) or (N, T, H, W, C), C 1 or 3"
        )
    if not bool(torch.isfinite(x).all()) or float(x.min()) < 0 or float(x.max()) > 1:
        raise DataError(
            "frames for a video distance must be known and lie in [0, 1]: divide codes by 255 and clip"
        )
    if x.shape[1] < least_frames:
        x = x.repeat_interleave(2, dim=1)
    if x.shape[1] < least_frames:
        raise ShapeError(
            f"{x.shape[1] // 2} frames, each twice, are fewer than the {least_frames} of the network"
        )
    count, length, height, width, _ = x.shape
    x = x.flatten(0, 1).movedim(-1, 1)  # (N T, C, H, W)
    scale = side / min(height, width)
    size = [max(side, int(np.ceil(edge * scale))) for edge in (height, width)]
    x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    x = x[..., top : top + side, left : left + side].expand(-1, 3, -1, -1)
    return 2.0 * x.unflatten(0, (count, length)).transpose(1, 2) - 1.0


class FrechetVideoDistance:
    """Frechet video distance with the features of ``network``, collected batch by batch.

    ``network`` takes what ``prepare`` makes of frames in [0, 1] (by default `video_clips`, for I3D) and gives features
    (N, D). geoscope ships no weights of I3D, so a network has to be handed in; name it beside every number. With few
    videos the distance is biased upwards: compare numbers of equally many.
    """

    def __init__(self, network: Callable[[Any], Any], prepare: Callable[[Any], Any] = video_clips) -> None:
        self.network, self.prepare = network, prepare
        self.observed: FeatureMoments | None = None
        self.forecast: FeatureMoments | None = None

    def add(self, forecast: Any, observed: Any) -> None:
        """Count forecast and observed frames (N, T, H, W[, C]) in [0, 1]; their numbers N may differ.

        Raises:
            ShapeError, DataError: as `video_clips` and `feature_moments`.
        """
        found = [feature_moments(self.network(self.prepare(frames))) for frames in (forecast, observed)]
        self._join(*found)

    def merge(self, other: FrechetVideoDistance) -> None:
        """Count what another machine has counted with the same network."""
        if other.forecast is not None and other.observed is not None:
            self._join(other.forecast, other.observed)

    def distance(self) -> float:
        """The distance of all that was added.

        Raises:
            DataError: fewer than two videos of one kind.
        """
        if self.forecast is None or self.observed is None:
            raise DataError("a video distance of no videos: add some first")
        return frechet_distance(self.forecast, self.observed)

    def _join(self, forecast: FeatureMoments, observed: FeatureMoments) -> None:
        self.forecast = forecast if self.forecast is None else self.forecast + forecast
        self.observed = observed if self.observed is None else self.observed + observed

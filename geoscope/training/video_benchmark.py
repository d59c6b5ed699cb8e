"""Networks trained and compared on moving digits, at a small size, by one call: `geoscope benchmark moving-mnist`.

Each network is trained by the engine, with the same data in the same order, the same rate and as many steps, and
scored on the same sequences of digits that none of them saw, beside persistence (the last frame again) as the floor.

Errors follow the published tables: squared and absolute errors of values in [0, 1] are added over the pixels of a
frame, and averaged over frames and sequences (Gao et al. 2022, table 3). Similarity leaves out windows that reach over
the edge, so it is near the published one, not the same. Few steps on few digits rank networks by how fast they learn:
the published tables rank them after hundreds of epochs.

Shape letters: B batch, T frames, H rows, W columns, C channels.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from geoscope.data.frame_samples import Samples
from geoscope.data.moving_mnist import MovingMnist
from geoscope.data.nbody_mnist import NBodyMnist
from geoscope.errors import ConfigError
from geoscope.metrics.similarity import SimilaritySums, structural_similarity, sum_similarity
from geoscope.models.networks import NAMES, Size
from geoscope.models.networks.frames import parameter_count
from geoscope.models.networks.weights import read_network
from geoscope.training.engine import Progress, Settings, checkpoints, fit
from geoscope.training.frame_splits import FrameData
from geoscope.training.frames import DEFAULTS, FramesTask, ModelTable, stacked
from geoscope.zoo.tables import nearest

VideoTask = Literal["moving-mnist", "nbody-mnist"]
KINDS = {"moving-mnist": MovingMnist, "nbody-mnist": NBodyMnist}
FLOOR = "persistence"
LEARNING_RATE = 1e-3  # for all networks: the published ones lie between 1e-4 and 1e-3
VALIDATION = 16  # sequences that the engine looks at when a network is done; the scores come from others


@dataclass(frozen=True, kw_only=True)
class VideoRow:
    """One line of the comparison.

    mse, mae: sums over a frame's pixels, values in [0, 1]; ssim: mean structural similarity. Each is the mean over all
    leads; ``by_lead`` has one for each frame forecast, the last frame last. parameters and seconds_a_step are 0 for
    persistence.
    """

    model: str
    parameters: int
    steps: int
    seconds_a_step: float
    mse: float
    mae: float
    ssim: float
    mse_by_lead: tuple[float, ...]
    mae_by_lead: tuple[float, ...]
    ssim_by_lead: tuple[float, ...]


def compare(
    task: VideoTask,
    models: Sequence[str],
    *,
    size: int = 64,
    in_frames: int = 10,
    out_frames: int = 10,
    train_steps: int = 300,
    batch: int = 8,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    data: str | Path | None = None,
    test_count: int = 64,
    network_size: Size = "small",
) -> list[VideoRow]:
    """Persistence and the networks named in ``models``, trained and scored, in that order.

    Args:
        task: "moving-mnist" or "nbody-mnist".
        models: names of `geoscope.models.networks`.
        size: rows and columns of a frame.
        in_frames: frames shown.
        out_frames: frames to forecast.
        train_steps: updates of each network.
        batch: sequences in an update.
        seed: of the data, of the networks' first weights and of their order.
        out: folder for the runs, one in it for each network; an interrupted comparison goes on there. None: a
            temporary one.
        progress: told the stage and the share done.
        data: folder of MNIST's files; None draws glyphs.
        test_count: sequences to score on.
        network_size: preset of the networks.

    Raises:
        ConfigError: an unknown task or network, or numbers that cannot work.
        DataError: no MNIST in ``data``.
        MissingExtraError: the extra train is not installed.
    """
    if task not in KINDS:
        raise ConfigError(f"task {task!r} is not known; {nearest(str(task), KINDS)}")
    names = [name for name in dict.fromkeys(models) if name != FLOOR]
    for name in names:
        if name not in NAMES:
            raise ConfigError(f"network {name!r} is not known to benchmark {task}; {nearest(name, NAMES)}")
    if train_steps < 1 or batch < 1:
        raise ConfigError(f"train_steps={train_steps}, batch={batch}: expected 1 or more each")
    tell = progress or (lambda stage, share: None)
    frames: dict[str, Any] = {"in_frames": in_frames, "out_frames": out_frames, "size": size}
    splits = _open(
        task, data, frames, seed, {"train": train_steps * batch, "val": VALIDATION, "test": test_count}
    )
    settings = Settings(
        steps=train_steps, batch=batch, learning_rate=LEARNING_RATE, seed=seed, pictures=False, **DEFAULTS
    )
    train = FrameData(splits["train"], splits["val"], "unit", f"{task}, drawn", "other digits in each split")
    rows = [score(FLOOR, lambda past: past[:, -1:].expand(-1, out_frames, -1, -1, -1), splits["test"], batch)]
    with tempfile.TemporaryDirectory(prefix="geoscope-benchmark-") as beside:
        for place, name in enumerate(names):

            def report(stage: str, share: float, name: str = name, place: int = place) -> None:
                tell(f"{name}: {stage}", (place + min(share, 1.0)) / len(names))

            folder = (out or Path(beside)) / name
            network, steps, seconds = _train(name, network_size, train, settings, folder, report)
            row = score(name, network, splits["test"], batch)
            row = replace(
                row, parameters=parameter_count(network), steps=steps, seconds_a_step=seconds / steps
            )
            rows.append(row)
    return rows


def _open(
    task: VideoTask, data: str | Path | None, frames: dict[str, Any], seed: int, counts: dict[str, int]
) -> dict[str, Samples]:
    kind: Any = KINDS[task]
    config = kind.config_type(**frames)
    return {name: kind(data, name, count=count, seed=seed, config=config) for name, count in counts.items()}


def _train(
    name: str, size: Size, data: FrameData, settings: Settings, folder: Path, progress: Progress
) -> tuple[nn.Module, int, float]:
    """The trained network, its steps and the seconds that they took."""
    weights = fit(FramesTask(ModelTable(name=name, size=size), data, settings), settings, folder, progress)
    state = checkpoints.load(folder) or {}
    network, _ = read_network(weights)
    return network, int(state.get("step", settings.steps)), float(state.get("seconds", 0.0))


@torch.no_grad()
def score(
    model: str, forecast: Callable[[torch.Tensor], torch.Tensor], samples: Samples, batch: int
) -> VideoRow:
    """The scores of ``forecast``, which takes (B, T, H, W, C) to (B, T', H, W, C), over all ``samples``.

    Forecasts are clipped to [0, 1], where all pictures are.
    """
    squared: list[np.ndarray] = []
    absolute: list[np.ndarray] = []
    similar: list[SimilaritySums] = []
    for first in range(0, len(samples), batch):
        whole = stacked(samples, list(range(first, min(first + batch, len(samples)))))
        made = forecast(whole["input"]).float().clamp(0.0, 1.0).numpy().astype(np.float64)
        seen = whole["target"].numpy().astype(np.float64)
        squared.append(np.square(made - seen).sum((2, 3, 4)))
        absolute.append(np.abs(made - seen).sum((2, 3, 4)))
        similar += [_similarity(*pair) for pair in zip(made, seen, strict=True)]
    mse, mae = (np.concatenate(parts).mean(0) for parts in (squared, absolute))
    ssim = np.asarray(structural_similarity(sum(similar[1:], similar[0])))
    return VideoRow(
        model=model,
        parameters=0,
        steps=0,
        seconds_a_step=0.0,
        mse=float(mse.mean()),
        mae=float(mae.mean()),
        ssim=float(ssim.mean()),
        mse_by_lead=tuple(mse.tolist()),
        mae_by_lead=tuple(mae.tolist()),
        ssim_by_lead=tuple(ssim.tolist()),
    )


def _similarity(made: np.ndarray, seen: np.ndarray) -> SimilaritySums:
    """Sums of one sequence (T, H, W, C), by lead."""
    by_lead = [
        sum(
            (sum_similarity(f[..., c], o[..., c], value_range=1.0) for c in range(f.shape[-1])),
            SimilaritySums(),
        )
        for f, o in zip(made, seen, strict=True)
    ]
    return SimilaritySums(
        np.array([one.windows for one in by_lead]), np.array([one.similarity for one in by_lead])
    )

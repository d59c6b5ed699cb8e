"""Cases: windows of events with what the nowcaster expects of them, cut once and kept as one file each.

The nowcaster is the dear part, and it does not change; so it runs once over each case, and every later stage reads from
these files, only the part of them that it wants. A case of 256 x 256 pixels is about a megabyte.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from geoscope.data.events import Event
from geoscope.errors import ConfigError, DataError
from geoscope.models.nowcaster.forecast import SMALLEST, EarthformerNowcaster, choose_history, model_stride
from geoscope.models.scenarios.conditions import by_cell, condition_features
from geoscope.models.scenarios.config import STEPS
from geoscope.models.scenarios.marginals import LARGEST_RAIN_MM_H, Marginals
from geoscope.models.scenarios.outlook import FEATURES, expected_maps, region_features
from geoscope.training.engine import Progress
from geoscope.training.scenarios.regions import random_ellipse
from geoscope.training.scenarios.stages import write_whole
from geoscope.training.storms import read_event

LEAST_STEPS = 2  # with truth
LEAST_SEEN = 0.5  # of the newest frame with data
LEAST_KNOWN = 0.7  # of a step's pixels with truth, from which on the step counts
LEAST_KNOWN_OF_A_MEAN = 0.8  # the same where the mean over a region is learned
LEAST_REGION_PX = 200
SMALLEST_REGION_PX = 24


@dataclass(frozen=True, kw_only=True)
class CaseTable:
    """[cases] of a recipe. per_event: at most so many of each event. size: pixels a side at most.

    regions: of each case, for the outlook; the first is all of it, the others are ellipses.
    """

    per_event: int = 24
    size: int = 256
    regions: int = 10

    def __post_init__(self) -> None:
        for name in ("per_event", "regions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"[cases] {name}={getattr(self, name)}: expected 1 or more")
        if self.size < SMALLEST:
            raise ConfigError(f"[cases] size={self.size}: expected {SMALLEST} pixels or more")


@dataclass(frozen=True)
class Place:
    """Where a case is cut: after ``seen`` frames of its event, from ``row`` and ``column`` on."""

    seen: int
    row: int
    column: int


@dataclass(frozen=True)
class Case:
    """A case in a file. ``known`` (S) says which steps have truth; ``rows`` and ``columns`` count cells.

    Its source is believed from ``low_mm_h`` on.

    Arrays: scores (S, H, W), NaN where there is no truth; conditions (1 + S, h, w, F); expected, rain and share
    (S, h, w), by cell the nowcaster's mean and the true rain in mm/h, and how much of the cell has truth; features
    (R, F') and means (R,) of regions, see `geoscope.models.scenarios.outlook`.
    """

    path: Path
    event: str
    known: tuple[bool, ...]
    rows: int
    columns: int
    low_mm_h: float

    def read(self, *names: str) -> dict[str, np.ndarray]:
        """Whole arrays, float32."""
        with safe_open(self.path, framework="numpy") as archive:
            return {name: archive.get_tensor(name).astype(np.float32) for name in names}

    def cut(self, name: str, rows: slice, columns: slice, steps: slice = slice(None)) -> np.ndarray:
        """A part of an array (T, rows, columns, ...), float32; nothing else is read."""
        with safe_open(self.path, framework="numpy") as archive:
            return archive.get_slice(name)[steps, rows, columns].astype(np.float32)


def places_of(event: Event, table: CaseTable, history: int, seed: int) -> list[Place]:
    """Where the cases of ``event`` are cut: at most one in a model step, anywhere; none in a small event.

    A function of the seed, the event's name and its size alone. ``history`` is how many frames the nowcaster reads.
    """
    frames, height, width = event.rain.shape
    if min(height, width) < SMALLEST:
        return []
    random = np.random.default_rng((seed, zlib.crc32(event.name.encode())))
    stride = model_stride(event.interval_minutes)
    first = min((history - 1) * stride + 1, max(2, frames - STEPS * stride))
    seen = np.arange(first, frames - LEAST_STEPS * stride + 1)
    count = min(table.per_event, max(3, len(seen) // stride), len(seen))
    chosen = np.sort(random.choice(seen, size=count, replace=False)) if count else []
    return [
        Place(
            int(each),
            int(random.integers(0, max(height - table.size, 0) + 1)),
            int(random.integers(0, max(width - table.size, 0) + 1)),
        )
        for each in chosen
    ]


class Cutter:
    """Cuts cases of one recipe: ``nowcaster`` gives the distributions, ``cell`` is the pixels of one cell a side."""

    def __init__(self, nowcaster: EarthformerNowcaster, table: CaseTable, cell: int, seed: int) -> None:
        self.nowcaster, self.table, self.cell, self.seed = nowcaster, table, cell, seed

    @property
    def history(self) -> int:
        """Frames that the nowcaster reads, a model step apart."""
        return self.nowcaster.model.config.history

    @torch.no_grad()
    def cut(self, event: Event, place: Place) -> dict[str, np.ndarray] | None:
        """The arrays of a case, see `Case`; None where the newest frame or the truth is missing."""
        window = _Window.of(event, place, self.table.size // self.cell * self.cell, self.cell, self.history)
        if np.isfinite(window.past[-1]).mean() < LEAST_SEEN or not any(window.known):
            return None
        ahead = self.nowcaster.look_ahead(
            window.past,
            interval_minutes=event.interval_minutes,
            pixel_km=event.pixel_km,
            leads=[float(step) for step in range(1, STEPS + 1)],
            progress=lambda stage, share: None,
        )
        logits = torch.stack([ahead.logits[float(step)] for step in range(1, STEPS + 1)]).cpu()
        marginals = Marginals.of(logits, ahead.thresholds.cpu())
        stride = model_stride(event.interval_minutes)
        step_minutes = stride * event.interval_minutes
        past = torch.from_numpy(choose_history(window.past, stride, self.history))
        past = past[torch.isfinite(past).flatten(1).any(dim=1)]
        maps = expected_maps(marginals)
        scores = marginals.above(event.low_mm_h).scores(window.rain)
        share = by_cell(torch.isfinite(window.rain).float(), self.cell)
        true = by_cell(torch.nan_to_num(window.rain), self.cell) / share.clamp(min=1e-3)
        conditions = condition_features(marginals, maps, past[-1], step_minutes, event.pixel_km, self.cell)
        half = {
            "scores": scores,
            "conditions": conditions,
            "expected": by_cell(maps.rain, self.cell),
            "rain": true,
            "share": share,
        }
        random = np.random.default_rng((self.seed, 1, zlib.crc32(event.name.encode()), place.seen))
        rows = self._region_rows(marginals, window, past, step_minutes, event.pixel_km, random)
        return {name: np.ascontiguousarray(value.half().numpy()) for name, value in half.items()} | rows

    def _region_rows(
        self,
        marginals: Marginals,
        window: "_Window",
        past: Tensor,
        step_minutes: float,
        pixel_km: float,
        random: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        """Features and mean rain of regions of the case, over the steps whose truth is all but whole."""
        rain = window.rain
        whole = torch.isfinite(rain).flatten(1).float().mean(dim=1) > LEAST_KNOWN_OF_A_MEAN
        shape = (rain.shape[1], rain.shape[2])
        regions = [np.ones(shape, bool)]
        for _ in range(self.table.regions - 1):
            regions.append(random_ellipse(shape, random, smallest=SMALLEST_REGION_PX, largest=min(shape)))
        features, means = [], []
        if whole.sum() >= LEAST_STEPS:
            maps = expected_maps(Marginals(marginals.levels[whole], marginals.thresholds))
            truth = rain[whole]
            for region in regions:
                seen = torch.from_numpy(region) & torch.isfinite(past[-1])
                counted = torch.isfinite(truth) & seen
                enough = LEAST_KNOWN_OF_A_MEAN * float(seen.sum()) * len(truth)
                if seen.sum() < LEAST_REGION_PX or counted.sum() < enough:
                    continue
                features.append(region_features(maps, past, seen.float(), step_minutes, pixel_km))
                means.append(truth[counted].mean())
        return {
            "features": torch.stack(features).numpy()
            if features
            else np.zeros((0, len(FEATURES)), np.float32),
            "means": torch.stack(means).numpy() if means else np.zeros(0, np.float32),
        }

    def of_event(self, path: Path, censored: Mapping[str, tuple[float, float]]) -> tuple[Event, list[Place]]:
        """The event in ``path`` and where its cases are."""
        event = read_event(path, dict(censored))
        return event, places_of(event, self.table, self.history, self.seed)


@dataclass(frozen=True)
class _Window:
    """``past`` (T, H, W) at the event's own interval; ``rain`` (S, H, W), the truth ahead; NaN = no data."""

    past: np.ndarray
    rain: Tensor

    @classmethod
    def of(cls, event: Event, place: Place, size: int, cell: int, history: int) -> "_Window":
        frames, height, width = event.rain.shape
        stride = model_stride(event.interval_minutes)
        rows = slice(place.row, place.row + min(size, height // cell * cell))
        columns = slice(place.column, place.column + min(size, width // cell * cell))
        earliest = max(0, place.seen - (history - 1) * stride - 1)
        past = event.frames(slice(earliest, place.seen), rows, columns)
        rain = np.full((STEPS, *past.shape[1:]), np.nan, np.float32)
        ahead = place.seen - 1 + stride * np.arange(1, STEPS + 1)
        exists = ahead < frames
        rain[exists] = event.frames(ahead[exists], rows, columns)
        most = min(event.high_mm_h, LARGEST_RAIN_MM_H)
        return cls(past, torch.from_numpy(rain).clamp(max=most))

    @cached_property
    def known(self) -> tuple[bool, ...]:
        """The steps that count."""
        share = torch.isfinite(self.rain).flatten(1).float().mean(dim=1)
        return tuple(bool(each > LEAST_KNOWN) for each in share)


def cut_cases(
    cutter: Cutter,
    paths: list[Path],
    censored: Mapping[str, tuple[float, float]],
    folder: Path,
    progress: Progress,
) -> list[Case]:
    """The cases of the events in ``paths``, in files of ``folder``; those that are there are not cut again.

    One event is in memory at a time.

    Raises:
        DataError: an event cannot be read, or no event is long and large enough for a case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        event, places = cutter.of_event(path, censored)
        for index, place in enumerate(places):
            progress(f"cases of {event.name}", (number + index / len(places)) / len(paths))
            file = folder / f"{event.name}__{place.seen:05d}.safetensors"
            if file.exists():
                continue
            arrays = cutter.cut(event, place)
            if arrays is not None:
                _write(file, event, arrays)
    return open_cases(folder, [path.stem for path in paths])


def _write(file: Path, event: Event, arrays: dict[str, np.ndarray]) -> None:
    known = np.isfinite(arrays["scores"]).mean(axis=(1, 2)) > LEAST_KNOWN
    about = {
        "event": event.name,
        "known": "".join(str(int(each)) for each in known),
        "low_mm_h": str(event.low_mm_h),
    }
    write_whole(file, lambda beside: save_file(arrays, beside, metadata=about))


def open_cases(folder: Path, events: list[str]) -> list[Case]:
    """The cases in ``folder`` that belong to ``events``, in the order of their names.

    Raises:
        DataError: there is none, or a file is no case.
    """
    wanted = set(events)
    cases = [case for case in _cases_in(folder) if case.event in wanted]
    if not cases:
        raise DataError(
            f"none of the {len(events)} events is long and large enough for a case: expected {SMALLEST} x {SMALLEST} "
            f"pixels or more and {LEAST_STEPS} model steps after the first two frames; give others"
        )
    return cases


def _cases_in(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as archive:
                about = archive.metadata() or {}
                _, rows, columns = archive.get_slice("share").get_shape()
            known = tuple(each == "1" for each in about["known"])
            yield Case(path, about["event"], known, rows, columns, float(about["low_mm_h"]))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0][:80]
            raise DataError(
                f"{path} is not a case ({reason}); delete it and run the same command again"
            ) from None

"""Windows cut from storm events for training; what an event is stands in `geoscope.data.events`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoscope.data.events import NO_DATA, Event
from geoscope.data.events import read_event as read_event
from geoscope.errors import DataError
from geoscope.models.nowcaster.forecast import model_stride
from geoscope.training.augmentation import accumulate, coarsen, fit_square, turn

EVENT_SUFFIXES = (".npz", ".nc", ".zarr", ".h5")


def event_paths(
    events: str, beside: Path, *, leave_out: Sequence[str] = (), only: Sequence[str] = ("",)
) -> list[Path]:
    """The files of events in the folder ``events``, relative to ``beside``, by the beginnings of their names.

    Those that begin with one of ``only`` and with none of ``leave_out``, in the order of names; none is opened.

    Raises:
        DataError: the folder is not there, or nothing is left.
    """
    folder = (beside / events).resolve()
    if not folder.is_dir():
        raise DataError(f"events={events!r}: {folder} is not a folder; name the one with the storm events")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in EVENT_SUFFIXES]
    if not paths:
        raise DataError(
            f"events={events!r}: expected .npz, .nc, .zarr or .h5 files in {folder}, found none; put some there"
        )
    unwanted = tuple(leave_out) or ("\0",)
    chosen = [p for p in paths if p.name.startswith(tuple(only)) and not p.name.startswith(unwanted)]
    if not chosen:
        raise DataError(
            f"events={events!r}: none of the {len(paths)} files there is left for names that begin with "
            f"{' or '.join(map(repr, only))} and not with {' or '.join(map(repr, leave_out)) or 'anything'}"
        )
    return chosen


@dataclass(frozen=True)
class Window:
    """One training case. ``history`` (T, H, W) and ``target`` (L, H, W) are mm/h, NaN = no data or no such frame."""

    history: np.ndarray
    target: np.ndarray
    step_minutes: float
    pixel_km: float
    low_mm_h: float
    high_mm_h: float


@dataclass(frozen=True)
class WindowRecipe:
    """How windows are drawn. Shares are probabilities; sizes are in pixels after coarsening.

    share_far: how often a lead in the second half of the reach is drawn, against one in the first half.
    intensity_jitter: standard deviation of the logarithm of a factor on all rain of a window. accumulated_gain: the
        same for a gain, never a loss, on windows of half-hour and hourly means, whose events are too few and too weak
        to show what a tropical storm brings in an hour.
    """

    size: int = 128
    history: int = 5
    reach: int = 12
    share_far: float = 0.15
    share_coarse: float = 0.3
    share_slow: float = 0.12
    share_accumulated: float = 0.12
    share_short_history: float = 0.2
    intensity_jitter: float = 0.25
    accumulated_gain: float = 0.7


class WindowSampler:
    """Draws windows at random from events; the same seed and order of calls gives the same windows."""

    def __init__(self, events: list[Event], recipe: WindowRecipe, seed: int) -> None:
        if not events:
            raise DataError("no events to train on: the folder holds none, or all of them are held out")
        self.events, self.recipe = events, recipe
        self.random = np.random.default_rng(seed)
        sizes = np.array([event.rain.size for event in events], dtype=np.float64)
        self.weights = np.sqrt(sizes) / np.sqrt(sizes).sum()

    def draw_leads(self, count: int) -> list[float]:
        """``count`` rising leads in model steps, whole and half, the first half of the reach the likelier."""
        choices = np.arange(1, 2 * self.recipe.reach + 1) / 2
        far = np.where(choices <= self.recipe.reach / 2, 1.0, self.recipe.share_far)
        weights = np.where(choices % 1 == 0, 1.0, 0.3) * far
        drawn = self.random.choice(choices, size=count, replace=False, p=weights / weights.sum())
        return sorted(float(lead) for lead in drawn)

    def draw(self, leads: list[float]) -> Window:
        """One window with targets at ``leads``; events too short or too small for the drawn scale are drawn again."""
        for _ in range(1000):
            window = self._attempt(self.events[self.random.choice(len(self.events), p=self.weights)], leads)
            if window is not None:
                return window
        raise DataError(
            f"none of the {len(self.events)} events is long and large enough for a training window"
        )

    def _attempt(self, event: Event, leads: list[float]) -> Window | None:
        random, recipe = self.random, self.recipe
        factor = self._spatial_factor(event)
        side = recipe.size * factor
        if min(event.rain.shape[1:]) < side // 2:
            return None
        total = 1
        if random.random() < recipe.share_accumulated:
            total = int(random.choice([30, 60, 60]) // event.interval_minutes)
        total = max(1, total)
        interval = event.interval_minutes * total
        stride = model_stride(interval)
        if total == 1 and random.random() < recipe.share_slow:
            stride *= int(random.choice([2, 3]))
        history = recipe.history
        if random.random() < recipe.share_short_history or total > 1:
            history = int(random.integers(2, recipe.history + 1))
        needed = ((history - 1) * stride + 1 + stride) * total
        if len(event.rain) < needed:
            return None
        offset = int(random.integers(0, len(event.rain) - needed + 1))
        reach = (history - 1) * stride + 1 + recipe.reach * stride
        last = min(len(event.rain), offset + reach * total)
        rows, columns = self._place(event, offset + ((history - 1) * stride + 1) * total - 1, side)
        return self._cut(event, slice(offset, last), rows, columns, factor, total, stride, history, leads)

    def _spatial_factor(self, event: Event) -> int:
        if self.random.random() >= self.recipe.share_coarse:
            return 1
        largest = min(
            int(10 / event.pixel_km), min(event.rain.shape[1:]) * 4 // (3 * self.recipe.size) + 1, 8
        )
        return int(self.random.integers(1, max(largest, 1) + 1))

    def _place(self, event: Event, issue: int, side: int) -> tuple[slice, slice]:
        """A place for the window, the wetter of a few the likelier."""
        height, width = event.rain.shape[1:]
        frame = event.rain[issue]
        places, wet = [], []
        for _ in range(4):
            row = int(self.random.integers(0, max(height - side, 0) + 1))
            column = int(self.random.integers(0, max(width - side, 0) + 1))
            cut = (slice(row, row + side), slice(column, column + side))
            values = frame[cut][::4, ::4]
            places.append(cut)
            wet.append(0.05 + float(np.where(values == NO_DATA, 0, np.minimum(values, 2000)).mean()) / 100.0)
        chances = np.array(wet) / np.sum(wet)
        return places[int(self.random.choice(len(places), p=chances))]

    def _cut(
        self,
        event: Event,
        time: slice,
        rows: slice,
        columns: slice,
        factor: int,
        total: int,
        stride: int,
        history: int,
        leads: list[float],
    ) -> Window | None:
        random, recipe = self.random, self.recipe
        rain = event.frames(time, rows, columns)
        if total > 1:
            rain = accumulate(rain, total)
        issue = (history - 1) * stride
        ahead = issue + np.array(leads) * stride
        exists = (ahead % 1 == 0) & (ahead < len(rain))
        if not exists.any():
            return None
        kept = np.concatenate((np.arange(0, issue + 1, stride), ahead[exists].astype(int)))
        rain = coarsen(rain[kept], factor)
        if not np.isfinite(rain[history - 1]).mean() > 0.3:
            return None
        gain = recipe.intensity_jitter * random.standard_normal()
        if total > 1:
            gain += abs(recipe.accumulated_gain * random.standard_normal())
        rain = rain * np.float32(np.exp(gain))
        rain = fit_square(turn(rain, int(random.integers(8))), recipe.size)
        past = np.full((recipe.history, recipe.size, recipe.size), np.nan, dtype=np.float32)
        past[recipe.history - history :] = rain[:history]
        target = np.full((len(leads), recipe.size, recipe.size), np.nan, dtype=np.float32)
        target[exists] = rain[history:]
        step = stride * total * event.interval_minutes
        return Window(past, target, step, event.pixel_km * factor, event.low_mm_h, event.high_mm_h)

"""Windows of storm events for networks that map frames to frames: ordered for validation, drawn for training.

Rain goes to the network on a logarithmic scale (`geoscope.data.rain_scale`), because sources are not calibrated against
each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoscope.data.events import NO_DATA, Event
from geoscope.data.frame_samples import check_counts, check_request, frame_sample
from geoscope.data.rain_scale import encode_rain
from geoscope.errors import ConfigError, DataError
from geoscope.training.augmentation import Augmentation, coarsen, fit_square

_TRIES = 200


@dataclass(frozen=True, kw_only=True)
class EventWindowConfig:
    """What a window is. Frames are ``interval_minutes`` apart (None: as each event has them); ``size`` is in pixels.

    stride: frames between the starts of ordered windows. least_known: share of the picture with data at the issue time
    below which a window is not taken.
    """

    in_frames: int = 13
    out_frames: int = 12
    size: int = 128
    stride: int = 12
    interval_minutes: float | None = None
    least_known: float = 0.3

    @property
    def frames(self) -> int:
        """Frames of a window, past and future."""
        return self.in_frames + self.out_frames

    def __post_init__(self) -> None:
        check_counts(in_frames=self.in_frames, out_frames=self.out_frames, stride=self.stride)
        if self.size < 8:
            raise ConfigError(f"size={self.size}: expected 8 pixels or more")
        if self.interval_minutes is not None and not self.interval_minutes > 0:
            raise ConfigError(f"interval_minutes={self.interval_minutes}: expected more than zero")
        if not 0 <= self.least_known <= 1:
            raise ConfigError(f"least_known={self.least_known}: expected a share, 0 to 1")


def _step(event: Event, config: EventWindowConfig) -> int:
    """Frames of the event from one frame of a window to the next.

    Raises:
        DataError: the event's interval does not go into the one asked for.
    """
    if config.interval_minutes is None:
        return 1
    ratio = config.interval_minutes / event.interval_minutes
    if ratio < 0.999 or abs(ratio - round(ratio)) > 1e-3:
        raise DataError(
            f"{event.name}: expected frames every {config.interval_minutes:g} minutes or a part of it, found every "
            f"{event.interval_minutes:g}; leave the event out or choose another interval"
        )
    return round(ratio)


def as_sample(rain: np.ndarray, in_frames: int) -> dict[str, np.ndarray]:
    """``input`` and ``target`` (T, H, W, 1) on the network's scale, 0 where there is no data, and where data ``known``.

    ``known`` (T', H, W, 1) bool belongs to the target.
    """
    sample = frame_sample(encode_rain(np.nan_to_num(rain)), in_frames)
    return sample | {"known": np.isfinite(rain[in_frames:, ..., None])}


class EventWindows:
    """Every window of some events in a fixed order, as a map-style dataset: for validation and for tests.

    Windows start every ``stride`` frames; pictures are cut into squares from the north-west corner, and filled with no
    data where they are smaller than one. Samples are dicts of `input`, `target` and `known`, see `encode_rain`.
    """

    def __init__(
        self, events: Sequence[Event], config: EventWindowConfig | None = None, split: str = "val"
    ) -> None:
        """List the windows; ``split`` is the name in messages.

        Raises:
            DataError: no window fits, or an event's interval does not.
        """
        self.config = config or EventWindowConfig()
        self.events = list(events)
        self.places: list[tuple[int, int, int, int]] = []  # event, first frame, row, column
        for number, event in enumerate(self.events):
            self.places += [(number, *place) for place in self._places(event)]
        if not self.places:
            raise DataError(_emptiness(split, self.events, self.config))

    def _places(self, event: Event) -> list[tuple[int, int, int]]:
        config, step = self.config, _step(event, self.config)
        last = len(event.rain) - (config.frames - 1) * step
        found = []
        for start in range(0, last, config.stride * step):
            issue = event.rain[start + (config.in_frames - 1) * step]
            for row in range(0, max(issue.shape[0] - config.size, 0) + 1, config.size):
                for column in range(0, max(issue.shape[1] - config.size, 0) + 1, config.size):
                    cut = issue[row : row + config.size, column : column + config.size]
                    if (cut != NO_DATA).sum() >= config.least_known * config.size**2:
                        found.append((start, row, column))
        return found

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        number, start, row, column = self.places[index]
        rain = _cut(self.events[number], start, row, column, self.config.size, self.config)
        return as_sample(fit_square(rain, self.config.size), self.config.in_frames)


class DrawnEventWindows:
    """Windows drawn at random from some events, as a map-style dataset; sample i is a function of the seed and i.

    Events are drawn by the square root of their size, places by how wet they are; `Augmentation` says how each window
    is varied.
    """

    def __init__(
        self,
        events: Sequence[Event],
        config: EventWindowConfig | None = None,
        augmentation: Augmentation | None = None,
        *,
        count: int = 10_000,
        seed: int = 0,
        split: str = "train",
    ) -> None:
        """``split`` is the name in messages.

        Raises:
            ConfigError: no sample asked for, or a negative seed.
            DataError: no event is long enough, or an event's interval does not fit.
        """
        check_request(count, seed)
        self.config, self.augmentation = config or EventWindowConfig(), augmentation or Augmentation()
        self.count, self.seed = count, seed
        span = self.config.frames - 1
        self.events = [event for event in events if len(event.rain) > span * _step(event, self.config)]
        if not self.events:
            raise DataError(_emptiness(split, list(events), self.config))
        weights = np.sqrt([event.rain.size for event in self.events])
        self.weights = weights / weights.sum()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < self.count:
            raise IndexError(f"window {index} of {self.count}")
        random = np.random.default_rng([self.seed, index])
        for _ in range(_TRIES):
            rain, event, factor = self._attempt(random)
            if np.isfinite(rain[self.config.in_frames - 1]).mean() >= self.config.least_known:
                break
        else:
            raise DataError(
                f"{_TRIES} windows had data on less than {self.config.least_known:g} of the picture; lower least_known "
                "or size, or leave out events without data"
            )
        interval = event.interval_minutes * _step(event, self.config)
        rain = self.augmentation.apply(rain, interval, event.pixel_km * factor, random)
        return as_sample(rain, self.config.in_frames)

    def _attempt(self, random: np.random.Generator) -> tuple[np.ndarray, Event, int]:
        config = self.config
        event = self.events[random.choice(len(self.events), p=self.weights)]
        step = _step(event, config)
        start = int(random.integers(len(event.rain) - (config.frames - 1) * step))
        factor = self.augmentation.draw_factor(random)
        if min(event.rain.shape[1:]) < config.size * factor:
            factor = 1
        side = config.size * factor
        row, column = wetter_place(event.rain[start + (config.in_frames - 1) * step], side, random)
        rain = coarsen(_cut(event, start, row, column, side, config), factor)
        return fit_square(rain, config.size), event, factor


def wetter_place(frame: np.ndarray, side: int, random: np.random.Generator) -> tuple[int, int]:
    """(row, column) of a square of ``side`` pixels in ``frame`` (H, W), the wetter of four the likelier.

    ``frame`` is uint16 in hundredths of mm/h with 65535 = no data.
    """
    rows = random.integers(max(frame.shape[0] - side, 0) + 1, size=4)
    columns = random.integers(max(frame.shape[1] - side, 0) + 1, size=4)
    wet = np.empty(4)
    for place, (row, column) in enumerate(zip(rows, columns, strict=True)):
        cut = frame[row : row + side : 4, column : column + side : 4]
        wet[place] = 5 + np.where(cut == NO_DATA, 0, np.minimum(cut, 2000)).mean()
    chosen = random.choice(4, p=wet / wet.sum())
    return int(rows[chosen]), int(columns[chosen])


def _cut(event: Event, start: int, row: int, column: int, side: int, config: EventWindowConfig) -> np.ndarray:
    step = _step(event, config)
    time = slice(start, start + (config.frames - 1) * step + 1, step)
    return event.frames(time, slice(row, row + side), slice(column, column + side))


def _emptiness(split: str, events: list[Event], config: EventWindowConfig) -> str:
    longest = max((len(event.rain) for event in events), default=0)
    every = f", {config.interval_minutes:g} minutes apart" if config.interval_minutes else ""
    return (
        f"the split {split!r} is empty: expected windows of {config.frames} frames{every} with data on "
        f"{config.least_known:g} of {config.size} x {config.size} pixels, found none in {len(events)} events of "
        f"at most {longest} frames; take fewer frames, a smaller size or other events"
    )

"""Scores of the loaded forecasts, lead by lead, so that a page can count them as its player passes.

Each forecast and lead is counted once, in a worker thread; what a page shows at a frame is only the sum of the leads
until then, which takes no time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from geoscope import grids
from geoscope.errors import DataError
from geoscope.inference.jobs import Report
from geoscope.metrics.accumulate import Verification
from geoscope.ui.nowcast_runs import Run
from geoscope.ui.open_field import OpenField
from geoscope.ui.places import region_mask

SCALES_PIXELS = (1, 2, 4, 8, 16, 32, 64)
LARGEST_SCALE = 0.5  # of the shorter side of what is verified
LEAST_PIXELS = 16  # of a region: fewer say nothing

Area = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Question:
    """What is scored: rain rates in mm/h, and the polygon on the map that it is scored in (None: the whole field)."""

    thresholds: tuple[float, ...]
    area: Area | None = None


class Window:
    """The part of a field that is verified: the smallest rectangle around a region, NaN outside the region.

    Raises:
        DataError: the region holds too few pixels.
    """

    def __init__(self, opened: OpenField, area: Area | None) -> None:
        mask = region_mask(opened, area)
        self.rows, self.cols, self._outside = slice(None), slice(None), None
        self.pixels = int(np.prod(opened.rain.shape[1:])) if mask is None else int(mask.sum())
        self.is_whole = mask is None
        if mask is None:
            return
        if self.pixels < LEAST_PIXELS:
            raise DataError(
                f"the area on the maps holds {self.pixels} pixels, a verification needs {LEAST_PIXELS}: "
                "draw a larger one"
            )
        rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        self.rows, self.cols = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
        self._outside = ~mask[self.rows, self.cols]

    def cut(self, values: np.ndarray) -> np.ndarray:
        """The window of a frame (H, W), float32."""
        part = np.asarray(values[..., self.rows, self.cols], np.float32)
        return part if self._outside is None else np.where(self._outside, np.float32(np.nan), part)

    def scales(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """The sides of the windows of the fractions skill score, in pixels, that fit into a field of ``shape``."""
        side = LARGEST_SCALE * min(shape)
        return tuple(scale for scale in SCALES_PIXELS if scale == 1 or scale <= side)


@dataclass(eq=False)
class ScoreBoard:
    """The scores of forecasts of one issue time. `parts` holds a `Verification` of one frame by model and lead step.

    Filled by a worker thread while the page reads: an entry is whole when it is there.
    """

    question: Question
    issue_index: int
    leads: int  # how many leads were observed and can be verified
    step: np.timedelta64
    pixels: int
    side: int  # the longer one of the rectangle around what is verified, in pixels
    is_whole: bool
    pixel_km: float
    units: str
    parts: dict[str, dict[int, Verification]] = field(default_factory=dict)
    _tables: dict[tuple[str, int], xr.Dataset] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """How many leads, from the first, were counted for every forecast."""
        return min((len(part) for part in self.parts.values()), default=0)

    def until(self, leads: int) -> dict[str, xr.Dataset]:
        """Scores by model of the first ``leads`` leads, or of as many as were counted yet."""
        count = min(leads, self.done)
        return {name: self._table(name, count) for name in self.parts} if count > 0 else {}

    def counted(self, name: str, leads: int) -> Verification:
        """The counts of a forecast over its first leads."""
        parts = self.parts[name]
        together = parts[1].empty()
        for step in range(1, leads + 1):
            together.sums.update(parts[step].sums)
            together.frames.update(parts[step].frames)
        return together

    def _table(self, name: str, leads: int) -> xr.Dataset:
        key = (name, leads)
        if key not in self._tables:
            self._tables[key] = self.counted(name, leads).to_dataset()
        return self._tables[key]


def values_at(data: xr.Dataset, name: str, **where: float) -> np.ndarray:
    """The values of a score at coordinates, as ``data[name].sel(where).values``, but a hundred times faster.

    A page looks up hundreds of them for every frame that its player passes.
    """
    variable = data.variables[name]
    place = tuple(
        int(np.flatnonzero(data.variables[dim].values == where[str(dim)])[0]) if dim in where else slice(None)
        for dim in variable.dims
    )
    return variable.values[place]


def empty_board(opened: OpenField, runs: Mapping[str, Run], question: Question) -> ScoreBoard:
    """A board for forecasts of one issue time, nothing counted yet.

    Raises:
        DataError: nothing was observed after the issue time, or the region is too small.
    """
    request = next(iter(runs.values())).request
    leads = min(request.lead_steps, opened.frames - 1 - request.issue_index)
    if leads < 1:
        raise DataError(
            "Nothing was observed after the issue time, so there is no truth to verify with: choose an earlier issue "
            "time (step 2) or open a longer sequence (step 1)."
        )
    window = Window(opened, question.area)
    return ScoreBoard(
        question,
        request.issue_index,
        leads,
        opened.step,
        window.pixels,
        max(window.cut(opened.rain.values[0]).shape),
        window.is_whole,
        float(np.mean(grids.pixel_size_km(opened.rain))),
        opened.units,
        {name: {} for name in runs},
    )


def fill(board: ScoreBoard, opened: OpenField, runs: Mapping[str, Run], progress: Report) -> ScoreBoard:
    """Count every lead of every forecast that the board does not hold yet; for a worker thread."""
    window = Window(opened, board.question.area)
    for step in range(1, board.leads + 1):
        observed = window.cut(opened.rain.values[board.issue_index + step])
        scales = window.scales(observed.shape)
        for name, run in runs.items():
            progress("counting", (step - 1) / board.leads)
            if step in board.parts[name]:
                continue
            scores = Verification(board.question.thresholds, scales=scales, spectrum=True)
            scores.update(window.cut(run.forecast.values[step - 1]), observed, step * board.step)
            chances = [run.chance_of(level) for level in board.question.thresholds]
            if all(chance is not None for chance in chances):
                cuts = np.stack(
                    [window.cut(chance.values[step - 1]) for chance in chances if chance is not None]
                )
                scores.update_probabilities(np.clip(cuts, 0.0, 1.0), observed, step * board.step)
            board.parts[name][step] = scores
        progress("counting", step / board.leads)
        board.until(step)  # the page then only looks it up
    return board

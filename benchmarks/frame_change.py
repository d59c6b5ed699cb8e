"""Server time of one frame change of the nowcast page at 384 x 384 pixels, on one core.

    python benchmarks/frame_change.py [--frames 60] [--side 384]

First the picture of a frame is checked against the values it shows; then each step of the player is timed, from the
change of the frame to the last message made ready for the browser: frames seen for the first time, frames seen before,
and frames of two verified forecasts, with hits and misses on the maps and scores that count along. Exit code 1 when the
slowest median is 50 ms or more.
"""

import argparse
import statistics
import sys
import time

import numpy as np
import rioxarray  # noqa: F401 - registers .rio
import xarray as xr
from bokeh.core.serialization import Serializer
from bokeh.document import Document

from geoscope.data.storms import StormConfig, simulate_storms
from geoscope.ui.nowcast_frames import map_frames
from geoscope.ui.nowcast_page import NowcastPage
from geoscope.ui.nowcast_runs import Run
from geoscope.ui.open_field import OpenField
from geoscope.ui.shell import begin

LIMIT_MS = 50.0


def make_field(side: int, frames: int) -> OpenField:
    """A simulated storm, repeated in time where it is too short."""
    rain = simulate_storms(StormConfig())
    rows, cols = (np.arange(side) % size for size in rain.shape[1:])
    picks = np.arange(frames) % rain.shape[0]
    values = rain.values[picks][:, rows][:, :, cols]
    x, y = (np.arange(side) - side / 2) * 1000.0, (side / 2 - np.arange(side)) * 1000.0
    times = rain["time"].values[0] + np.arange(frames) * np.timedelta64(5, "m")
    field = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={"time": times, "y": y, "x": x},
        name="rain_rate",
        attrs=rain.attrs,
    )
    place = "+proj=laea +lat_0=52 +lon_0=10 +units=m"
    return OpenField.of("upload:benchmark", "benchmark", field.rio.write_crs(place))


def check_picture(page: NowcastPage, index: int) -> None:
    """The picture on the first map shows the class of every value that it covers."""
    field = page.desk.field
    frame = map_frames(page.desk, index)["observed"]
    picture = np.asarray(page.board.maps._pictures["observed"].data["image"][0])
    scale = page.board.scale_of("rain")
    expected = field.table.apply(scale.classify(frame.values))
    inside = ~field.table.outside & (expected > 1)
    assert (picture[inside] == expected[inside]).all(), (
        "the picture is not that of the frame: nothing is timed"
    )


def load_forecasts(page: NowcastPage, leads: int) -> None:
    """Two forecasts that keep a frame, verified with every score of the page."""
    field, state = page.desk.field, page.state
    issue = field.frames - 1 - leads
    state.param.update(
        issue_index=issue, lead_steps=leads, model="persistence", model_b="climatology", compared=[]
    )
    for back, model in enumerate(state.models):
        forecast = field.rain.isel(time=slice(issue + 1, issue + 1 + leads))
        kept = np.repeat(field.rain.values[issue - back][None], leads, axis=0)
        page.desk._keep(Run(page.desk.wanted(model), forecast.copy(data=kept)))
    while page.scores.is_counting:
        time.sleep(0.05)
    assert page.scores.counted == leads, f"nothing was scored: {page.scores.problem}; nothing is timed"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--side", type=int, default=384)
    options = parser.parse_args()
    begin()
    page, document = NowcastPage(), Document()
    page.shell.page.server_doc(document)
    document.on_change(
        lambda event: event.to_serializable(Serializer(references=document.models.synced_references))
    )
    page.desk.use(make_field(options.side, options.frames))
    page.state.shows_truth = True
    page.player.go_to(1)
    check_picture(page, 1)
    print(f"{'frames':<12}{'median ms':>12}{'95 % ms':>12}{'worst ms':>12}")
    leads = min(12, options.frames - 4)
    slowest = 0.0
    for name in ("first seen", "seen before", "verified"):
        indices = range(2, options.frames)
        if name == "verified":
            load_forecasts(page, leads)
            page.state.layer = "outcome"
            indices = range(options.frames - leads, options.frames)
        took = []
        for index in indices:
            start = time.perf_counter()
            page.player.go_to(index)
            took.append(1000 * (time.perf_counter() - start))
        took.sort()
        median = statistics.median(took)
        slowest = max(slowest, median)
        print(f"{name:<12}{median:>12.1f}{took[int(0.95 * len(took))]:>12.1f}{took[-1]:>12.1f}")
    shape = page.desk.field.table.shape
    print(f"{options.side} x {options.side} pixels, drawn as {shape[1]} x {shape[0]}; limit {LIMIT_MS:g} ms")
    page.close()
    return int(slowest >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())

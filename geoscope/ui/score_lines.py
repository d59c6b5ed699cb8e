"""What the charts of a verification show, as plain lines: drawn by the page with Bokeh and by the report as SVG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from geoscope.metrics.spectrum import smoothed_from
from geoscope.ui.charts import OBSERVED_LOOK, model_look
from geoscope.ui.nowcast_runs import title_of
from geoscope.ui.scoring import ScoreBoard, values_at

Span = tuple[float, float]
Line = dict[str, Any]  # name, x, y, labels (a text for each point), colour, dash
ROOM = 0.04  # of the lead axis, left free before the first and after the last lead
LONG_LEAD = np.timedelta64(3, "h")  # from here on leads are counted in hours


@dataclass(frozen=True)
class ChartLook:
    """The axes of a chart. A span of None fits what is drawn; ``x_span`` may run backwards."""

    y_label: str
    x_label: str
    x_span: Span | None = None
    y_span: Span | None = None
    is_log_x: bool = False
    is_log_y: bool = False


# score -> (title, span of the axis): drawn over the lead; the first four at the threshold that was chosen
EVENTS: dict[str, tuple[str, Span | None]] = {
    "csi": ("CSI", (0, 1)),
    "pod": ("POD", (0, 1)),
    "far": ("FAR", (0, 1)),
    "frequency_bias": ("Frequency bias", None),
}
ERRORS = {"mae": "MAE", "mean_error": "Mean error"}
RIGHT = {"frequency_bias": 1.0, "mean_error": 0.0}  # of scores that are wrong on both sides of it


def looks(board: ScoreBoard) -> dict[str, dict[str, str]]:
    """Colour and dash of each forecast of a board, by name."""
    return {name: model_look(number) for number, name in enumerate(board.parts)}


def legend(board: ScoreBoard) -> list[tuple[str, str, str]]:
    """(text, colour, dash) of each forecast, and of what is right."""
    entries = [(title_of(name), look["colour"], look["dash"]) for name, look in looks(board).items()]
    return [*entries, ("observed, or perfect", OBSERVED_LOOK["colour"], OBSERVED_LOOK["dash"])]


def chart_looks(board: ScoreBoard | None) -> dict[str, ChartLook]:
    """The charts of a verification by name, in the order in which they stand."""
    unit = board.units if board is not None else "mm/h"
    span, word = _lead_axis(board)
    lead: dict[str, Any] = {"x_label": f"Lead ({word})", "x_span": span}
    has_chances = board is None or any("brier" in table.variables for table in board.until(1).values())
    chances = "Forecast probability" if has_chances else "no forecast here gives probabilities"
    pixel, side = (board.pixel_km, board.side) if board is not None else (1.0, 100)
    return {
        **{name: ChartLook(title, y_span=span, **lead) for name, (title, span) in EVENTS.items()},
        "fss": ChartLook("FSS", "Scale (km)", y_span=(0, 1), is_log_x=True),
        **{name: ChartLook(f"{title} ({unit})", **lead) for name, title in ERRORS.items()},
        "spectrum": ChartLook(
            f"Power (({unit})²)",
            "Wavelength (km), last lead",
            x_span=(side * pixel, 2 * pixel),
            is_log_x=True,
            is_log_y=True,
        ),
        "reliability": ChartLook("Observed frequency", chances, x_span=(0, 1), y_span=(0, 1)),
    }


def chart_lines(
    scores: Mapping[str, xr.Dataset], board: ScoreBoard, threshold: float
) -> dict[str, list[Line]]:
    """The lines of every chart of `chart_looks`, one a forecast, from scores by model name."""
    every = looks(board)
    _, word = _lead_axis(board)
    unit = np.timedelta64(1, "h" if word == "h" else "m")

    def over_lead(score: str, **where: float) -> list[Line]:
        return [
            _line(
                title_of(name),
                data.variables["lead_time"].values / unit,
                values_at(data, score, **where),
                every[name],
                f"+{{:g}} {word}",
            )
            for name, data in scores.items()
        ]

    def right(score: str) -> list[Line]:
        """Where a score may lie on both sides of what is right: the line that is."""
        if score not in RIGHT or not scores:
            return []
        ends = np.array([board.step, board.leads * board.step]) / unit
        return [_line("perfect", ends, np.full(2, RIGHT[score]), OBSERVED_LOOK, f"+{{:g}} {word}")]

    fss = [
        _line(
            title_of(name),
            data.variables["scale"].values * board.pixel_km,
            values_at(data, "fss_pooled", threshold=threshold),
            every[name],
            "{:.3g} km",
        )
        for name, data in scores.items()
    ]
    return {
        **{score: [*right(score), *over_lead(score, threshold=threshold)] for score in EVENTS},
        "fss": fss,
        **{score: [*right(score), *over_lead(score)] for score in ERRORS},
        "spectrum": _spectrum(scores, board, every),
        "reliability": _reliability(scores, threshold, every),
    }


def _lead_axis(board: ScoreBoard | None) -> tuple[Span, str]:
    """From the first lead to the last with a little room on both sides, and the unit of it."""
    if board is None:
        return (0.0, 60.0), "min"
    first, last = board.step, board.leads * board.step
    unit, word = (np.timedelta64(1, "h"), "h") if last >= LONG_LEAD else (np.timedelta64(1, "m"), "min")
    room = ROOM * (last - first) / unit if last > first else float(first / unit) / 2
    return (float(first / unit) - room, float(last / unit) + room), word


def _spectrum(scores: Mapping[str, xr.Dataset], board: ScoreBoard, every: Mapping[str, Any]) -> list[Line]:
    """Power by wavelength at the last lead that counts; the observation as it was held against the first forecast."""
    span, lines = board.side * board.pixel_km, []
    for number, (name, data) in enumerate(scores.items()):
        waves = data.variables["wavenumber"].values[1:]
        seen, forecast = (data.variables[f"spectrum_{of}"].values[-1, 1:] for of in ("observed", "forecast"))
        if number == 0:
            lines.append(_line("observed", span / waves, _positive(seen), OBSERVED_LOOK, "{:.3g} km"))
        lines.append(_line(title_of(name), span / waves, _positive(forecast), every[name], "{:.3g} km"))
    return lines


def smoothed_below(data: xr.Dataset, board: ScoreBoard) -> float | None:
    """The wavelength in km under which a forecast has lost half of the observed power or more, at the last lead.

    None where it keeps its power down to the pixels.
    """
    wave = smoothed_from(data.variables["spectrum_ratio"].values[-1])
    return None if wave is None else board.side * board.pixel_km / wave


def _positive(power: np.ndarray) -> np.ndarray:
    """Power for a logarithmic axis: nothing where there is none."""
    return np.where(power > 0, power, np.nan)


def _reliability(scores: Mapping[str, xr.Dataset], threshold: float, every: Mapping[str, Any]) -> list[Line]:
    """How often the event came among pixels of each forecast chance; the diagonal is right."""
    both = np.array([0.0, 1.0])
    lines = [_line("perfect", both, both, OBSERVED_LOOK, "forecast {:.2f}")]
    for name, data in scores.items():
        if "brier" not in data.variables:
            continue
        chance, seen = (
            values_at(data, f"reliability_{part}_pooled", threshold=threshold)
            for part in ("probability", "frequency")
        )
        known = ~np.isnan(chance)
        lines.append(_line(title_of(name), chance[known], seen[known], every[name], "forecast {:.2f}"))
    return lines


def _line(name: str, x: np.ndarray, y: np.ndarray, look: Mapping[str, str], place: str) -> Line:
    """A line whose points say where they are (``place`` is a format) and what they are."""
    labels = [
        f"{place.format(at)}: {'–' if np.isnan(value) else f'{value:.3g}'}"
        for at, value in zip(x, y, strict=True)
    ]
    return {"name": name, "x": np.asarray(x, float), "y": y, "labels": labels, **look}

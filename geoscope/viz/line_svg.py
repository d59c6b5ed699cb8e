"""A line chart as SVG text: sharp at every size, for reports that must stand alone."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geoscope.viz.colours import round_step

LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 40  # pixels around the plot
STROKES = {"solid": "", "dashed": "6 4", "dotted": "2 3", "dotdash": "2 3 6 3"}
INK, GRID = "#3a444e", "#d9dee3"

Span = tuple[float, float]


class _Axis:
    """From values to pixels along one axis, and where its ticks stand."""

    def __init__(self, span: Span, pixels: Span, is_log: bool) -> None:
        self.span, self.is_log = span, is_log
        low, high = (math.log10(value) for value in span) if is_log else span
        self._scale = (pixels[1] - pixels[0]) / ((high - low) or 1.0)
        self._start, self._low = pixels[0], low

    def pixel(self, values: np.ndarray) -> np.ndarray:
        """Pixels of values; NaN where a logarithmic axis has no place for one."""
        if self.is_log:
            values = np.log10(np.where(np.asarray(values) > 0, values, np.nan))
        return self._start + (np.asarray(values, float) - self._low) * self._scale

    def ticks(self) -> list[float]:
        low, high = sorted(self.span)
        if self.is_log:
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            marks = (1,) if len(powers) > 4 else (1, 2, 5)
            return [m * 10.0**p for p in powers for m in marks if low * 0.999 <= m * 10.0**p <= high * 1.001]
        step = round_step((high - low) / 5)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def line_chart_svg(
    lines: Sequence[Mapping[str, Any]],
    *,
    x_label: str,
    y_label: str,
    x_span: Span | None = None,
    y_span: Span | None = None,
    is_log_x: bool = False,
    is_log_y: bool = False,
    width: int = 360,
    height: int = 230,
) -> str:
    """An <svg> of lines, each with name, x, y, colour and dash; a span of None fits what is drawn.

    Points of NaN interrupt their line. Lengths are in pixels; the picture scales with its viewBox.
    """
    x = _Axis(x_span or _fit(lines, "x", is_log_x), (LEFT, width - RIGHT), is_log_x)
    y = _Axis(y_span or _fit(lines, "y", is_log_y), (height - BOTTOM, TOP), is_log_y)
    parts = [_grid(x, y, width, height)]
    for line in lines:
        points = np.stack([x.pixel(line["x"]), y.pixel(line["y"])], axis=-1)
        dash = STROKES[line["dash"]]
        look = f'stroke="{line["colour"]}" stroke-width="2" fill="none" stroke-dasharray="{dash}"'
        title = f"<title>{html.escape(str(line['name']))}</title>"
        parts += [f'<polyline points="{_points(run)}" {look}>{title}</polyline>' for run in _runs(points)]
        if len(points) <= 30:
            parts += [
                f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="2.5" fill="{line["colour"]}"/>'
                for cx, cy in points[np.isfinite(points).all(axis=1)]
            ]
    middle = (TOP + height - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + width - RIGHT) / 2}" y="{height - 6}" text-anchor="middle">{html.escape(x_label)}</text>'
        f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>'
    )
    what = html.escape(f"{y_label} over {x_label}")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{what}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">{"".join(parts)}</svg>'
    )


def _fit(lines: Sequence[Mapping[str, Any]], name: str, is_log: bool) -> Span:
    """A span around all finite values of the lines, a little wider; (0, 1) or (0.1, 1) without any."""
    every = np.concatenate([np.asarray(line[name], float).ravel() for line in lines] or [np.array([])])
    every = every[np.isfinite(every) & ((every > 0) | (not is_log))]
    if not every.size:
        return (0.1, 1.0) if is_log else (0.0, 1.0)
    low, high = float(every.min()), float(every.max())
    if is_log:
        return low / 1.2, high * 1.2
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    return low - margin, high + margin


def _grid(x: _Axis, y: _Axis, width: int, height: int) -> str:
    parts = []
    for value, px in zip(x.ticks(), x.pixel(np.array(x.ticks())), strict=True):
        parts.append(f'<path d="M{px:.1f} {TOP}V{height - BOTTOM}" stroke="{GRID}"/>')
        parts.append(
            f'<text x="{px:.1f}" y="{height - BOTTOM + 14}" text-anchor="middle">{_number(value)}</text>'
        )
    for value, py in zip(y.ticks(), y.pixel(np.array(y.ticks())), strict=True):
        parts.append(f'<path d="M{LEFT} {py:.1f}H{width - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{py + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    return "".join(parts)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _number(value: float) -> str:
    text = f"{0.0 if abs(value) < 1e-12 else value:.4g}"
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _runs(points: np.ndarray) -> list[np.ndarray]:
    """The stretches of a line (n, 2) without a gap."""
    known = np.isfinite(points).all(axis=1)
    cuts = np.flatnonzero(np.diff(known.astype(int))) + 1
    return [part for part in np.split(points, cuts) if len(part) > 1 and np.isfinite(part).all()]


def _points(run: np.ndarray) -> str:
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in run)

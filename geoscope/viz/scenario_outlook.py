"""The forecast distribution of the mean rain as a picture: its density, what is asked, what was achieved, what fell.

The axis is that of the slider: equal steps of n, which are about equal factors of rain; its labels are mm/h.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CSS = """
.outlook { position: relative; height: 92px; font: 11px/13px Roboto, sans-serif; font-variant-numeric: tabular-nums;
  color: var(--panel-on-background-color); }
.outlook svg { position: absolute; left: 0; top: 12px; width: 100%; height: 62px; overflow: visible; }
.outlook .line { position: absolute; top: 12px; height: 62px; width: 0; border-left: 2px solid; }
.outlook .tick, .outlook .mark { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.outlook .tick { top: 77px; } .outlook .mark { top: -2px; font-weight: 500; }
.outlook i { position: absolute; width: 8px; height: 8px; border-radius: 50%; transform: translate(-50%, -50%);
  top: 66px; box-sizing: border-box; border: 1px solid var(--panel-background-color); }
"""
ASKED, ACHIEVED, TRUTH, SHADE = "#d81b60", "#0b7fab", "#d98324", "#5f8fc4"
POINTS = 161
CLOSE = 9.0  # per cent of the width: marks so near have their texts on either side


@dataclass(frozen=True)
class OutlookPicture:
    """What the picture shows, in sigmas: the asked n, the achieved ones, and what fell where that is known.

    span: the ends of the axis. means: mm/h at whole n, (n, mm/h).
    """

    span: tuple[float, float]
    freedom: float
    asked: float
    means: Sequence[tuple[float, float]]
    achieved: Sequence[float] = ()
    truth: float | None = None

    def place(self, sigma: float) -> float:
        """Where n stands, in per cent of the width, kept within it."""
        low, high = self.span
        return 100.0 * min(max((sigma - low) / (high - low), 0.0), 1.0)


def density(sigma: Any, freedom: float) -> np.ndarray:
    """Density of a Student t with standard deviation 1 at ``sigma``, for ``freedom`` above 2."""
    scale = math.sqrt((freedom - 2.0) / freedom)
    log_norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    t = np.asarray(sigma, dtype=float) / scale
    return np.exp(log_norm - (freedom + 1) / 2 * np.log1p(t * t / freedom)) / scale


def outlook_html(picture: OutlookPicture) -> str:
    """The picture as HTML under `CSS`; it is as wide as what holds it."""
    low, high = picture.span
    axis = np.linspace(low, high, POINTS)
    heights = density(axis, picture.freedom)
    top = 58.0 / heights.max()
    at = [(picture.place(x), 60.0 - top * y) for x, y in zip(axis, heights, strict=True)]
    curve = " ".join(f"{x:.2f},{y:.2f}" for x, y in at)
    beyond = [(x, y) for x, y in at if (x >= picture.place(picture.asked)) == (picture.asked >= 0)]
    area = f"{beyond[0][0]:.2f},60 {' '.join(f'{x:.2f},{y:.2f}' for x, y in beyond)} {beyond[-1][0]:.2f},60"
    ticks = "".join(
        f'<span class="tick" style="left:{picture.place(sigma):.2f}%">{_say(mean)}</span>'
        for sigma, mean in picture.means
    )
    dots = "".join(
        f'<i style="left:{picture.place(sigma):.2f}%;background:{ACHIEVED}"></i>'
        for sigma in picture.achieved
    )
    asked = picture.place(picture.asked)
    truth = None if picture.truth is None else picture.place(picture.truth)
    is_left = truth is not None and truth >= asked and truth - asked < CLOSE
    is_right = truth is not None and truth < asked and asked - truth < CLOSE
    lines = _line(asked, ASKED, "&nbsp;asked&nbsp;", "-100%" if is_left else "0" if is_right else "")
    if truth is not None:
        lines += _line(truth, TRUTH, "&nbsp;what fell&nbsp;", "0" if is_left else "-100%" if is_right else "")
    return (
        f'<div class="outlook" role="img" aria-label="{html.escape(_in_words(picture))}">'
        f'<svg viewBox="0 0 100 62" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="{area}" fill="{ASKED}" fill-opacity="0.25"/>'
        f'<polyline points="{curve}" fill="none" stroke="{SHADE}" stroke-width="2" vector-effect="non-scaling-stroke"/>'
        f'<line x1="0" y1="60" x2="100" y2="60" stroke="#8888" vector-effect="non-scaling-stroke"/></svg>'
        f"{lines}{dots}{ticks}</div>"
    )


def _line(left: float, colour: str, text: str, shift: str) -> str:
    shift = shift or ("-100%" if left > 92 else "0" if left < 8 else "-50%")
    return (
        f'<span class="line" style="left:{left:.2f}%;border-color:{colour}"></span>'
        f'<span class="mark" style="left:{left:.2f}%;color:{colour};transform:translateX({shift})">{text}</span>'
    )


def _say(mean: float) -> str:
    """A mean rain in mm/h with two digits that count."""
    if mean < 0.005:
        return "0"
    return f"{mean:.2f}" if mean < 1 else f"{mean:.1f}" if mean < 10 else f"{mean:.0f}"


def _in_words(picture: OutlookPicture) -> str:
    text = f"forecast distribution of the mean rain, asked n = {picture.asked:+g}"
    return text if picture.truth is None else f"{text}, what fell n = {picture.truth:+.1f}"

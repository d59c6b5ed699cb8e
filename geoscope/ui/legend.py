"""Colour bars and the legend as HTML: sharp at every size, readable by a screen reader, in the colours of the theme."""

import html
from collections.abc import Sequence

import numpy as np

from geoscope.viz.colours import DRY, NO_DATA, ColourScale, Theme

MOST_LABELS = 15

CSS = """
:host { font: 11px/13px Roboto, sans-serif; color: var(--panel-on-background-color); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: flex-start; padding: 2px 0; }
.scale { flex: 1 1 250px; min-width: 0; max-width: 620px; }
.scale.second { flex: 1 1 190px; max-width: 420px; }
.name { white-space: nowrap; margin-bottom: 2px; }
.bar { display: flex; height: 12px; border: 1px solid #8888; border-radius: 2px; overflow: hidden; }
.bar i { flex: 1; }
.labels { position: relative; height: 13px; }
.labels span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.outcomes .row { display: flex; gap: 12px; white-space: nowrap; }
.swatches { display: flex; gap: 12px; padding-top: 15px; white-space: nowrap; }
.swatch i { display: inline-block; width: 16px; height: 12px; margin-right: 4px; vertical-align: -2px;
  border: 1px solid #8888; border-radius: 2px; }
"""


def legend_html(
    scales: Sequence[ColourScale], theme: Theme, land: str, difference: str = "forecast − observed"
) -> str:
    """The bar of the field, after it those of the other layers that are shown, and the special classes.

    ``difference`` says what a diverging scale is the difference of.
    """
    bars = "".join(
        _outcomes(scale, theme)
        if scale.kind == "outcome"
        else _bar(scale, theme, "second" if number else "", difference)
        for number, scale in enumerate(scales)
    )
    return f'<div class="legend">{bars}{_swatches(scales[0], theme, land)}</div>'


def _outcomes(scale: ColourScale, theme: Theme) -> str:
    """Swatches with words: outcomes have no order that a bar could show."""
    marks = "".join(
        f'<span class="swatch"><i style="background:{colour}"></i>{html.escape(name)}</span>'
        for colour, name in zip(scale.hex_colours(theme), scale.labels(), strict=True)
    )
    title = html.escape(scale.title)
    return f'<div class="outcomes"><div class="name">{title}</div><div class="row">{marks}</div></div>'


def _bar(scale: ColourScale, theme: Theme, kind: str, difference: str) -> str:
    colours = scale.hex_colours(theme)
    cells = "".join(f'<i style="background:{colour}"></i>' for colour in colours)
    places = _label_places(scale, len(colours))
    labels = "".join(f'<span style="left:{left:.2f}%">{html.escape(text)}</span>' for left, text in places)
    what = f", {difference}" if scale.kind == "diverging" else ""
    title = html.escape(f"{scale.title}{what}")
    return (
        f'<div class="scale {kind}" role="img" aria-label="colour scale: {title}"><div class="name">{title}</div>'
        f'<div class="bar">{cells}</div><div class="labels">{labels}</div></div>'
    )


def _label_places(scale: ColourScale, cells: int) -> list[tuple[float, str]]:
    """Where the numbers stand, in per cent of the bar: each at the edge that it names."""
    edges = np.asarray(scale.edges)
    if scale.kind == "diverging":
        middle = len(edges) // 2
        labels = scale.labels()
        # The bins on both sides of "no difference" touch in the bar, so the two inner edges share the middle.
        below = [(100.0 * (index + 1) / cells, labels[index]) for index in range(middle - 3, 0, -2)]
        above = [(100.0 * index / cells, labels[index]) for index in range(middle + 2, len(edges) - 1, 2)]
        return [*below[::-1], (50.0, f"±{edges[middle]:g}"), *above]
    if len(edges) <= MOST_LABELS:
        return [(100.0 * index / cells, text) for index, text in enumerate(scale.labels()) if index > 0]
    wanted = [value for value in _ROUND if edges[0] < value < edges[-1]] or list(edges[1::16])
    return [
        (100.0 * float(np.interp(value, edges, np.arange(len(edges)))) / cells, f"{value:g}")
        for value in wanted
    ]


_ROUND = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def _swatches(scale: ColourScale, theme: Theme, land: str) -> str:
    palette = scale.palette(theme)
    dry = _css(palette[DRY])
    grey = _css(palette[NO_DATA])
    line = "#0008" if theme == "light" else "#fffa"
    below = html.escape(f"below {scale.edges[0]:g}") if scale.edges[0] > 0 else "low"
    looks = (
        (f"background:linear-gradient({dry},{dry}),{land}", f"dry ({below})"),
        (f"background:repeating-linear-gradient(135deg,{line} 0 2px,{grey} 2px 6px)", "no data"),
        (f"background:{land}", "outside"),
    )
    marks = "".join(f'<span class="swatch"><i style="{look}"></i>{text}</span>' for look, text in looks)
    return f'<div class="swatches">{marks}</div>'


def _css(colour: np.ndarray) -> str:
    red, green, blue, alpha = (int(part) for part in colour)
    return f"rgba({red},{green},{blue},{alpha / 255:.2f})"

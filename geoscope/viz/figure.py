"""Whole figures: maps side by side under a title, over a colour bar and the data's credit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image, ImageDraw

import geoscope
from geoscope.errors import ConfigError, DataError
from geoscope.grids import has_place
from geoscope.viz import basemap
from geoscope.viz.colours import DRY, NO_DATA, ColourScale, Kind, Theme, scale_for
from geoscope.viz.maps import FieldMap, text_width, write_text

_BACKGROUND: dict[Theme, str] = {"light": "#ffffff", "dark": "#0b0f13"}
_QUIET: dict[Theme, str] = {"light": "#55626e", "dark": "#9aa8b5"}
_EDGE, _GAP = 24, 16
_HEADER, _CAPTION, _FOOTER = 78, 26, 104
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


@dataclass(frozen=True)
class Panel:
    """One map of a figure: values (H, W) and what stands over it."""

    values: np.ndarray
    caption: str = ""
    note: str = ""


def time_text(time: Any) -> str:
    """ "Fri 14 Sep 2018 18:00 UTC", the same in every locale."""
    stamp = np.datetime64(time, "s").astype(object)
    day = f"{_DAYS[stamp.weekday()]} {stamp.day} {_MONTHS[stamp.month - 1]} {stamp.year}"
    return f"{day} {stamp:%H:%M} UTC"


def lead_text(lead: np.timedelta64) -> str:
    """ "+1 h 30 min" of a lead time."""
    minutes = round(float(lead / np.timedelta64(1, "m")))
    hours, rest = divmod(abs(minutes), 60)
    words = ([f"{hours} h"] if hours else []) + ([f"{rest} min"] if rest or not hours else [])
    return ("+" if minutes >= 0 else "-") + " ".join(words)


class Figure:
    """A figure of one or more maps of one grid, laid out once and drawn for as many frames as wanted.

    `width` is that of the whole picture in pixels, `columns` the number of maps beside each other.
    """

    def __init__(
        self,
        field: xr.DataArray,
        scale: ColourScale,
        *,
        panels: int = 1,
        columns: int = 1,
        width: int = 960,
        theme: Theme = "light",
    ) -> None:
        if not 320 <= width <= 4096:
            raise ConfigError(f"width={width} of a picture must lie between 320 and 4096 pixels")
        scale.palette(theme)  # refuses a theme that is not known
        self.scale, self.columns = scale, columns
        self.theme: Theme = theme
        inner = (width - 2 * _EDGE - (columns - 1) * _GAP) // columns
        self._map = FieldMap(field, inner, theme, tallest=round(max(1.1 * inner, 420)))
        self._caption = _CAPTION if panels > 1 else 0
        self._rows = -(-panels // columns)
        self._step = (inner + _GAP, self._map.size[1] + self._caption + _GAP)
        maps = self._rows * self._step[1] - _GAP
        height = _HEADER + maps + _FOOTER
        self.size = (width + width % 2, height + height % 2)  # even, as video wants it
        self._credit = _credit_line(field)

    def draw(self, panels: Sequence[Panel], title: str, subtitle: str, valid: str, lead: str) -> Image.Image:
        """The RGB picture: `title` and `subtitle` on the left above, `valid` time and `lead` on the right."""
        image = Image.new("RGB", self.size, _BACKGROUND[self.theme])
        look, quiet, width = basemap.LOOKS[self.theme], _QUIET[self.theme], self.size[0]
        used = self._line(image, (width - _EDGE, 38), valid, 22, look.text, "rs", 0.6 * width)
        self._line(image, (_EDGE, 38), title, 26, look.text, "ls", width - 3 * _EDGE - used)
        used = self._line(image, (width - _EDGE, 63), lead, 16, quiet, "rs", 0.6 * width)
        self._line(image, (_EDGE, 63), subtitle, 16, quiet, "ls", width - 3 * _EDGE - used)
        for number, panel in enumerate(panels):
            row, col = divmod(number, self.columns)
            x, y = _EDGE + col * self._step[0], _HEADER + row * self._step[1]
            if self._caption:
                right = x + self._map.size[0]
                used = self._line(image, (right, y + 17), panel.note, 14, quiet, "rs", self._map.size[0] / 2)
                self._line(image, (x, y + 17), panel.caption, 16, look.text, "ls", right - x - used - 12)
            image.paste(self._map.draw(panel.values, self.scale), (x, y + self._caption))
        self._colour_bar(image, _HEADER + self._rows * self._step[1] - _GAP + 14)
        y = self.size[1] - 14
        used = self._line(image, (width - _EDGE, y), f"geoscope {geoscope.__version__}", 13, quiet, "rs")
        self._line(image, (_EDGE, y), self._credit, 13, quiet, "ls", width - 3 * _EDGE - used)
        return image

    def _line(
        self,
        image: Image.Image,
        at: tuple[float, float],
        text: str,
        size: int,
        colour: str,
        anchor: str = "ls",
        room: float = math.inf,
    ) -> float:
        """Write a text, shortened to the room there is; the width it took."""
        if text_width(text, size) > room:
            while text and text_width(text + "...", size) > room:
                text = text[:-1]
            text = text.rstrip() + "..."
        if text:
            write_text(image, at, text, size, colour, anchor)
        return text_width(text, size)

    def _colour_bar(self, image: Image.Image, top: int) -> None:
        """Title, classes with their edges, and what dry and no data look like."""
        look, scale, draw = basemap.LOOKS[self.theme], self.scale, ImageDraw.Draw(image)
        names = ({"diverging": "no change", "outcome": "neither"}.get(scale.kind, "dry"), "no data")
        left = float(_EDGE)
        right = self.size[0] - _EDGE - sum(24 + 24 + text_width(name, 13) for name in names)
        self._line(image, (left, top + 11), scale.title, 14, look.text)
        y0, y1 = top + 18, top + 36
        colours = scale.hex_colours(self.theme)
        if scale.kind == "diverging":
            colours.insert(len(colours) // 2, _over_land(scale, DRY, self.theme))
        step = (right - left) / len(colours)
        for number, colour in enumerate(colours):
            draw.rectangle((left + number * step, y0, left + (number + 1) * step, y1), fill=colour)
        draw.rectangle((left, y0, right, y1), outline=look.border)
        first = 1 if scale.kind == "diverging" else 0  # its first class lies below the first edge
        taken = -math.inf
        for number, text in _ticks(scale):
            x = left + (number + first) * step
            half = text_width(text, 13) / 2
            if x - half > taken:
                self._line(image, (max(x, left + half), y1 + 16), text, 13, look.text, "ms")
                taken = x + half + 6
        x = round(right)
        for name, kind in zip(names, (DRY, NO_DATA), strict=True):
            x += 24
            patch = Image.fromarray(scale.rgba(np.full((18, 18), kind, np.uint8), self.theme))
            image.paste(look.land, (x, y0, x + 18, y0 + 18))
            image.paste(patch, (x, y0), patch)
            draw.rectangle((x, y0, x + 18, y0 + 18), outline=look.border)
            self._line(image, (x + 24, y0 + 14), name, 13, look.text)
            x += round(24 + text_width(name, 13))


def _over_land(scale: ColourScale, kind: int, theme: Theme) -> str:
    """A see-through class as it looks on land, "#rrggbb"."""
    red, green, blue, alpha = (int(v) for v in scale.palette(theme)[kind])
    under = (int(basemap.LOOKS[theme].land[i : i + 2], 16) for i in (1, 3, 5))
    mixed = [
        round((o * alpha + u * (255 - alpha)) / 255) for o, u in zip((red, green, blue), under, strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _ticks(scale: ColourScale) -> list[tuple[float, str]]:
    """Where on the bar, counted in classes, which numbers stand."""
    edges = np.asarray(scale.edges)
    if scale.kind == "outcome":  # names of classes, not numbers of edges
        return [(number + 0.5, text) for number, text in enumerate(scale.labels())]
    if scale.kind != "perceptual":
        return list(enumerate(scale.labels()))
    if edges[0] > 0 and edges[-1] / edges[0] > 50:
        powers = 10.0 ** np.arange(np.floor(np.log10(edges[0])), np.ceil(np.log10(edges[-1])) + 1)
        marks = np.sort(np.concatenate([powers, 2 * powers, 5 * powers]))
        marks = marks[(marks >= edges[0] * 0.999) & (marks <= edges[-1])]
    else:
        marks = np.linspace(edges[0], edges[-1], 7)
    return [(float(np.interp(mark, edges, np.arange(len(edges)))), f"{mark:.4g}") for mark in marks]


def _credit_line(field: xr.DataArray) -> str:
    credit = str(field.attrs.get("credit") or field.attrs.get("source") or "").strip()
    says_what = ":" in credit[:12] or credit.lower().startswith("simulated")
    parts = [credit if says_what or not credit else f"Data: {credit}"]
    if has_place(field):
        parts.append(basemap.CREDIT)
    return " · ".join([part for part in parts if part])


def subtitle_of(field: xr.DataArray) -> str:
    """What made a field: the model and its issue time, or the source of an observation."""
    if "forecast_reference_time" in field.coords:
        issued = time_text(field["forecast_reference_time"].values)
        return f"Forecast by {field.attrs.get('model', 'a model')}, issued {issued}"
    return str(field.attrs.get("title") or field.attrs.get("source") or "Observed")


def leads_of(field: xr.DataArray) -> list[str]:
    """One text of lead for each frame, empty where a field is no forecast."""
    if "lead_time" in field.coords and field["lead_time"].dims == ("time",):
        return [lead_text(lead) for lead in field["lead_time"].values]
    return [""] * field.sizes["time"]


def check_drawable(field: xr.DataArray) -> None:
    """Refuse what is not a sequence of maps.

    Raises:
        DataError: other dimensions than (time, y, x), or no frame.
    """
    if field.dims != ("time", "y", "x") or not field.sizes["time"]:
        raise DataError(f"a picture needs a field (time, y, x) with frames, got {dict(field.sizes)}")


def contact_sheet(
    field: xr.DataArray, *, frames: int = 6, kind: Kind = "stepped", theme: Theme = "light", width: int = 1500
) -> Image.Image:
    """Up to `frames` maps of a sequence in one picture, evenly chosen, the first and the last among them."""
    check_drawable(field)
    scale = scale_for(field, kind)
    count = max(1, min(frames, field.sizes["time"]))
    chosen = np.unique(np.linspace(0, field.sizes["time"] - 1, count).round().astype(int))
    if len(chosen) == 1:
        return draw_frame(field, int(chosen[0]), kind=kind, theme=theme, width=min(width, 960))
    columns = 2 if len(chosen) in (2, 4) else 3
    figure = Figure(field, scale, panels=len(chosen), columns=columns, width=width, theme=theme)
    leads = leads_of(field)
    times = field["time"].values
    panels = [Panel(field[i].values, time_text(times[i]), _lead_note(leads[i])) for i in chosen]
    span = f"{time_text(times[chosen[0]])} to {time_text(times[chosen[-1]])}"
    return figure.draw(panels, scale.quantity, subtitle_of(field), span, "")


def draw_frame(
    field: xr.DataArray, index: int = 0, *, kind: Kind = "stepped", theme: Theme = "light", width: int = 960
) -> Image.Image:
    """One frame of a field (time, y, x) as a finished picture."""
    check_drawable(field)
    if not -field.sizes["time"] <= index < field.sizes["time"]:
        raise ConfigError(
            f"frame={index} does not exist: the field has frames 0 to {field.sizes['time'] - 1}"
        )
    scale = scale_for(field, kind)
    figure = Figure(field, scale, width=width, theme=theme)
    return draw_into(figure, field, index)


def draw_into(figure: Figure, field: xr.DataArray, index: int) -> Image.Image:
    """The frame of a sequence in a figure made for its grid: for animations."""
    return figure.draw(
        [Panel(field[index].values)],
        figure.scale.quantity,
        subtitle_of(field),
        time_text(field["time"].values[index]),
        _lead_note(leads_of(field)[index]),
    )


def compare_panels(
    fields: Mapping[str, xr.DataArray],
    time: np.datetime64,
    *,
    kind: Kind = "stepped",
    theme: Theme = "light",
    width: int = 1500,
) -> Image.Image:
    """Several fields of one grid side by side at one valid time; the names stand over the maps.

    Raises:
        DataError: no field, a field without a frame at `time`, or fields of different grids.
    """
    if not fields:
        raise DataError("nothing to compare: give at least one named field")
    panels, leads = [], set()
    first = next(iter(fields.values()))
    for name, field in fields.items():
        check_drawable(field)
        if field.shape[1:] != first.shape[1:]:
            raise DataError(
                f"{name!r} has {field.shape[1:]} pixels, the first field {first.shape[1:]}: one grid only"
            )
        at = np.flatnonzero(field["time"].values == np.datetime64(time))
        if not len(at):
            raise DataError(f"{name!r} has no frame valid at {time_text(np.datetime64(time))}")
        lead = leads_of(field)[int(at[0])]
        leads |= {lead} - {""}
        panels.append(Panel(field[int(at[0])].values, name, _lead_note(lead)))
    scale = scale_for(first, kind)
    figure = Figure(first, scale, panels=len(panels), columns=min(len(panels), 3), width=width, theme=theme)
    forecasts = [f for f in fields.values() if "forecast_reference_time" in f.coords]
    issued = f"issued {time_text(forecasts[0]['forecast_reference_time'].values)}" if forecasts else ""
    if len(leads) == 1:
        panels = [replace(panel, note="") for panel in panels]
    lead = f"{_lead_note(leads.pop())}, {issued}" if len(leads) == 1 else issued
    subtitle = str(first.attrs.get("title") or first.attrs.get("source") or "")
    return figure.draw(panels, scale.quantity, subtitle, time_text(np.datetime64(time)), lead)


def _lead_note(lead: str) -> str:
    return f"lead {lead}" if lead else ""

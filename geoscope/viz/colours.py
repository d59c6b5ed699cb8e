"""Colour scales for rain, for other quantities and for differences.

A scale first sorts values into classes (uint8), then a palette gives each class its colour. Three classes are
the same in every scale and never share a look: OUTSIDE the field (nothing drawn), NO_DATA (hatched grey) and
DRY (a pale veil, also "no difference"). Lightness falls with rain on the light theme and rises on the dark
one, without exception, so the order survives colour blindness and a black-and-white printer.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from geoscope.errors import ConfigError
from geoscope.viz.colour_space import lab_to_srgb

Theme = Literal["light", "dark"]
Kind = Literal["stepped", "perceptual", "diverging", "probability", "outcome"]

OUTSIDE, NO_DATA, DRY, FIRST = 0, 1, 2, 3

RAIN_EDGES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 120.0)  # mm/h

# L*, chroma, hue in degrees of the stepped rain scale: blue, green, ochre, red, violet.
_STEPPED: dict[Theme, list[tuple[float, float, float]]] = {
    "light": [
        *((91, 14, 235), (86, 21, 242), (80.5, 29, 250), (75, 38, 255), (70.5, 50, 152), (65, 58, 125)),
        *((58, 64, 78), (52, 72, 62), (46.5, 76, 45), (40.5, 70, 33), (34.5, 60, 5)),
        *((26, 54, 328), (17.5, 44, 310), (8.5, 26, 300)),
    ],
    "dark": [
        *((24, 40, 285), (32, 48, 282), (40, 50, 272), (47.5, 46, 255), (54, 40, 200), (60, 50, 155)),
        *((65.5, 62, 130), (71, 70, 108), (77, 76, 88), (81.5, 66, 74), (85, 46, 50)),
        *((88.5, 32, 0), (93, 17, 325), (98.5, 2, 320)),
    ],
}
# Straw to navy, the two hues that red-green blindness keeps apart (the idea of cividis: Nunez et al. 2018).
_PERCEPTUAL: dict[Theme, list[tuple[float, float, float]]] = {
    "light": [
        (93, 26, 100),
        (80, 44, 92),
        (66, 36, 75),
        (50, 20, 10),
        (36, 38, 298),
        (22, 46, 294),
        (9, 26, 290),
    ],
    "dark": [
        (16, 30, 285),
        (30, 38, 285),
        (44, 24, 290),
        (58, 12, 40),
        (72, 44, 85),
        (85, 62, 97),
        (97, 24, 105),
    ],
}
# Too dry is brown, too wet is blue-green; both ends are as far from the middle in lightness.
_DIVERGING: dict[Theme, tuple[list[tuple[float, float, float]], list[tuple[float, float, float]]]] = {
    "light": (
        [(24, 36, 62), (48, 58, 65), (70, 44, 72), (90, 16, 80)],
        [(90, 13, 215), (70, 30, 225), (48, 40, 245), (24, 38, 270)],
    ),
    "dark": (
        [(92, 26, 88), (74, 56, 78), (52, 48, 68), (31, 24, 65)],
        [(31, 22, 250), (52, 36, 240), (74, 34, 225), (92, 16, 210)],
    ),
}
# From a breath of lilac to deep plum: no rain scale is near it, so a chance is not taken for an amount.
_PROBABILITY: dict[Theme, list[tuple[float, float, float]]] = {
    "light": [(93, 8, 320), (80, 26, 322), (64, 48, 325), (47, 60, 328), (30, 52, 325), (15, 34, 320)],
    "dark": [(20, 20, 310), (32, 38, 315), (47, 54, 322), (63, 50, 330), (80, 30, 345), (96, 8, 0)],
}
# What is right recedes, what is wrong stands out: hit, miss, false alarm. Told apart with red-green blindness.
_OUTCOME: dict[Theme, list[tuple[int, int, int]]] = {
    "light": [(143, 180, 163), (206, 66, 12), (38, 84, 186)],
    "dark": [(74, 118, 100), (255, 138, 76), (110, 172, 255)],
}
OUTCOMES = ("hit", "miss", "false alarm")
_SPECIAL: dict[Theme, list[tuple[int, int, int, int]]] = {
    "light": [(0, 0, 0, 0), (140, 140, 146, 96), (255, 255, 255, 150)],
    "dark": [(0, 0, 0, 0), (120, 122, 130, 110), (150, 175, 210, 26)],
}
_HATCH: dict[Theme, tuple[int, int, int, int]] = {"light": (96, 96, 104, 140), "dark": (170, 172, 180, 120)}


def _from_lch(points: list[tuple[float, float, float]], count: int) -> np.ndarray:
    """`count` sRGB colours (count, 3) along lines in L*a*b* through points (lightness, chroma, hue)."""
    lch = np.array(points, dtype=np.float64)
    hue = np.deg2rad(lch[:, 2])
    lab = np.stack([lch[:, 0], lch[:, 1] * np.cos(hue), lch[:, 1] * np.sin(hue)], axis=-1)
    at = np.linspace(0, len(lab) - 1, count) if count > 1 else np.array([(len(lab) - 1) / 2])
    knots = np.arange(len(lab))
    return lab_to_srgb(np.stack([np.interp(at, knots, lab[:, i]) for i in range(3)], axis=-1))


@dataclass(frozen=True)
class ColourScale:
    """Classes of a quantity and their colours.

    `edges` rise. For "stepped" and "perceptual" scales a value below edges[0] is DRY and class FIRST + k
    holds edges[k] <= value < edges[k + 1], the last class everything above. For "diverging" scales the edges
    are symmetric about 0, the middle bin is DRY (no difference worth a colour) and the bins on both sides
    count on from FIRST, from the most negative to the most positive. "probability" is stepped, in per cent;
    "outcome" has the codes 1, 2, 3 of `OUTCOMES`, and 0 (DRY) where the event was neither forecast nor seen.
    """

    name: str
    kind: Kind
    quantity: str
    units: str
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges, dtype=np.float64)
        if not 1 <= len(edges) <= 250 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
            raise ConfigError(f"scale {self.name!r}: edges must be 1 to 250 rising numbers, got {self.edges}")
        if self.kind == "diverging" and (len(edges) % 2 or not np.allclose(edges, -edges[::-1])):
            raise ConfigError(f"scale {self.name!r}: edges of a difference must mirror each other about 0")

    @property
    def classes(self) -> int:
        """Number of classes, the three special ones included: the length of a palette."""
        return FIRST + len(self.edges)

    def classify(self, values: np.ndarray) -> np.ndarray:
        """Class (uint8) of each value, any shape; NaN gives NO_DATA. Never gives OUTSIDE: the map does."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        lookup = _lookup(self)
        if lookup is None:
            edges = np.asarray(self.edges, dtype=np.float32)
            result = np.searchsorted(edges, values, side="right").astype(np.uint8)
        else:
            base, following = lookup
            bucket = values.view(np.uint32) >> 16
            result = base.take(bucket)
            result += values >= following.take(bucket)
        if self.kind == "diverging":
            result = _diverging_classes(len(self.edges)).take(result)
        else:
            result += DRY
        result[np.isnan(values)] = NO_DATA
        return result

    def palette(self, theme: Theme = "light") -> np.ndarray:
        """RGBA uint8 (classes, 4) of a theme, in the order of the classes."""
        return _palette(self, _checked(theme)).copy()

    def rgba(self, classes: np.ndarray, theme: Theme = "light", opacity: float = 1.0) -> np.ndarray:
        """RGBA uint8 (h, w, 4) of a picture of classes (h, w), row 0 north, no data hatched.

        `.view(np.uint32)[..., 0]` of the result is what Bokeh's image_rgba takes, once flipped.
        """
        packed = _packed(self, _checked(theme), round(float(np.clip(opacity, 0, 1)), 3))
        picture = packed.take(classes)
        blank = classes == NO_DATA
        if blank.any():
            rows, cols = np.nonzero(blank)
            stripe = (rows + cols) % 8 < 2
            picture[rows[stripe], cols[stripe]] = packed[-1]
        return picture.view(np.uint8).reshape(*classes.shape, 4)

    def hex_colours(self, theme: Theme = "light") -> list[str]:
        """Opaque "#rrggbb" of the coloured classes, from FIRST on: what a colour bar shows."""
        return ["#{:02x}{:02x}{:02x}".format(*colour[:3]) for colour in self.palette(theme)[FIRST:]]

    def labels(self) -> list[str]:
        """One text for each edge, without units."""
        if self.kind == "outcome":
            return list(OUTCOMES)
        return [f"{edge:g}" if self.kind != "diverging" else f"{edge:+g}" for edge in self.edges]

    @property
    def title(self) -> str:
        """Quantity and unit, as it stands over a colour bar."""
        return f"{self.quantity} ({self.units})" if self.units else self.quantity


def _checked(theme: Theme) -> Theme:
    if theme not in ("light", "dark"):
        raise ConfigError(f"theme={theme!r} is not known: choose 'light' or 'dark'")
    return theme


@functools.lru_cache(maxsize=64)
def _lookup(scale: ColourScale) -> tuple[np.ndarray, np.ndarray] | None:
    """By the upper 16 bits of a float32: the bin of its smallest value and the one edge that may follow.

    A bucket spans less than 1 % of its values. None when two edges fall into one: then a search has to do.
    """
    edges = np.asarray(scale.edges, dtype=np.float32)
    heads = np.arange(1 << 16, dtype=np.uint32) << 16
    ends = np.stack([heads, heads | 0xFFFF]).view(np.float32)
    low, high = np.fmin(*ends), np.fmax(*ends)  # negative values run backwards
    first = np.searchsorted(edges, low, side="right")
    last = np.searchsorted(edges, high, side="right")
    finite = np.isfinite(low) & np.isfinite(high)
    if (last - first)[finite].max() > 1:
        return None
    following = np.append(edges, np.inf)[np.minimum(first, len(edges))].astype(np.float32)
    following[first == len(edges)] = np.nan  # nothing follows the last bin, also not for inf
    return first.astype(np.uint8), following


@functools.lru_cache(maxsize=64)
def _diverging_classes(edges: int) -> np.ndarray:
    bins = np.arange(edges + 1)
    middle = edges // 2
    return np.where(bins == middle, DRY, FIRST + bins - (bins > middle)).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _palette(scale: ColourScale, theme: Theme) -> np.ndarray:
    count = len(scale.edges)
    if scale.kind == "diverging":
        below, above = _DIVERGING[theme]
        colours = np.concatenate([_from_lch(below, count // 2), _from_lch(above, count // 2)])
    elif scale.kind == "outcome":
        colours = np.array(_OUTCOME[theme], np.uint8)
    elif scale.kind == "probability":
        colours = _from_lch(_PROBABILITY[theme], count)
    else:
        colours = _from_lch((_STEPPED if scale.kind == "stepped" else _PERCEPTUAL)[theme], count)
    opaque = np.concatenate([colours, np.full((count, 1), 255, np.uint8)], axis=1)
    return np.concatenate([np.array(_SPECIAL[theme], np.uint8), opaque])


@functools.lru_cache(maxsize=64)
def _packed(scale: ColourScale, theme: Theme, opacity: float) -> np.ndarray:
    """The palette and the hatch colour after it as uint32, RGBA in memory order."""
    colours = np.concatenate([_palette(scale, theme), np.array([_HATCH[theme]], np.uint8)])
    colours[:, 3] = np.round(colours[:, 3] * opacity)
    return np.ascontiguousarray(colours).view(np.uint32)[:, 0]


RAIN = ColourScale("rain", "stepped", "Rain rate", "mm/h", RAIN_EDGES)
RAIN_PERCEPTUAL = ColourScale(
    "rain-perceptual",
    "perceptual",
    "Rain rate",
    "mm/h",
    tuple(np.geomspace(0.1, 120.0, 96).round(6).tolist()),
)
_HALF = (0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 20.0, 30.0, 50.0)
RAIN_DIFFERENCE = ColourScale(
    "rain-difference",
    "diverging",
    "Difference of rain rate",
    "mm/h",
    (*(-e for e in reversed(_HALF)), *_HALF),
)

OUTCOME = ColourScale("outcome", "outcome", "Event forecast and seen", "", (0.5, 1.5, 2.5))


def probability_scale(threshold: float, units: str = "mm/h") -> ColourScale:
    """The scale of the chance, in per cent, of a value at or above ``threshold``; below 5 % counts as dry."""
    edges = (5.0, *(float(edge) for edge in range(10, 100, 10)), 95.0)
    return ColourScale("probability", "probability", f"Probability of ≥ {threshold:g} {units}", "%", edges)


_BY_UNITS: dict[str, tuple[float, ...]] = {
    "mm": (0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200),
    "dbz": (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65),
    "kg m-2": (0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70),
}
_SAME_UNITS = {
    **dict.fromkeys(("mm/h", "mm h-1", "mm h**-1", "mm hr-1", "mm/hr", "kg m-2 h-1"), "mm/h"),
    **dict.fromkeys(("kg m-2", "kg/m2", "kg/m^2", "kg m**-2"), "kg m-2"),
}


def scale_for(field: xr.DataArray, kind: Kind = "stepped") -> ColourScale:
    """The scale of a field's quantity, by its units.

    Rain rates, accumulations, reflectivity and water content get the steps that forecasters use; any other
    quantity gets round steps over its own range. "diverging" is for a difference of two such fields.

    Raises:
        ConfigError: `kind` is not "stepped", "perceptual" or "diverging".
    """
    if kind not in ("stepped", "perceptual", "diverging"):
        raise ConfigError(f"kind={kind!r} of a colour scale is not known: stepped, perceptual or diverging")
    own = str(field.attrs.get("units", "")).strip()
    units = _SAME_UNITS.get(own.lower(), own.lower())
    if units == "mm/h" or (not own and field.name == "rain_rate"):
        return {"stepped": RAIN, "perceptual": RAIN_PERCEPTUAL, "diverging": RAIN_DIFFERENCE}[kind]
    quantity = str(field.attrs.get("long_name") or field.name or "value").replace("_", " ")
    quantity = quantity[:1].upper() + quantity[1:]
    steps = _BY_UNITS.get(units) or _round_steps(field, mirrored=kind == "diverging")
    if kind == "diverging":
        half = tuple(e for e in steps if e > 0)
        steps = (*(-e for e in reversed(half)), *half)
        quantity = f"Difference of {quantity[:1].lower()}{quantity[1:]}"
    elif kind == "perceptual":
        steps = tuple(np.interp(np.linspace(0, len(steps) - 1, 96), np.arange(len(steps)), steps).tolist())
    return ColourScale(f"{units or 'value'}-{kind}", kind, quantity, own, tuple(float(e) for e in steps))


def _round_steps(field: xr.DataArray, mirrored: bool) -> tuple[float, ...]:
    """About a dozen round edges over the central 99 % of a field's values (or 0..1 when it has none)."""
    if field.ndim == 3:  # two dozen frames tell the range, and a long sequence is not read for it
        field = field[:: -(-len(field) // 24)]
    values = np.asarray(field.values, dtype=np.float64)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [0.5, 99.5]) if values.size else (0.0, 1.0)
    if mirrored:
        low, high = 0.0, max(abs(low), abs(high))
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-30):  # finer than float32 can tell
        low, high = low - max(0.5, 0.01 * abs(low)), high + max(0.5, 0.01 * abs(high))
    step = round_step((high - low) / 12)
    first = np.floor(low / step) + 1
    last = max(first + 1, np.ceil(high / step))
    return tuple(float(f"{n * step:.10g}") for n in np.arange(first, last + 1))


def round_step(smallest: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below a positive number."""
    power = 10.0 ** np.floor(np.log10(smallest))
    return next(float(f * power) for f in (1.0, 2.0, 2.5, 5.0, 10.0) if f * power >= smallest * (1 - 1e-9))

"""What the user of the nowcast page has chosen, and how it is written into the page's address."""

import math
from typing import Any, ClassVar

import param

from geoscope.errors import ConfigError

LAYERS = {
    "rain": "Rain",
    "difference": "Difference",
    "outcome": "Hits and misses",
    "probability": "Probability",
}
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # mm/h
MEASURES = {
    "csi": "CSI",
    "pod": "POD",
    "far": "FAR",
    "frequency_bias": "Frequency bias",
    "fss": "FSS",
    "mae": "MAE, RMSE, bias",
}
SCALES = {"stepped": "Stepped", "perceptual": "Perceptual"}
SPEEDS = {"1 frame/s": 1, "2 frames/s": 2, "4 frames/s": 4, "8 frames/s": 8}
TABS = ("verification", "point", "card", "export")
DEFAULT_SOURCE = "sample:florence-2018"
MAX_CORNERS = 64  # of a polygon in the address
NONE = "none"  # an empty list in the address
MAX_COMPARED = 8  # models beside A and B in the address


class NowcastState(param.Parameterized):
    """The choices of one user. No widgets, no plots: testable without a browser.

    Times are indices on the page's time axis, whose first frame is the first one of the data. Places are metres on the
    map (EPSG:3857, or the field's own metres when it has no place).
    """

    source = param.String(default=DEFAULT_SOURCE, doc='"sample:NAME", "path:RELATIVE PATH" or "upload:NAME"')
    issue_index = param.Integer(default=0, bounds=(0, None), doc="the last frame that the model may see")
    frame_index = param.Integer(default=0, bounds=(0, None), doc="the frame that the maps show")
    shows_truth = param.Boolean(
        default=False, doc="whether frames after the issue time are shown as observed"
    )

    model = param.String(default="persistence", doc="forecast A")
    model_b = param.String(default="extrapolation", doc="forecast B")
    compared = param.List(default=["persistence"], item_type=str, doc="models verified beside A and B")
    lead_steps = param.Integer(default=3, bounds=(1, None))
    device = param.Selector(default="auto", objects=["auto", "cpu", "cuda"])

    layer = param.Selector(default="rain", objects=list(LAYERS), doc="what the forecast maps show")
    threshold = param.Selector(
        default=1.0, objects=list(THRESHOLDS), doc="mm/h, of layers and charts; one of `thresholds`"
    )
    scale = param.Selector(default="stepped", objects=list(SCALES))
    opacity = param.Number(default=0.85, bounds=(0.1, 1.0))
    speed = param.Selector(default=2, objects=list(SPEEDS.values()), doc="frames a second")
    loops = param.Boolean(default=True)
    is_playing = param.Boolean(default=False)

    point = param.Parameter(default=None, doc="(x, y) in metres on the map, or None")
    area = param.Parameter(default=None, doc="corners ((x, y), ...) of a polygon on the map, or None")
    view = param.Parameter(default=None, doc="(x0, y0, x1, y1) of the map's edges, None for the whole field")
    thresholds = param.List(default=[0.5, 1.0, 2.0, 5.0, 10.0], item_type=float, doc="mm/h, what is scored")
    measure = param.Selector(default="csi", objects=list(MEASURES), doc="of the table by lead")
    follows_player = param.Boolean(default=True, doc="whether scores are counted only up to the frame shown")
    tab = param.Selector(default="verification", objects=list(TABS))

    # Speed, loop and play are of the moment; a link reopens a view, not a film.
    IN_ADDRESS: ClassVar[dict[str, str]] = {
        "source": "data",
        "issue_index": "issue",
        "frame_index": "frame",
        "shows_truth": "truth",
        "model": "model",
        "lead_steps": "lead",
        "device": "device",
        "model_b": "b",
        "compared": "also",
        "layer": "layer",
        "threshold": "at",
        "scale": "scale",
        "opacity": "opacity",
        "point": "point",
        "area": "area",
        "view": "view",
        "thresholds": "mmh",
        "measure": "measure",
        "follows_player": "live",
        "tab": "tab",
    }

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._keep_threshold_scored()

    @param.depends("threshold", watch=True)
    def _keep_threshold_scored(self) -> None:
        if self.threshold not in self.thresholds:
            self.thresholds = sorted({*self.thresholds, self.threshold})

    @param.depends("thresholds", watch=True)
    def _keep_threshold_near(self) -> None:
        scored = [value for value in THRESHOLDS if value in self.thresholds]
        if scored and self.threshold not in scored:
            self.threshold = min(scored, key=lambda value: abs(math.log(value / self.threshold)))

    @property
    def models(self) -> list[str]:
        """The models whose forecasts are wanted, A first, each once."""
        return list(dict.fromkeys([self.model, self.model_b, *self.compared]))

    def address(self) -> dict[str, str]:
        """The view as the query of a link: everything in `IN_ADDRESS` that has a value, as short text."""
        query = {}
        for name, key in self.IN_ADDRESS.items():
            text = _write(getattr(self, name))
            if text:
                query[key] = text
        return query

    def read_address(self, query: dict[str, Any]) -> list[str]:
        """Take the choices of a link; what cannot be used is left alone. Returns a line for each of those.

        The lines are for people: they name the key and what was expected, never more of the value than 40 characters.
        """
        complaints, values = [], {}
        for name, key in self.IN_ADDRESS.items():
            if key not in query:
                continue
            try:
                values[name] = self._checked(name, str(query[key]))
            except (ValueError, TypeError):
                complaints.append(
                    f"the link's {key}={str(query[key])[:40]!r} cannot be used; the default stands"
                )
        self.param.update(**values)
        return complaints

    def _checked(self, name: str, text: str) -> Any:
        parameter = self.param[name]
        if isinstance(parameter, param.Boolean):
            if text not in ("0", "1"):
                raise ConfigError(f"{name} must be 0 or 1, got {text[:40]!r}")
            value: Any = text == "1"
        elif isinstance(parameter, param.Integer):
            value = int(text)
        elif isinstance(parameter, param.Number):
            value = _finite(text)
        elif name == "compared" and text == NONE:
            value = []
        elif name == "compared":
            value = list(
                dict.fromkeys(part.strip()[:60] for part in text.split(",")[:MAX_COMPARED] if part.strip())
            )
        elif isinstance(parameter, param.List):
            value = sorted({_finite(part) for part in text.split(",")[:8]})
            if not set(value) <= set(THRESHOLDS):
                raise ConfigError(f"{name} must be among {THRESHOLDS} mm/h, got {text[:40]!r}")
        elif isinstance(parameter, param.Selector) and not isinstance(parameter.objects[0], str):
            value = type(parameter.objects[0])(text)
        elif name in ("point", "view", "area"):
            value = _numbers(name, text)
        else:
            value = text[:200]
        parameter._validate(value)  # as an assignment would, without half of a batch taking effect
        return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ConfigError(f"expected a finite number, got {text[:40]!r}")
    return value


def _numbers(name: str, text: str) -> tuple:
    numbers = tuple(_finite(part) for part in text.split(",")[: 2 * MAX_CORNERS])
    if name == "area":
        corners = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        if len(corners) < 3:
            raise ConfigError(f"an area needs at least 3 corners, got {len(corners)}")
        return corners
    if len(numbers) != (2 if name == "point" else 4):
        raise ConfigError(f"{name} has {len(numbers)} numbers")
    if name == "view" and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise ConfigError("view must be x0,y0,x1,y1 with x0 < x1 and y0 < y1")
    return numbers


def _write(value: Any) -> str:
    if value is None:
        return ""
    if value == []:
        return NONE
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, (tuple, list)):
        return ",".join(_write(part) for part in value)
    return str(value)

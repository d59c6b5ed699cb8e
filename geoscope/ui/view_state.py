"""What the user of any page over a field has chosen, and how choices are written into a page's address."""

import math
from typing import Any, ClassVar

import param

from geoscope.errors import ConfigError

SCALES = {"stepped": "Stepped", "perceptual": "Perceptual"}
SPEEDS = {"1 frame/s": 1, "2 frames/s": 2, "4 frames/s": 4, "8 frames/s": 8}
DEFAULT_SOURCE = "sample:florence-2018"
MAX_CORNERS = 64  # of a polygon in the address
NONE = "none"  # an empty list in the address


class ViewState(param.Parameterized):
    """Data, time and look: what the steps, the maps and the player of every page share.

    Times are indices on the page's time axis, whose first frame is the first one of the data. Places are metres on the
    map (EPSG:3857, or the field's own metres when it has no place). A page adds its own choices in a class of its own,
    and says in `IN_ADDRESS` which choices a link keeps, under which key.
    """

    source = param.String(default=DEFAULT_SOURCE, doc='"sample:NAME", "path:RELATIVE PATH" or "upload:NAME"')
    issue_index = param.Integer(default=0, bounds=(0, None), doc="the last frame that the model may see")
    frame_index = param.Integer(default=0, bounds=(0, None), doc="the frame that the maps show")
    shows_truth = param.Boolean(
        default=False, doc="whether frames after the issue time are shown as observed"
    )
    lead_steps = param.Integer(default=3, bounds=(1, None))
    device = param.Selector(default="auto", objects=["auto", "cpu", "cuda"])

    scale = param.Selector(default="stepped", objects=list(SCALES))
    opacity = param.Number(default=0.85, bounds=(0.1, 1.0))
    speed = param.Selector(default=2, objects=list(SPEEDS.values()), doc="frames a second")
    loops = param.Boolean(default=True)
    is_playing = param.Boolean(default=False)

    point = param.Parameter(default=None, doc="(x, y) in metres on the map, or None")
    area = param.Parameter(default=None, doc="corners ((x, y), ...) of a polygon on the map, or None")
    view = param.Parameter(default=None, doc="(x0, y0, x1, y1) of the map's edges, None for the whole field")

    IN_ADDRESS: ClassVar[dict[str, str]] = {}

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
        value = self._read(name, text)
        self.param[name]._validate(value)  # as an assignment would, without half of a batch taking effect
        return value

    def _read(self, name: str, text: str) -> Any:
        """The value of a choice in a link; a page reads its own kinds of choices first."""
        parameter = self.param[name]
        if isinstance(parameter, param.Boolean):
            if text not in ("0", "1"):
                raise ConfigError(f"{name} must be 0 or 1, got {text[:40]!r}")
            return text == "1"
        if isinstance(parameter, param.Integer):
            return int(text)
        if isinstance(parameter, param.Number):
            return finite(text)
        if isinstance(parameter, param.Selector) and not isinstance(parameter.objects[0], str):
            return type(parameter.objects[0])(text)
        if name in ("point", "view", "area"):
            return _numbers(name, text)
        return text[:200]


def finite(text: str) -> float:
    """A number of a link.

    Raises:
        ValueError: it is none, or ConfigError when it is not finite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ConfigError(f"expected a finite number, got {text[:40]!r}")
    return value


def _numbers(name: str, text: str) -> tuple:
    numbers = tuple(finite(part) for part in text.split(",")[: 2 * MAX_CORNERS])
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

"""What the user of the nowcast page has chosen."""

import math
from typing import Any, ClassVar

import param

from geoscope.errors import ConfigError
from geoscope.ui.view_state import NONE, ViewState, finite

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
TABS = ("verification", "point", "card", "export")
MAX_COMPARED = 8  # models beside A and B in the address


class NowcastState(ViewState):
    """The choices of one user. No widgets, no plots: testable without a browser."""

    model = param.String(default="persistence", doc="forecast A")
    model_b = param.String(default="extrapolation", doc="forecast B")
    compared = param.List(default=["persistence"], item_type=str, doc="models verified beside A and B")

    layer = param.Selector(default="rain", objects=list(LAYERS), doc="what the forecast maps show")
    threshold = param.Selector(
        default=1.0, objects=list(THRESHOLDS), doc="mm/h, of layers and charts; one of `thresholds`"
    )
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

    def _read(self, name: str, text: str) -> Any:
        if name == "compared":
            named = [part.strip()[:60] for part in text.split(",")[:MAX_COMPARED] if part.strip()]
            return [] if text == NONE else list(dict.fromkeys(named))
        if name == "thresholds":
            values = sorted({finite(part) for part in text.split(",")[:8]})
            if not set(values) <= set(THRESHOLDS):
                raise ConfigError(f"{name} must be among {THRESHOLDS} mm/h, got {text[:40]!r}")
            return values
        return super()._read(name, text)

"""Forecasts as the nowcast page makes and keeps them: which models there are, one run of one, and the last runs."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import xarray as xr

import geoscope as gs
from geoscope.errors import GeoscopeError
from geoscope.inference.jobs import Report
from geoscope.ui.nowcast_state import THRESHOLDS
from geoscope.ui.open_field import OpenField

KEPT_BYTES = 800_000_000  # of runs, in one process

# One model at a time in one process: two would only slow each other down, and need the memory of both.
MODEL_GATE = threading.BoundedSemaphore(1)


@dataclass(frozen=True)
class Request:
    """What a forecast was asked of; equal requests have equal results. `data` is the field's digest."""

    data: str
    model: str
    issue_index: int
    lead_steps: int
    device: str

    def is_beside(self, other: "Request") -> bool:
        """Whether both forecasts are of the same data, issue time and leads, so that scores may stand side by side."""
        mine = (self.data, self.issue_index, self.lead_steps)
        return mine == (other.data, other.issue_index, other.lead_steps)


@dataclass(frozen=True, eq=False)
class Run:
    """A forecast (lead, y, x) and, where the model gives them, chances of exceedance (threshold, lead, y, x).

    The chances are float16 in [0, 1]: fine enough for a map and a reliability diagram, at half the memory.
    """

    request: Request
    forecast: xr.DataArray
    probability: xr.DataArray | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self.request.model

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self.forecast.nbytes + (self.probability.nbytes if self.probability is not None else 0)

    def chance_of(self, threshold: float) -> xr.DataArray | None:
        """Chance (lead, y, x) of a value at or above ``threshold``; None when the model gives none for it."""
        if self.probability is None:
            return None
        levels = self.probability["threshold"].values
        at = np.flatnonzero(np.isclose(levels, threshold))
        return self.probability[int(at[0])] if len(at) else None


class RunCache:
    """The last runs of this process. A result depends on nothing but its request, so sessions may share it."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._runs: OrderedDict[Request, Run] = OrderedDict()
        self._lock = threading.Lock()
        self._kept_bytes = kept_bytes

    def get(self, request: Request) -> Run | None:
        """The run of a request, if it was made and is still there."""
        with self._lock:
            if request in self._runs:
                self._runs.move_to_end(request)
            return self._runs.get(request)

    def put(self, run: Run) -> None:
        """Keep a run; the ones asked for longest ago make room."""
        with self._lock:
            self._runs.pop(run.request, None)
            self._runs[run.request] = run
            while sum(kept.nbytes for kept in self._runs.values()) > self._kept_bytes and len(self._runs) > 1:
                self._runs.popitem(last=False)

    def clear(self) -> None:
        """Forget all runs."""
        with self._lock:
            self._runs.clear()


RUNS = RunCache()


@dataclass(frozen=True)
class ModelChoice:
    """A model as the page offers it; `obstacle` says why it cannot run here, or is empty."""

    name: str
    title: str
    obstacle: str = ""

    @property
    def label(self) -> str:
        """The title, with the obstacle where there is one."""
        return f"{self.title} ({self.obstacle})" if self.obstacle else self.title


def nowcast_models() -> list[ModelChoice]:
    """All nowcast models of the zoo: learned ones first, then baselines, what ships before pysteps."""
    cards = [card for card in gs.list_models(task="nowcast") if card.kind != "published"]
    cards.sort(
        key=lambda card: (
            card.kind == "baseline",
            card.name.startswith("pysteps-"),
            card.name != "extrapolation",
            card.name,
        )
    )
    return [ModelChoice(card.name, card.title, _obstacle(card)) for card in cards]


def _obstacle(card: Any) -> str:
    if card.name.startswith("pysteps-") and find_spec("pysteps") is None:
        return "needs pip install 'geoscope[radar]'"
    try:
        if card.kind == "learned":
            card.weights_path()
    except GeoscopeError as fault:
        return " ".join(str(fault).split())[:80]
    return ""


@lru_cache(maxsize=1)
def _titles() -> dict[str, str]:
    return {card.name: card.title for card in gs.list_models(task="nowcast")}


def title_of(name: str) -> str:
    """What a model is called on the page."""
    return _titles().get(name, name)


def make_run(field: OpenField, request: Request, progress: Report) -> Run:
    """Forecast with one model, chances included where it gives them; for a worker thread.

    Raises:
        GeoscopeError: whatever `geoscope.nowcast` refuses.
    """
    options: dict[str, Any] = {
        "model": request.model,
        "issue_time": field.rain["time"].values[request.issue_index],
        "lead_steps": request.lead_steps,
        "device": request.device,
        "progress": progress,
    }
    progress("loading the model", 0.0)
    runner = gs.load_model(request.model, request.device)
    if not (hasattr(runner, "forecast_probabilities") or hasattr(runner, "forecast_ensemble")):
        return Run(request, gs.nowcast(field.rain, **options))
    both = gs.nowcast(field.rain, **options, probabilities=THRESHOLDS)
    name = next(name for name in both.data_vars if name != "exceedance_probability")
    return Run(request, both[name], both["exceedance_probability"].astype(np.float16))

"""Scenarios as the page makes and keeps them: what is asked, the opened case, and what was drawn of it."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geoscope.inference.jobs import Report
from geoscope.inference.scenarios import Scenario, ScenarioSource, prepare_scenarios
from geoscope.ui.open_field import OpenField
from geoscope.ui.places import region_mask
from geoscope.ui.scenario_state import GRID

MODEL: Any = "prediff-nowcast"
PREVIEW_STEPS = 4  # of the sampler, for the first look
SEED = 0
KEPT_CASES = 3  # in one process
MODEL_GATE = threading.BoundedSemaphore(1)

Area = tuple[tuple[float, float], ...] | None


@dataclass(frozen=True)
class Question:
    """What a case is opened for; equal questions have equal scenarios. `data` is the field's digest."""

    data: str
    issue_index: int
    lead_steps: int
    device: str
    area: Area


@dataclass(frozen=True)
class Order:
    """Scenarios that are drawn together: all ``members`` at all ``sigmas`` with so many sampler steps."""

    sigmas: tuple[float, ...]
    members: tuple[int, ...]
    steps: int
    what: str


@dataclass(eq=False)
class Case:
    """An opened question and everything that was drawn of it, by (sigma, member, steps)."""

    question: Question
    source: ScenarioSource
    drawn: dict[tuple[float, int, int], Scenario] = field(default_factory=dict)

    def best(self, sigma: float, member: int, steps: int) -> tuple[Scenario, int] | None:
        """A scenario and its sampler steps: with ``steps`` where it was drawn so, else with the most steps."""
        exact = self.drawn.get((sigma, member, steps))
        if exact is not None:
            return exact, steps
        found = [key for key in self.drawn if key[:2] == (sigma, member)]
        if not found:
            return None
        key = max(found, key=lambda one: one[2])
        return self.drawn[key], key[2]

    def refined(self, sigma: float, members: int, steps: int) -> list[Scenario]:
        """The members of a sigma that were drawn with ``steps``, in order."""
        every = (self.drawn.get((sigma, member, steps)) for member in range(members))
        return [one for one in every if one is not None]

    def sigmas(self, steps: int) -> list[float]:
        """The sigmas that have a member with ``steps``, rising."""
        return sorted({sigma for sigma, _, drawn_steps in self.drawn if drawn_steps == steps})

    def missing(self, order: Order) -> Order | None:
        """What of an order was not drawn yet; None when all of it was."""
        members = tuple(
            member
            for member in order.members
            if any((sigma, member, order.steps) not in self.drawn for sigma in order.sigmas)
        )
        sigmas = tuple(
            sigma
            for sigma in order.sigmas
            if any((sigma, member, order.steps) not in self.drawn for member in order.members)
        )
        return Order(sigmas, members, order.steps, order.what) if members else None


class CaseCache:
    """The last cases of this process; a result depends on its question alone, so sessions may share it."""

    def __init__(self) -> None:
        self._cases: OrderedDict[Question, Case] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: Question) -> Case | None:
        """The case of a question, if it was opened and is still there."""
        with self._lock:
            if question in self._cases:
                self._cases.move_to_end(question)
            return self._cases.get(question)

    def put(self, case: Case) -> None:
        """Keep a case; those asked for longest ago make room."""
        with self._lock:
            self._cases[case.question] = case
            while len(self._cases) > KEPT_CASES:
                self._cases.popitem(last=False)

    def clear(self) -> None:
        """Forget all cases."""
        with self._lock:
            self._cases.clear()


CASES = CaseCache()


def open_case(opened: OpenField, question: Question, progress: Report) -> Case:
    """Work out what all scenarios of a question share; for a worker thread.

    Raises:
        GeoscopeError: whatever `geoscope.scenarios` refuses.
    """
    mask = region_mask(opened, question.area)
    region = None if mask is None else mask.astype(np.float32)
    source = prepare_scenarios(
        opened.rain,
        MODEL,
        opened.rain["time"].values[question.issue_index],
        question.lead_steps,
        region=region,
        device=question.device,
        progress=progress,
    )
    return Case(question, source)


def orders(sigma: float, members: int, steps: int) -> list[Order]:
    """What a slider at ``sigma`` asks for: a quick look, then it refined, the whole slider, and the other members."""
    wanted = tuple(sorted({0.0, sigma}))
    grid = tuple(sorted({*GRID, *wanted}))
    return [
        Order(wanted, (0,), PREVIEW_STEPS, "quick look"),
        Order(wanted, (0,), steps, "refined scenario"),
        Order(grid, (0,), PREVIEW_STEPS, "the rest of the slider"),
        Order(wanted, tuple(range(members)), steps, "members"),
    ]

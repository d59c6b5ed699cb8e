"""What follows from the choices on the scenarios page: the opened case, its scenarios, and work under way.

Nothing here knows a widget. One job at a time opens the case where that is needed, and draws what the slider asks for:
a quick look first, then the same refined, then the rest of the slider, so that it moves without waiting, then the other
members. A new choice takes the place of the work before.
"""

from typing import Any, ClassVar

import param

from geoscope.inference.jobs import JobRunner, Progress, Report
from geoscope.inference.scenarios import Scenario
from geoscope.ui import scenario_runs
from geoscope.ui.field_desk import FieldDesk, in_one_line
from geoscope.ui.page_thread import Notify
from geoscope.ui.scenario_runs import CASES, MODEL_GATE, SEED, Case, Question
from geoscope.ui.scenario_state import ScenarioState

QUESTION = ["issue_index", "lead_steps", "device", "area"]
DRAWING = ["sigma", "members", "steps"]


class ScenarioDesk(FieldDesk):
    """One session's field, case and work under way. `close` ends it."""

    RESULTS: ClassVar[list[str]] = ["case", "arrived", "problem"]

    case = param.Parameter(default=None, doc="the `Case` that the page shows, or None")
    arrived = param.Integer(default=0, doc="counts the scenarios that came")
    progress = param.Parameter(default=None, doc="`Progress` of the work, or None")
    problem = param.String(default="", doc="one line that says what to do, or nothing")

    state: ScenarioState

    def __init__(self, state: ScenarioState, notify: Notify | None = None, **params: Any) -> None:
        super().__init__(state, notify, **params)
        self._notify = notify or (lambda call: call())
        self._worker = JobRunner(notify, gate=MODEL_GATE)
        self.is_begun = False
        state.param.watch(lambda *events: self._asked(), [*QUESTION, *DRAWING])

    def close(self) -> None:
        """Stop all work; for the end of a session."""
        super().close()
        self._worker.close()

    def forget(self) -> None:
        """Give the work up and drop the case."""
        self.cancel()
        self.param.update(case=None, problem="")

    # What is asked, and what is there

    @property
    def question(self) -> Question | None:
        """What the choices ask for now; None without data."""
        state = self.state
        if self.field is None:
            return None
        return Question(self.field.digest, state.issue_index, state.lead_steps, state.device, state.area)

    @property
    def is_stale(self) -> bool:
        """Whether the case on the page is not the one that is asked for."""
        return self.case is not None and self.case.question != self.question

    @property
    def last_frame(self) -> int:
        """As of every desk; with scenarios on the maps not before their last lead."""
        if self.case is None:
            return super().last_frame
        asked = self.case.question
        return max(super().last_frame, asked.issue_index + asked.lead_steps)

    @property
    def forecast_frames(self) -> range:
        """The leads of the case."""
        if self.case is None:
            return range(0)
        asked = self.case.question
        return range(asked.issue_index + 1, asked.issue_index + asked.lead_steps + 1)

    def scenario(self, sigma: float) -> tuple[Scenario, int] | None:
        """The shown member of a sigma as good as it is there, and its sampler steps."""
        return None if self.case is None else self.case.best(sigma, self.state.member, self.state.steps)

    def members(self, sigma: float) -> list[Scenario]:
        """The refined members of a sigma that are there."""
        if self.case is None:
            return []
        return self.case.refined(sigma, self.state.members, self.state.steps)

    # Work

    def start(self) -> None:
        """Draw what the choices ask for and is not there yet; the work before is given up."""
        question, field = self.question, self.field
        if question is None or field is None:
            self.problem = "There is no data yet: choose a sample, a path or a file under step 1."
            return
        self.problem = ""
        known = CASES.get(question)
        if known is not None:
            self.case = known
            if not self._wanted(known):
                self.cancel()
                return
        state = self.state
        wanted = scenario_runs.orders(state.sigma, state.members, state.steps)
        self.param.update(is_running=True, progress=Progress("starting", 0.0))

        def work(progress: Report) -> None:
            case = known or scenario_runs.open_case(
                field, question, lambda stage, share: progress(stage, 0.15 * share)
            )
            CASES.put(case)
            self._notify(lambda: self._opened(case))
            self._draw(case, wanted, progress)

        self._worker.submit(
            work,
            on_progress=lambda progress: self.param.update(progress=progress),
            on_done=lambda result: self.param.update(is_running=False, progress=None),
            on_failed=lambda fault: self._failed(question, fault),
            on_cancelled=lambda: None,
        )

    def cancel(self) -> None:
        """Give up the work, at once; what was drawn stays."""
        self._worker.cancel()
        self.param.update(is_running=False, progress=None)

    def _wanted(self, case: Case) -> bool:
        state = self.state
        every = scenario_runs.orders(state.sigma, state.members, state.steps)
        return any(case.missing(order) is not None for order in every)

    def _asked(self) -> None:
        if self.is_begun and self.field is not None:
            self.start()

    def _draw(self, case: Case, wanted: list[scenario_runs.Order], progress: Report) -> None:
        """In the worker's thread: draw the orders one after the other, each scenario told when it is there."""
        work = [len(order.sigmas) * len(order.members) * order.steps for order in wanted]
        for number, order in enumerate(wanted):
            rest = case.missing(order)
            if rest is None:
                continue
            before = sum(work[:number])

            def tell(stage: str, share: float, before: int = before, number: int = number) -> None:
                done = (before + share * work[number]) / sum(work)
                progress(f"{wanted[number].what}: {stage}", 0.15 + 0.85 * done)

            drawn = case.source.draw(rest.sigmas, rest.members, steps=rest.steps, seed=SEED, progress=tell)
            for scenario in drawn:
                case.drawn[scenario.sigma, scenario.member, order.steps] = scenario
                self._notify(lambda: self._arrived(case))

    def _opened(self, case: Case) -> None:
        if case.question == self.question:
            self.case = case

    def _arrived(self, case: Case) -> None:
        if case is self.case:
            self.arrived += 1

    def _failed(self, question: Question, fault: Exception) -> None:
        self.param.update(is_running=False, progress=None)
        if question == self.question:
            self.problem = in_one_line(fault)

"""The verification of the nowcast page: what is scored now, counted in the background, kept as long as it is valid."""

from collections import OrderedDict
from typing import Any

import param

from geoscope.errors import GeoscopeError
from geoscope.inference.jobs import JobRunner
from geoscope.ui.field_desk import in_one_line
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_runs import Request
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.page_thread import Notify
from geoscope.ui.scoring import Question, ScoreBoard, empty_board, fill

KEPT = 40  # finished forecasts, of one session


class ScoreDesk(param.Parameterized):
    """Scores of all loaded forecasts of one session; they follow the forecasts, the thresholds and the area.

    `board` is filled while it is shown: `counted` rises with every lead. Nothing is counted while the truth is hidden.
    """

    board = param.Parameter(default=None, doc="the `ScoreBoard`, or None")
    counted = param.Integer(default=0, doc="leads that all forecasts of the board are counted for")
    is_counting = param.Boolean(default=False)
    problem = param.String(default="")

    def __init__(
        self, state: NowcastState, desk: NowcastDesk, notify: Notify | None = None, **params: Any
    ) -> None:
        super().__init__(**params)
        self.state, self.desk = state, desk
        self._runner = JobRunner(notify)
        self._kept: OrderedDict[tuple[Request, Question], dict] = OrderedDict()
        desk.param.watch(lambda *events: self.renew(), ["run", "run_b", "runs", "problems"])
        state.param.watch(lambda *events: self.renew(), ["thresholds", "shows_truth", "area"])
        self.renew()

    def close(self) -> None:
        """Stop counting; for the end of a session."""
        self._runner.close()

    @property
    def played(self) -> int:
        """How many leads count at the frame shown: those that the player has passed, or all."""
        if self.board is None:
            return 0
        passed = (
            self.state.frame_index - self.board.issue_index if self.state.follows_player else self.board.leads
        )
        return max(0, min(passed, self.board.leads))

    def renew(self) -> None:
        """Begin anew with what is loaded and asked now; counts that are still valid are taken over."""
        desk, state = self.desk, self.state
        self._runner.cancel()
        runs = desk.loaded
        if desk.field is None or not runs or not state.shows_truth:
            self.param.update(board=None, counted=0, is_counting=False, problem="")
            return
        question = Question(tuple(float(value) for value in state.thresholds), state.area)
        try:
            board = empty_board(desk.field, runs, question)
        except GeoscopeError as fault:
            self.param.update(board=None, counted=0, is_counting=False, problem=in_one_line(fault))
            return
        for name, run in runs.items():
            board.parts[name] = self._parts(run.request, question)
        is_whole = board.done == board.leads
        self.param.update(board=board, counted=board.done, is_counting=not is_whole, problem="")
        if not is_whole:
            self._count(board, runs)

    def _count(self, board: ScoreBoard, runs: dict) -> None:
        field = self.desk.field
        self._runner.submit(
            lambda progress: fill(board, field, runs, progress),
            on_progress=lambda progress: self._tell(board),
            on_done=lambda board: self._tell(board, is_counting=False),
            on_failed=lambda fault: self.param.update(is_counting=False, problem=in_one_line(fault)),
        )

    def _tell(self, board: ScoreBoard, is_counting: bool = True) -> None:
        if board is self.board:
            self.param.update(counted=board.done, is_counting=is_counting)

    def _parts(self, request: Request, question: Question) -> dict:
        """The counts of one forecast by lead, from before where they are there; kept for later."""
        key = (request, question)
        parts = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return parts

"""The scenarios page: state, desk and views put together for one session."""

from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from geoscope.ui.data_step import DataStep
from geoscope.ui.page_tabs import make_tabs, set_theme_of_hidden
from geoscope.ui.page_thread import notifier
from geoscope.ui.panes import Problem
from geoscope.ui.player import Player
from geoscope.ui.question_steps import TimeStep
from geoscope.ui.scenario_board import ScenarioBoard
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_export_tab import ScenarioExportTab
from geoscope.ui.scenario_multiples import MultiplesTab
from geoscope.ui.scenario_series_tab import SeriesTab
from geoscope.ui.scenario_state import ScenarioState
from geoscope.ui.scenario_steps import DrawStep
from geoscope.ui.scenario_strip import ScenarioStrip
from geoscope.ui.scenario_verdict_tab import VerdictTab
from geoscope.ui.scenario_words import WORDS
from geoscope.ui.serving import serve_page
from geoscope.ui.shell import Shell, step
from geoscope.ui.uploads import UploadLimits, UploadReceiver
from geoscope.ui.view_state import DEFAULT_SOURCE
from geoscope.viz.colours import Theme

TAB_TITLES = {
    "series": "Over time",
    "multiples": "Side by side",
    "verdict": "Verdict",
    "words": "What am I seeing?",
    "export": "Export",
}
_WORDS_CSS = """
:host { font: 13px/19px Roboto, sans-serif; max-width: 900px; } h3 { font-size: 15px; margin: 8px 0 4px; }
p, ul { margin: 4px 0; }
"""


class ScenarioPage:
    """One user's page. `shell.page` is what is served; `close` ends the session's work."""

    def __init__(
        self,
        pages: Sequence[str] = ("scenarios",),
        query: dict[str, Any] | None = None,
        limits: UploadLimits | None = None,
    ) -> None:
        notify = notifier()
        self.state = ScenarioState()
        complaints = self.state.read_address(query or {})
        self.receiver = UploadReceiver(limits)
        self.desk = ScenarioDesk(self.state, notify)
        self.board = ScenarioBoard(self.state, self.desk)
        self.player = Player(self.state, self.desk)
        self.strip = ScenarioStrip(self.state, self.desk)
        self.draw = DrawStep(self.state, self.desk)
        steps = [
            step(1, "Data", *DataStep(self.state, self.desk, self.receiver).content),
            step(2, "Time", *TimeStep(self.state, self.desk).content),
            step(3, "Scenarios", *self.draw.content),
        ]
        self.multiples = MultiplesTab(self.state, self.desk)
        self.export = ScenarioExportTab(self.state, self.desk, notify, theme=lambda: self.board.theme)
        self._complaint = Problem()
        self._complaint.show(" ".join(complaints), "warning")
        main = [
            pmui.Column(
                self._complaint.view,
                self.strip.view,
                self.board.view,
                self.player.view,
                self._make_tabs(),
                sizing_mode="stretch_width",
                margin=0,
            )
        ]
        self.shell = Shell("scenarios", pages, steps, main, self.player.keys, self._set_theme)
        self.desk.param.watch(lambda *events: self._field_came(), "field")
        self._open_first()

    def begin(self) -> None:
        """Start the work that the page opens with; called when the browser has drawn it."""
        self.desk.is_begun = True
        if self.desk.field is None:
            self.desk.read(self.state.source, then_use=True)
        else:
            self.desk.start()

    def close(self) -> None:
        """End all work and remove the session's files."""
        self.state.is_playing = False
        self.desk.close()
        self.export.close()
        self.receiver.close()

    def _open_first(self) -> None:
        source = self.state.source
        if source.startswith("upload:"):
            text = "The link speaks of an uploaded file that is not here: drop it again (step 1)."
            self._complaint.show(text, "warning")
            self.state.source = source = DEFAULT_SOURCE
        if source == DEFAULT_SOURCE:
            self.desk.open_now(source)

    def _field_came(self) -> None:
        if self.desk.is_begun and self.desk.field is not None:
            self.desk.start()

    def _set_theme(self, theme: Theme) -> None:
        """Draw in light or dark."""
        self.board.set_theme(theme)
        self.multiples.set_theme(theme)
        set_theme_of_hidden(self.state, self._views, theme)

    def _make_tabs(self) -> pmui.Tabs:
        words = pn.pane.Markdown(
            WORDS, stylesheets=[_WORDS_CSS], margin=(4, 16), sizing_mode="stretch_width", min_height=420
        )
        self._views: dict[str, Any] = {
            "series": SeriesTab(self.state, self.desk).view,
            "multiples": self.multiples.view,
            "verdict": VerdictTab(self.state, self.desk).view,
            "words": words,
            "export": self.export.view,
        }
        return make_tabs(self.state, TAB_TITLES, self._views)


def serve_scenarios(pages: Sequence[str] = ("scenarios",)) -> ScenarioPage:
    """Make the page of this session and mark it servable."""
    return serve_page(lambda query: ScenarioPage(pages, query))

"""The nowcast page: state, desk and views put together for one session."""

from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

import geoscope as gs
from geoscope.ui.data_step import DataStep
from geoscope.ui.export_tab import ExportTab
from geoscope.ui.map_board import MapBoard
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_runs import ModelChoice, nowcast_models
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.page_tabs import make_tabs, set_theme_of_hidden
from geoscope.ui.page_thread import notifier
from geoscope.ui.panes import Problem
from geoscope.ui.player import Player
from geoscope.ui.point_tab import PointTab
from geoscope.ui.question_steps import TimeStep
from geoscope.ui.run_steps import ModelStep, RunStep, usable
from geoscope.ui.score_desk import ScoreDesk
from geoscope.ui.score_downloads import ScoreDownloads
from geoscope.ui.serving import serve_page
from geoscope.ui.shell import Shell, step
from geoscope.ui.uploads import UploadLimits, UploadReceiver
from geoscope.ui.verification_tab import VerificationTab
from geoscope.ui.view_state import DEFAULT_SOURCE
from geoscope.viz.colours import Theme

TAB_TITLES = {"verification": "Verification", "point": "Point", "card": "Model card", "export": "Export"}
_CARD_CSS = """
:host { font: 13px/19px Roboto, sans-serif; max-width: 1180px; overflow-x: auto; }
h1 { font-size: 18px; } h2 { font-size: 15px; margin: 14px 0 4px; } p, ul { margin: 4px 0; max-width: 120ch; }
table { border-collapse: collapse; border: 0 !important; font-variant-numeric: tabular-nums; }
th, td { border: 0 !important; border-bottom: 1px solid #8884 !important;
  padding: 3px 9px 3px 0 !important; text-align: left; font-size: 12px; }
th { font-size: 11px; line-height: 14px; font-weight: 500; vertical-align: bottom; word-break: keep-all; }
td:first-child { white-space: nowrap; } td { min-width: 40px; }
code { color: inherit !important; background: none !important; font-size: 12px; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; }
"""


class NowcastPage:
    """One user's page. `shell.page` is what is served; `close` ends the session's work."""

    def __init__(
        self,
        pages: Sequence[str] = ("nowcast",),
        query: dict[str, Any] | None = None,
        limits: UploadLimits | None = None,
    ) -> None:
        notify = notifier()
        choices = nowcast_models()
        self.state = NowcastState(model=next(iter(usable(choices)), "persistence"))
        complaints = [*self.state.read_address(query or {}), *_refuse_models(self.state, choices)]
        self.receiver = UploadReceiver(limits)
        self.desk = NowcastDesk(self.state, notify)
        self.scores = ScoreDesk(self.state, self.desk, notify)
        self.board = MapBoard(self.state, self.desk)
        self.player = Player(self.state, self.desk)
        self.data = DataStep(self.state, self.desk, self.receiver)
        self.model, self.run = ModelStep(self.state, self.desk, choices), RunStep(self.state, self.desk)
        steps = [
            step(1, "Data", *self.data.content),
            step(2, "Time", *TimeStep(self.state, self.desk).content),
            step(3, "Model", *self.model.content),
            step(4, "Run", *self.run.content),
        ]
        self.point = PointTab(self.state, self.desk)
        self.export = ExportTab(self.state, self.desk, self.point, notify, theme=lambda: self.board.theme)
        self.downloads = ScoreDownloads(self.scores, notify)
        self._complaint = Problem()
        self._complaint.show(" ".join(complaints), "warning")
        main = [
            pmui.Column(
                self._complaint.view,
                self.board.view,
                self.player.view,
                self._make_tabs(choices),
                sizing_mode="stretch_width",
                margin=0,
            )
        ]
        self.shell = Shell("nowcast", pages, steps, main, self.player.keys, self._set_theme)
        self._open_first()

    def begin(self) -> None:
        """Start the work that the page opens with. Served pages call it when the browser has drawn them.

        A component hears of no change between its first drawing and its listening, so nothing changes before.
        """
        self._is_begun = True
        if self.desk.field is None:
            self.desk.read(self.state.source, then_use=True)
        elif not self.desk.take_known():
            self.desk.start()

    def close(self) -> None:
        """End all work and remove the session's files."""
        self.state.is_playing = False
        self.desk.close()
        self.scores.close()
        self.downloads.close()
        self.export.close()
        self.receiver.close()

    def _set_theme(self, theme: Theme) -> None:
        """Draw in light or dark."""
        self.board.set_theme(theme)
        set_theme_of_hidden(self.state, self._views, theme)

    def _open_first(self) -> None:
        """The first sample at once, and its forecast if it was made before; the rest waits for `begin`."""
        source = self.state.source
        self._is_begun = False
        self.desk.param.watch(lambda *events: self._field_came(), "field")
        if source.startswith("upload:"):
            text = "The link speaks of an uploaded file that is not here: drop it again (step 1)."
            self._complaint.show(text, "warning")
            self.state.source = source = DEFAULT_SOURCE
        if source == DEFAULT_SOURCE:
            self.desk.open_now(source)
            self.desk.take_known()

    def _field_came(self) -> None:
        if self._is_begun and self.desk.field is not None:
            self.desk.start()

    def _make_tabs(self, choices: Sequence[ModelChoice]) -> pmui.Tabs:
        look = {"margin": (8, 16), "sizing_mode": "stretch_width", "min_height": 420}
        card = pn.pane.Markdown(self._card_text(), stylesheets=[_CARD_CSS], **look)
        self.state.param.watch(
            lambda *events: card.param.update(object=self._card_text()), ["model", "model_b"]
        )
        self._verification = VerificationTab(self.state, self.scores, choices, self.downloads)
        self._views: dict[str, Any] = {
            "verification": self._verification.view,
            "point": self.point.view,
            "card": card,
            "export": self.export.view,
        }
        return make_tabs(self.state, TAB_TITLES, self._views)

    def _card_text(self) -> str:
        cards = {card.name: card for card in gs.list_models(task="nowcast")}
        names = dict.fromkeys([self.state.model, self.state.model_b])
        return "\n\n---\n\n".join(cards[name].to_markdown() for name in names if name in cards)


def _refuse_models(state: NowcastState, choices: Sequence[ModelChoice]) -> list[str]:
    """Put models of a link that cannot run here back to ones that can; a line for each."""
    known, complaints = usable(choices), []
    why = {choice.name: choice.obstacle for choice in choices}
    for name, default in (("model", known[0]), ("model_b", "extrapolation")):
        model = getattr(state, name)
        if model not in known:
            complaints.append(
                f"the link's model {model[:40]!r} cannot run: {why.get(model) or 'it is not known'}"
            )
            state.param.update(**{name: default})
    state.compared = [name for name in state.compared if name in known]
    return complaints


def serve_nowcast(pages: Sequence[str] = ("nowcast",)) -> NowcastPage:
    """Make the page of this session and mark it servable."""
    return serve_page(lambda query: NowcastPage(pages, query))

"""The scores as files: CSV at once, the HTML report after it was drawn in the background."""

import io
import shutil
import tempfile
from pathlib import Path

import panel_material_ui as pmui

from geoscope.inference.jobs import JobRunner, Report
from geoscope.ui.exports import clean_stem
from geoscope.ui.field_desk import in_one_line
from geoscope.ui.page_thread import Notify
from geoscope.ui.panes import Problem, hideable
from geoscope.ui.score_desk import ScoreDesk
from geoscope.ui.score_report import ReportContent, make_report
from geoscope.ui.score_tables import scores_csv
from geoscope.ui.score_words import fairness_note, say_scored


class ScoreDownloads:
    """Two buttons for what is scored now. `view` holds them, `close` removes the session's files."""

    def __init__(self, scores: ScoreDesk, notify: Notify | None = None) -> None:
        self.scores = scores
        self._runner = JobRunner(notify)
        self._folder = Path(tempfile.mkdtemp(prefix="geoscope-report-"))
        look = {"size": "small", "margin": (4, 6)}
        self._csv = pmui.FileDownload(label="CSV", auto=True, embed=False, callback=self.csv, **look)
        self._make = pmui.Button(
            label="Make HTML report",
            icon="article",
            variant="outlined",
            on_click=lambda event: self.prepare(),
            **look,
        )
        self._give = pmui.FileDownload(label="Download report", auto=True, embed=False, **look)
        self._given = hideable(self._give, sizing_mode=None)
        self.problem = Problem()
        self.view = pmui.Row(self._csv, self._make, self._given, margin=0)
        scores.param.watch(lambda *events: self._start_over(), ["board", "counted"])
        scores.state.param.watch(
            lambda *events: self._start_over(), ["threshold", "frame_index", "follows_player"]
        )
        self._start_over()

    def close(self) -> None:
        """Stop, and remove the files."""
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def leads(self) -> int:
        """How many leads the files would hold."""
        return min(self.scores.played, self.scores.counted)

    def content(self) -> ReportContent | None:
        """What the files hold, or None while nothing is scored."""
        scores, desk = self.scores, self.scores.desk
        if scores.board is None or desk.field is None or not self.leads:
            return None
        runs = {name: desk.loaded[name] for name in scores.board.parts if name in desk.loaded}
        return ReportContent(desk.field, runs, scores.board, self.leads, scores.state.threshold)

    def csv(self) -> io.StringIO:
        """All scores as CSV, with what they are of in comment lines."""
        content = self.content()
        if content is None:
            return io.StringIO("")
        about = {
            "verification": say_scored(content.field, content.board),
            "fair comparison": fairness_note(tuple(content.runs)),
            "data": content.field.credit,
            **{
                f"run card of {name}": str(run.forecast.attrs.get("run_card", ""))
                for name, run in content.runs.items()
            },
        }
        return io.StringIO(scores_csv(content.board.until(content.leads), content.board, about))

    def prepare(self) -> None:
        """Draw the report in the background; the button that appears then gives it."""
        content = self.content()
        if content is None:
            return
        self._make.loading = True
        target = self._folder / f"{self._stem()}.html"

        def work(progress: Report) -> Path:
            target.write_text(make_report(content, progress), encoding="utf-8")
            return target

        self._runner.submit(work, on_done=self._made, on_failed=self._failed)

    def _made(self, path: Path) -> None:
        self._make.loading = False
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        self._give.param.update(file=str(path), filename=path.name, label=f"Download report ({size})")
        self._given.visible = True

    def _failed(self, fault: Exception) -> None:
        self._make.loading = False
        self.problem.show(in_one_line(fault))

    def _stem(self) -> str:
        desk, board = self.scores.desk, self.scores.board
        if desk.field is None or board is None:
            return "scores"
        stamp = str(desk.field.time_at(board.issue_index))[:16].replace(":", "").replace("-", "")
        return clean_stem(f"{desk.field.source.partition(':')[2][:60]}-scores-{stamp}Z")

    def _start_over(self) -> None:
        """What was made is of other scores: back to the beginning."""
        self._runner.cancel()
        nothing = self.content() is None
        self._csv.param.update(disabled=nothing, filename=f"{self._stem()}.csv")
        self._make.param.update(disabled=nothing, loading=False)
        self._given.visible = False
        self.problem.show("")

"""The tab that gives scenarios away as files."""

import html
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import panel_material_ui as pmui
import xarray as xr

from geoscope.inference.field_request import pixel_size, run_card
from geoscope.inference.jobs import JobRunner, Progress
from geoscope.ui.exports import FORMATS, Maker, clean_stem, make_file, make_series_file
from geoscope.ui.field_desk import in_one_line
from geoscope.ui.panes import Problem, html_pane, set_html
from geoscope.ui.scenario_desk import ScenarioDesk
from geoscope.ui.scenario_runs import SEED
from geoscope.ui.scenario_series import fan_of
from geoscope.ui.scenario_state import ScenarioState

_CSS = """
:host { color: var(--panel-on-surface-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 4px 0; max-width: 90ch; }
"""
ALL, SHOWN = "all", "shown"
FIELDS = {"All members of every finished n": ALL, "The scenario on the first map": SHOWN}
FOR_MANY = ("nc", "zarr")


class ScenarioExportTab:
    """Choose what and how, prepare, download. `close` removes the files of the session."""

    def __init__(
        self,
        state: ScenarioState,
        desk: ScenarioDesk,
        notify: Any = None,
        theme: Callable[[], str] = lambda: "light",
    ) -> None:
        self.state, self.desk, self.theme = state, desk, theme
        self._folder = Path(tempfile.mkdtemp(prefix="geoscope-export-"))
        self._runner = JobRunner(notify)
        look: dict[str, Any] = {"size": "small", "margin": 8}
        self._what = pmui.Select(label="Field", options=FIELDS, value=ALL, width=280, **look)
        self._kind = pmui.Select(label="Format", options=FORMATS, value="nc", width=280, **look)
        self._make = pmui.Button(
            label="Prepare file", icon="file_present", on_click=lambda event: self.prepare(), margin=8
        )
        self._give = pmui.FileDownload(label="Download", auto=True, embed=False, disabled=True, margin=8)
        self._text = html_pane(_CSS, margin=(0, 12))
        self._problem = Problem()
        row = pmui.FlexBox(
            self._what, self._kind, self._make, self._give, align_items="center", sizing_mode="stretch_width"
        )
        self.view = pmui.Column(
            row, self._problem.view, self._text, sizing_mode="stretch_width", min_height=420
        )
        for widget in (self._what, self._kind):
            widget.param.watch(lambda *events: self._start_over(), "value")
        desk.param.watch(lambda *events: self._start_over(), ["case", "field", "is_running"])
        names = ["sigma", "member", "members", "steps", "point", "area", "issue_index", "shows_truth"]
        state.param.watch(lambda *events: self._start_over(), names)
        self._start_over()

    def close(self) -> None:
        """Stop, and remove the files that were made."""
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def missing(self) -> str:
        """Why no file can be made now, as a line for the page; empty when one can."""
        desk, kind = self.desk, self._kind.value
        if desk.case is None or desk.is_stale:
            return "No scenario of these choices to give away: press Draw (step 3)."
        if desk.is_running:
            return "Scenarios are being drawn; the file can be made when they are there."
        if kind != "csv" and self._what.value == ALL:
            if kind not in FOR_MANY:
                return "This format holds one field: choose the scenario on the first map, or NetCDF or Zarr."
            if not self._finished():
                return "No n has all its members yet: press Draw (step 3)."
        return ""

    def _finished(self) -> list[float]:
        case, state = self.desk.case, self.state
        return [
            sigma
            for sigma in case.sigmas(state.steps)
            if len(case.refined(sigma, state.members, state.steps)) == state.members
        ]

    def field(self) -> xr.DataArray | None:
        """What is to be given: (sigma, member, time, y, x), or one scenario (time, y, x)."""
        case, state = self.desk.case, self.state
        if self._what.value == ALL:
            drawn = [one for n in self._finished() for one in case.refined(n, state.members, state.steps)]
        else:
            found = self.desk.scenario(state.sigma)
            drawn = [found[0]] if found is not None else []
        if not drawn:
            return None
        source = case.source
        pixel = float(np.mean(pixel_size(source.rain)))
        card = run_card(source.runner, source.past, source.step, pixel, state.device, 0.0)
        field = source.field(drawn, **card, seed=SEED, steps=state.steps)
        if self._what.value == ALL:
            return field
        return field.isel(sigma=0, member=0)

    def prepare(self) -> None:
        """Make the file in the background; the download button then gives it."""
        maker = None if self.missing() else self._maker()
        if maker is None:
            return
        self._problem.show("")
        self._make.loading = True
        self._runner.submit(maker, on_progress=self._tell, on_done=self._made, on_failed=self._failed)

    def _maker(self) -> Maker | None:
        kind, field = self._kind.value, self.desk.field
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        if kind == "csv":
            fan = fan_of(self.desk)
            if fan is None:
                return None
            about = {"credit": field.credit, "model": self.desk.case.source.runner.card.name}
            target = folder / f"{self._stem('series')}.csv"
            return lambda progress: make_series_file(fan.as_series(), target, about)
        content = self.field()
        if content is None:
            return None
        look: dict[str, Any] = {"kind": self.state.scale, "theme": self.theme()}
        first = self.desk.case.question.issue_index + 1
        frame = int(np.clip(self.state.frame_index - first, 0, content.sizes["time"] - 1))
        look |= {"frame": frame} if kind == "png" else {"frames_per_second": float(self.state.speed)}
        what = "scenarios" if self._what.value == ALL else f"scenario-n{self.state.sigma:+g}"
        target = folder / f"{self._stem(what)}.{kind}"
        return lambda progress: make_file(content, target, progress, **look)

    def _stem(self, what: str) -> str:
        field = self.desk.field
        stamp = str(field.time_at(self.desk.case.question.issue_index))[:16].replace(":", "").replace("-", "")
        return clean_stem(f"{field.source.partition(':')[2][:60]}-{what}-{stamp}Z".lower())

    def _start_over(self) -> None:
        self._runner.cancel()
        self._give.param.update(disabled=True, file=None, label="Download")
        missing = self.missing()
        self._make.param.update(loading=False, disabled=bool(missing))
        self._what.disabled = self._kind.value == "csv"
        self._problem.show("")
        hint = missing or (
            "The file carries what was asked and achieved, mu and the fitted tail, units, times in UTC, credit and "
            "the run card."
        )
        set_html(self._text, f"<p>{html.escape(hint)}</p>")

    def _tell(self, progress: Progress) -> None:
        text = f"{progress.stage} · {100 * progress.fraction:.0f} %"
        set_html(self._text, f"<p role=status>{html.escape(text)}</p>")

    def _made(self, path: Path) -> None:
        size = path.stat().st_size
        in_words = f"{size / 1e6:.1f} MB" if size > 1e5 else f"{size / 1e3:.1f} kB"
        self._make.loading = False
        self._give.param.update(
            file=str(path), filename=path.name, disabled=False, label=f"Download {path.name} ({in_words})"
        )
        set_html(self._text, f"<p role=status>{html.escape(path.name)} is ready.</p>")

    def _failed(self, fault: Exception) -> None:
        self._make.loading = False
        self._problem.show(in_one_line(fault))
        set_html(self._text, "")

"""The tab that gives the forecast away as a file."""

import html
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import panel_material_ui as pmui
import xarray as xr

from geoscope.inference.jobs import JobRunner, Progress
from geoscope.ui.exports import FORMATS, Maker, clean_stem, make_file, make_series_file, needs
from geoscope.ui.field_desk import in_one_line
from geoscope.ui.nowcast_desk import NowcastDesk
from geoscope.ui.nowcast_runs import title_of
from geoscope.ui.nowcast_state import NowcastState
from geoscope.ui.panes import Problem, html_pane, set_html
from geoscope.ui.point_tab import PointTab

_CSS = """
:host { color: var(--panel-on-surface-color); font: 13px/18px Roboto, sans-serif; }
p { margin: 4px 0; max-width: 76ch; }
"""
OBSERVED = "Observed"


class ExportTab:
    """Choose what and how, prepare, download. `close` removes the files of the session."""

    def __init__(
        self,
        state: NowcastState,
        desk: NowcastDesk,
        point: PointTab,
        notify: Any = None,
        theme: Callable[[], str] = lambda: "light",
    ) -> None:
        self.state, self.desk, self._point, self.theme = state, desk, point, theme
        self._folder = Path(tempfile.mkdtemp(prefix="geoscope-export-"))
        self._runner = JobRunner(notify)
        self._of: tuple[object, ...] = ()
        self._what = pmui.Select(
            label="Field", options=[OBSERVED], value=OBSERVED, size="small", width=260, margin=8
        )
        self._kind = pmui.Select(
            label="Format", options=FORMATS, value="nc", size="small", width=280, margin=8
        )
        self._make = pmui.Button(
            label="Prepare file", icon="file_present", on_click=lambda event: self.prepare(), margin=8
        )
        self._give = pmui.FileDownload(label="Download", auto=True, embed=False, disabled=True, margin=8)
        self._text = html_pane(_CSS, margin=(0, 12))
        self._problem = Problem()
        self.view = pmui.Column(
            pmui.FlexBox(
                self._what,
                self._kind,
                self._make,
                self._give,
                align_items="center",
                sizing_mode="stretch_width",
            ),
            self._problem.view,
            self._text,
            sizing_mode="stretch_width",
            min_height=420,
        )
        for widget in (self._what, self._kind):
            widget.param.watch(lambda *events: self._start_over(), "value")
        desk.param.watch(lambda *events: self._follow_desk(), ["run", "run_b", "runs", "field", "problems"])
        state.param.watch(
            lambda *events: self._start_over(), ["point", "area", "threshold", "shows_truth", "issue_index"]
        )
        self._start_over()

    def close(self) -> None:
        """Stop, and remove the files that were made."""
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fields(self) -> dict[str, xr.DataArray]:
        """What there is to give, by the words on the page: forecasts, chances at the threshold, the observation."""
        desk, state, threshold = self.desk, self.state, self.state.threshold
        every = {title_of(name): run.forecast for name, run in desk.loaded.items()}
        for name, run in desk.loaded.items():
            chance = run.chance_of(threshold)
            if chance is not None:
                every[f"{title_of(name)}, probability ≥ {threshold:g}"] = _in_per_cent(chance, threshold)
        if desk.field is not None:
            last = desk.field.frames if state.shows_truth else state.issue_index + 1
            every[OBSERVED] = desk.field.rain.isel(time=slice(0, last))
        return every

    def _offer_fields(self) -> None:
        names = list(self.fields()) or [OBSERVED]
        if self._what.options != names:
            was_chosen = self._what.value in names and self._what.options != [OBSERVED]
            value = self._what.value if was_chosen else names[0]  # the first forecast, once there is one
            self._what.param.update(options=names, value=value)

    def _subject(self) -> tuple[object, ...]:
        """What the chosen file is made of, to be told apart by identity."""
        desk, what = self.desk, self._what.value
        runs = list(desk.loaded.values())
        if self._kind.value != "csv":
            titles = {title_of(name): run for name, run in desk.loaded.items()}
            runs = [run for title, run in titles.items() if what == title or what.startswith(f"{title}, ")]
        return (desk.field, desk.leading is not None, *runs)

    def _follow_desk(self) -> None:
        """Begin again where the file would be another: not when forecast B arrives while one of A is made."""
        self._offer_fields()
        now = self._subject()
        if len(now) != len(self._of) or any(a is not b for a, b in zip(now, self._of, strict=True)):
            self._start_over()

    def _start_over(self) -> None:
        self._offer_fields()
        self._of = self._subject()
        self._runner.cancel()
        self._what.disabled = self._kind.value == "csv"
        self._give.param.update(disabled=True, file=None, label="Download")
        self._make.loading = False
        missing = needs(self._kind.value, self.desk.leading is not None, self._point.series() is not None)
        self._make.disabled = bool(missing)
        self._problem.show("")
        hint = missing or (
            "The file carries its units, times in UTC, credit and the run card: model, hashes of weights and "
            "input, versions and time."
        )
        set_html(self._text, f"<p>{html.escape(hint)}</p>")

    def prepare(self) -> None:
        """Make the file in the background; the download button then gives it."""
        maker = self._maker()
        if maker is None:
            return
        self._problem.show("")
        self._make.loading = True
        self._runner.submit(
            maker,
            on_progress=self._tell,
            on_done=self._made,
            on_failed=self._failed,
        )

    def _maker(self) -> Maker | None:
        run, kind, field = self.desk.leading, self._kind.value, self.desk.field
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        if kind == "csv":
            content = self._point.series()
            if content is None or field is None:
                return None
            about = {"credit": field.credit, **({"run_card": run.forecast.attrs["run_card"]} if run else {})}
            return lambda progress: make_series_file(content, folder / f"{self._stem('series')}.csv", about)
        if run is None or field is None:
            return None
        what, fields = self._what.value, self.fields()
        if what not in fields:
            self._problem.show(f"This run has no {what}: choose another field.", "warning")
            return None
        content = fields[what]
        frame = int(np.searchsorted(content["time"].values, field.time_at(self.state.frame_index)))
        frame = min(frame, len(content) - 1)
        look = {"kind": self.state.scale, "theme": self.theme()}
        look |= {"frame": frame} if kind == "png" else {"frames_per_second": float(self.state.speed)}
        target = folder / f"{self._stem(what)}.{kind}"
        return lambda progress: make_file(content, target, progress, **look)

    def _stem(self, what: str) -> str:
        field, run = self.desk.field, self.desk.leading
        issue = field.time_at(run.request.issue_index if run is not None else self.state.issue_index)
        stamp = str(issue)[:16].replace(":", "").replace("-", "")
        return clean_stem(
            f"{field.source.partition(':')[2][:60]}-{what}-{stamp}Z".lower().replace("≥", "from")
        )

    def _tell(self, progress: Progress) -> None:
        set_html(
            self._text, f"<p role=status>{html.escape(progress.stage)} · {100 * progress.fraction:.0f} %</p>"
        )

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


def _in_per_cent(chance: xr.DataArray, threshold: float) -> xr.DataArray:
    """Chances (lead, y, x) in [0, 1] as a field in per cent that every writer takes."""
    units = chance["threshold"].attrs.get("units", "mm/h")
    result = (100.0 * chance.astype(np.float32)).drop_vars("threshold").rename("probability")
    name = f"probability of {threshold:g} {units} or more"
    return result.assign_attrs({**chance.attrs, "long_name": name, "units": "%"})

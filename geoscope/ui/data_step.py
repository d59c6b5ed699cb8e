"""Step 1 of every page over a field: where the data comes from, what was read, and using it."""

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

import geoscope as gs
from geoscope.errors import DataError
from geoscope.ui.field_desk import FieldDesk
from geoscope.ui.open_field import OpenField
from geoscope.ui.panes import Problem, hideable, html_pane, set_html
from geoscope.ui.server_files import ROOT_VARIABLE, allowed_root
from geoscope.ui.uploads import UploadReceiver
from geoscope.ui.view_state import ViewState

KINDS = {"Sample": "sample", "Server": "path", "Upload": "upload"}
_FULL: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (4, 12), "size": "small"}

SUMMARY_CSS = """
dl { display: grid; grid-template-columns: 62px 1fr; gap: 1px 8px; margin: 0; font: 12px/16px Roboto, sans-serif;
  color: var(--panel-on-surface-color); }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 4px; font: 500 12px/16px Roboto, sans-serif; color: var(--panel-on-surface-color); }
"""
HINT_CSS = (
    "p { margin: 0; font: 12px/16px Roboto, sans-serif; opacity: .8; color: var(--panel-on-surface-color); }"
)


class DropZone(pmui.FileInput):
    """A button that files can be dropped on; what arrives goes through an `UploadReceiver` and its limits."""

    def __init__(
        self,
        receiver: UploadReceiver,
        on_files: Callable[[list[Path]], None],
        on_problem: Callable[[str], Any],
        **params: Any,
    ) -> None:
        super().__init__(multiple=True, chunk_size=4_000_000, **params)
        self._receiver, self._on_files, self._on_problem = receiver, on_files, on_problem
        self._refused = False

    def _handle_msg(self, msg: Any) -> None:
        """Messages of the browser; Panel's own handling, which keeps everything in memory, is not used."""
        status = msg.get("status") if isinstance(msg, dict) else None
        try:
            if status == "initializing":
                self._refused = False
                self._receiver.start()
            elif status == "upload_event" and not self._refused:
                self._receiver.receive(msg)
            elif status == "finished" and not self._refused:
                files = self._receiver.finish()
                self._send_msg({"status": "finished"})
                self._on_files(files)
        except DataError as fault:
            self._refused = True
            self._send_msg({"status": "error", "error": "not taken"})
            self._on_problem(str(fault))


class DataStep:
    """The widgets of step 1. `view` is the panel object."""

    def __init__(self, state: ViewState, desk: FieldDesk, receiver: UploadReceiver) -> None:
        self.state, self.desk = state, desk
        self._kind = pmui.RadioButtonGroup(
            options=KINDS,
            value=state.source.partition(":")[0],
            sizing_mode="stretch_width",
            size="small",
            margin=(4, 12),
        )
        samples = {info.title: info.name for info in gs.list_samples()}
        name = state.source.partition(":")[2]
        self._sample = pmui.Select(
            label="Sample", options=samples, value=name if name in samples.values() else None, **_FULL
        )
        self._path = pmui.TextInput(
            label="File, folder or pattern",
            placeholder="storm/*.nc",
            disabled=allowed_root() is None,
            **_FULL,
        )
        self._read = pmui.Button(
            label="Read",
            variant="outlined",
            disabled=allowed_root() is None,
            on_click=lambda event: self._read_path(),
            **_FULL,
        )
        self._drop = DropZone(
            receiver,
            on_files=self._files_came,
            on_problem=lambda text: desk.param.update(data_problem=text),
            label="Drop radar files here",
            variant="outlined",
            **_FULL,
        )
        self._hint = html_pane(HINT_CSS, margin=(0, 12))
        self._limits = receiver.limits.in_words()
        self._summary = html_pane(SUMMARY_CSS, margin=(4, 12))
        self._use = pmui.Button(
            label="Use this data",
            icon="check",
            on_click=lambda event: self._use_candidate(),
            **_FULL,
        )
        self._problem = Problem()
        self._ways = {
            "sample": hideable(self._sample),
            "path": hideable(self._path, self._read),
            "upload": hideable(self._drop),
        }
        self._offer = hideable(self._use)
        self.content = [
            self._kind,
            *self._ways.values(),
            self._hint,
            self._problem.view,
            self._summary,
            self._offer,
        ]
        self._watch()
        self._show_kind()
        self._summarise()

    def _watch(self) -> None:
        desk = self.desk
        self._kind.param.watch(lambda *events: self._kind_chosen(), "value")
        self._sample.param.watch(lambda *events: self._sample_chosen(), "value")
        self._path.param.watch(lambda *events: self._read_path(), "enter_pressed")
        desk.param.watch(lambda *events: self._name_sample(), "field")
        desk.param.watch(lambda *events: self._summarise(), ["field", "candidate", "is_loading"])
        desk.param.watch(lambda *events: self._problem.show(desk.data_problem), "data_problem")
        self._problem.show(desk.data_problem)

    def _kind_chosen(self) -> None:
        """Another way to data: what went wrong on the way before says nothing about this one."""
        self.desk.data_problem = ""
        self._show_kind()

    def _show_kind(self) -> None:
        kind = self._kind.value
        for way, widgets in self._ways.items():
            widgets.visible = way == kind
        hint = ""
        if kind == "path":
            hint = (
                "Relative to the server's data folder."
                if allowed_root() is not None
                else f"This server opens no files of its own. Its operator can allow one folder by setting "
                f"{ROOT_VARIABLE} before the start; you can drop files instead."
            )
        elif kind == "upload":
            hint = f"NetCDF, HDF5 (ODIM, KNMI), GRIB2, RADOLAN, GeoTIFF, PGM, GIF. {self._limits}."
        self._hint.visible = bool(hint)
        set_html(self._hint, f"<p>{html.escape(hint)}</p>")

    def _sample_chosen(self) -> None:
        """Read a sample that the user chose; a list that is put away can name one of its own accord."""
        if self._kind.value != "sample":
            return
        source = f"sample:{self._sample.value}"
        if self._sample.value and (self.desk.field is None or self.desk.field.source != source):
            self.desk.read(source, then_use=True)

    def _name_sample(self) -> None:
        """The list shows the sample in use, and none beside a file, so that any sample can be chosen after it."""
        field = self.desk.field
        kind, _, name = field.source.partition(":") if field is not None else ("", "", "")
        self._sample.value = name if kind == "sample" and name in self._sample.options.values() else None

    def _read_path(self) -> None:
        text = self._path.value_input or self._path.value or ""
        self.desk.read(f"path:{text.strip()}")

    def _files_came(self, files: list[Path]) -> None:
        name = files[0].name if len(files) == 1 else f"{len(files)} files"
        self.desk.read(f"upload:{name}", files=files)

    def _use_candidate(self) -> None:
        if self.desk.candidate is not None:
            self.desk.use(self.desk.candidate)

    def _summarise(self) -> None:
        desk = self.desk
        field: OpenField | None = desk.candidate or desk.field
        self._offer.visible = desk.candidate is not None
        self._sample.disabled = self._read.loading = desk.is_loading
        if desk.is_loading:
            set_html(self._summary, "<p>Reading …</p>")
        elif field is None:
            set_html(self._summary, "<p>No data yet: choose a sample, a path, or drop files.</p>")
        else:
            heading = "Read, not used yet:" if desk.candidate is not None else "In use:"
            set_html(self._summary, f"<p>{heading} {html.escape(field.title)}</p>{summary_html(field)}")


def summary_html(field: OpenField) -> str:
    """The summary of a field as a definition list; every text is escaped."""
    rows = "".join(
        f"<dt>{html.escape(label)}</dt><dd>{html.escape(value)}</dd>" for label, value in field.summary()
    )
    return f"<dl>{rows}</dl>"

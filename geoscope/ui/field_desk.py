"""The field that a page has open, and reading another one: what follows from the data step of any page.

Nothing here knows a widget. Files are read in a `JobRunner`; what comes of it arrives through `notify`, on the thread
that owns the page.
"""

from pathlib import Path
from typing import Any, ClassVar

import param

import geoscope as gs
from geoscope.data.events import open_event_file
from geoscope.errors import DataError, GeoscopeError
from geoscope.inference.jobs import JobRunner
from geoscope.ui.open_field import OpenField, open_sample
from geoscope.ui.page_thread import Notify
from geoscope.ui.server_files import files_under_root
from geoscope.ui.view_state import ViewState


class FieldDesk(param.Parameterized):
    """One session's field. A page's own desk adds what is computed from it, and says what that is for the views.

    `RESULTS` names the parameters whose change changes what maps and player show; `forget`, `last_frame` and
    `forecast_frames` tell the rest.
    """

    RESULTS: ClassVar[list[str]] = []

    field = param.Parameter(default=None, doc="the `OpenField` in use, or None")
    candidate = param.Parameter(
        default=None, doc="an `OpenField` that was read and waits to be used, or None"
    )
    is_loading = param.Boolean(default=False)
    is_running = param.Boolean(default=False, doc="whether a model is at work")
    data_problem = param.String(default="", doc="one line that says what to do, or nothing")

    def __init__(self, state: ViewState, notify: Notify | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.state = state
        self._reader = JobRunner(notify)

    def close(self) -> None:
        """Stop all work; for the end of a session."""
        self._reader.close()

    def forget(self) -> None:
        """Cancel the work on the field in use and drop its results, before another one comes."""

    @property
    def last_frame(self) -> int:
        """Index of the last frame of the page's axis: the last observed or the last lead, whichever is later."""
        if self.field is None:
            return 0
        return max(self.field.frames - 1, self.state.issue_index + self.state.lead_steps)

    @property
    def forecast_frames(self) -> range:
        """The frames of the axis that a forecast is there for."""
        return range(0)

    def open_now(self, source: str) -> None:
        """Open a sample in this thread and use it at once; problems go to `data_problem`."""
        try:
            self.use(open_sample(source.removeprefix("sample:")))
        except GeoscopeError as fault:
            self.data_problem = str(fault)

    def read(self, source: str, files: list[Path] | None = None, then_use: bool = False) -> None:
        """Read in the background: "sample:NAME", "path:RELATIVE" or, with ``files``, an upload.

        The result waits in `candidate`, so that its summary can be seen first; ``then_use`` uses it at once.
        """
        self.param.update(is_loading=True, data_problem="", candidate=None)
        self._reader.submit(
            lambda progress: _open(source, files),
            on_done=lambda field: self._read_done(field, then_use),
            on_failed=self._read_failed,
            on_cancelled=lambda: None,
        )

    def _read_done(self, field: OpenField, then_use: bool) -> None:
        self.is_loading = False
        if then_use:
            self.use(field)
        else:
            self.candidate = field

    def _read_failed(self, fault: Exception) -> None:
        self.param.update(is_loading=False, data_problem=in_one_line(fault))

    def use(self, field: OpenField) -> None:
        """Make a field the page's own; what followed from the one before is dropped, and its work cancelled."""
        self.forget()
        state = self.state
        is_new = state.source != field.source or self.field is not None
        issue = field.default_issue(state.lead_steps)
        if not is_new and 0 < state.issue_index < field.frames:  # from a link
            issue = state.issue_index
        frame = state.frame_index if not is_new and state.frame_index else issue + state.lead_steps
        self.param.update(candidate=None, data_problem="")
        with param.parameterized.batch_call_watchers(state), param.parameterized.batch_call_watchers(self):
            if is_new:
                state.param.update(point=None, area=None, view=None, shows_truth=False, is_playing=False)
            self.field = field
            state.param.update(source=field.source, issue_index=issue)
            state.frame_index = min(frame, self.last_frame)


def _open(source: str, files: list[Path] | None) -> OpenField:
    kind, _, name = source.partition(":")
    if kind == "sample":
        return open_sample(name)
    paths = files if files is not None else files_under_root(name)
    one = paths[0] if isinstance(paths, list) and len(paths) == 1 else paths
    try:
        # Event files only from the operator's folder: they unpack to any size.
        is_event = files is None and isinstance(one, Path) and one.suffix == ".npz"
        rain = open_event_file(one) if is_event and isinstance(one, Path) else gs.open_radar(one)
    except GeoscopeError as fault:
        raise DataError(_without_folders(str(fault), paths)) from fault
    return OpenField.of(source, name, rain)


def _without_folders(text: str, paths: Path | list[Path]) -> str:
    """A message without the server's own folders: users know their files by name."""
    for path in paths if isinstance(paths, list) else [paths]:
        text = text.replace(f"{path.parent}/", "")
    return text


def in_one_line(fault: Exception) -> str:
    """What a user reads: our own errors as they are, anything else as a fault of the program."""
    text = " ".join(str(fault).split())
    if isinstance(fault, GeoscopeError):
        return text
    return f"Something went wrong inside geoscope ({type(fault).__name__}: {text[:160]}). Please report it."

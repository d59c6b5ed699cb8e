"""A page served to one session: made from its address, begun when it is drawn, kept there, closed at the end."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import panel as pn

from geoscope.ui.field_board import FieldBoard
from geoscope.ui.field_desk import FieldDesk
from geoscope.ui.shell import Shell, begin
from geoscope.ui.view_state import ViewState

MILLISECONDS_TO_SETTLE = 600  # before a change is written into the address


class FieldPage(Protocol):
    """What a page over a field has. `begin` starts the work that it opens with, `close` ends all of it."""

    @property
    def state(self) -> ViewState:
        """The choices, some of which stand in the address."""
        ...

    @property
    def desk(self) -> FieldDesk:
        """The open field."""
        ...

    @property
    def board(self) -> FieldBoard:
        """The maps, whose view stands in the address."""
        ...

    @property
    def shell(self) -> Shell:
        """What is served."""
        ...

    def begin(self) -> None:
        """Start working; called when the browser has drawn the page."""
        ...

    def close(self) -> None:
        """End all work and remove the session's files."""
        ...


Page = TypeVar("Page", bound=FieldPage)


def serve_page(make: Callable[[dict[str, Any]], Page]) -> Page:
    """Make the page of this session by ``make(query of its address)``, and mark it servable."""
    begin()
    location = pn.state.location
    page = make(dict(location.query_params) if location is not None else {})
    if location is not None:
        _write_address(page, location)
    pn.state.on_session_destroyed(lambda context: page.close())
    pn.state.onload(page.begin)
    page.shell.page.servable()
    return page


def _write_address(page: FieldPage, location: Any) -> None:
    """Keep the address in step with the state, when it has been still for a moment: each change is a history entry."""
    pending: list[Any] = []
    document = pn.state.curdoc

    def write() -> None:
        pending.clear()
        query = page.state.address()
        if page.state.is_playing or page.desk.field is None:
            return
        if {key: str(value) for key, value in location.query_params.items() if value is not None} != query:
            location.search = "?" + "&".join(f"{key}={_quoted(value)}" for key, value in query.items())

    def settle(*events: Any) -> None:
        if document is None:
            return
        if pending:
            document.remove_timeout_callback(pending.pop())
        pending.append(document.add_timeout_callback(write, MILLISECONDS_TO_SETTLE))

    page.state.param.watch(settle, [*page.state.IN_ADDRESS, "is_playing"])
    for bounds in (page.board.maps.x_range, page.board.maps.y_range):
        bounds.on_change("end", lambda attr, old, new: page.board.remember_view())


def _quoted(value: str) -> str:
    return quote(value, safe=",:.-")

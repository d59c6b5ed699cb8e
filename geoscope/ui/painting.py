"""Changes of Bokeh models of our own, made where Bokeh allows them: under the lock of their document.

Panel looks after its own models, but it calls some handlers without the document's lock, and a plain Bokeh model that
is changed there raises. `painted` puts off a method until the document is locked again; calls keep their order, and all
that wait go to the browser together.
"""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from bokeh.document import Document

P = ParamSpec("P")


class Painter:
    """Something with Bokeh models on one document; without a served document it paints at once."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], Any]] = deque()

    @property
    def document(self) -> Document | None:
        """The document that the models are on, or None as long as they are on none."""
        return None

    def paint(self, call: Callable[[], Any]) -> None:
        """Make a change now or, on a served document, at its next tick."""
        document = self.document
        if document is None or document.session_context is None:
            call()
            return
        self._waiting.append(call)
        if len(self._waiting) == 1:
            document.add_next_tick_callback(self._paint_all)

    def _paint_all(self) -> None:
        try:
            while self._waiting:
                self._waiting.popleft()()
        finally:  # one change that fails must not hold up those behind it
            if self._waiting and self.document is not None:
                self.document.add_next_tick_callback(self._paint_all)


def painted(method: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """A method of a `Painter` that changes models."""

    @functools.wraps(method)
    def later(self: Any, *args: P.args, **options: P.kwargs) -> None:
        self.paint(functools.partial(method, self, *args, **options))

    return later

"""How work in other threads reaches a page: always by the thread that owns its document.

Bokeh lets any thread add a callback to a document, but the event that announces it goes through the document's own
lists. A worker that announces one while the page's thread ends a hold (Panel holds a document whenever it changes
several things) can lose it, and the page then waits for ever. Tornado's loop takes calls from threads safely, so the
call is handed to the loop, and the document hears of it from its own thread only.
"""

from collections.abc import Callable
from typing import Any

import panel as pn
from bokeh.document import Document

from geoscope.inference.jobs import Notify


def notifier() -> Notify:
    """A way to the page that is being made: for a served document through its loop, else directly."""
    document = pn.state.curdoc
    if document is None or document.session_context is None:
        return lambda call: call()
    from tornado.ioloop import IOLoop

    return through(IOLoop.current(), document)


def through(loop: Any, document: Document) -> Notify:
    """Calls made under the document's lock at its next tick; a call for a page that is gone is dropped."""

    def add(call: Callable[[], None]) -> None:
        if document.session_context is not None and not getattr(document.session_context, "destroyed", False):
            document.add_next_tick_callback(call)

    return lambda call: loop.add_callback(add, call)

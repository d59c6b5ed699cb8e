"""A guard that lets tests talk to this machine only."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any


class OutsideConnection(RuntimeError):
    """A test tried to reach another machine."""


def _is_loopback(host: str | bytes | None) -> bool:
    text = host.decode() if isinstance(host, bytes) else host
    if not text or text == "localhost":  # an empty host is every address of this machine
        return True
    try:
        address = ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return text == socket.gethostname()
    return address.is_loopback or address.is_unspecified


@contextlib.contextmanager
def refuse_outside_connections() -> Iterator[None]:
    """Within the block, connecting to or looking up any host but this machine raises OutsideConnection."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: Any) -> None:
        if not _is_loopback(host):
            raise OutsideConnection(f"a test tried to reach {host!r}; tests talk to this machine only")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            check(address[0])
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *rest: Any, **options: Any) -> Any:
        check(host)
        return look_up(host, *rest, **options)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = guarded_look_up
    try:
        yield
    finally:
        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = look_up

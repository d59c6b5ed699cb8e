"""The guard that keeps tests off the network."""

import socket

import pytest

from tests.network import OutsideConnection


def test_another_machine_is_out_of_reach():
    with socket.socket() as sock, pytest.raises(OutsideConnection, match=r"203\.0\.113\.7"):
        sock.connect(("203.0.113.7", 80))
    with socket.socket() as sock, pytest.raises(OutsideConnection):
        sock.connect_ex(("203.0.113.7", 80))


def test_a_name_outside_is_not_looked_up():
    with pytest.raises(OutsideConnection, match=r"example\.org"):
        socket.getaddrinfo("example.org", 443)


def test_a_server_on_this_machine_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("localhost", port)) as client:
            assert client.getpeername()[1] == port

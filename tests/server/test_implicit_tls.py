"""Implicit TLS: a connection counts from the moment it is accepted, whatever becomes of its handshake."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from asyncmail import ConnectionLimits, GreetingRefused, SMTPClient, SMTPServer
from net.runtimes import eventually, on_each_runtime

if TYPE_CHECKING:
    import ssl

    from asyncmail import ReceivedTransaction


async def deliver(transaction: ReceivedTransaction) -> None:
    pass


@on_each_runtime
async def test_connections_without_a_handshake_are_limited_and_end_with_the_server(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    limits = ConnectionLimits(connections=2)
    async with SMTPServer(
        deliver, tls_context=server_tls, implicit_tls=True, connection_limits=limits
    ) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        await eventually(lambda: server.connections == 2)
        with pytest.raises(GreetingRefused, match="421"):
            await SMTPClient(f"smtps://localhost:{server.port}", tls_context=client_tls).connect()
        clients.pop().close()
        await eventually(lambda: server.connections == 1)
        async with SMTPClient(f"smtps://localhost:{server.port}", tls_context=client_tls) as client:
            assert client.tls is not None
            assert server.connections == 2
    for silent in clients:
        silent.settimeout(10)
        with silent:
            with suppress(ConnectionResetError):
                assert silent.recv(100) == b""


@on_each_runtime
async def test_a_flood_over_the_limit_is_not_answered(server_tls: ssl.SSLContext) -> None:
    limits = ConnectionLimits(connections=1)
    async with SMTPServer(
        deliver, tls_context=server_tls, implicit_tls=True, connection_limits=limits
    ) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(80)]
        await eventually(lambda: server.connections == 1 and len(server._refused) == 64)
        for client in clients:
            client.close()
        await eventually(lambda: not server.connections and not server._refused)

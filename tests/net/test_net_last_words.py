"""What a peer says before it breaks the connection off is heard, even where writing is what fails first."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail.errors import ConnectionLost
from asyncmail.net import connect
from net.pairs import stream_pair
from net.runtimes import eventually, on_each_runtime

if TYPE_CHECKING:
    import ssl

    from asyncmail.net import ByteStream

LAST_WORDS = b"421 too many errors\r\n"


async def connected(
    server_tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> tuple[ByteStream, socket.socket]:
    """A stream, and the socket of its peer, which no event loop knows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await connect(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
        peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else what is unsent yet is dropped
    if server_tls is None:
        return stream, peer
    wrapped: list[socket.socket] = []
    thread = threading.Thread(target=lambda: wrapped.append(server_tls.wrap_socket(peer, server_side=True)))
    thread.start()
    await stream.start_tls(client_tls, server_hostname="localhost")
    await eventually(lambda: not thread.is_alive())  # the loop has to write the end of the handshake
    return stream, wrapped[0]


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000], ids=["a line", "a segment", "more than fits"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "tls"])
@on_each_runtime
async def test_last_words(
    encrypted: bool, size: int, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    stream, peer = await connected(server_tls if encrypted else None, client_tls)
    with closing(peer):
        await stream.send([b"unread, so that the peer's system resets the connection"])
        peer.sendall(LAST_WORDS)
    with suppress(ConnectionLost):
        for _ in range(3):  # the event loop has not come to read yet
            await stream.send([bytes(size)])
    assert await stream.receive() == LAST_WORDS
    with suppress(ConnectionLost):
        assert await stream.receive() == b""
    with pytest.raises(ConnectionLost):
        await stream.send([b"x"])
        await stream.receive()
    await stream.aclose()


@on_each_runtime
async def test_a_send_under_way_breaks_nothing() -> None:
    """Another task may look at that moment."""
    async with stream_pair("native") as (client, server), anyio.create_task_group() as group:
        group.start_soon(client.send, [bytes(20_000_000)])  # more than fits anywhere
        await eventually(lambda: server.is_stale)
        assert not client.is_broken
        assert not client.is_stale
        group.cancel_scope.cancel()
    await eventually(lambda: client.is_broken)

"""TLS that breaks after the handshake is a lost connection, and says how."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from contextlib import suppress

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncmail.errors import ConnectionLost, TLSError
from asyncmail.net import connect, now
from net.runtimes import on_each_runtime

UNENDED = "127.0.0.1 closed the connection without ending TLS"
BROKEN = r"TLS with 127\.0\.0\.1 broke: .* \(look for what alters octets on the way"


def leave(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    """Without a word."""


def leave_in_a_record(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    wire.sendall(b"\x17\x03\x03\x00\x40" + bytes(20))


def leave_in_a_header(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    wire.sendall(b"\x17\x03")


def send_a_record_of_noise(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    wire.sendall(b"\x17\x03\x03\x00\x40" + os.urandom(64))


def send_plaintext(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    wire.sendall(b"421 server shutting down\r\n")


def send_a_record_that_is_too_long(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    wire.sendall(b"\x17\x03\x03\xff\xff" + bytes(1000))


def reset(tls: ssl.SSLSocket, wire: socket.socket) -> None:
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


ENDS = [
    (leave, UNENDED),
    (leave_in_a_record, UNENDED),
    (leave_in_a_header, UNENDED),
    (send_a_record_of_noise, BROKEN),
    (send_plaintext, BROKEN),
    (send_a_record_that_is_too_long, BROKEN),
    (reset, "the connection was lost: .*[Cc]onnection reset"),
]


def serve_once(listener: socket.socket, context: ssl.SSLContext, end, *, reads: bool) -> None:
    """Greet, wait for an octet, end in some way."""
    wire, _ = listener.accept()
    with context.wrap_socket(wire, server_side=True, suppress_ragged_eofs=False) as tls:
        tls.sendall(b"220 ready\r\n")
        tls.recv(1)
        if end is None:
            tls.unwrap()
            return
        with socket.socket(fileno=os.dup(tls.fileno())) as below:
            end(tls, below)
            if reads:  # until the stream has noticed, so that the system does not reset the connection
                below.shutdown(socket.SHUT_WR)
                with suppress(OSError):
                    while below.recv(65536):
                        pass


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize(("end", "text"), ENDS, ids=lambda value: getattr(value, "__name__", ""))
@on_each_runtime
async def test_while_receiving(listener, client_tls, server_tls, end, text):
    stream = await connect(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
    async with anyio.create_task_group() as group:
        group.start_soon(
            anyio.to_thread.run_sync,
            lambda: serve_once(listener, server_tls, end, reads=end is not reset),
        )
        await stream.start_tls(client_tls, server_hostname="localhost")
        assert await stream.receive(deadline=now() + 20) == b"220 ready\r\n"
        await stream.send([b"N"])
        for _ in range(2):
            with pytest.raises(ConnectionLost, match=text) as caught:
                await stream.receive(deadline=now() + 20)
            assert caught.value.is_transient
            assert caught.value.stage is None
        assert stream.is_stale
        stream.abort()


@pytest.mark.parametrize("end", [end for end, _ in ENDS])
@on_each_runtime
async def test_while_sending(listener, client_tls, server_tls, end):
    stream = await connect(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, lambda: serve_once(listener, server_tls, end, reads=False))
        await stream.start_tls(client_tls, server_hostname="localhost")
        with pytest.raises(ConnectionLost):
            while True:
                await stream.send([bytes(300_000)], deadline=now() + 20)
                await anyio.lowlevel.checkpoint()
        stream.abort()


@on_each_runtime
async def test_a_goodbye_is_an_end(listener, client_tls, server_tls):
    stream = await connect(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
    async with anyio.create_task_group() as group:
        group.start_soon(
            anyio.to_thread.run_sync, lambda: serve_once(listener, server_tls, None, reads=False)
        )
        await stream.start_tls(client_tls, server_hostname="localhost")
        assert await stream.receive() == b"220 ready\r\n"
        assert not stream.is_stale
        await stream.send([b"N"])
        for _ in range(2):
            assert await stream.receive(deadline=now() + 20) == b""
        assert stream.is_stale
        await stream.aclose()  # unwrap() at the other end returns only if this says goodbye, too


@on_each_runtime
async def test_a_certificate_that_is_missed_late(listener, client_tls, server_tls):
    """In TLS 1.3 the client's handshake is complete before the server has seen its certificate, or none."""
    server_tls.verify_mode = ssl.CERT_REQUIRED

    def refuse() -> None:
        with pytest.raises(ssl.SSLError):
            serve_once(listener, server_tls, None, reads=False)

    stream = await connect(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, refuse)
        await stream.start_tls(client_tls, server_hostname="localhost")
        with pytest.raises(TLSError, match=r"did not accept the certificate of this side: .*required"):
            await stream.receive(deadline=now() + 20)
        stream.abort()

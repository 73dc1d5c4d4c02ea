"""Servers that read nothing, or say what they have to say octet by octet: no call waits longer than its time limit."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncmail import Mailer, MailTimeout, PoolLimits, POP3Client, SMTPClient
from net.runtimes import on_each_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = b"Subject: x\r\n\r\n" + (b"x" * 76 + b"\r\n") * 200_000
SENT = {"sender": "a@example.org", "recipients": ["b@example.com"]}


class HostileServer:
    """Serves each connection in a thread, until the block ends."""

    def __init__(self, serve: Callable[[socket.socket, threading.Event], None]) -> None:
        self._serve = serve
        self._end = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.settimeout(0.05)
        self._threads = [threading.Thread(target=self._accept)]
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> HostileServer:
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._end.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                client.settimeout(20)
                self._threads.append(threading.Thread(target=self._run, args=(client,)))
                self._threads[-1].start()

    def _run(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self._serve(client, self._end)


def read_no_content(client: socket.socket, end: threading.Event) -> None:
    client.sendall(b"220 ready\r\n")
    with client.makefile("rb") as lines:
        while (verb := lines.readline()[:4]) not in (b"DATA", b"BDAT", b""):
            client.sendall(b"250-me\r\n250 CHUNKING\r\n" if verb == b"EHLO" else b"250 OK\r\n")
        if verb == b"DATA":
            client.sendall(b"354 go ahead\r\n")
        end.wait()


def drip(octets: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Say something as if the line were very slow, and go on with that for ever."""

    def serve(client: socket.socket, end: threading.Event) -> None:
        client.sendall(octets)
        while not end.wait(0.1):
            client.sendall(b"x")

    return serve


@pytest.mark.parametrize("chunking", [False, True])
@on_each_runtime
async def test_a_server_that_does_not_read(chunking: bool) -> None:
    with HostileServer(read_no_content) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        async with Mailer(
            url,
            connections=1,
            timeouts=0.3,
            pool=PoolLimits(attempts=2, pause_seconds=0, chunking=chunking),
        ) as mailer:
            outcome = await mailer.send(CONTENT, **SENT)
        assert [each.address for each in outcome.deferred] == ["b@example.com"]
        client = SMTPClient(url, timeouts=0.3)
        await client.connect()
        with pytest.raises(MailTimeout):
            await client.mail("a@example.org")
            await client.rcpt("b@example.com")
            await client.data(CONTENT)
        client.abort()


@pytest.mark.parametrize("octets", [b"", b"220 ready\r\n", b"220 ready\r\n250-x\r\n"])
@on_each_runtime
async def test_smtp_octet_by_octet(octets: bytes) -> None:
    with HostileServer(drip(octets)) as server:
        client = SMTPClient(f"smtp://127.0.0.1:{server.port}", timeouts=0.5)
        with pytest.raises(MailTimeout), anyio.fail_after(10):
            await client.connect()
        client.abort()


@pytest.mark.parametrize("octets", [b"", b"+OK ready\r\n"])
@on_each_runtime
async def test_pop3_octet_by_octet(octets: bytes) -> None:
    with HostileServer(drip(octets)) as server:
        client = POP3Client(f"pop3://u:p@127.0.0.1:{server.port}", timeouts=0.5)
        with pytest.raises(MailTimeout), anyio.fail_after(10):
            await client.connect()
        client.abort()


def drip_behind_ehlo(client: socket.socket, end: threading.Event) -> None:
    client.sendall(b"220 ready\r\n")
    client.recv(1000)
    client.sendall(b"250-me\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
    client.recv(1000)
    drip(b"")(client, end)


@on_each_runtime
async def test_a_transaction_octet_by_octet() -> None:
    with HostileServer(drip_behind_ehlo) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        with anyio.fail_after(8):
            async with Mailer(
                url, connections=1, timeouts=0.5, pool=PoolLimits(attempts=1, pause_seconds=0)
            ) as mailer:
                outcome = await mailer.send(b"Subject: x\r\n\r\nx\r\n", **SENT)
        assert [each.address for each in outcome.unknown] == ["b@example.com"]

"""Servers that leave without ending TLS: nothing is lost, nothing is sent twice, and outcomes are true."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asyncmail import ConnectionLost, Mailer, SMTPClient
from net.runtimes import on_each_runtime
from peers import Exim, run_exim
from peers.process import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

    from peers import Authority

MESSAGE = b"Subject: x\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def lonely_exim(exim: Exim, authority: Authority) -> Iterator[Exim]:
    """An Exim whose processes serve nobody else; the other fixture skips where there is none.

    A process that delivered at once would keep the connection of a killed session open for a moment.
    """
    with run_exim(authority, settings={"queue_only": "true"}) as server:
        yield server


def kill_sessions(exim: Exim) -> None:
    """End the processes that serve clients, without any chance to say so."""
    daemon = (exim.log.parent / "pid").read_text().strip()
    children = _children(daemon)
    assert children
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    assert wait_until(lambda: not _children(daemon), 10)


def _children(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@on_each_runtime
async def test_exim_is_killed_between_commands(lonely_exim: Exim, client_tls: ssl.SSLContext) -> None:
    client = SMTPClient(f"smtp+starttls://localhost:{lonely_exim.port}", tls_context=client_tls)
    await client.connect()
    await client.noop()
    kill_sessions(lonely_exim)
    with pytest.raises(ConnectionLost):
        await client.noop()
    client.abort()


@on_each_runtime
async def test_exim_is_killed_while_the_pool_is_idle(lonely_exim: Exim, client_tls: ssl.SSLContext) -> None:
    url = f"smtp+starttls://localhost:{lonely_exim.port}"
    async with Mailer(url, connections=1, tls_context=client_tls) as mailer:
        for _ in range(3):
            outcome = await mailer.send(MESSAGE, sender="a@example.org", recipients=["b@example.com"])
            assert outcome.ok, outcome
            kill_sessions(lonely_exim)


class CutServer:
    """Speaks SMTP over TLS, and cuts each connection off, without ending TLS, when it has read what is listed."""

    def __init__(self, context: ssl.SSLContext, cuts: Sequence[bytes]) -> None:
        self._context = context
        self._cuts = cuts
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> CutServer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        for cut in self._cuts:
            wire, _ = self._listener.accept()
            with self._context.wrap_socket(wire, server_side=True) as tls:
                tls.settimeout(20)
                tls.sendall(b"220 ready\r\n")
                self.heard.append(self._converse(tls, cut))

    def _converse(self, tls: ssl.SSLSocket, cut: bytes) -> bytes:
        heard = bytearray()
        answered = 0
        while data := tls.recv(65536):
            heard += data
            if heard.find(cut, max(0, len(heard) - len(data) - len(cut))) >= 0:
                break
            while (end := heard.find(b"\r\n", answered)) >= 0:
                line, answered = bytes(heard[answered : end + 2]), end + 2
                verb = line[:4]
                if verb in (b"EHLO", b"MAIL", b"RCPT", b"QUIT"):
                    tls.sendall(
                        {b"EHLO": b"250 localhost\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 OK\r\n")
                    )
                elif verb == b"DATA":
                    tls.sendall(b"354 go ahead\r\n")
                elif line == b".\r\n":
                    tls.sendall(b"250 taken\r\n")
        return bytes(heard)


@pytest.mark.parametrize("cut", [b"EHLO", b"MAIL", b"RCPT", b"DATA\r\n", b"Subject"])
@on_each_runtime
async def test_a_cut_before_the_end_of_content_is_sent_again(
    client_tls: ssl.SSLContext, server_tls: ssl.SSLContext, cut: bytes
) -> None:
    content = MESSAGE if cut != b"Subject" else MESSAGE + (b"x" * 76 + b"\r\n") * 200_000
    with CutServer(server_tls, [cut, b"never heard"]) as server:
        async with Mailer(
            f"smtps://localhost:{server.port}", connections=1, tls_context=client_tls
        ) as mailer:
            outcome = await mailer.send(content, sender="a@example.org", recipients=["b@example.com"])
            assert [each.address for each in outcome.accepted] == ["b@example.com"]
    assert len(server.heard) == 2


@on_each_runtime
async def test_a_cut_behind_the_content_is_unknown(
    client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    with CutServer(server_tls, [b"\r\n.\r\n"]) as server:
        async with Mailer(
            f"smtps://localhost:{server.port}", connections=1, tls_context=client_tls
        ) as mailer:
            outcome = await mailer.send(MESSAGE, sender="a@example.org", recipients=["b@example.com"])
            assert [each.address for each in outcome.unknown] == ["b@example.com"]
    assert len(server.heard) == 1
